//! The v2 files. See the kernel's admin-guide/cgroup-v2.

use std::collections::{BTreeMap, HashMap};

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxHugepageLimit, LinuxMemory, LinuxRdma, LinuxResources,
    LinuxThrottleDevice,
};

use super::super::{CgroupError, Controller, devices, layout};
use super::{ResourcePlan, Step, Tolerance, check_list, check_swap, memory_amount};

pub(super) fn plan(
    resources: &LinuxResources,
    devices: Option<&[LinuxDeviceCgroup]>,
) -> Result<ResourcePlan, CgroupError> {
    let mut steps = Vec::new();
    if let Some(section) = resources.memory() {
        memory(section, &mut steps)?;
    }
    if let Some(section) = resources.cpu() {
        cpu(section, &mut steps)?;
    }
    if let Some(section) = resources.pids() {
        steps.extend(pids(section.limit()));
    }
    if let Some(section) = resources.block_io() {
        block_io(section, &mut steps)?;
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        hugepages(limit, &mut steps);
    }
    if let Some(section) = resources.network() {
        let asked = section.class_id().is_some_and(|class| class != 0)
            || section.priorities().as_ref().is_some_and(|priorities| !priorities.is_empty());
        if asked {
            return Err(CgroupError::invalid(
                "network",
                "cgroup v2 has neither network classes nor priorities",
            ));
        }
    }
    if let Some(limits) = resources.rdma() {
        steps.extend(rdma(limits));
    }
    if let Some(values) = resources.unified() {
        unified(values, &mut steps)?;
    }
    let device_program = devices.map(devices::program).transpose()?;
    Ok(ResourcePlan { steps, device_program })
}

/// A limit whose absence is written `max`.
fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// v2 counts swap by itself, where the specification gives memory and swap together.
fn memory(section: &LinuxMemory, steps: &mut Vec<Step>) -> Result<(), CgroupError> {
    let limit = memory_amount("memory.limit", section.limit())?;
    let total = memory_amount("memory.swap", section.swap())?;
    check_swap(limit, total)?;
    let swap = match (limit, total) {
        (Some(-1), None) => Some(-1),
        (_, None) => None,
        (_, Some(-1)) => Some(-1),
        (Some(limit), Some(total)) if limit > 0 => Some(total - limit),
        (_, Some(_)) => {
            return Err(CgroupError::invalid("memory.swap", "unable to set swap limit without memory limit"));
        }
    };
    if let Some(swap) = swap {
        // Without swap accounting there is no file, and neither "none" nor "any amount" needs one.
        let tolerance = if swap <= 0 { Tolerance::Missing } else { Tolerance::None };
        steps.push(Step::new(Controller::Memory, "memory.swap.max", or_max(swap)).tolerating(tolerance));
    }
    if let Some(limit) = limit {
        let check = section.check_before_update() == Some(true) && limit > 0;
        let tolerance = if check { Tolerance::UsageBelow(limit as u64) } else { Tolerance::None };
        steps.push(Step::new(Controller::Memory, "memory.max", or_max(limit)).tolerating(tolerance));
    }
    if let Some(reservation) = memory_amount("memory.reservation", section.reservation())? {
        steps.push(Step::new(Controller::Memory, "memory.low", or_max(reservation)));
    }
    // swappiness, disableOOMKiller, useHierarchy and kernel memory have no counterpart in v2 and ask for nothing there.
    Ok(())
}

fn cpu(section: &LinuxCpu, steps: &mut Vec<Step>) -> Result<(), CgroupError> {
    if section.realtime_runtime().is_some_and(|runtime| runtime != 0)
        || section.realtime_period().is_some_and(|period| period != 0)
    {
        return Err(CgroupError::invalid("cpu.realtimeRuntime", "cgroup v2 has no real-time budget"));
    }
    let write = |file, value: String| Step::new(Controller::Cpu, file, value);
    if let Some(idle) = section.idle() {
        steps.push(write("cpu.idle", idle.to_string()));
    }
    // An idle group has no weight of its own: the kernel refuses to write one.
    let shares = section.shares().filter(|shares| *shares != 0 && section.idle() != Some(1));
    steps.extend(shares.map(|shares| write("cpu.weight", weight_of_shares(shares).to_string())));
    if let Some(burst) = section.burst() {
        steps.push(write("cpu.max.burst", burst.to_string()).tolerating(Tolerance::Postpone));
    }
    let quota = section.quota().filter(|quota| *quota != 0);
    let period = section.period().filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        let quota =
            quota.filter(|quota| *quota > 0).map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        steps.push(write("cpu.max", format!("{quota} {}", period.unwrap_or(100_000))));
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

/// v1 shares (2 to 262144, usually 1024) as a v2 weight (1 to 10000, usually 100): the quadratic in the logarithm that carries minimum, default and
/// maximum of the one scale to those of the other. It is what runc 1.3.2 and crun 1.23 compute.
fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        3..262_144 => {
            let log = (shares as f64).log2();
            10f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil() as u64
        }
        _ => 10_000,
    }
}

