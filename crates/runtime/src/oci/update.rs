//! `pause`, `resume` and `update`.

use std::io::Read as _;
use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

use super::OciError;
use super::args::{Global, Update};
use super::record::{self, Status};
use crate::plan;

/// Suspends all processes of a container.
pub(super) fn pause(global: &Global, id: &str) -> Result<(), OciError> {
    let (directory, record) = record::find(global, id)?;
    match record.status(&directory) {
        Status::Created | Status::Running => Ok(record.cgroup().freeze()?),
        _ => Err(OciError::State("container not running or created".to_owned())),
    }
}

/// Resumes all processes of a container.
pub(super) fn resume(global: &Global, id: &str) -> Result<(), OciError> {
    let (directory, record) = record::find(global, id)?;
    match record.status(&directory) {
        Status::Paused => Ok(record.cgroup().thaw()?),
        _ => Err(OciError::State("container not paused".to_owned())),
    }
}

/// Changes the limits of a container.
pub(super) fn update(global: &Global, args: &Update) -> Result<(), OciError> {
    let (_, record) = record::find(global, &args.id)?;
    if args.l3_cache_schema.is_some() || args.mem_bw_schema.is_some() {
        let rdt = record.rdt.as_ref().ok_or_else(|| {
            OciError::Argument("the container has no class of service: its intelRdt is not set".to_owned())
        })?;
        rdt.with_schemata(args.l3_cache_schema.as_deref(), args.mem_bw_schema.as_deref())?.write()?;
    }
    let mut resources = match &args.resources {
        Some(path) => read(path)?,
        None => from_flags(args),
    };
    // The rules about devices belong to the container's creation.
    resources.set_devices(None);
    let cgroup = record.cgroup();
    let plan = plan::plan_resources(&resources, &record.layout, cgroup.current()?)?;
    Ok(cgroup.apply(&plan)?)
}

fn read(path: &Path) -> Result<LinuxResources, OciError> {
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut text)?;
    } else {
        text = fs_err::read(path)?;
    }
    serde_json::from_slice(&text).map_err(|source| OciError::Json { path: path.to_owned(), source })
}

fn from_flags(args: &Update) -> LinuxResources {
    let mut memory = LinuxMemory::default();
    memory.set_limit(args.memory).set_reservation(args.memory_reservation).set_swap(args.memory_swap);
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(args.cpu_share).set_quota(args.cpu_quota).set_period(args.cpu_period);
    cpu.set_burst(args.cpu_burst).set_idle(args.cpu_idle);
    cpu.set_realtime_runtime(args.cpu_rt_runtime).set_realtime_period(args.cpu_rt_period);
    cpu.set_cpus(args.cpuset_cpus.clone()).set_mems(args.cpuset_mems.clone());
    let mut resources = LinuxResources::default();
    resources.set_memory(Some(memory)).set_cpu(Some(cpu));
    if args.blkio_weight.is_some() {
        let mut block_io = LinuxBlockIo::default();
        block_io.set_weight(args.blkio_weight);
        resources.set_block_io(Some(block_io));
    }
    if let Some(limit) = args.pids_limit {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    resources
}
