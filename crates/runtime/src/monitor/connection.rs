//! The daemon's end of a monitor's socket.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};

use super::{
    protocol::{Call, Event, Request, SOCKET_NAME},
    wire::{self, WireError},
};

/// A connection to one monitor. Sending and receiving take `&self` and are each one system call, so it can be shared.
///
/// A daemon that lets its events lie until the socket is full misses some and gets another [`Event::Hello`] with the whole
/// state. A connection that ends without [`Event::Exited`] means that the monitor was killed, unless it has left a record; the daemon then kills what may be left in
/// the cgroup, and removes it.
#[derive(Debug)]
pub struct MonitorConnection {
    socket: OwnedFd,
    sequence: AtomicU32,
}

impl MonitorConnection {
    /// Connects to the monitor whose run directory this is. The first event is a [`Event::Hello`].
    ///
    /// # Errors
    /// `NotFound` and `ConnectionRefused` mean that there is no monitor: see
    /// [`crate::monitor::record::ExitRecord::load`].
    pub fn connect(run_dir: &Path) -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        with_address(run_dir, |address| rustix::net::connect(&socket, address))?;
        Ok(Self::new(socket))
    }

    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, sequence: AtomicU32::new(1) }
    }

    /// Sends a request with its descriptors and returns the number under which it will be answered. A monitor that
    /// is busy for a moment is waited for.
    ///
    /// # Errors
    /// [`WireError::Closed`] when the monitor has gone; `ETIMEDOUT` when it does not listen for five seconds.
    pub fn send(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<u32, WireError> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let call = Call { sequence, request };
        loop {
            match wire::send(self.socket.as_fd(), &call, fds) {
                Err(WireError::System { source: Errno::AGAIN, .. }) => self.wait(PollFlags::OUT, 5)?,
                done => return done.map(|()| sequence),
            }
        }
    }

    /// The next event and its descriptors, or nothing when there is none at the moment.
    ///
    /// # Errors
    /// [`WireError::Closed`] when the monitor has gone.
    pub fn try_recv(&self) -> Result<Option<(Event, Vec<OwnedFd>)>, WireError> {
        match wire::receive(self.socket.as_fd()) {
            Err(WireError::System { source: Errno::AGAIN, .. }) => Ok(None),
            got => got.map(Some),
        }
    }

    /// The next event and its descriptors, waiting `seconds` at most.
    ///
    /// # Errors
    /// As [`Self::try_recv`], and `ETIMEDOUT`.
    pub fn recv(&self, seconds: u32) -> Result<(Event, Vec<OwnedFd>), WireError> {
        loop {
            match self.try_recv()? {
                Some(got) => return Ok(got),
                None => self.wait(PollFlags::IN, seconds)?,
            }
        }
    }

    fn wait(&self, flags: PollFlags, seconds: u32) -> Result<(), WireError> {
        let timeout = Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.socket, flags)];
        match rustix::io::retry_on_intr(|| poll(&mut fds, Some(&timeout))) {
            Ok(0) => Err(WireError::System { operation: "poll", source: Errno::TIMEDOUT }),
            Ok(_) => Ok(()),
            Err(source) => Err(WireError::System { operation: "poll", source }),
        }
    }
}

impl AsFd for MonitorConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Makes the listening socket of a monitor to be, 0600, in place of one that a former monitor left.
pub(crate) fn listen(run_dir: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    match fs_err::remove_file(run_dir.join(SOCKET_NAME)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // The mode of the socket's file is the socket's own, less the umask: nobody else can ever connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    with_address(run_dir, |address| rustix::net::bind(&socket, address))?;
    rustix::net::listen(&socket, 16)?;
    Ok(socket)
}

/// A socket's path may have 107 bytes: go through the directory's descriptor, however long its path is.
fn with_address(
    run_dir: &Path,
    act: impl FnOnce(&SocketAddrUnix) -> rustix::io::Result<()>,
) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(run_dir, flags, Mode::empty())?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET_NAME}", dir.as_raw_fd()))?;
    Ok(act(&address)?)
}
