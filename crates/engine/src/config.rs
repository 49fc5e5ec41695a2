//! What the daemon is told by its flags and `daemon.json`.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use skiff_types::ContainerId;

use crate::{
    model::{LogConfig, Ulimit},
    registries::Encoding,
};

/// Configuration of the engine. The defaults are dockerd's, with our paths.
#[derive(Clone, Debug)]
pub struct Config {
    /// What must survive a reboot: images, containers, the store.
    pub root: PathBuf,
    /// What must not: sockets, monitors.
    pub run: PathBuf,
    /// Snapshot driver; none means the best that works here.
    pub storage_driver: Option<String>,
    /// What a container that says nothing may write into its root file system, bytes; none for no limit.
    pub storage_size: Option<u64>,
    /// Parent control group of containers that ask for none.
    pub cgroup_parent: String,
    /// `host` or `private`; none means private on cgroup v2, host on v1.
    pub default_cgroupns_mode: Option<String>,
    /// `private` or `shareable`.
    pub default_ipc_mode: String,
    /// Size of /dev/shm, bytes.
    pub default_shm_size: i64,
    /// Limits of every container that sets no other.
    pub default_ulimits: Vec<Ulimit>,
    /// Default log driver and its options.
    pub log: LogConfig,
    /// `no-new-privileges` for every container.
    pub no_new_privileges: bool,
    /// Another seccomp profile than the built-in one; `unconfined` for none.
    pub seccomp_profile: Option<PathBuf>,
    /// Run an init in every container that says nothing about it.
    pub init: bool,
    /// The program bind-mounted as init; none means our own binary.
    pub init_path: Option<PathBuf>,
    /// Name servers of every container that sets none.
    pub dns: Vec<IpAddr>,
    /// Resolver options likewise.
    pub dns_options: Vec<String>,
    /// Search domains likewise.
    pub dns_search: Vec<String>,
    /// The default bridge.
    pub bridge: BridgeConfig,
    /// Labels of the daemon.
    pub labels: Vec<String>,
    /// Runtimes that a request may ask for by name, beside the names of our own ([`OWN_RUNTIMES`]).
    pub runtimes: BTreeMap<String, Runtime>,
    /// The runtime of a request that asks for none.
    pub default_runtime: String,
    /// Where specifications of the container device interface are looked for; none to do without.
    pub cdi_spec_dirs: Vec<PathBuf>,
    /// Registries reached without TLS.
    pub insecure_registries: Vec<String>,
    /// Mirrors of the default registry.
    pub registry_mirrors: Vec<String>,
    /// Layers that are downloaded at once, by all pulls together.
    pub max_concurrent_downloads: usize,
    /// Layers that are uploaded at once, by all pushes together.
    pub max_concurrent_uploads: usize,
    /// How layers are encoded that are pushed; gzip, and as they are where a registry takes files, if nothing is said.
    pub push_compression: Option<Encoding>,
    /// How often a download is tried that breaks off without anything having come.
    pub max_download_attempts: u32,
    /// The proxy for registries without TLS, instead of the environment's.
    pub http_proxy: Option<String>,
    /// The proxy for registries with TLS, likewise.
    pub https_proxy: Option<String>,
    /// Hosts that are reached without a proxy, likewise.
    pub no_proxy: Option<String>,
    /// Say more in the log.
    pub debug: bool,
    /// Experimental features.
    pub experimental: bool,
    /// Images that need not be loaded: they come into the store when a container asks for them.
    pub builtin_images: Vec<BuiltinImage>,
    /// Bytes that images, downloads, logs and stopped containers may take together; 0 for as many as there are.
    pub disk_budget: u64,
    /// Threads for blocking work.
    pub blocking_threads: usize,
}

/// Names under which Docker's users know the runtime that is built in.
pub const OWN_RUNTIMES: [&str; 3] = ["runc", "io.containerd.runc.v2", "skiff"];

/// What makes containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// We do.
    Own,
    /// A program with the command line of an OCI runtime.
    Program {
        /// Where it is; a name without a slash is looked for in `PATH`.
        path: PathBuf,
        /// Its arguments, before any other.
        args: Vec<String>,
    },
}

impl Config {
    /// The runtime of this name.
    pub fn runtime(&self, name: &str) -> Option<Runtime> {
        match OWN_RUNTIMES.contains(&name) {
            true => Some(Runtime::Own),
            false => self.runtimes.get(name).cloned(),
        }
    }

