//! Network namespaces: what unshare(2) does to the calling thread alone.

use rustix::{io, thread::UnshareFlags};

/// Moves the calling thread, and no other, into a new network namespace. Threads started by it later begin there.
pub fn unshare_net() -> io::Result<()> {
    // SAFETY: CLONE_NEWNET alone changes nothing that Rust or the C library assumes threads to share (descriptors,
    // memory, working directory); sockets keep the namespace they were made in.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
}
