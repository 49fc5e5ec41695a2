//! The few switches of the kernel that have no netlink message. They are those of the calling thread's namespace.

use std::io;

use crate::NetworkError;

/// Whether the host forwards IPv4 packets.
pub(crate) fn ip_forward() -> Result<bool, NetworkError> {
    read("net/ipv4/ip_forward")
}

/// Lets the host forward IPv4 packets.
pub(crate) fn enable_ip_forward() -> Result<(), NetworkError> {
    write("net/ipv4/ip_forward", "1")
}

/// Lets packets from 127.0.0.0/8 leave through this link, and their answers come back. Only ever set where the
/// firewall's guard drops what comes from outside with such an address.
pub(crate) fn route_loopback(link: &str) -> Result<(), NetworkError> {
    write(&format!("net/ipv4/conf/{link}/route_localnet"), "1")
}

/// Has a link announce its address whenever that or its hardware address changes, so that neighbours which knew the
/// address as somebody else's learn better at once.
pub(crate) fn announce_addresses(link: &str) -> Result<(), NetworkError> {
    write(&format!("net/ipv4/conf/{link}/arp_notify"), "1")
}

/// Switches IPv6 off for a link. A kernel without IPv6 has nothing to switch off.
pub(crate) fn disable_ipv6(link: &str) -> Result<(), NetworkError> {
    match write(&format!("net/ipv6/conf/{link}/disable_ipv6"), "1") {
        Err(NetworkError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The ports the kernel gives out by itself, both ends included.
pub(crate) fn local_port_range() -> Result<(u16, u16), NetworkError> {
    let path = path("net/ipv4/ip_local_port_range");
    let text = fs_err::read_to_string(&path)?;
    let mut ports = text.split_ascii_whitespace().map(str::parse);
    match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Ok((first, last)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path}: not a range of ports")).into()),
    }
}

/// Whether there are IPv6 sockets.
pub(crate) fn has_ipv6() -> bool {
    fs_err::metadata("/proc/thread-self/net/if_inet6").is_ok()
}

fn path(name: &str) -> String {
    format!("/proc/sys/{name}")
}

fn read(name: &str) -> Result<bool, NetworkError> {
    Ok(fs_err::read_to_string(path(name))?.trim() != "0")
}

fn write(name: &str, value: &str) -> Result<(), NetworkError> {
    Ok(fs_err::write(path(name), value)?)
}
