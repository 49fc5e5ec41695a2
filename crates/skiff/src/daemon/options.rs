//! Every flag of dockerd and every key of `daemon.json`, in one table: parsing, help and what is supported derive from it.

/// What a value is, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `--debug`, `--debug=false`; `true` or `false`. Holds the default.
    Bool(bool),
    /// A number.
    Int,
    /// Text.
    Text,
    /// Bytes, as `64m`; a string in the file too.
    Size,
    /// An address.
    Ip,
    /// May come several times; a list in the file.
    List,
    /// Addresses likewise.
    IpList,
    /// `name=value`, may come several times; an object of strings in the file.
    Map,
    /// `nofile=1024:2048`; an object of objects in the file.
    Ulimits,
    /// `base=10.0.0.0/8,size=24`; a list of objects in the file.
    Pools,
    /// `name=path`; an object of objects in the file.
    Runtimes,
    /// Whatever JSON: nothing reads it.
    Any,
}

/// What happens to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Support {
    /// It is honoured.
    Yes,
    /// It makes no difference here: what it tunes does not exist, or is always so.
    Moot,
    /// Asking for it is an error.
    No,
}

/// A setting.
#[derive(Debug)]
pub(super) struct OptionSpec {
    /// The long flag, without its dashes; empty for what only the file has.
    pub(super) flag: &'static str,
    pub(super) short: Option<char>,
    /// The key in `daemon.json`; empty for what only the command line has.
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    pub(super) support: Support,
    pub(super) help: &'static str,
}

impl OptionSpec {
    /// Names the setting among settings.
    pub(super) fn id(&self) -> &'static str {
        if self.key.is_empty() { self.flag } else { self.key }
    }
}

/// The setting with this flag.
pub(super) fn by_flag(flag: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.flag == flag && !flag.is_empty())
}

/// The setting with this letter.
pub(super) fn by_letter(letter: char) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.short == Some(letter))
}

/// The setting with this key.
pub(super) fn by_key(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.key == key && !key.is_empty())
}

/// The setting of this name.
pub(super) fn by_id(id: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.id() == id)
}

use Kind::{Any, Bool, Int, Ip, IpList, List, Map, Pools, Runtimes, Size, Text, Ulimits};
use Support::{Moot, No, Yes};

macro_rules! option {
    ($flag:literal, $letter:literal, $key:literal, $kind:expr, $support:expr, $help:literal) => {
        OptionSpec {
            flag: $flag,
            short: Some($letter),
            key: $key,
            kind: $kind,
            support: $support,
            help: $help,
        }
    };
    ($flag:literal, $key:literal, $kind:expr, $support:expr, $help:literal) => {
        OptionSpec { flag: $flag, short: None, key: $key, kind: $kind, support: $support, help: $help }
    };
}

