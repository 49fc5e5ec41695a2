//! The few switches of the kernel that have no netlink message. They are those of the calling thread's namespace.

use std::io::{self, Write};

use crate::NetworkError;

/// Whether the host forwards packets of a family.
pub(crate) fn forwards(ipv6: bool) -> Result<bool, NetworkError> {
    read(if ipv6 { "net/ipv6/conf/all/forwarding" } else { "net/ipv4/ip_forward" })
}

/// Whether frames of a family that pass a bridge pass netfilter too (br_netfilter).
pub(crate) fn bridges_ask_netfilter(ipv6: bool) -> bool {
    read(&format!("net/bridge/bridge-nf-call-ip{}tables", if ipv6 { "6" } else { "" })).unwrap_or(false)
}

/// Lets the host forward packets of a family.
pub(crate) fn forward(ipv6: bool) -> Result<(), NetworkError> {
    if !ipv6 {
        return write("net/ipv4/ip_forward", "1");
    }
    write("net/ipv6/conf/default/forwarding", "1")?;
    write("net/ipv6/conf/all/forwarding", "1")
}

/// How many neighbours of a family the kernel is to remember. By itself it remembers 1,024, those of all network namespaces together; a container
/// that talks takes two, its own of the bridge and the bridge's of it, and one that scans its subnet takes all there are.
pub const NEIGHBOURS: u64 = 65_536;

/// Has the kernel remember more neighbours, if it remembers fewer. Network namespaces other than the machine's first have no such switch.
pub(crate) fn remember_neighbours() {
    for family in ["ipv4", "ipv6"] {
        for (name, least) in [("gc_thresh3", NEIGHBOURS), ("gc_thresh2", NEIGHBOURS / 4 * 3)] {
            match raise(&format!("net/{family}/neigh/default/{name}"), least) {
                Ok(()) => {}
                Err(NetworkError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, "the kernel cannot be had to remember more neighbours"),
            }
        }
    }
}

/// Raises a limit that is lower.
fn raise(name: &str, least: u64) -> Result<(), NetworkError> {
    let now = fs_err::read_to_string(path(name))?;
    match now.trim().parse::<u64>() {
        Ok(now) if now >= least => Ok(()),
        _ => write(name, &least.to_string()),
    }
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
/// by itself but its link-local one, and that at once: while the kernel still asks whether somebody else has it, for a second or two, it
/// looks for no neighbour that another host's packet is for.
pub(crate) fn enable_ipv6(link: &str, listens: bool) -> Result<(), NetworkError> {
    if !listens {
        write(&format!("net/ipv6/conf/{link}/accept_ra"), "0")?;
        write(&format!("net/ipv6/conf/{link}/accept_dad"), "0")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_and_never_lowered() {
        std::thread::spawn(|| {
            skiff_sys::netns::unshare_net().unwrap();
            let limit = "net/core/somaxconn";
            let mut seen = Vec::new();
            for least in [5000, 4000, 6000] {
                raise(limit, least).unwrap();
                seen.push(fs_err::read_to_string(path(limit)).unwrap());
            }
            assert_eq!(seen, ["5000\n", "5000\n", "6000\n"]);
        })
        .join()
        .unwrap();
    }
}
