//! UDP on a socket bound to all addresses, with the local address each datagram was sent to: an answer must come from
//! that one (ip(7), `IP_PKTINFO`; RFC 3542, `IPV6_PKTINFO`).

use std::{
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr,
};

use rustix::io::Errno;

use crate::call;

/// Enough for one control message of either family, aligned as its header wants.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Where a datagram arrived, and so where its answer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Via {
    /// The local address.
    pub address: IpAddr,
    /// The index of the link.
    pub link: u32,
}

/// Has the kernel tell each datagram's local address. To be called once, before [`receive`].
pub fn tell_destination(socket: impl AsFd, ipv6: bool) -> Result<(), Errno> {
    let (level, option) = match ipv6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        false => (libc::IPPROTO_IP, libc::IP_PKTINFO),
    };
    let on: libc::c_int = 1;
    // SAFETY: the option's value is one int, which `on` is for the length of the call.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            ptr::from_ref(&on).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    call::result(answer.into()).map(drop)
}

/// Receives one datagram without waiting: its length, its sender, and where it arrived.
///
/// # Errors
/// `EAGAIN` if there is none; `EPROTO` if [`tell_destination`] was not called.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, SocketAddr, Via), Errno> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control([0; 64]);
    // SAFETY: both are plain data for which all zeros are valid.
    let (mut name, mut header): (libc::sockaddr_storage, libc::msghdr) =
        unsafe { (mem::zeroed(), mem::zeroed()) };
    header.msg_name = ptr::from_mut(&mut name).cast();
    header.msg_namelen = mem::size_of_val(&name) as libc::socklen_t;
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();
    let length = loop {
        // SAFETY: every pointer in the header leads to a live buffer of the length named beside it.
        let answer = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &mut header, libc::MSG_DONTWAIT) };
        match call::result(answer as libc::c_long) {
            Err(Errno::INTR) => {}
            other => break other? as usize,
        }
    };
    let sender = socket_address(&name).ok_or(Errno::PROTO)?;
    // SAFETY: the kernel has just filled in the header and the control buffer it points to.
    let via = unsafe { destination(&header) }.ok_or(Errno::PROTO)?;
    Ok((length, sender, via))
}

/// Sends one datagram from where another arrived, without waiting.
pub fn send(socket: impl AsFd, datagram: &[u8], to: SocketAddr, via: Via) -> Result<(), Errno> {
    match (to, via.address) {
        (SocketAddr::V4(to), IpAddr::V4(from)) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: to.port().to_be(),
                sin_addr: in_addr(*to.ip()),
                sin_zero: [0; 8],
            };
            // The route decides on the link; the address is what must not change.
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: in_addr(from),
                ipi_addr: in_addr(Ipv4Addr::UNSPECIFIED),
            };
            send_message(socket.as_fd(), datagram, &name, (libc::IPPROTO_IP, libc::IP_PKTINFO), info)
        }
        (SocketAddr::V6(to), IpAddr::V6(from)) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: to.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: to.ip().octets() },
                sin6_scope_id: to.scope_id(),
            };
            let link = if from.is_unicast_link_local() { via.link } else { 0 };
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: from.octets() },
                ipi6_ifindex: link as _,
            };
            send_message(socket.as_fd(), datagram, &name, (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), info)
        }
        _ => Err(Errno::AFNOSUPPORT),
    }
}

/// `Name` is a socket address and `Info` the value of the control message of that level and type.
fn send_message<Name, Info>(
    socket: BorrowedFd<'_>,
    datagram: &[u8],
    name: &Name,
    (level, kind): (libc::c_int, libc::c_int),
    info: Info,
) -> Result<(), Errno> {
    let mut part = libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
    let mut control = Control([0; 64]);
    let size = mem::size_of::<Info>() as u32;
    // SAFETY: all zeros are a valid header.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = ptr::from_ref(name).cast_mut().cast();
    header.msg_namelen = mem::size_of::<Name>() as libc::socklen_t;
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
    let (space, length) = unsafe { (libc::CMSG_SPACE(size) as usize, libc::CMSG_LEN(size) as usize) };
    assert!(space <= control.0.len(), "a control message of {space} bytes");
    header.msg_controllen = space;
    // SAFETY: the control buffer is aligned for a header and has room for it and `Info`, as just checked.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(&header);
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = length;
        ptr::write_unaligned(libc::CMSG_DATA(message).cast::<Info>(), info);
    }
    // SAFETY: every pointer in the header leads to a live buffer of the length named beside it; the kernel only reads.
    let answer =
        unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    call::result(answer as libc::c_long).map(drop)
}

/// # Safety
/// `header` must describe a control buffer that the kernel has filled in.
unsafe fn destination(header: &libc::msghdr) -> Option<Via> {
    // SAFETY: the caller vouches for the buffer; CMSG_NXTHDR keeps within it, and the kernel writes whole values.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = message.as_ref() {
            match (control.cmsg_level, control.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                    // Not `ipi_addr`, which for a broadcast is no address to answer from.
                    let address = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
                    return Some(Via { address: address.into(), link: info.ipi_ifindex as u32 });
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    return Some(Via { address: address.into(), link: info.ipi6_ifindex as u32 });
                }
                _ => message = libc::CMSG_NXTHDR(header, message),
            }
        }
        None
    }
}

fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from(address).to_be() }
}

fn socket_address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage, which is larger and stricter aligned, holds this type.
            let v4 = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn an_answer_comes_from_the_address_that_was_asked() {
        for (any, asked, ipv6) in [("0.0.0.0:0", "127.0.0.77", false), ("[::]:0", "::1", true)] {
            let server = UdpSocket::bind(any).unwrap();
            tell_destination(&server, ipv6).unwrap();
            let mut buffer = [0; 16];
            assert_eq!(receive(&server, &mut buffer), Err(Errno::AGAIN));
            let asked: IpAddr = asked.parse().unwrap();
            let client = UdpSocket::bind(any).unwrap();
            client.connect((asked, server.local_addr().unwrap().port())).unwrap();
            client.send(b"question").unwrap();
            let (length, sender, via) = receive(&server, &mut buffer).unwrap();
            assert_eq!((&buffer[..length], via.address), (&b"question"[..], asked));
            send(&server, b"answer", sender, via).unwrap();
            // A connected socket takes answers from the address it asked and from no other.
            client.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
            assert_eq!(client.recv(&mut buffer).map(|n| buffer[..n].to_vec()).unwrap(), b"answer");
        }
    }
}
