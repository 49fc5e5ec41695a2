//! Handing a filter's listener to the supervisor named by `listenerPath`.

use std::os::fd::BorrowedFd;
use std::path::Path;

use oci_spec::runtime::{ContainerProcessState, SECCOMP_FD_NAME, State};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};

/// Connects to the supervisor's socket and sends the container process state, as JSON in one message with the listener beside it: the OCI
/// specification's "container process state". The socket is a stream; the supervisor sees the end of the message when it is closed.
///
/// # Errors
/// When nobody listens there, or goes away meanwhile.
pub fn send_listener(
    path: &Path,
    listener: BorrowedFd<'_>,
    pid: i32,
    metadata: Option<&str>,
    state: &State,
) -> Result<(), Errno> {
    let mut message = ContainerProcessState::default();
    message
        .set_version(state.version().clone())
        .set_fds(vec![SECCOMP_FD_NAME.to_owned()])
        .set_pid(pid)
        .set_metadata(metadata.filter(|metadata| !metadata.is_empty()).map(str::to_owned))
        .set_state(state.clone());
    let json = serde_json::to_vec(&message).map_err(|_| Errno::INVAL)?;

    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [listener];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::NOBUFS);
    }
    let mut sent =
        rustix::net::sendmsg(&socket, &[std::io::IoSlice::new(&json)], &mut ancillary, SendFlags::NOSIGNAL)?;
    while sent < json.len() {
        sent += rustix::net::send(&socket, &json[sent..], SendFlags::NOSIGNAL)?;
    }
    Ok(())
}
