//! Limits of the host that many containers reach.

use rustix::process::{Resource, getrlimit};

use super::{Finding, line};

/// A number in /proc/sys, the least that serves many containers, and what runs out below it.
const LEAST: [(&str, u64, &str); 6] = [
    ("kernel/pid_max", 65_536, "processes"),
    ("kernel/threads-max", 65_536, "threads"),
    ("kernel/keys/root_maxkeys", 10_000, "session keyrings (one for each container)"),
    ("fs/inotify/max_user_instances", 512, "inotify watchers, which many programs need at their start"),
    ("fs/inotify/max_user_watches", 65_536, "watched files"),
    ("vm/max_map_count", 65_530, "memory mappings, which databases need"),
];

pub(super) fn findings() -> Vec<Finding> {
    let mut out = Vec::new();
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if files < 65_536 {
        out.push(Finding::note(
            format!("at most {files} open files for a process: a daemon with many clients runs out"),
            "raise LimitNOFILE of its unit, or ulimit -Hn",
        ));
    }
    out.extend(LEAST.iter().filter_map(|(name, least, what)| {
        sysctl(name, line(&format!("/proc/sys/{name}")).parse().ok()?, *least, what)
    }));
    if line("/proc/sys/vm/overcommit_memory") == "2" {
        out.push(Finding::note(
            "memory is never overcommitted (vm.overcommit_memory=2): programs may fail to start although memory is free",
            "sysctl -w vm.overcommit_memory=0",
        ));
    }
    if out.is_empty() {
        out.push(Finding::good("processes, files, keys and watchers: enough for many containers"));
    }
    out
}

fn sysctl(name: &str, value: u64, least: u64, what: &str) -> Option<Finding> {
    let dotted = name.replace('/', ".");
    (value < least).then(|| {
        Finding::note(
            format!("{dotted} is {value}: many containers run out of {what}"),
            format!("sysctl -w {dotted}={least}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_limits_are_named_with_their_remedy() {
        let low = sysctl("kernel/pid_max", 32_768, 65_536, "processes").unwrap();
        assert_eq!(low.remedy, "sysctl -w kernel.pid_max=65536");
        assert_eq!(sysctl("kernel/pid_max", 65_536, 65_536, "processes"), None);
    }
}
