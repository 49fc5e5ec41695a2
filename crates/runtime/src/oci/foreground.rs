//! Waiting for a process in the foreground: signals go to it, bytes go between its terminal and ours, and its exit code
//! becomes ours.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::OciError;
use super::console::{self, RawTerminal};

/// A process of ours in the foreground.
pub(super) struct Foreground {
    signals: OwnedFd,
}

impl Foreground {
    /// Takes every signal to itself. Before the process is made, so that none is lost.
    pub(super) fn prepare(subreaper: bool) -> Result<Self, OciError> {
        if subreaper {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
                .map_err(OciError::kernel("subreaper"))?;
        }
        let signals = skiff_sys::signal::receive_all().map_err(OciError::kernel("signals"))?;
        Ok(Self { signals })
    }

    /// Serves the process until it ends; gives its exit code, 128 and the number for a signal.
    pub(super) fn wait(self, pid: Pid, pidfd: &OwnedFd, master: Option<&OwnedFd>) -> Result<u8, OciError> {
        let _raw = master.map(|master| {
            console::copy_size(master);
            RawTerminal::enter()
        });
        let mut input = master.is_some();
        let mut output = master.is_some();
        loop {
            let stdin = rustix::stdio::stdin();
            let closed = self.signals.as_fd();
            let master_fd = master.map_or(closed, AsFd::as_fd);
            let wanted = |wanted: bool| if wanted { PollFlags::IN } else { PollFlags::empty() };
            let mut waiting = [
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(master_fd, wanted(output)),
                PollFd::from_borrowed_fd(if input { stdin } else { closed }, wanted(input)),
            ];
            match rustix::event::poll(&mut waiting, None) {
                Err(Errno::INTR) => continue,
                other => other.map_err(OciError::kernel("poll"))?,
            };
            let ready = |index: usize| !waiting[index].revents().is_empty();
            let (to_output, to_input) = (output && ready(1), input && ready(2));
            if let (Some(master), true) = (master, to_output) {
                output = copy(master.as_fd(), rustix::stdio::stdout());
            }
            if let (Some(master), true) = (master, to_input) {
                input = copy(stdin, master.as_fd());
            }
            if let Some(code) = self.handle_signals(pid, pidfd, master)? {
                while output && has_more(master) {
                    output = master.is_some_and(|master| copy(master.as_fd(), rustix::stdio::stdout()));
                }
                return Ok(code);
            }
        }
    }

    fn handle_signals(
        &self,
        pid: Pid,
        pidfd: &OwnedFd,
        master: Option<&OwnedFd>,
    ) -> Result<Option<u8>, OciError> {
        let mut ended = None;
        while let Ok(number) = skiff_sys::signal::next(&self.signals) {
            match skiff_sys::signal::from_number(number) {
                Some(Signal::CHILD) => ended = ended.or(reap(pid)),
                Some(Signal::WINCH) => {
                    if let Some(master) = master {
                        console::copy_size(master);
                    }
                }
                Some(signal) => {
                    // It may have ended at this very moment.
                    let _ = rustix::process::pidfd_send_signal(pidfd, signal);
                }
                None => {}
            }
        }
        Ok(ended)
    }
}

/// Reaps whatever has ended, orphans of the container's included; the code of our process if it is among them.
fn reap(pid: Pid) -> Option<u8> {
    let mut code = None;
    while let Ok(Some((reaped, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if reaped == pid {
            let by_signal = status.terminating_signal().map(|signal| 128 + signal);
            code = status.exit_status().or(by_signal).map(|code| code as u8);
        }
    }
    code
}

fn has_more(master: Option<&OwnedFd>) -> bool {
    let Some(master) = master else { return false };
    let mut waiting = [PollFd::new(master, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut waiting, Some(&now)).is_ok() && waiting[0].revents().contains(PollFlags::IN)
}

/// Copies what is there; whether there may be more.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; 8192];
    let mut left = match rustix::io::read(from, &mut buffer) {
        Ok(0) => return false,
        Ok(length) => &buffer[..length],
        Err(Errno::INTR | Errno::AGAIN) => return true,
        // EIO: nobody has the other end of the terminal open any more.
        Err(_) => return false,
    };
    while !left.is_empty() {
        match rustix::io::write(to, left) {
            Ok(written) => left = &left[written..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return false,
        }
    }
    true
}
