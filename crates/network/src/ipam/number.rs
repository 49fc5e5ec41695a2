//! Addresses as numbers, of both families alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The address as a number.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// The number as an address of the family of `like`.
pub(super) fn address(like: &IpNet, number: u128) -> IpAddr {
    match like {
        IpNet::V4(_) => Ipv4Addr::from(number as u32).into(),
        IpNet::V6(_) => Ipv6Addr::from(number).into(),
    }
}

/// The first and the last address.
pub(super) fn bounds(net: &IpNet) -> (u128, u128) {
    (number(net.network()), number(net.broadcast()))
}

/// The first and the last address of a subnet that an interface can have: not the network's own nor, in IPv4, the
/// broadcast address, unless the subnet has but one or two (RFC 3021).
pub(super) fn usable(net: &IpNet) -> (u128, u128) {
    let (first, last) = bounds(net);
    match net {
        IpNet::V4(net) if net.prefix_len() >= 31 => (first, last),
        IpNet::V4(_) => (first + 1, last - 1),
        IpNet::V6(net) if net.prefix_len() == 128 => (first, last),
        IpNet::V6(_) => (first + 1, last),
    }
}
