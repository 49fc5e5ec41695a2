//! seccomp(2): loading a filter, with its flags and the descriptor of its listener.

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::call;

/// Puts the filter on every thread of the process, or fails.
pub const FLAG_TSYNC: u32 = 1 << 0;
/// Logs every action but allow.
pub const FLAG_LOG: u32 = 1 << 1;
/// Leaves speculative store bypass as it is.
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// [`load`] then gives back the listener's descriptor.
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// With [`FLAG_TSYNC`]: `ESRCH` when a thread cannot be synchronised, instead of its id; needed beside [`FLAG_NEW_LISTENER`].
pub const FLAG_TSYNC_ESRCH: u32 = 1 << 4;
/// Only fatal signals interrupt a call whose notification was received (Linux 5.19).
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;

/// One instruction of classic BPF, as the kernel lays it out (`struct sock_filter`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Jump if true.
    pub jt: u8,
    /// Jump if false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Installs the filter on the calling thread. It needs no_new_privs or CAP_SYS_ADMIN.
///
/// # Errors
/// `EINVAL` for a malformed or over-long program, an unknown flag or action; `ESRCH` when another thread cannot be synchronised.
pub fn load(program: &[Instruction], flags: u32) -> Result<Option<OwnedFd>, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let header = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `Instruction` has the layout of `sock_filter`, the header gives the slice's true length, and the
    // kernel copies the program without writing to it.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            libc::c_ulong::from(flags),
            &raw const header,
        )
    };
    let answer = call::result(answer)?;
    if flags & FLAG_NEW_LISTENER == 0 {
        return if answer == 0 { Ok(None) } else { Err(Errno::SRCH) };
    }
    // SAFETY: with the listener flag the kernel answers a new descriptor, which nobody else knows of.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(answer as i32) }))
}
