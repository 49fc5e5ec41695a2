//! Who a process is: user and groups, by the raw per-thread system calls.

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;

/// Sets real, effective and saved group, the supplementary groups, then real, effective and saved user.
///
/// `groups` is `None` where setgroups(2) is denied (a user namespace with `deny` in `/proc/PID/setgroups`).
pub fn become_user(uid: u32, gid: u32, groups: Option<&[Gid]>) -> Result<(), Errno> {
    let gid = Gid::from_raw(gid);
    let uid = Uid::from_raw(uid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    if let Some(groups) = groups {
        rustix::thread::set_thread_groups(groups)?;
    }
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}
