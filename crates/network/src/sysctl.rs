//! The few switches of the kernel that have no netlink message. They are those of the calling thread's namespace.

use std::io::{self, Write};

use crate::NetworkError;

/// Whether the host forwards packets of a family.
pub(crate) fn forwards(ipv6: bool) -> Result<bool, NetworkError> {
    read(if ipv6 { "net/ipv6/conf/all/forwarding" } else { "net/ipv4/ip_forward" })
}

/// Lets the host forward packets of a family.
pub(crate) fn forward(ipv6: bool) -> Result<(), NetworkError> {
    if !ipv6 {
        return write("net/ipv4/ip_forward", "1");
    }
    write("net/ipv6/conf/default/forwarding", "1")?;
    write("net/ipv6/conf/all/forwarding", "1")
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

/// Switches IPv6 on for a link whose addresses we give it, and a change is announced. Unless it `listens` to routers it has none
/// by itself but its link-local one.
pub(crate) fn enable_ipv6(link: &str, listens: bool) -> Result<(), NetworkError> {
    if !listens {
        write(&format!("net/ipv6/conf/{link}/accept_ra"), "0")?;
    }
    for (name, value) in [("ndisc_notify", "1"), ("disable_ipv6", "0")] {
        write(&format!("net/ipv6/conf/{link}/{name}"), value)?;
    }
    Ok(())
}

/// Sets any parameter, its path below `/proc/sys`. One that does not exist is not found.
pub(crate) fn set(name: &str, value: &str) -> Result<(), NetworkError> {
    let mut file = fs_err::OpenOptions::new().write(true).open(path(name))?;
    Ok(file.write_all(value.as_bytes())?)
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
