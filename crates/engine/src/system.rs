//! The daemon and its host.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use skiff_images::Image;
use skiff_logs::Driver;
use skiff_runtime::cgroups::Controller;

use crate::{
    Events, Result, Runtime, budget, cdi,
    containers::{Parts, blocking},
    last_use,
    model::{Actor, Component, DiskBudget, EventKind, Info, RuntimeInfo, Status, Timestamp, Version},
};

/// The service.
#[derive(Clone)]
pub struct System {
    parts: Arc<Parts>,
    events: Events,
    live: Arc<Mutex<Reloadable>>,
}

/// What may change while the daemon runs.
#[derive(Clone, Debug, Default)]
pub struct Reloadable {
    /// Labels of the daemon.
    pub labels: Vec<String>,
    /// Say more in the log.
    pub debug: bool,
}

impl System {
    pub(crate) fn new(parts: Arc<Parts>, events: Events) -> Self {
        let live = Reloadable { labels: parts.config.labels.clone(), debug: parts.config.debug };
        Self { parts, events, live: Arc::new(Mutex::new(live)) }
    }

    /// Drivers of networks: ours, and those of others that networks have.
    fn network_drivers(&self) -> Vec<String> {
        let own = ["bridge", "cni", "host", "ipvlan", "macvlan", "null"].map(str::to_owned);
        let used = self.parts.networks.all().into_iter().map(|network| network.driver.clone());
        let all: std::collections::BTreeSet<String> = own.into_iter().chain(used).collect();
        all.into_iter().collect()
    }

    /// When each image was last used, by its id (`sha256:…`): given to a container, let go of by one, named, or brought here.
    ///
    /// # Errors
    /// The images cannot be read.
    pub async fn images_last_used(&self) -> Result<BTreeMap<String, Timestamp>> {
        let parts = self.parts.clone();
        blocking(move || {
            let images = parts.images.list()?;
            let last = |image: &Image| last_use::of_image(&parts, image);
            Ok(images.iter().map(|image| (image.id.digest().to_string(), last(image))).collect())
        })
        .await?
    }

    /// When a volume was last let go of by a container, if it ever was.
    pub fn volume_last_used(&self, name: &str) -> Option<Timestamp> {
        self.parts.last_use.of_volume(name)
    }

