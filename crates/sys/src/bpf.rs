//! bpf(2), as far as device control of cgroup v2 needs it: load a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`, attach, replace
//! and detach it.
//!
//! The program itself is somebody else's matter: here it is a list of 64-bit instruction words.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::call;

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 1 << 1;
const REPLACE: u32 = 1 << 2;

/// More programs than this on one cgroup are not ours to handle.
const QUERY_MAX: usize = 64;

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct FdByIdAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

fn bpf<T>(command: libc::c_int, attr: &mut T) -> Result<libc::c_long, Errno> {
    // SAFETY: `attr` is a live, exclusively borrowed repr(C) structure whose every field is initialised, and the kernel reads and writes no
    // more than the size given. The addresses inside it are those of buffers that the callers below keep alive across this call.
    call::result(unsafe { libc::syscall(libc::SYS_bpf, command, attr as *mut T, size_of::<T>()) })
}

fn owned(answer: libc::c_long) -> OwnedFd {
    // SAFETY: the bpf commands that call this return a new file descriptor, which nobody else owns.
    unsafe { OwnedFd::from_raw_fd(answer as libc::c_int) }
}

/// Loads a cgroup device program. The words are `struct bpf_insn` in the machine's byte order.
///
/// # Errors
/// `EPERM` without `CAP_BPF`/`CAP_SYS_ADMIN`, `EINVAL` or `EACCES` when the verifier refuses the program.
pub fn load_cgroup_device(name: &str, words: &[u64]) -> Result<OwnedFd, Errno> {
    let license = c"Apache-2.0";
    let mut prog_name = [0u8; 16];
    let printable = name.bytes().filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
    for (to, from) in prog_name.iter_mut().take(15).zip(printable) {
        *to = from;
    }
    let mut attr = LoadAttr {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: words.len() as u32,
        insns: words.as_ptr() as u64,
        license: license.as_ptr() as u64,
        prog_name,
        ..LoadAttr::default()
    };
    bpf(PROG_LOAD, &mut attr).map(owned)
}

/// The device programs attached to this cgroup itself (not to its ancestors).
///
/// # Errors
/// `EBADF` or `EINVAL` when `cgroup` is not a cgroup v2 directory.
pub fn cgroup_device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    let mut ids = [0u32; QUERY_MAX];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: QUERY_MAX as u32,
        ..QueryAttr::default()
    };
    bpf(PROG_QUERY, &mut attr)?;
    let mut programs = Vec::new();
    for &prog_id in ids.iter().take(attr.prog_cnt as usize) {
        match bpf(PROG_GET_FD_BY_ID, &mut FdByIdAttr { prog_id, ..FdByIdAttr::default() }) {
            Ok(fd) => programs.push(owned(fd)),
            Err(Errno::NOENT) => {} // gone since the query
            Err(error) => return Err(error),
        }
    }
    Ok(programs)
}

/// Attaches a device program beside those that are there, or, with `replace`, atomically in the place of that one.
///
/// # Errors
/// `EPERM` when a program of an ancestor forbids further ones; `ENOENT` when `replace` is not attached here.
pub fn attach_cgroup_device(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replace: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI | if replace.is_some() { REPLACE } else { 0 },
        replace_bpf_fd: replace.map_or(0, |fd| fd.as_raw_fd() as u32),
    };
    bpf(PROG_ATTACH, &mut attr).map(drop)
}

/// Detaches a device program.
///
/// # Errors
/// `ENOENT` when it is not attached to this cgroup.
pub fn detach_cgroup_device(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        ..AttachAttr::default()
    };
    bpf(PROG_DETACH, &mut attr).map(drop)
}
