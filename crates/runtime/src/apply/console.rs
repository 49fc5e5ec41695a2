//! The terminal of a process: a pseudo terminal of the container's own devpts.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::root::ContainerRoot;
use super::{Stage, StageError};

/// `f_type` of devpts.
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// Both ends of a terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    /// Ours.
    pub(super) master: OwnedFd,
    /// The process's.
    pub(super) slave: OwnedFd,
}

/// Makes a terminal in the container's `/dev/pts`, of the size given as columns and rows.
pub(super) fn open(root: &ContainerRoot, size: Option<(u16, u16)>) -> Result<Terminal, StageError> {
    pair(root, size).map_err(|errno| StageError::new(Stage::Console, errno, "/dev/pts/ptmx"))
}

fn pair(root: &ContainerRoot, size: Option<(u16, u16)>) -> Result<Terminal, Errno> {
    let master = root.open("/dev/pts/ptmx", OFlags::RDWR | OFlags::NOCTTY)?;
    // Whatever else the image has put there is none of ours.
    if rustix::fs::fstatfs(&master)?.f_type != DEVPTS_SUPER_MAGIC {
        return Err(Errno::NODEV);
    }
    rustix::pty::unlockpt(&master)?;
    // By descriptor: the slave's path could be anything by now.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    if let Some((columns, rows)) = size {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size)?;
    }
    Ok(Terminal { master, slave })
}

/// Makes the terminal the controlling one of the calling process's session.
pub(super) fn take_control(terminal: impl AsFd) -> Result<(), StageError> {
    rustix::process::ioctl_tiocsctty(terminal)
        .map_err(|errno| StageError::new(Stage::Console, errno, "controlling terminal"))
}