    /// The disk budget and what is used of it; none without a limit.
    ///
    /// # Errors
    /// What counts cannot be measured.
    pub async fn disk_budget(&self) -> Result<Option<DiskBudget>> {
        budget::usage(&self.parts).await
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    fn live(&self) -> Reloadable {
        self.live.lock().expect("no panic under this lock").clone()
    }

    /// Takes over what may change while the daemon runs, and tells it as an event.
    pub fn reload(&self, to: Reloadable) {
        let quoted: Vec<_> = to.labels.iter().map(|label| format!("{label:?}")).collect();
        let attributes = [
            ("debug".to_owned(), to.debug.to_string()),
            ("labels".to_owned(), format!("[{}]", quoted.join(","))),
            ("name".to_owned(), self.parts.host.name.clone()),
        ];
        *self.live.lock().expect("no panic under this lock") = to;
        let actor = Actor { id: self.parts.identity.id.clone(), attributes: attributes.into() };
        self.events.publish(EventKind::Daemon, "reload", actor);
    }

    /// `GET /info`.
    ///
    /// # Errors
    /// None so far.
    pub async fn info(&self) -> Result<Info> {
        let Parts { config, host, .. } = &*self.parts;
        let live = self.live();
        let statuses: Vec<Status> = self.parts.registry.all().iter().map(|c| c.status()).collect();
        let count = |test: fn(&Status) -> bool| statuses.iter().filter(|s| test(s)).count();
        let running = count(|s| matches!(s, Status::Running | Status::Restarting));
        let paused = count(|s| *s == Status::Paused);
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let own = ["io.containerd.runc.v2", "runc"].map(|name| (name.to_owned(), Runtime::Own));
        let runtimes = own.into_iter().chain(config.runtimes.clone());
        Ok(Info {
            id: self.parts.identity.id.clone(),
            containers: statuses.len(),
            containers_running: running,
            containers_paused: paused,
            containers_stopped: statuses.len() - running - paused,
            images: self.parts.images.list()?.len(),
            driver: self.parts.snapshots.name().to_owned(),
            driver_status: self.parts.snapshots.status(),
            disk_budget: budget::usage(&self.parts).await?,
            root_dir: config.root.to_string_lossy().into_owned(),
            log_drivers: Driver::ALL.map(|driver| driver.name().to_owned()).into(),
            network_drivers: self.network_drivers(),
            volume_drivers: owned(&["local"]),
            memory_limit: host.has(Controller::Memory),
            kernel_memory_tcp: host.kernel_memory_tcp,
            swap_limit: self.swap_limit(),
            cpu_cfs: host.has(Controller::Cpu),
            cpu_shares: host.has(Controller::Cpu),
            cpu_set: host.has(Controller::Cpuset),
            pids_limit: host.has(Controller::Pids),
            oom_kill_disable: !host.cgroup_v2 && host.has(Controller::Memory),
            ipv4_forwarding: first_line("/proc/sys/net/ipv4/ip_forward") == "1",
            debug: live.debug,
            open_files: entries("/proc/self/fd"),
            tasks: entries("/proc/self/task"),
            system_time: Timestamp::now(),
            logging_driver: config.log.kind.clone(),
            cgroup_driver: "cgroupfs".into(),
            cgroup_version: if host.cgroup_v2 { "2" } else { "1" }.into(),
            event_listeners: self.events.listeners(),
            kernel_version: host.kernel.clone(),
            operating_system: host.os.clone(),
            os_version: host.os_version.clone(),
            architecture: host.machine.clone(),
            cpus: host.cpus,
            memory: host.memory,
            name: host.name.clone(),
            labels: live.labels,
            experimental: config.experimental,
            server_version: env!("CARGO_PKG_VERSION").into(),
            runtimes: runtimes.map(runtime_info).collect(),
            default_runtime: config.default_runtime.clone(),
            live_restore: true,
            init_binary: "docker-init".into(),
            security_options: self.security_options(),
            insecure_registries: config.insecure_registries.clone(),
            registry_mirrors: config.registry_mirrors.clone(),
            cdi_spec_dirs: config
                .cdi_spec_dirs
                .iter()
                .map(|dir| dir.to_string_lossy().into_owned())
                .collect(),
            discovered_devices: blocking({
                let dirs = config.cdi_spec_dirs.clone();
                move || cdi::Devices::read(&dirs).names()
            })
            .await?,
            default_address_pools: config.bridge.default_address_pools.clone(),
            warnings: self.warnings(),
        })
    }

    /// `GET /version`, without the API versions, which the server knows.
    pub fn version(&self) -> Version {
        let host = &self.parts.host;
        let version = env!("CARGO_PKG_VERSION");
        Version {
            platform: "Skiff Engine".into(),
            version: version.into(),
            git_commit: option_env!("SKIFF_COMMIT").unwrap_or_default().into(),
            build_time: option_env!("SKIFF_BUILD_TIME").unwrap_or_default().into(),
            os: "linux".into(),
            arch: host.go_arch().into(),
            kernel_version: host.kernel.clone(),
            experimental: self.parts.config.experimental,
            components: vec![Component {
                name: "skiff".into(),
                version: version.into(),
                details: BTreeMap::new(),
            }],
        }
    }

    fn swap_limit(&self) -> bool {
        let cgroups = &self.parts.host.facts.cgroups;
        match cgroups.hierarchy(Controller::Memory) {
            Some(memory) => memory.mount.join("memory.memsw.limit_in_bytes").exists(),
            None => self.parts.host.cgroup_v2,
        }
    }

    fn security_options(&self) -> Vec<String> {
        let mut out = Vec::new();
        if self.parts.host.facts.apparmor {
            out.push("name=apparmor".to_owned());
        }
        let profile = match &self.parts.config.seccomp_profile {
            None => "builtin".to_owned(),
            Some(path) => path.to_string_lossy().into_owned(),
        };
        out.push(format!("name=seccomp,profile={profile}"));
        if self.parts.host.cgroup_v2 {
            out.push("name=cgroupns".to_owned());
        }
        out
    }

    fn warnings(&self) -> Vec<String> {
        let host = &self.parts.host;
        let mut out = Vec::new();
        for (missing, what) in [
            (!host.has(Controller::Memory), "memory limit"),
            (!self.swap_limit(), "swap limit"),
            (!host.has(Controller::Cpu), "cpu cfs quota"),
            (!host.has(Controller::Cpuset), "cpuset"),
            (!host.has(Controller::Pids), "pids limit"),
        ] {
            if missing {
                out.push(format!("WARNING: No {what} support"));
            }
        }
        if first_line("/proc/sys/net/ipv4/ip_forward") != "1" {
            out.push("WARNING: IPv4 forwarding is disabled".into());
        }
        out.extend(self.parts.network.conflicts().into_iter().map(|conflict| format!("WARNING: {conflict}")));
        out
    }
}

fn runtime_info((name, runtime): (String, Runtime)) -> RuntimeInfo {
    match runtime {
        Runtime::Own => RuntimeInfo { name, path: "skiff".into(), args: Vec::new() },
        Runtime::Program { path, args } => {
            RuntimeInfo { name, path: path.to_string_lossy().into_owned(), args }
        }
    }
}

fn first_line(path: &str) -> String {
    let text = fs_err::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn entries(dir: &str) -> usize {
    fs_err::read_dir(dir).map_or(0, Iterator::count)
}
