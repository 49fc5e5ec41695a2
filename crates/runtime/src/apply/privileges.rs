//! Giving privileges up: capabilities, user and groups, no_new_privs, the system call filter.

use std::os::fd::OwnedFd;

use rustix::fs::Gid;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};
use skiff_sys::identity;

use super::{Stage, StageError};
use crate::capabilities::{self, CapSet};
use crate::plan::{Capabilities, Process, SeccompFilter};

/// Becomes the process's user with exactly its capabilities. Without any named there are none, as in runc.
pub(super) fn become_process(process: &Process, may_set_groups: bool) -> Result<(), StageError> {
    let wanted = process.capabilities.unwrap_or_default();
    let failed = |errno, what: &str| StageError::new(Stage::Capabilities, errno, what);
    let current = rustix::thread::capabilities(None).map_err(|errno| failed(errno, "capget"))?;
    check_available(&wanted, &current)?;
    drop_bounding(wanted.bounding)?;
    if process.uid != 0 {
        rustix::thread::set_keep_capabilities(true).map_err(|errno| failed(errno, "keeping"))?;
    }
    become_user(process, may_set_groups)?;
    let set = CapabilitySet::from_bits_retain;
    let sets = CapabilitySets {
        effective: set(wanted.effective),
        permitted: set(wanted.permitted),
        inheritable: set(wanted.inheritable),
    };
    rustix::thread::set_capabilities(None, sets).map_err(|errno| failed(errno, "capset"))?;
    if process.uid != 0 {
        rustix::thread::set_keep_capabilities(false).map_err(|errno| failed(errno, "keeping"))?;
    }
    set_ambient(wanted.ambient)
}

/// What this process does not have it cannot give.
fn check_available(wanted: &Capabilities, current: &CapabilitySets) -> Result<(), StageError> {
    let missing = (wanted.permitted | wanted.effective) & !current.permitted.bits();
    if missing == 0 {
        return Ok(());
    }
    let names: Vec<String> = CapSet::from_bits(missing).iter().map(capabilities::name).collect();
    let detail = format!("{} cannot be granted: this host does not have it to give", names.join(", "));
    Err(StageError::new(Stage::Capabilities, Errno::PERM, detail))
}

fn drop_bounding(keep: u64) -> Result<(), StageError> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if keep & capability.bits() != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Beyond the last one that the kernel knows.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(StageError::new(Stage::Capabilities, errno, "bounding set")),
        }
    }
    Ok(())
}

fn set_ambient(ambient: u64) -> Result<(), StageError> {
    for number in (0..64).filter(|number| ambient & (1 << number) != 0) {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        rustix::thread::configure_capability_in_ambient_set(capability, true)
            .map_err(|errno| StageError::new(Stage::Capabilities, errno, "ambient set"))?;
    }
    Ok(())
}

fn become_user(process: &Process, may_set_groups: bool) -> Result<(), StageError> {
    let groups: Vec<Gid> = process.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let groups = (may_set_groups || !groups.is_empty()).then_some(groups.as_slice());
    let become_user = |groups| identity::become_user(process.uid, process.gid, groups);
    let result = match become_user(groups) {
        // A user namespace made without privileges, in which groups cannot be changed, and none are asked for.
        Err(Errno::PERM) if process.groups.is_empty() => become_user(None),
        other => other,
    };
    result.map_err(|errno| {
        let detail = format!("{}:{} {:?}", process.uid, process.gid, process.groups);
        StageError::new(Stage::User, errno, detail)
    })
}

/// Puts the filter in force; gives the descriptor of its listener if it has one.
pub(super) fn load_filter(filter: &SeccompFilter) -> Result<Option<OwnedFd>, StageError> {
    filter.program.load().map_err(|errno| {
        StageError::new(Stage::Seccomp, errno, format!("{} instructions", filter.program.instructions.len()))
    })
}
