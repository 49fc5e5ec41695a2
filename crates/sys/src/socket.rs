//! Messages with descriptors over Unix sockets of type SEQPACKET (or STREAM): one send is one receive.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The most descriptors that one message carries here (the kernel's own limit is 253).
pub const MAX_FDS: usize = 64;

/// Two connected close-on-exec sockets that keep message boundaries.
pub fn seqpacket_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends one message with descriptors. Never raises SIGPIPE.
///
/// # Errors
/// `EINVAL` for more than [`MAX_FDS`] descriptors; `EPIPE` if the other end is closed.
pub fn send(socket: impl AsFd, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    if fds.len() > MAX_FDS {
        return Err(Errno::INVAL);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    let parts = [IoSlice::new(message)];
    loop {
        match rustix::net::sendmsg(&socket, &parts, &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Receives one message into `buffer`; gives its length (0: the other end is closed) and the descriptors.
///
/// The descriptors are close-on-exec.
///
/// # Errors
/// `EMSGSIZE` if the message or its descriptors did not fit; `EAGAIN` on an empty non-blocking socket.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let received = loop {
        match rustix::net::recvmsg(&socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE);
    }
    Ok((received.bytes, fds))
}

/// How many bytes of a stream socket's the other side has not taken yet: for TCP, its kernel; for a Unix socket, its program
/// (`SIOCOUTQ`, tcp(7), unix(7)).
pub fn untaken(socket: impl AsFd) -> Result<u32, Errno> {
    // SAFETY: the operation fills in an `int` and nothing else.
    let bytes: i32 = unsafe {
        let get = rustix::ioctl::Getter::<{ libc::TIOCOUTQ as rustix::ioctl::Opcode }, i32>::new();
        rustix::ioctl::ioctl(socket, get)
    }?;
    Ok(bytes.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::fstat;

    #[test]
    fn what_nobody_has_read_is_counted() {
        let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(untaken(&left), Ok(0));
        std::io::Write::write_all(&mut &left, b"12345").unwrap();
        assert!(untaken(&left).unwrap() >= 5);
        std::io::Read::read_exact(&mut &right, &mut [0; 5]).unwrap();
        assert_eq!(untaken(&left), Ok(0));
    }

    #[test]
    fn a_message_and_its_descriptors_arrive_together() {
        let (left, right) = seqpacket_pair().unwrap();
        let (pipe, _writer) = rustix::pipe::pipe().unwrap();
        send(&left, b"one", &[pipe.as_fd()]).unwrap();
        send(&left, b"two", &[]).unwrap();
        let mut buffer = [0; 16];
        let (length, fds) = receive(&right, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"one");
        assert_eq!(fstat(&fds[0]).unwrap().st_ino, fstat(&pipe).unwrap().st_ino);
        let (length, fds) = receive(&right, &mut buffer).unwrap();
        assert_eq!((&buffer[..length], fds.len()), (&b"two"[..], 0));
    }

    #[test]
    fn a_message_longer_than_the_buffer_is_refused() {
        let (left, right) = seqpacket_pair().unwrap();
        send(&left, b"longer than four", &[]).unwrap();
        assert_eq!(receive(&right, &mut [0; 4]).unwrap_err(), Errno::MSGSIZE);
    }

    #[test]
    fn a_closed_end_reads_as_nothing_and_writes_as_epipe() {
        let (left, right) = seqpacket_pair().unwrap();
        drop(right);
        assert_eq!(send(&left, b"x", &[]).unwrap_err(), Errno::PIPE);
        assert_eq!(receive(&left, &mut [0; 4]).unwrap().0, 0);
    }
}
