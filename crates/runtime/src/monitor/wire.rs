//! Packets over a `SOCK_SEQPACKET` socket: two bytes of header, postcard, file descriptors.
//!
//! A packet is limited by the sender's socket buffer (212,992 bytes unless the host's administrator raised it), and
//! the receiver wants a small buffer: what is larger than [`INLINE`] travels in a memfd, sealed against change, as the
//! last file descriptor.

use std::{
    io::{Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{MemfdFlags, SealFlags},
    io::Errno,
};
use serde::{Serialize, de::DeserializeOwned};
use skiff_sys::socket;

use super::protocol::VERSION;

/// The largest payload inside a packet.
const INLINE: usize = 16 << 10;
/// The largest payload at all: a plan with thousands of mounts is a few hundred kilobytes.
const LARGEST: u64 = 64 << 20;

const HEADER: usize = 2;
const IN_MEMFD: u8 = 1;

/// Why a message did not get through.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side is gone.
    #[error("the connection is closed")]
    Closed,
    /// A system call failed.
    #[error("{operation}: {source}")]
    System {
        /// Which.
        operation: &'static str,
        /// Why.
        source: Errno,
    },
    /// The other side speaks another version.
    #[error("protocol version {0} is not {VERSION}")]
    Version(u8),
    /// The packet cannot be read, or has too many descriptors.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// The payload is not what was expected.
    #[error("malformed message")]
    Payload(#[from] postcard::Error),
}

fn failed(operation: &'static str) -> impl Fn(Errno) -> WireError {
    move |source| match source {
        Errno::PIPE | Errno::CONNRESET => WireError::Closed,
        source => WireError::System { operation, source },
    }
}

/// Sends one message.
///
/// # Errors
/// [`WireError::System`] with `EAGAIN` when the socket is non-blocking and full.
pub(crate) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> Result<(), WireError> {
    let payload = postcard::to_stdvec(message)?;
    if payload.len() <= INLINE {
        return send_packet(socket, 0, &payload, fds);
    }
    let memfd = sealed_memfd(&payload)?;
    let mut all = fds.to_vec();
    all.push(memfd.as_fd());
    send_packet(socket, IN_MEMFD, &[], &all)
}

fn sealed_memfd(payload: &[u8]) -> Result<OwnedFd, WireError> {
    let memfd = rustix::fs::memfd_create("message", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(failed("memfd_create"))?;
    let mut file = fs_err::File::from_parts(memfd.into(), "message");
    file.write_all(payload).map_err(|e| failed("write")(errno_of(&e)))?;
    let memfd = OwnedFd::from(file.into_parts().0);
    rustix::fs::fcntl_add_seals(&memfd, seals()).map_err(failed("fcntl"))?;
    Ok(memfd)
}

fn seals() -> SealFlags {
    SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK
}

fn errno_of(e: &std::io::Error) -> Errno {
    Errno::from_io_error(e).unwrap_or(Errno::IO)
}

fn send_packet(
    socket: BorrowedFd<'_>,
    flags: u8,
    payload: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<(), WireError> {
    let packet = [&[VERSION, flags], payload].concat();
    socket::send(socket, &packet, fds).map_err(failed("sendmsg"))
}

/// One packet as it came: not yet decoded, so that a forked child can do it.
pub(crate) struct Packet {
    bytes: [u8; HEADER + INLINE],
    len: usize,
    /// The descriptors, a memfd with the payload included.
    pub(crate) fds: Vec<OwnedFd>,
}

impl Packet {
    /// Receives one packet.
    ///
    /// # Errors
    /// [`WireError::Closed`] at the end, [`WireError::System`] with `EAGAIN` when there is none and the socket is
    /// non-blocking.
    pub(crate) fn receive(socket: BorrowedFd<'_>) -> Result<Self, WireError> {
        let mut bytes = [0; HEADER + INLINE];
        match socket::receive(socket, &mut bytes) {
            Ok((0, _)) => Err(WireError::Closed),
            Ok((len, _)) if len < HEADER => Err(WireError::Malformed("no header")),
            Ok((len, fds)) => Ok(Self { bytes, len, fds }),
            Err(Errno::MSGSIZE) => Err(WireError::Malformed("too large")),
            Err(e) => Err(failed("recvmsg")(e)),
        }
    }

    /// The message and its descriptors.
    pub(crate) fn decode<T: DeserializeOwned>(mut self) -> Result<(T, Vec<OwnedFd>), WireError> {
        let [version, flags] = [self.bytes[0], self.bytes[1]];
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        if flags & IN_MEMFD == 0 {
            return Ok((postcard::from_bytes(&self.bytes[HEADER..self.len])?, self.fds));
        }
        let memfd = self.fds.pop().ok_or(WireError::Malformed("no memfd"))?;
        Ok((postcard::from_bytes(&read_sealed(memfd)?)?, self.fds))
    }
}

fn read_sealed(memfd: OwnedFd) -> Result<Vec<u8>, WireError> {
    if !rustix::fs::fcntl_get_seals(&memfd).map_err(failed("fcntl"))?.contains(seals()) {
        return Err(WireError::Malformed("memfd is not sealed"));
    }
    let size = rustix::fs::fstat(&memfd).map_err(failed("fstat"))?.st_size as u64;
    if size > LARGEST {
        return Err(WireError::Malformed("too large"));
    }
    rustix::fs::seek(&memfd, rustix::fs::SeekFrom::Start(0)).map_err(failed("lseek"))?;
    let mut payload = vec![0; size as usize];
    let mut file = fs_err::File::from_parts(memfd.into(), "message");
    file.read_exact(&mut payload).map_err(|e| failed("read")(errno_of(&e)))?;
    Ok(payload)
}

/// Receives one message.
///
/// # Errors
/// As [`Packet::receive`] and [`Packet::decode`].
pub(crate) fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> Result<(T, Vec<OwnedFd>), WireError> {
    Packet::receive(socket)?.decode()
}

#[cfg(test)]
mod tests;
