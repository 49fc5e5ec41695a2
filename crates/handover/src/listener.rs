//! The registry's end of the socket.

use std::{
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    path::Path,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::{
    Error, be_patient, check_peer,
    packet::{self, Answer, Request},
    system,
};

/// How long a client may take to send its one packet and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clients that wait to be accepted.
const BACKLOG: i32 = 64;

/// A socket at which files are given and taken.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// A client of it, for one request.
#[derive(Debug)]
pub struct Connection(pub(crate) OwnedFd);

impl Listener {
    /// Opens the socket in place of whatever is there. Accepting does not block.
    ///
    /// # Errors
    /// The path is too long for a socket, or not ours.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let _ = fs_err::remove_file(path);
        let address = SocketAddrUnix::new(path).map_err(system("bind"))?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(system("socket"))?;
        rustix::net::bind(&socket, &address).map_err(system("bind"))?;
        fs_err::set_permissions(path, PermissionsExt::from_mode(0o600))
            .map_err(|source| Error::System { call: "chmod", source })?;
        rustix::net::listen(&socket, BACKLOG).map_err(system("listen"))?;
        Ok(Self(socket))
    }
}

impl From<Listener> for UnixListener {
    /// Whatever waits for connections of stream sockets waits for these, too.
    fn from(listener: Listener) -> Self {
        listener.0.into()
    }
}

impl Connection {
    /// A client that has connected; nobody but this user and root gets in.
    ///
    /// # Errors
    /// [`Error::Stranger`], or the connection is gone.
    pub fn new(socket: impl Into<OwnedFd>) -> Result<Self, Error> {
        let socket = socket.into();
        check_peer(&socket)?;
        rustix::io::ioctl_fionbio(&socket, false).map_err(system("FIONBIO"))?;
        be_patient(&socket, PATIENCE)?;
        Ok(Self(socket))
    }

    /// What the client wants. Blocks.
    ///
    /// # Errors
    /// It says nothing, or nothing that can be understood.
    pub fn request(&self) -> Result<Request, Error> {
        Ok(packet::receive(&self.0)?.0)
    }

    /// Says that it is done, with the file that was asked for. Blocks.
    ///
    /// # Errors
    /// The client is gone.
    pub fn done(self, file: Option<&File>) -> Result<(), Error> {
        packet::send(&self.0, &Answer::Done, file.map(AsFd::as_fd))
    }

    /// Says why not. Blocks.
    ///
    /// # Errors
    /// The client is gone.
    pub fn refuse(self, reason: &str) -> Result<(), Error> {
        packet::send(&self.0, &Answer::Refused(reason.chars().take(1000).collect()), None)
    }
}
