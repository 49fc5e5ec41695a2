//! The v1 files. See the kernel's admin-guide/cgroup-v1.

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxHugepageLimit, LinuxMemory, LinuxNetwork, LinuxResources,
    LinuxThrottleDevice,
};

use super::super::{CgroupError, Controller, devices};
use super::{Current, ResourcePlan, Step, Tolerance, check_list, check_swap, memory_amount};

pub(super) fn plan(
    resources: &LinuxResources,
    devices: Option<&[LinuxDeviceCgroup]>,
    current: Current,
) -> Result<ResourcePlan, CgroupError> {
    if resources.unified().as_ref().is_some_and(|unified| !unified.is_empty()) {
        return Err(CgroupError::invalid("unified", "cannot use unified on cgroup v1"));
    }
    let mut steps = Vec::new();
    if let Some(rules) = devices {
        steps.extend(devices::v1_steps(rules)?);
    }
    if let Some(section) = resources.memory() {
        memory(section, current, &mut steps)?;
    }
    if let Some(section) = resources.cpu() {
        cpu(section, &mut steps)?;
    }
    if let Some(section) = resources.pids() {
        steps.extend(super::v2::pids(section.limit()));
    }
    if let Some(section) = resources.block_io() {
        block_io(section, &mut steps);
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        hugepages(limit, &mut steps);
    }
    if let Some(section) = resources.network() {
        network(section, &mut steps);
    }
    if let Some(limits) = resources.rdma() {
        steps.extend(super::v2::rdma(limits));
    }
    Ok(ResourcePlan { steps, device_program: None })
}

/// The kernel insists that memory ≤ memory+swap at every moment, so the order of the two writes depends on where they go.
fn memory(section: &LinuxMemory, current: Current, steps: &mut Vec<Step>) -> Result<(), CgroupError> {
    let limit = memory_amount("memory.limit", section.limit())?;
    let mut swap = memory_amount("memory.swap", section.swap())?;
    check_swap(limit, swap)?;
    if limit == Some(-1) && swap.is_none() && current.memory_limit.is_some() {
        swap = Some(-1); // no limit on memory while memory+swap keeps one would be refused
    }
    let write = |file, value: i64| Step::new(Controller::Memory, file, value.to_string());
    let limit_step = limit.map(|value| write("memory.limit_in_bytes", value));
    let swap_step = swap.map(|value| write("memory.memsw.limit_in_bytes", value));
    let grows = match (current.memory_limit, swap) {
        (_, Some(-1)) => true,
        (Some(now), Some(swap)) => now < swap as u64,
        _ => false,
    };
    if grows {
        steps.extend(swap_step.into_iter().chain(limit_step));
    } else {
        steps.extend(limit_step.into_iter().chain(swap_step));
    }
    let reservation = memory_amount("memory.reservation", section.reservation())?;
    steps.extend(reservation.map(|value| write("memory.soft_limit_in_bytes", value)));
    // `kernel` is ignored as the specification says; the TCP limit is still there.
    let tcp = memory_amount("memory.kernelTCP", section.kernel_tcp())?;
    steps.extend(tcp.map(|value| write("memory.kmem.tcp.limit_in_bytes", value)));
    if section.disable_oom_killer() == Some(true) {
        steps.push(Step::new(Controller::Memory, "memory.oom_control", "1"));
    }
    match section.swappiness() {
        None | Some(u64::MAX) => {}
        Some(value @ 0..=100) => {
            steps.push(Step::new(Controller::Memory, "memory.swappiness", value.to_string()))
        }
        Some(value) => {
            let reason = format!("{value} is not between 0 and 100");
            return Err(CgroupError::invalid("memory.swappiness", reason));
        }
    }
    Ok(())
}