#[rustfmt::skip]
pub(super) const OPTIONS: &[OptionSpec] = &[
    option!("add-runtime", "runtimes", Runtimes, Yes, "Register an additional OCI compatible runtime"),
    option!("allow-direct-routing", "allow-direct-routing", Bool(false), Yes, "Allow remote access to published ports on container IP addresses"),
    option!("", "api-cors-header", Text, No, ""),
    option!("authorization-plugin", "authorization-plugins", List, No, "Authorization plugins to load"),
    option!("bip", "bip", Text, Yes, "IPv4 address for the default bridge"),
    option!("bip6", "bip6", Text, Yes, "IPv6 address for the default bridge"),
    option!("bridge", 'b', "bridge", Text, Yes, "Attach containers to a network bridge"),
    option!("", "builder", Any, Moot, ""),
    option!("cdi-spec-dir", "cdi-spec-dirs", List, Yes, "CDI specification directories to use"),
    option!("cgroup-parent", "cgroup-parent", Text, Yes, "Set parent cgroup for all containers"),
    option!("config-file", "", Text, Yes, "Daemon configuration file (default \"/etc/docker/daemon.json\")"),
    option!("containerd", "containerd", Text, Moot, "containerd grpc address"),
    option!("containerd-namespace", "containerd-namespace", Text, Moot, "Containerd namespace to use"),
    option!("containerd-plugins-namespace", "containerd-plugin-namespace", Text, Moot, "Containerd namespace to use for plugins"),
    option!("cpu-rt-period", "cpu-rt-period", Int, No, "Limit the CPU real-time period in microseconds for the parent cgroup for all containers"),
    option!("cpu-rt-runtime", "cpu-rt-runtime", Int, No, "Limit the CPU real-time runtime in microseconds for the parent cgroup for all containers"),
    option!("cri-containerd", "cri-containerd", Bool(false), No, "start containerd with cri"),
    option!("data-root", "data-root", Text, Yes, "Root directory of persistent state (default \"/var/lib/skiff\")"),
    option!("debug", 'D', "debug", Bool(false), Yes, "Enable debug mode"),
    option!("default-address-pool", "default-address-pools", Pools, Yes, "Default address pools for node specific local networks"),
    option!("default-cgroupns-mode", "default-cgroupns-mode", Text, Yes, "Default mode for containers cgroup namespace (\"host\" | \"private\")"),
    option!("default-gateway", "default-gateway", Ip, Yes, "Default gateway IPv4 address for the default bridge network"),
    option!("default-gateway-v6", "default-gateway-v6", Ip, Yes, "Default gateway IPv6 address for the default bridge network"),
    option!("", "default-init", Text, Yes, ""),
    option!("default-ipc-mode", "default-ipc-mode", Text, Yes, "Default mode for containers ipc (\"shareable\" | \"private\") (default \"private\")"),
    option!("default-network-opt", "default-network-opts", Any, No, "Default network options"),
    option!("default-runtime", "default-runtime", Text, Yes, "Default OCI runtime for containers (default \"runc\")"),
    option!("default-shm-size", "default-shm-size", Size, Yes, "Default shm size for containers (default 64MiB)"),
    option!("default-ulimit", "default-ulimits", Ulimits, Yes, "Default ulimits for containers"),
    option!("disk-budget", "disk-budget", Size, Yes, "Bytes that images, logs and stopped containers may take together (default no limit)"),
    option!("dns", "dns", IpList, Yes, "DNS server to use"),
    option!("dns-opt", "dns-opts", List, Yes, "DNS options to use"),
    option!("dns-search", "dns-search", List, Yes, "DNS search domains to use"),
    option!("exec-opt", "exec-opts", List, Yes, "Runtime execution options"),
    option!("exec-root", "exec-root", Text, Yes, "Root directory for execution state files (default \"/run/skiff\")"),
    option!("experimental", "experimental", Bool(false), Yes, "Enable experimental features"),
    option!("feature", "features", Any, Moot, "Enable feature in the daemon"),
    option!("firewall", "firewall", Text, Yes, "Who decides on packets from outside to published ports: the host's own firewall (\"respect-host\"), or nobody (\"docker\", the default of dockerd)"),
    option!("fixed-cidr", "fixed-cidr", Text, Yes, "IPv4 subnet for the default bridge network"),
    option!("fixed-cidr-v6", "fixed-cidr-v6", Text, Yes, "IPv6 subnet for the default bridge network"),
    option!("group", 'G', "group", Text, Yes, "Group for the unix socket (default \"docker\")"),
    option!("help", "", Bool(false), Yes, "Print usage"),
    option!("host", 'H', "hosts", List, Yes, "Daemon socket(s) to connect to"),
    option!("host-gateway-ip", "host-gateway-ips", IpList, No, "IP addresses that the special 'host-gateway' string in --add-host resolves to"),
    option!("", "host-gateway-ip", Ip, No, ""),
    option!("http-proxy", "http-proxy", Text, Yes, "HTTP proxy URL to use for outgoing traffic"),
    option!("https-proxy", "https-proxy", Text, Yes, "HTTPS proxy URL to use for outgoing traffic"),
    option!("icc", "icc", Bool(true), Yes, "Enable inter-container communication for the default bridge network (default true)"),
    option!("init", "init", Bool(false), Yes, "Run an init in the container to forward signals and reap processes"),
    option!("init-path", "init-path", Text, Yes, "Path to the docker-init binary"),
    option!("insecure-registry", "insecure-registries", List, Yes, "Enable insecure registry communication"),
    option!("ip", "ip", Ip, Yes, "Host IP for port publishing from the default bridge network (default 0.0.0.0)"),
    option!("ip-forward", "ip-forward", Bool(true), Yes, "Enable IP forwarding in system configuration (default true)"),
    option!("ip-forward-no-drop", "ip-forward-no-drop", Bool(false), Yes, "Do not set the filter-FORWARD policy to DROP when enabling IP forwarding"),
    option!("ip-masq", "ip-masq", Bool(true), Yes, "Enable IP masquerading for the default bridge network (default true)"),
    option!("ip6tables", "ip6tables", Bool(true), Moot, "Enable addition of ip6tables rules (default true)"),
    option!("iptables", "iptables", Bool(true), Yes, "Enable addition of firewall rules (default true)"),
    option!("ipv6", "ipv6", Bool(false), Yes, "Enable IPv6 networking for the default bridge network"),
    option!("label", "labels", List, Yes, "Set key=value labels to the daemon"),
    option!("live-restore", "live-restore", Bool(false), Moot, "Containers go on while the daemon is down: always so"),
    option!("log-driver", "log-driver", Text, Yes, "Default driver for container logs (default \"json-file\")"),
    option!("log-format", "log-format", Text, Yes, "Set the logging format (\"text\"|\"json\") (default \"text\")"),
    option!("log-level", 'l', "log-level", Text, Yes, "Set the logging level (\"debug\"|\"info\"|\"warn\"|\"error\"|\"fatal\") (default \"info\")"),
    option!("log-opt", "log-opts", Map, Yes, "Default log driver options for containers"),
    option!("max-concurrent-downloads", "max-concurrent-downloads", Int, Yes, "Set the max concurrent downloads (default 3)"),
    option!("max-concurrent-uploads", "max-concurrent-uploads", Int, Yes, "Set the max concurrent uploads (default 5)"),
    option!("max-download-attempts", "max-download-attempts", Int, Yes, "Set the max download attempts for each pull (default 5)"),
    option!("metrics-addr", "metrics-addr", Text, Yes, "Set default address and port to serve the metrics api on"),
    option!("mtu", "mtu", Int, Yes, "Set the MTU for the default \"bridge\" network (default 1500)"),
    option!("network-control-plane-mtu", "network-control-plane-mtu", Int, Moot, "Network Control plane MTU (default 1500)"),
    option!("", "network-diagnostic-port", Int, No, ""),
    option!("no-new-privileges", "no-new-privileges", Bool(false), Yes, "Set no-new-privileges by default for new containers"),
    option!("no-proxy", "no-proxy", Text, Yes, "Comma-separated list of hosts or IP addresses for which the proxy is skipped"),
    option!("node-generic-resource", "node-generic-resources", List, No, "Advertise user-defined resource"),
    option!("pidfile", 'p', "pidfile", Text, Yes, "Path to use for daemon PID file"),
    option!("", "proxies", Any, Moot, ""),
    option!("push-compression", "push-compression", Text, Yes, "How layers are compressed that are pushed (\"gzip\"|\"zstd\"|\"none\")"),
    option!("raw-logs", "raw-logs", Bool(false), Moot, "Full timestamps without ANSI coloring"),
    option!("registry-mirror", "registry-mirrors", List, Yes, "Preferred registry mirror"),
    option!("", "resolv-conf", Text, No, ""),
    option!("rootless", "rootless", Bool(false), No, "Enable rootless mode; typically used with RootlessKit"),
    option!("seccomp-profile", "seccomp-profile", Text, Yes, "Path to seccomp profile. Set to \"unconfined\" to disable the default seccomp profile (default \"builtin\")"),
    option!("selinux-enabled", "selinux-enabled", Bool(false), No, "Enable selinux support"),
    option!("shutdown-timeout", "shutdown-timeout", Int, Moot, "Set the default shutdown timeout (default 15)"),
    option!("storage-driver", 's', "storage-driver", Text, Yes, "Storage driver to use"),
    option!("storage-opt", "storage-opts", List, Yes, "Storage driver options"),
    option!("swarm-default-advertise-addr", "swarm-default-advertise-addr", Text, No, "Set default address or interface for swarm advertised address"),
    option!("", "swarm-raft-election-tick", Int, No, ""),
    option!("", "swarm-raft-heartbeat-tick", Int, No, ""),
    option!("tls", "tls", Bool(false), Yes, "Use TLS; implied by --tlsverify. --tls=false allows a TCP socket without it"),
    option!("tlscacert", "tlscacert", Text, Yes, "Trust certs signed only by this CA (default \"~/.docker/ca.pem\")"),
    option!("tlscert", "tlscert", Text, Yes, "Path to TLS certificate file (default \"~/.docker/cert.pem\")"),
    option!("tlskey", "tlskey", Text, Yes, "Path to TLS key file (default \"~/.docker/key.pem\")"),
    option!("tlsverify", "tlsverify", Bool(false), Yes, "Use TLS and verify the remote"),
    option!("userland-proxy", "userland-proxy", Bool(true), Yes, "Use userland proxy for loopback traffic (default true)"),
    option!("userland-proxy-path", "userland-proxy-path", Text, Moot, "Path to the userland proxy binary"),
    option!("userns-remap", "userns-remap", Text, No, "User/Group setting for user namespaces"),
    option!("validate", "", Bool(false), Yes, "Validate daemon configuration and exit"),
    option!("version", 'v', "", Bool(false), Yes, "Print version information and quit"),
];

