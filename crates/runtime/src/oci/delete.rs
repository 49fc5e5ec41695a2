//! `delete`.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

use super::args::Global;
use super::record::{Directory, Record, Status};
use super::{OciError, create, log};
use crate::apply;
use crate::cgroups::{Cgroup, CgroupPath, Layout};

/// How long the end of a killed process is waited for.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Deletes a container that has stopped or was never started; any other by force.
pub(super) fn delete(global: &Global, id: &str, force: bool) -> Result<(), OciError> {
    let directory = Directory::of(global, id)?;
    let record = match directory.read() {
        Err(OciError::NotFound) if directory.exists() => {
            // What a creation that was killed has left.
            return directory.remove();
        }
        Err(OciError::NotFound) if force => return Ok(()),
        Err(error @ OciError::Json { .. }) if force => {
            log::warning(global, &format!("deleting a container of which nothing is known: {error}"));
            return clear(&directory, id);
        }
        other => other?,
    };
    match record.status(&directory) {
        Status::Stopped => {}
        Status::Created => kill(&record)?,
        Status::Running | Status::Paused | Status::Creating if force => kill(&record)?,
        status => {
            let reason = format!("cannot delete container {id} that is not stopped: {status}");
            return Err(OciError::State(reason));
        }
    }
    destroy(global, &directory, &record)
}

/// Removes a container whose record cannot be read: what has its id, in the places that containers have by default.
fn clear(directory: &Directory, id: &str) -> Result<(), OciError> {
    remove_group(&Cgroup::open(&Layout::probe()?, &CgroupPath::parse(&format!("/skiff/{id}"))?))?;
    directory.remove()
}

fn kill(record: &Record) -> Result<(), OciError> {
    let Some((_, pidfd)) = record.open_process() else { return Ok(()) };
    // It may have ended meanwhile.
    let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
    let cgroup = record.cgroup();
    if cgroup.is_frozen().unwrap_or(false) {
        cgroup.thaw()?;
    }
    await_end(&pidfd)
}

pub(super) fn await_end(pidfd: &OwnedFd) -> Result<(), OciError> {
    let mut waiting = [PollFd::new(pidfd, PollFlags::IN)];
    let ended = rustix::io::retry_on_intr(|| rustix::event::poll(&mut waiting, Some(&PATIENCE)))
        .map_err(OciError::kernel("waiting for the container's end"))?;
    if ended > 0 { Ok(()) } else { Err(OciError::State("the container does not end".to_owned())) }
}

/// Removes a control group with everything in it.
fn remove_group(cgroup: &Cgroup) -> Result<(), OciError> {
    if cgroup.exists() {
        cgroup.kill_all()?;
        cgroup.remove()?;
    }
    Ok(())
}

/// Removes what is left of a container whose first process has ended.
pub(super) fn destroy(global: &Global, directory: &Directory, record: &Record) -> Result<(), OciError> {
    if record.creating {
        // Without a cgroup there is no other way to whoever a killed creation has left waiting.
        apply::dismiss_from_gate(directory.path());
    }
    let cgroup = record.cgroup();
    // Without a pid namespace of its own, processes may have survived the first one.
    remove_group(&cgroup)?;
    if let Some(rdt) = &record.rdt {
        rdt.remove()?;
    }
    directory.remove()?;
    if record.creating {
        // From now on its creation cannot be recorded. It may have been, a moment ago.
        remove_group(&cgroup)?;
    }
    log::debug(global, || format!("{} is deleted", record.id));
    create::after_deletion(global, record);
    Ok(())
}
