//! Out of memory: how many processes the kernel has killed in a cgroup, and being told when it kills another.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::EventfdFlags;
use rustix::fs::inotify::{CreateFlags, WatchFlags};
use rustix::fs::{Mode as FileMode, OFlags};
use rustix::io::Errno;

use super::files::{OpenFile, read_text};
use super::{Cgroup, CgroupError, Controller, Operation};

impl Cgroup {
    /// How many processes of this cgroup the kernel has killed for want of memory. On v2 those of cgroups below count too.
    ///
    /// # Errors
    /// When there is no memory controller or its file cannot be read.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        let path = self.oom_file()?;
        let text = read_text(&path)?;
        Ok(text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0))
    }

    fn oom_file(&self) -> Result<PathBuf, CgroupError> {
        let directory = self.directory(Controller::Memory).ok_or_else(|| CgroupError::MissingController {
            controller: Controller::Memory,
            setting: "the out-of-memory count".to_owned(),
        })?;
        Ok(directory.join(if self.limits_in_v2() { "memory.events" } else { "memory.oom_control" }))
    }

    /// Asks to be told. On v1 this is an eventfd, on v2 an inotify watch; both become readable.
    ///
    /// # Errors
    /// When there is no memory controller, or the kernel refuses.
    pub fn watch_oom(&self) -> Result<OomWatch, CgroupError> {
        let path = self.oom_file()?;
        let failed = |errno: Errno| CgroupError::kernel(Operation::Watch, &path, errno);
        if self.limits_in_v2() {
            let fd =
                rustix::fs::inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(failed)?;
            rustix::fs::inotify::add_watch(&fd, &path, WatchFlags::MODIFY).map_err(failed)?;
            return Ok(OomWatch { fd });
        }
        let event =
            rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let control = rustix::fs::open(&path, flags, FileMode::empty()).map_err(failed)?;
        let request = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
        OpenFile::default().write(&path.with_file_name("cgroup.event_control"), &request)?;
        Ok(OomWatch { fd: event })
    }
}

/// Becomes readable when memory has run out, and also when the cgroup is removed: after [`OomWatch::drain`], ask [`Cgroup::oom_kills`] what really
/// happened.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
}

impl OomWatch {
    /// Forgets what has been announced so far.
    pub fn drain(&self) {
        let mut buffer = [0u8; 512];
        while rustix::io::read(&self.fd, &mut buffer).is_ok_and(|length| length == buffer.len()) {}
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
