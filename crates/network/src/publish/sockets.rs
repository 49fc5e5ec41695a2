//! Sockets bound to published ports.

use std::{net::SocketAddr, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{self, AddressFamily, SocketFlags, SocketType, sockopt},
};
use skiff_sys::datagram;

use crate::ports::Protocol;

/// As many as any server's: connections wait here only while the relay is busy.
const BACKLOG: i32 = 1024;

/// Binds a port, of TCP listening if `listen`. A socket of the wildcard IPv6 address leaves IPv4 alone.
///
/// TCP sockets allow reuse, as servers do, so that connections of an earlier holder in TIME_WAIT do not stand in the
/// way; another listener still does. One that does not listen disallows it again once it is bound, or it would not
/// keep the port from others.
pub(super) fn bind(address: SocketAddr, protocol: Protocol, listen: bool) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = if protocol == Protocol::Tcp { SocketType::STREAM } else { SocketType::DGRAM };
    let socket = net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    let tcp = protocol == Protocol::Tcp;
    if tcp {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    net::bind(&socket, &address)?;
    match (tcp, listen) {
        (true, true) => net::listen(&socket, BACKLOG)?,
        (true, false) => sockopt::set_socket_reuseaddr(&socket, false)?,
        (false, _) => datagram::tell_destination(&socket, address.is_ipv6())?,
    }
    Ok(socket)
}
