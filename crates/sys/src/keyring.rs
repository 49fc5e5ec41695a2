//! keyctl(2): a session keyring of its own for every container.

use std::ffi::CStr;

use rustix::io::Errno;

use crate::call;

const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Joins the session keyring of that name, or makes it; anonymous if there is no name.
pub fn join_session(name: Option<&CStr>) -> Result<(), Errno> {
    let name = name.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: the name is null or a C string that outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name, 0, 0, 0) };
    call::result(answer).map(drop)
}