/// blkio weights go from 10 to 1000, io weights from 1 to 10000.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).saturating_sub(10)) * 9_999 / 990
}

/// The same file in both versions.
pub(super) fn pids(limit: i64) -> Option<Step> {
    (limit != 0).then(|| Step::new(Controller::Pids, "pids.max", or_max(limit)))
}

/// The same file in both versions.
pub(super) fn rdma(limits: &HashMap<String, LinuxRdma>) -> Vec<Step> {
    let sorted: BTreeMap<_, _> = limits.iter().collect();
    let amount = |limit: Option<u32>| limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
    let line = |(device, limit): (&String, &LinuxRdma)| {
        format!(
            "{device} hca_handle={} hca_object={}",
            amount(limit.hca_handles()),
            amount(limit.hca_objects())
        )
    };
    sorted.into_iter().map(|limit| Step::new(Controller::Rdma, "rdma.max", line(limit))).collect()
}

fn block_io(section: &LinuxBlockIo, steps: &mut Vec<Step>) -> Result<(), CgroupError> {
    let write = |file, value: String| Step::new(Controller::Io, file, value);
    let set = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
    if let Some(weight) = set(section.weight()) {
        steps.push(write("io.bfq.weight", weight.to_string()).or("io.weight", io_weight(weight).to_string()));
    }
    let leaf = set(section.leaf_weight()).is_some()
        || section.weight_device().iter().flatten().any(|device| set(device.leaf_weight()).is_some());
    if leaf {
        return Err(CgroupError::invalid("blockIO.leafWeight", "cgroup v2 has no leaf weights"));
    }
    for device in section.weight_device().iter().flatten() {
        if let Some(weight) = set(device.weight()) {
            let line = |weight: u64| format!("{}:{} {weight}", device.major(), device.minor());
            let step = write("io.bfq.weight", line(weight.into()));
            steps.push(step.or("io.weight", line(io_weight(weight))));
        }
    }
    let mut throttle = |key, limits: &Option<Vec<LinuxThrottleDevice>>| {
        for limit in limits.iter().flatten() {
            // 0 takes the limit away, which v2 calls max
            let rate = if limit.rate() == 0 { "max".to_owned() } else { limit.rate().to_string() };
            steps.push(write("io.max", format!("{}:{} {key}={rate}", limit.major(), limit.minor())));
        }
    };
    throttle("rbps", section.throttle_read_bps_device());
    throttle("wbps", section.throttle_write_bps_device());
    throttle("riops", section.throttle_read_iops_device());
    throttle("wiops", section.throttle_write_iops_device());
    Ok(())
}

fn hugepages(limit: &LinuxHugepageLimit, steps: &mut Vec<Step>) {
    let (size, value) = (limit.page_size(), or_max(limit.limit()));
    steps.push(Step::new(Controller::Hugetlb, format!("hugetlb.{size}.max"), value.clone()));
    let reservations = Step::new(Controller::Hugetlb, format!("hugetlb.{size}.rsvd.max"), value);
    steps.push(reservations.tolerating(Tolerance::Missing));
}

/// File names and values as they are. A value of several lines is several writes, since the kernel takes one key per write.
fn unified(values: &HashMap<String, String>, steps: &mut Vec<Step>) -> Result<(), CgroupError> {
    let sorted: BTreeMap<_, _> = values.iter().collect();
    for (file, value) in sorted {
        let prefix = file.split_once('.').map(|(prefix, _)| prefix);
        if file.contains('/') || file.contains('\0') {
            return Err(CgroupError::invalid("unified", format!("{file:?} is not a file name")));
        }
        let controller = prefix.map(layout::parse_controllers).and_then(|found| found.first().copied());
        let controller = match (prefix, controller) {
            (_, Some(controller)) => controller,
            (Some("cgroup"), None) => Controller::Freezer, // built in, as freezing is
            _ => {
                return Err(CgroupError::invalid(
                    "unified",
                    format!("{file:?} belongs to no known controller"),
                ));
            }
        };
        for line in value.lines() {
            steps.push(Step::new(controller, file.clone(), line.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_as_in_runc() {
        let pairs =
            [(0, 1), (2, 1), (102, 17), (1024, 100), (2000, 170), (262_144, 10_000), (300_000, 10_000)];
        for (shares, weight) in pairs {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }

    #[test]
    fn io_weights_cover_the_whole_scale() {
        assert_eq!((io_weight(10), io_weight(500), io_weight(1000)), (1, 4950, 10_000));
    }
}