/// The help text.
pub(super) fn usage(program: &str) -> String {
    use std::fmt::Write;
    let mut text = format!(
        "\nUsage:\t{program} [OPTIONS]\n\nThe daemon of a self-sufficient container engine.\n\nOptions:\n"
    );
    for option in OPTIONS.iter().filter(|option| !option.flag.is_empty()) {
        let letter = option.short.map_or_else(|| "    ".to_owned(), |c| format!("-{c}, "));
        let value = match option.kind {
            Bool(_) => "",
            Int => " int",
            Size => " bytes",
            Ip => " ip",
            List | IpList => " list",
            Map | Any => " map",
            Ulimits => " ulimit",
            Pools => " pool-options",
            Runtimes => " runtime",
            Text => " string",
        };
        let missing = if option.support == No { " (not supported yet)" } else { "" };
        let flag = format!("--{}{value}", option.flag);
        writeln!(text, "  {letter}{flag:<39} {}{missing}", option.help).expect("writing to a string");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_given_twice_and_the_table_is_sorted() {
        let mut ids: Vec<_> = OPTIONS.iter().map(OptionSpec::id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), OPTIONS.len());
        let names: Vec<_> = OPTIONS.iter().map(|o| if o.flag.is_empty() { o.key } else { o.flag }).collect();
        assert!(names.iter().filter(|n| **n != "host-gateway-ip").is_sorted());
    }

    /// Recorded from `dockerd --help` of Docker 28.5.2.
    #[test]
    fn every_flag_of_dockerd_is_known() {
        for flag in include_str!("testdata/dockerd-flags.txt").split_whitespace() {
            assert!(by_flag(flag).is_some(), "{flag}");
            assert!(usage("dockerd").contains(&format!("--{flag}")), "{flag}");
        }
    }

    /// From the configuration of Docker 28.5.2.
    #[test]
    fn every_key_of_the_file_is_known() {
        for key in include_str!("testdata/daemon-json-keys.txt").split_whitespace() {
            assert!(by_key(key).is_some(), "{key}");
        }
    }
}