fn cpu(section: &LinuxCpu, steps: &mut Vec<Step>) -> Result<(), CgroupError> {
    let write = |file, value: String| Step::new(Controller::Cpu, file, value);
    if let Some(idle) = section.idle() {
        steps.push(write("cpu.idle", idle.to_string()));
    }
    match section.shares() {
        None | Some(0) => {}
        Some(shares @ 2..=262_144) => steps.push(write("cpu.shares", shares.to_string())),
        Some(shares) => {
            let bound = if shares < 2 {
                "minimum allowed cpu-shares is 2"
            } else {
                "maximum allowed cpu-shares is 262144"
            };
            return Err(CgroupError::invalid("cpu.shares", format!("the {bound}")));
        }
    }
    // The processes enter later, and a process with a real-time policy may only enter a group with a real-time budget.
    let set = |value: Option<u64>| value.filter(|value| *value != 0);
    if let Some(period) = set(section.realtime_period()) {
        steps.push(write("cpu.rt_period_us", period.to_string()).tolerating(Tolerance::Postpone));
    }
    if let Some(runtime) = section.realtime_runtime().filter(|value| *value != 0) {
        steps.push(write("cpu.rt_runtime_us", runtime.to_string()));
    }
    // A period may be refused only because the quota in force does not fit it, and a burst likewise.
    if let Some(period) = set(section.period()) {
        steps.push(write("cpu.cfs_period_us", period.to_string()).tolerating(Tolerance::Postpone));
    }
    if let Some(burst) = section.burst() {
        steps.push(write("cpu.cfs_burst_us", burst.to_string()).tolerating(Tolerance::Postpone));
    }
    if let Some(quota) = section.quota().filter(|value| *value != 0) {
        steps.push(write("cpu.cfs_quota_us", quota.to_string()));
    }
    for (setting, file, list) in
        [("cpu.cpus", "cpuset.cpus", section.cpus()), ("cpu.mems", "cpuset.mems", section.mems())]
    {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            check_list(setting, list)?;
            steps.push(Step::new(Controller::Cpuset, file, list.to_owned()));
        }
    }
    Ok(())
}

fn block_io(section: &LinuxBlockIo, steps: &mut Vec<Step>) {
    let write = |file, value: String| Step::new(Controller::Io, file, value);
    let set = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
    if let Some(weight) = set(section.weight()) {
        steps.push(write("blkio.weight", weight.to_string()).or("blkio.bfq.weight", weight.to_string()));
    }
    if let Some(weight) = set(section.leaf_weight()) {
        steps.push(write("blkio.leaf_weight", weight.to_string()));
    }
    for device in section.weight_device().iter().flatten() {
        let value = |weight: u16| format!("{}:{} {weight}", device.major(), device.minor());
        if let Some(weight) = set(device.weight()) {
            let step = write("blkio.weight_device", value(weight));
            steps.push(step.or("blkio.bfq.weight_device", value(weight)));
        }
        if let Some(weight) = set(device.leaf_weight()) {
            steps.push(write("blkio.leaf_weight_device", value(weight)));
        }
    }
    let mut throttle = |file, limits: &Option<Vec<LinuxThrottleDevice>>| {
        for limit in limits.iter().flatten() {
            steps.push(write(file, format!("{}:{} {}", limit.major(), limit.minor(), limit.rate())));
        }
    };
    throttle("blkio.throttle.read_bps_device", section.throttle_read_bps_device());
    throttle("blkio.throttle.write_bps_device", section.throttle_write_bps_device());
    throttle("blkio.throttle.read_iops_device", section.throttle_read_iops_device());
    throttle("blkio.throttle.write_iops_device", section.throttle_write_iops_device());
}

fn hugepages(limit: &LinuxHugepageLimit, steps: &mut Vec<Step>) {
    let (size, value) = (limit.page_size(), limit.limit().to_string());
    steps.push(Step::new(Controller::Hugetlb, format!("hugetlb.{size}.limit_in_bytes"), value.clone()));
    // Reservations are counted since Linux 5.7; without them a fault beyond the limit is a SIGBUS.
    let reservations = Step::new(Controller::Hugetlb, format!("hugetlb.{size}.rsvd.limit_in_bytes"), value);
    steps.push(reservations.tolerating(Tolerance::Missing));
}

fn network(section: &LinuxNetwork, steps: &mut Vec<Step>) {
    if let Some(class) = section.class_id().filter(|class| *class != 0) {
        steps.push(Step::new(Controller::NetCls, "net_cls.classid", class.to_string()));
    }
    for priority in section.priorities().iter().flatten() {
        let value = format!("{} {}", priority.name(), priority.priority());
        steps.push(Step::new(Controller::NetPrio, "net_prio.ifpriomap", value));
    }
}
