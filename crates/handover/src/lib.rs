//! Files that a registry and an engine of the same machine hand to each other, instead of their bytes (ADR 33).
//!
//! Over HTTP they agree as ever on who may do what: an upload's id is the right to fill it, a ticket the right to one blob.
//! Which file it is goes over a Unix socket in the registry's directory, one packet each way. Whoever gets one puts a hard
//! link to it into a directory of its own, and hashes what is there before it believes anything. From then on each side has
//! a name of its own for the same bytes, and removing one leaves the other.
//!
//! Two processes with names for one file can both write to it. So each refuses what anybody but itself and root could write
//! to ([`link`]), and both promise never to write to a file that has its name.
//!
//! Anybody may call himself a registry, also root in a container, who is root to a socket. The engine therefore gives no file away but
//! says where it lies: only who sees the host's files can do anything with that. A file that it is given it links, which the kernel
//! refuses if the file was opened through a mount of somebody else's.
//!
//! What does not work here, for whatever reason, is no failure: the bytes go over HTTP then.

mod listener;
mod packet;

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{AtFlags, CWD},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt},
};

pub use listener::{Connection, Listener};
use packet::Answer;
pub use packet::Request;

/// The header by which a client asks whether files may be handed over, and by which a registry names its socket.
pub const HEADER: &str = "skiff-handover";
/// The header by which a registry gives a ticket for a blob.
pub const TICKET: &str = "skiff-handover-ticket";
/// What the socket in the registry's directory is called.
pub const SOCKET: &str = "handover.sock";

/// How long the other side may take, hashing a large file.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why a file was not handed over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket is no socket of a registry's.
    #[error("{path} is no handover socket", path = .0.display())]
    NoSocket(PathBuf),
    /// The other end is another user's process.
    #[error("the other end of the socket belongs to user {0}")]
    Stranger(u32),
    /// The file could be written to by others.
    #[error("the file is not one's own alone: {0}")]
    Shared(&'static str),
    /// The other side does not want to.
    #[error("refused: {0}")]
    Refused(String),
    /// What came is no message.
    #[error("not understood: {0}")]
    Garbled(String),
    /// A system call failed.
    #[error("{call}: {source}")]
    System {
        /// Which.
        call: &'static str,
        /// How.
        source: io::Error,
    },
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> skiff_types::ErrorKind {
        use skiff_types::ErrorKind;
        match self {
            Self::NoSocket(_) => ErrorKind::NotFound,
            Self::Stranger(_) | Self::Shared(_) | Self::Refused(_) => ErrorKind::Forbidden,
            Self::Garbled(_) => ErrorKind::InvalidArgument,
            Self::System { .. } => ErrorKind::Internal,
        }
    }
}

pub(crate) fn system(call: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
    move |errno| Error::System { call, source: errno.into() }
}

/// Gives the registry behind `socket` a file, by its path, as the whole content of an upload of a repository. When this returns, the
/// repository has the blob, durably. Blocks.
///
/// # Errors
/// It did not take it; the upload may go on over HTTP then.
pub fn give(
    socket: &Path,
    repository: &str,
    upload: &str,
    digest: &str,
    file: BorrowedFd<'_>,
) -> Result<(), Error> {
    let (repository, upload, digest) = (repository.to_owned(), upload.to_owned(), digest.to_owned());
    let path =
        fs_err::read_link(fd_path(file)).map_err(|source| Error::System { call: "readlink", source })?;
    let socket = connect(socket)?;
    packet::send(&socket, &Request::Give { repository, upload, digest, path }, None)?;
    match packet::receive(&socket)? {
        (Answer::Done, _) => Ok(()),
        (Answer::Refused(reason), _) => Err(Error::Refused(reason)),
    }
}

/// Takes the file that a ticket is for. What it holds is for the caller to verify. Blocks.
///
/// # Errors
/// It is not given.
pub fn take(socket: &Path, ticket: &str) -> Result<File, Error> {
    let socket = connect(socket)?;
    packet::send(&socket, &Request::Take { ticket: ticket.to_owned() }, None)?;
    match packet::receive(&socket)? {
        (Answer::Done, Some(file)) => Ok(file),
        (Answer::Done, None) => Err(Error::Garbled("no file came".to_owned())),
        (Answer::Refused(reason), _) => Err(Error::Refused(reason)),
    }
}

/// Puts a hard link to an open file at `path`, if nobody else than this user and root can write to the file.
///
/// # Errors
/// [`Error::Shared`]; [`Error::System`], with `EXDEV` for a file of another file system or mount.
pub fn link(file: impl AsFd, path: &Path) -> Result<(), Error> {
    let file = file.as_fd();
    let status = rustix::fs::fstat(file).map_err(system("fstat"))?;
    if !rustix::fs::FileType::from_raw_mode(status.st_mode).is_file() {
        return Err(Error::Shared("it is no regular file"));
    }
    if status.st_uid != rustix::process::geteuid().as_raw() && status.st_uid != 0 {
        return Err(Error::Shared("it belongs to another user"));
    }
    if status.st_mode & 0o022 != 0 {
        return Err(Error::Shared("its mode lets others write"));
    }
    // By its number: a link to an open file itself needs a privilege.
    rustix::fs::linkat(CWD, fd_path(file), CWD, path, AtFlags::SYMLINK_FOLLOW).map_err(system("linkat"))
}

/// An open file's name in `/proc`.
fn fd_path(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn connect(path: &Path) -> Result<OwnedFd, Error> {
    let none = || Error::NoSocket(path.to_owned());
    // A registry names the path. No other service of this machine is spoken to because a registry says so: it would have to
    // have this name, keep packets, and belong to this user.
    if !path.is_absolute() || path.file_name().is_none_or(|name| name != SOCKET) {
        return Err(none());
    }
    let address = SocketAddrUnix::new(path).map_err(|_| none())?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(system("socket"))?;
    rustix::net::connect(&socket, &address).map_err(|_| none())?;
    check_peer(&socket)?;
    be_patient(&socket, PATIENCE)?;
    Ok(socket)
}

/// Refuses everybody but this user and root.
pub(crate) fn check_peer(socket: &OwnedFd) -> Result<(), Error> {
    let peer = sockopt::socket_peercred(socket).map_err(system("SO_PEERCRED"))?.uid;
    match peer.is_root() || peer == rustix::process::geteuid() {
        true => Ok(()),
        false => Err(Error::Stranger(peer.as_raw())),
    }
}

pub(crate) fn be_patient(socket: &OwnedFd, time: Duration) -> Result<(), Error> {
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, Some(time)).map_err(system("SO_RCVTIMEO"))?;
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Send, Some(time)).map_err(system("SO_SNDTIMEO"))
}

#[cfg(test)]
mod tests;
