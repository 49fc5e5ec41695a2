//! Limits in the OCI's form.

use std::{os::unix::fs::MetadataExt, path::Path};

use skiff_runtime::defaults;
use skiff_runtime::spec::{
    LinuxBlockIo, LinuxBlockIoBuilder, LinuxCpu, LinuxCpuBuilder, LinuxDeviceCgroup, LinuxMemory,
    LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder, LinuxThrottleDevice,
    LinuxThrottleDeviceBuilder, LinuxWeightDevice, LinuxWeightDeviceBuilder,
};

use super::{devices, incomplete};
use crate::{
    Error, Result,
    host::Host,
    model::{BlkioDevice, BlkioWeight, ContainerRecord, Resources},
};

/// Length of a scheduler period behind `--cpus`, microseconds.
const PERIOD: u64 = 100_000;

/// Limits and devices of a new container.
pub(super) fn with_devices(record: &ContainerRecord, host: &Host) -> Result<LinuxResources> {
    let mut resources = limits(&record.host.resources, host)?;
    resources.set_devices(Some(device_rules(record)?));
    Ok(resources)
}

/// Limits alone: what `update` can change.
pub(crate) fn limits(r: &Resources, host: &Host) -> Result<LinuxResources> {
    let mut resources = LinuxResourcesBuilder::default()
        .memory(memory(r, host)?)
        .cpu(cpu(r)?)
        .block_io(block_io(r)?)
        .build()
        .map_err(incomplete)?;
    if let Some(limit) = r.pids_limit.filter(|l| *l != 0) {
        let pids = LinuxPidsBuilder::default().limit(limit).build().map_err(incomplete)?;
        resources.set_pids(Some(pids));
    }
    Ok(resources)
}

fn memory(r: &Resources, host: &Host) -> Result<LinuxMemory> {
    let mut memory = LinuxMemoryBuilder::default().build().map_err(incomplete)?;
    memory
        .set_limit(Some(r.memory).filter(|n| *n > 0))
        .set_reservation(Some(r.memory_reservation).filter(|n| *n > 0))
        .set_swap(Some(r.memory_swap).filter(|n| *n != 0))
        .set_kernel_tcp(Some(r.kernel_memory_tcp).filter(|n| *n > 0))
        .set_swappiness(r.memory_swappiness.and_then(|n| u64::try_from(n).ok()));
    if !host.cgroup_v2 {
        memory.set_disable_oom_killer(r.oom_kill_disable);
    }
    Ok(memory)
}

fn cpu(r: &Resources) -> Result<LinuxCpu> {
    let mut cpu = LinuxCpuBuilder::default().build().map_err(incomplete)?;
    let positive = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
    cpu.set_shares(positive(r.cpu_shares))
        .set_period(positive(r.cpu_period))
        .set_quota(Some(r.cpu_quota).filter(|n| *n != 0))
        .set_realtime_period(positive(r.cpu_realtime_period))
        .set_realtime_runtime(Some(r.cpu_realtime_runtime).filter(|n| *n != 0))
        .set_cpus(Some(r.cpuset_cpus.clone()).filter(|s| !s.is_empty()))
        .set_mems(Some(r.cpuset_mems.clone()).filter(|s| !s.is_empty()));
    if r.nano_cpus > 0 {
        cpu.set_period(Some(PERIOD)).set_quota(Some(r.nano_cpus * PERIOD as i64 / 1_000_000_000));
    }
    Ok(cpu)
}

fn block_io(r: &Resources) -> Result<LinuxBlockIo> {
    let mut io = LinuxBlockIoBuilder::default().build().map_err(incomplete)?;
    io.set_weight(Some(r.blkio_weight).filter(|w| *w != 0));
    let weights: Vec<_> = r.blkio_weight_device.iter().flatten().map(weight).collect::<Result<_>>()?;
    io.set_weight_device((!weights.is_empty()).then_some(weights));
    let rates = |devices: &Option<Vec<BlkioDevice>>| -> Result<Option<Vec<LinuxThrottleDevice>>> {
        let rates: Vec<_> = devices.iter().flatten().map(throttle).collect::<Result<_>>()?;
        Ok((!rates.is_empty()).then_some(rates))
    };
    io.set_throttle_read_bps_device(rates(&r.blkio_device_read_bps)?)
        .set_throttle_write_bps_device(rates(&r.blkio_device_write_bps)?)
        .set_throttle_read_iops_device(rates(&r.blkio_device_read_iops)?)
        .set_throttle_write_iops_device(rates(&r.blkio_device_write_iops)?);
    Ok(io)
}

fn number(path: &str) -> Result<(i64, i64)> {
    let meta = Path::new(path).metadata().map_err(|e| {
        let why = e.raw_os_error().map_or_else(|| e.to_string(), skiff_runtime::apply::errno_text);
        Error::Internal(format!("stat {path}: {why}"))
    })?;
    Ok((i64::from(rustix::fs::major(meta.rdev())), i64::from(rustix::fs::minor(meta.rdev()))))
}

fn weight(device: &BlkioWeight) -> Result<LinuxWeightDevice> {
    let (major, minor) = number(&device.path)?;
    LinuxWeightDeviceBuilder::default()
        .major(major)
        .minor(minor)
        .weight(device.weight)
        .build()
        .map_err(incomplete)
}

fn throttle(device: &BlkioDevice) -> Result<LinuxThrottleDevice> {
    let (major, minor) = number(&device.path)?;
    LinuxThrottleDeviceBuilder::default()
        .major(major)
        .minor(minor)
        .rate(device.rate)
        .build()
        .map_err(incomplete)
}

/// Docker's default devices, then those asked for.
fn device_rules(record: &ContainerRecord) -> Result<Vec<LinuxDeviceCgroup>> {
    let mut out = defaults::device_rules(record.host.privileged);
    if !record.host.privileged {
        out.extend(devices::rules(&record.host.resources)?);
    }
    Ok(out)
}
