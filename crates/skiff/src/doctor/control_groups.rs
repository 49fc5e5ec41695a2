//! Control groups: which there are, and what they can limit.

use skiff_runtime::cgroups::{Controller, Layout};

use super::Finding;

/// Controllers, what is lost without them, and what brings them.
const CONTROLLERS: [(Controller, &str, &str); 5] = [
    (Controller::Memory, "memory limits (-m) and figures", "boot with cgroup_enable=memory"),
    (Controller::Cpu, "processor limits (--cpus, --cpu-shares)", "use a kernel with CONFIG_CFS_BANDWIDTH"),
    (Controller::Cpuset, "binding to processors (--cpuset-cpus)", "use a kernel with CONFIG_CPUSETS"),
    (Controller::Pids, "limits of processes (--pids-limit)", "use a kernel with CONFIG_CGROUP_PIDS"),
    (
        Controller::Io,
        "limits of block devices (--device-read-bps and others)",
        "use a kernel with CONFIG_BLK_CGROUP",
    ),
];

pub(super) fn findings() -> Vec<Finding> {
    let layout = match Layout::probe() {
        Ok(layout) => layout,
        Err(e) => {
            return vec![Finding::bad(
                format!("no control groups: {e}"),
                "mount -t cgroup2 none /sys/fs/cgroup, or boot with systemd",
            )];
        }
    };
    let mut out = vec![match layout.is_unified() {
        true => Finding::good("cgroup v2"),
        false => Finding::note(
            "cgroup v1: limits work, with less to see and no limits by users",
            "boot with systemd.unified_cgroup_hierarchy=1",
        ),
    }];
    for (controller, without, remedy) in CONTROLLERS {
        if !layout.has(controller) {
            let name = controller.v1_name();
            out.push(Finding::note(format!("no {name} controller: {without} do not work"), remedy));
        }
    }
    let swap = match layout.hierarchy(Controller::Memory) {
        Some(memory) => memory.mount.join("memory.memsw.limit_in_bytes").exists(),
        None => layout.is_unified(),
    };
    if layout.has(Controller::Memory) && !swap {
        out.push(Finding::note(
            "swap is not counted: --memory-swap does not work",
            "boot with swapaccount=1",
        ));
    }
    if out.len() == 1 {
        out.push(Finding::good("controllers: memory, cpu, cpuset, pids, io"));
    }
    out
}
