//! Limits.

use super::invalid;
use crate::{
    Error, Result,
    host::{CpuList, Host},
    model::Resources,
};

/// Below this nothing runs.
const LEAST_MEMORY: i64 = 6 << 20;

/// Checks limits and fills in the swap limit that goes with a memory limit. What this kernel cannot do is taken out,
/// with a warning.
///
/// # Errors
/// The first limit that is wrong.
pub(crate) fn check(r: &mut Resources, host: &Host, warnings: &mut Vec<String>) -> Result<()> {
    memory(r, host, warnings)?;
    cpu(r, host)?;
    cpusets(r, host)?;
    if r.blkio_weight != 0 && !host.blkio_weight {
        warnings.push(
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
                .into(),
        );
        r.blkio_weight = 0;
    } else if r.blkio_weight != 0 && !(10..=1000).contains(&r.blkio_weight) {
        return invalid("Range of blkio weight is from 10 to 1000");
    }
    if r.blkio_weight_device.as_ref().is_some_and(|list| !list.is_empty()) && !host.blkio_weight {
        warnings.push(
            "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded."
                .into(),
        );
        r.blkio_weight_device = None;
    }
    if r.kernel_memory_tcp > 0 && !host.kernel_memory_tcp {
        warnings.push(
            "Your kernel does not support kernel memory TCP limit capabilities or the cgroup is not mounted. Limitation discarded."
                .into(),
        );
        r.kernel_memory_tcp = 0;
    }
    if r.memory > 0 && r.memory_swap == 0 {
        r.memory_swap = r.memory.saturating_mul(2);
    }
    if r.oom_kill_disable.is_none() {
        r.oom_kill_disable = Some(false);
    }
    Ok(())
}

fn memory(r: &mut Resources, host: &Host, warnings: &mut Vec<String>) -> Result<()> {
    if r.memory != 0 && r.memory < LEAST_MEMORY {
        return invalid("Minimum memory limit allowed is 6MB");
    }
    if r.memory > 0 && r.memory_swap > 0 && r.memory_swap < r.memory {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if r.memory == 0 && r.memory_swap > 0 {
        return invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    match r.memory_swappiness {
        Some(-1) => r.memory_swappiness = None,
        Some(s) if !(0..=100).contains(&s) => {
            return invalid(format!("Invalid value: {s}, valid memory swappiness range is 0-100"));
        }
        _ => {}
    }
    if r.memory_reservation != 0 && r.memory_reservation < LEAST_MEMORY {
        return invalid("Minimum memory reservation allowed is 6MB");
    }
    if r.memory > 0 && r.memory_reservation > 0 && r.memory < r.memory_reservation {
        return invalid("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if r.oom_kill_disable == Some(true) {
        if host.cgroup_v2 {
            warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".into());
            r.oom_kill_disable = None;
        } else if r.memory == 0 {
            warnings.push("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".into());
        }
    }
    Ok(())
}

fn cpu(r: &Resources, host: &Host) -> Result<()> {
    if r.nano_cpus != 0 && r.cpu_period > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if r.nano_cpus != 0 && r.cpu_quota > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    if r.nano_cpus < 0 || r.nano_cpus > host.cpus as i64 * 1_000_000_000 {
        return invalid(format!(
            "range of CPUs is from 0.01 to {0}.00, as there are only {0} CPUs available",
            host.cpus
        ));
    }
    if r.cpu_shares < 0 {
        return invalid(format!("invalid CPU shares ({}): value must be a positive integer", r.cpu_shares));
    }
    if r.cpu_realtime_period != 0 && r.cpu_realtime_runtime > r.cpu_realtime_period {
        return invalid("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    if r.cpu_period != 0 && !(1000..=1_000_000).contains(&r.cpu_period) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if r.cpu_quota > 0 && r.cpu_quota < 1000 {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    Ok(())
}

fn cpusets(r: &Resources, host: &Host) -> Result<()> {
    for (text, available, what, asked) in [
        (&r.cpuset_cpus, &host.cpu_list, "cpus", "CPUs"),
        (&r.cpuset_mems, &host.memory_nodes, "mems", "memory nodes"),
    ] {
        if text.is_empty() {
            continue;
        }
        let Some(list) = CpuList::parse(text) else {
            return invalid(format!("Invalid value {text} for cpuset {what}: invalid format: {text}"));
        };
        if !available.contains(&list) {
            return invalid(format!(
                "Requested {asked} are not available - requested {text}, available: {available}"
            ));
        }
    }
    Ok(())
}

/// Puts an update over the limits there are. Zero, empty and none leave a limit alone.
///
/// # Errors
/// Limits that do not go with each other, as conflicts.
pub(crate) fn update(now: &Resources, update: &Resources) -> Result<Resources> {
    let mut r = now.clone();
    let conflict = |text: &str| Err(Error::Conflict(format!("Conflicting options: {text}")));
    if update.cpu_period != 0 && now.nano_cpus != 0 {
        return conflict("CPU Period cannot be updated as NanoCPUs has already been set");
    }
    if update.cpu_quota != 0 && now.nano_cpus != 0 {
        return conflict("CPU Quota cannot be updated as NanoCPUs has already been set");
    }
    if update.nano_cpus != 0 && now.cpu_period != 0 {
        return conflict("Nano CPUs cannot be updated as CPU Period has already been set");
    }
    if update.nano_cpus != 0 && now.cpu_quota != 0 {
        return conflict("Nano CPUs cannot be updated as CPU Quota has already been set");
    }
    if update.memory != 0
        && update.memory_swap == 0
        && now.memory_swap >= 0
        && update.memory > now.memory_swap
    {
        return Err(Error::Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
                .into(),
        ));
    }
    let set = |to: &mut i64, from: i64| {
        if from != 0 {
            *to = from;
        }
    };
    set(&mut r.cpu_shares, update.cpu_shares);
    set(&mut r.nano_cpus, update.nano_cpus);
    set(&mut r.cpu_period, update.cpu_period);
    set(&mut r.cpu_quota, update.cpu_quota);
    set(&mut r.cpu_realtime_period, update.cpu_realtime_period);
    set(&mut r.cpu_realtime_runtime, update.cpu_realtime_runtime);
    set(&mut r.memory, update.memory);
    set(&mut r.memory_swap, update.memory_swap);
    set(&mut r.memory_reservation, update.memory_reservation);
    if update.blkio_weight != 0 {
        r.blkio_weight = update.blkio_weight;
    }
    if !update.cpuset_cpus.is_empty() {
        r.cpuset_cpus.clone_from(&update.cpuset_cpus);
    }
    if !update.cpuset_mems.is_empty() {
        r.cpuset_mems.clone_from(&update.cpuset_mems);
    }
    if update.pids_limit.is_some() {
        r.pids_limit = update.pids_limit;
    }
    Ok(r)
}
