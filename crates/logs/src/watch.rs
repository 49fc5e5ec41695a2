//! Told when a log grows or is rotated (inotify(7)): one watch on its directory covers both.

use std::{io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
};

/// Starts to watch.
pub(crate) fn directory_of(path: &Path) -> io::Result<OwnedFd> {
    let directory = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
    inotify::add_watch(&fd, directory, flags)?;
    Ok(fd)
}

/// Forgets what has been announced so far.
pub(crate) fn drain(fd: &OwnedFd) {
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(len) if len > 0 => {}
            Err(Errno::INTR) => {}
            _ => return,
        }
    }
}
