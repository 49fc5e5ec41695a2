//! Facts about this host, found once when the engine starts.

use std::{collections::BTreeSet, fmt, path::Path};

use skiff_runtime::{
    capabilities::{self, CapSet},
    cgroups::Controller,
    plan::HostFacts,
};

use crate::{Error, Result};

/// What requests are checked and containers are planned against.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// What plans depend on.
    pub(crate) facts: HostFacts,
    /// Limits are written in the v2 way.
    pub(crate) cgroup_v2: bool,
    /// How many processors this process may use.
    pub(crate) cpus: usize,
    /// Processors that containers may be bound to.
    pub(crate) cpu_list: CpuList,
    /// Memory nodes likewise.
    pub(crate) memory_nodes: CpuList,
    /// Weights of block I/O work.
    pub(crate) blkio_weight: bool,
    /// Limits on the kernel's TCP buffers work.
    pub(crate) kernel_memory_tcp: bool,
    /// What this process has to give.
    pub(crate) capabilities: CapSet,
    /// Bytes of memory.
    pub(crate) memory: i64,
    /// `uname`.
    pub(crate) kernel: String,
    /// `uname -m`.
    pub(crate) machine: String,
    /// `uname -n`.
    pub(crate) name: String,
    /// From /etc/os-release.
    pub(crate) os: String,
    /// From /etc/os-release.
    pub(crate) os_version: String,
}

impl Host {
    /// Looks.
    ///
    /// # Errors
    /// No cgroups, or no `/proc`.
    pub(crate) fn probe() -> Result<Self> {
        let facts = HostFacts::probe().map_err(|e| Error::Internal(e.to_string()))?;
        let uname = rustix::system::uname();
        let text = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
        let (os, os_version) = os_release();
        let (cpu_list, memory_nodes) = available_sets(&facts);
        let kernel_memory_tcp = facts
            .cgroups
            .hierarchy(Controller::Memory)
            .is_some_and(|memory| memory.mount.join("memory.kmem.tcp.limit_in_bytes").exists());
        let blkio_weight = facts.cgroups.hierarchy(Controller::Io).map_or_else(
            || facts.cgroups.is_unified() && facts.cgroups.has(Controller::Io),
            |blkio| {
                blkio.mount.join("blkio.weight").exists() || blkio.mount.join("blkio.bfq.weight").exists()
            },
        );
        Ok(Self {
            cgroup_v2: facts.cgroups.is_unified(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            cpu_list,
            memory_nodes,
            blkio_weight,
            kernel_memory_tcp,
            capabilities: capabilities::available().map_err(|e| Error::Internal(e.to_string()))?,
            memory: i64::try_from(rustix::system::sysinfo().totalram).unwrap_or(i64::MAX),
            kernel: text(uname.release()),
            machine: text(uname.machine()),
            name: text(uname.nodename()),
            os,
            os_version,
            facts,
        })
    }

    /// Whether the controller can be used.
    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.facts.cgroups.has(controller)
    }

    /// The processor in Go's words.
    pub(crate) fn go_arch(&self) -> &'static str {
        match self.machine.as_str() {
            "aarch64" => "arm64",
            "riscv64" => "riscv64",
            "s390x" => "s390x",
            "ppc64le" => "ppc64le",
            _ => "amd64",
        }
    }
}

fn available_sets(facts: &HostFacts) -> (CpuList, CpuList) {
    let read = |paths: &[std::path::PathBuf]| {
        paths
            .iter()
            .find_map(|path| CpuList::parse(fs_err::read_to_string(path).ok()?.trim()))
            .unwrap_or_default()
    };
    let mut cpus = Vec::new();
    let mut nodes = Vec::new();
    if let Some(set) = facts.cgroups.hierarchy(Controller::Cpuset) {
        cpus.push(set.mount.join("cpuset.effective_cpus"));
        cpus.push(set.mount.join("cpuset.cpus"));
        nodes.push(set.mount.join("cpuset.mems"));
    }
    if let Some(unified) = &facts.cgroups.unified {
        cpus.push(unified.mount.join("cpuset.cpus.effective"));
        nodes.push(unified.mount.join("cpuset.mems.effective"));
    }
    cpus.push(Path::new("/sys/devices/system/cpu/online").to_owned());
    nodes.push(Path::new("/sys/devices/system/node/online").to_owned());
    let (cpus, nodes) = (read(&cpus), read(&nodes));
    (cpus, if nodes.0.is_empty() { CpuList(BTreeSet::from([0])) } else { nodes })
}

/// `PRETTY_NAME` and `VERSION_ID`.
fn os_release() -> (String, String) {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| fs_err::read_to_string(path).ok())
        .unwrap_or_default();
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map_or_else(String::new, |v| v.trim_matches('"').to_owned())
    };
    let name = Some(value("PRETTY_NAME")).filter(|n| !n.is_empty()).unwrap_or_else(|| "Linux".into());
    (name, value("VERSION_ID"))
}

/// A set of processors or memory nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuList(BTreeSet<u32>);

impl CpuList {
    /// Reads `0-3,7`; none for what is not of this form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        const MOST: u32 = 8192;
        let mut set = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
            if last < first || last > MOST {
                return None;
            }
            set.extend(first..=last);
        }
        Some(Self(set))
    }

    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|n| *n == last + 1) {
                last = next;
            }
            match first == last {
                true => write!(f, "{separator}{first}")?,
                false => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A host with two processors and cgroup v1, whatever runs the tests.
    pub(crate) fn host() -> Host {
        let layout = skiff_runtime::cgroups::Layout { hierarchies: Vec::new(), unified: None };
        Host {
            facts: HostFacts {
                cgroups: layout,
                apparmor: false,
                selinux: false,
                time_namespaces: true,
                resctrl: None,
            },
            cgroup_v2: false,
            cpus: 2,
            cpu_list: CpuList::parse("0-1").unwrap(),
            memory_nodes: CpuList::parse("0").unwrap(),
            blkio_weight: false,
            kernel_memory_tcp: true,
            capabilities: CapSet::ALL,
            memory: 8 << 30,
            kernel: "6.12.0".into(),
            machine: "x86_64".into(),
            name: "testhost".into(),
            os: "Debian".into(),
            os_version: "12".into(),
        }
    }

    #[test]
    fn lists_read_and_print() {
        for (text, shown) in [("0", "0"), ("0-1,3", "0-1,3"), ("3,2,1", "1-3"), ("5-5", "5")] {
            assert_eq!(CpuList::parse(text).unwrap().to_string(), shown);
        }
        for bad in ["", "a", "1-", "2-1", "1,,2", "-1", "99999"] {
            assert_eq!(CpuList::parse(bad), None, "{bad}");
        }
        assert!(CpuList::parse("0-3").unwrap().contains(&CpuList::parse("1,3").unwrap()));
    }
}