    /// A container's run directory: its monitor's socket, its exit record, and what its start noted.
    pub(crate) fn run_dir(&self, id: &ContainerId) -> PathBuf {
        self.run.join("containers").join(id.to_string())
    }
}

/// An image that the binary carries.
#[derive(Clone, Copy, Debug)]
pub struct BuiltinImage {
    /// Its name with its tag, as people write it.
    pub name: &'static str,
    /// Gives the tar of its only layer.
    pub layer: fn() -> io::Result<Box<dyn Read + Send>>,
    /// Dockerfile instructions that make its configuration.
    pub changes: &'static [&'static str],
}

/// Configuration of the network `bridge`.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// Name of the link; `none` for no default bridge.
    pub name: String,
    /// Address and prefix of the bridge.
    pub bip: Option<String>,
    /// Part of it that containers get addresses from.
    pub fixed_cidr: Option<String>,
    /// Containers reach each other.
    pub icc: bool,
    /// Masquerade what leaves.
    pub ip_masquerade: bool,
    /// 0 means the default.
    pub mtu: u32,
    /// Write firewall rules.
    pub firewall: bool,
    /// The host's own firewall decides on packets from outside to published ports.
    pub respect_host: bool,
    /// Turn forwarding on.
    pub ip_forward: bool,
    /// A host that did not forward before may then forward for others too.
    pub ip_forward_no_drop: bool,
    /// Other hosts may reach published ports at the container's own address.
    pub allow_direct_routing: bool,
    /// Serve in the daemon what the kernel cannot forward to a published port.
    pub userland_proxy: bool,
    /// Where containers send what is not on the bridge, if not to the bridge.
    pub default_gateway: Option<Ipv4Addr>,
    /// The default bridge has IPv6; without it the next three say nothing.
    pub ipv6: bool,
    /// IPv6 address and prefix of the bridge.
    pub bip6: Option<String>,
    /// Part of the IPv6 subnet that containers get addresses from.
    pub fixed_cidr6: Option<String>,
    /// Where containers send IPv6 that is not on the bridge, if not to the bridge.
    pub default_gateway6: Option<Ipv6Addr>,
    /// Host address of published ports that give none.
    pub default_binding: Option<IpAddr>,
    /// Pools of networks that give none: base and size.
    pub default_address_pools: Vec<(String, u8)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root: "/var/lib/skiff".into(),
            run: "/run/skiff".into(),
            storage_driver: None,
            storage_size: None,
            cgroup_parent: "/skiff".into(),
            default_cgroupns_mode: None,
            default_ipc_mode: "private".into(),
            default_shm_size: 64 << 20,
            default_ulimits: Vec::new(),
            log: LogConfig { kind: "json-file".into(), config: Default::default() },
            no_new_privileges: false,
            seccomp_profile: None,
            init: false,
            init_path: None,
            dns: Vec::new(),
            dns_options: Vec::new(),
            dns_search: Vec::new(),
            bridge: BridgeConfig::default(),
            labels: Vec::new(),
            runtimes: BTreeMap::new(),
            default_runtime: OWN_RUNTIMES[0].into(),
            cdi_spec_dirs: vec!["/etc/cdi".into(), "/var/run/cdi".into()],
            insecure_registries: Vec::new(),
            registry_mirrors: Vec::new(),
            max_concurrent_downloads: 3,
            max_concurrent_uploads: 5,
            max_download_attempts: 5,
            http_proxy: None,
            https_proxy: None,
            no_proxy: None,
            debug: false,
            experimental: false,
            builtin_images: Vec::new(),
            push_compression: None,
            disk_budget: 0,
            blocking_threads: 4,
        }
    }
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            name: "docker0".into(),
            bip: None,
            fixed_cidr: None,
            icc: true,
            ip_masquerade: true,
            mtu: 0,
            firewall: true,
            respect_host: true,
            ip_forward: true,
            ip_forward_no_drop: false,
            allow_direct_routing: false,
            userland_proxy: true,
            default_gateway: None,
            ipv6: false,
            bip6: None,
            fixed_cidr6: None,
            default_gateway6: None,
            default_binding: None,
            default_address_pools: Vec::new(),
        }
    }
}
