//! The standard streams of a process to be: pipes, `/dev/null`, or a terminal.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    pipe::{PipeFlags, pipe_with},
    pty::OpenptFlags,
    termios::Winsize,
};

use super::protocol::{Stdin, Stdio, WindowSize};
use crate::apply;

/// Both ends, before the process exists.
pub(crate) enum Prepared {
    Pipes { theirs: [OwnedFd; 3], ours: Ends },
    Terminal { size: WindowSize, stdin: Stdin },
}

/// The monitor's ends, non-blocking.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    /// None for a terminal, which has one stream.
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) terminal: Option<Terminal>,
}

/// A process's terminal, from the master's side.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: OwnedFd,
    /// Held open while the process lives: a terminal whose last user closes it for a moment would read as ended.
    slave: Option<OwnedFd>,
}

impl Prepared {
    pub(crate) fn new(stdio: Stdio) -> rustix::io::Result<Self> {
        if let Some(size) = stdio.terminal {
            return Ok(Self::Terminal { size, stdin: stdio.stdin });
        }
        let (stdout, their_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, their_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let (their_stdin, stdin) = if stdio.stdin == Stdin::Null {
            (rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, None)
        } else {
            let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&ours, true)?;
            (theirs, Some(ours))
        };
        // Only our ends: the process expects its own to block.
        rustix::io::ioctl_fionbio(&stdout, true)?;
        rustix::io::ioctl_fionbio(&stderr, true)?;
        let ours = Ends { stdin, stdout, stderr: Some(stderr), terminal: None };
        Ok(Self::Pipes { theirs: [their_stdin, their_stdout, their_stderr], ours })
    }

    /// What the process is given.
    pub(crate) fn for_process(&self) -> apply::Stdio<'_> {
        match self {
            Self::Pipes { theirs: [stdin, stdout, stderr], .. } => {
                apply::Stdio::Fds { stdin: stdin.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd() }
            }
            Self::Terminal { .. } => apply::Stdio::Terminal,
        }
    }

    /// What the monitor keeps, once the process has its own ends. `console` is the terminal's master.
    pub(crate) fn into_ours(self, console: Option<OwnedFd>) -> rustix::io::Result<Ends> {
        match (self, console) {
            (Self::Pipes { ours, .. }, _) => Ok(ours),
            (Self::Terminal { size, stdin }, Some(master)) => {
                rustix::io::ioctl_fionbio(&master, true)?;
                let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
                // Not on kernels before 4.13; the terminal then ends when its last user closes it.
                let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).ok();
                let dup = || rustix::io::fcntl_dupfd_cloexec(&master, 3);
                let stdout = dup()?;
                let stdin = if stdin == Stdin::Null { None } else { Some(dup()?) };
                let terminal = Terminal { master, slave };
                terminal.resize(size)?;
                Ok(Ends { stdin, stdout, stderr: None, terminal: Some(terminal) })
            }
            (Self::Terminal { .. }, None) => Err(rustix::io::Errno::NOTTY),
        }
    }
}

impl Terminal {
    pub(crate) fn resize(&self, size: WindowSize) -> rustix::io::Result<()> {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.master, size)
    }

    /// The process has ended: from now on, reading the master ends when everybody else has closed the terminal.
    pub(crate) fn release(&mut self) {
        self.slave = None;
    }
}
