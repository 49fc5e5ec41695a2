//! Which container ports hold which ports of the host.

use std::{collections::HashMap, net::IpAddr};

use crate::ports::Protocol;

/// One host address that holds a port, with the token of the socket that keeps it, if one does.
type Holder = (IpAddr, Option<u64>);

/// The ports that are published.
#[derive(Debug)]
pub(super) struct Registry {
    held: HashMap<(Protocol, u16), Vec<Holder>>,
    /// The ephemeral port given out last.
    last: HashMap<(Protocol, IpAddr), u16>,
    local_range: (u16, u16),
}

impl Registry {
    /// Nothing is held; ephemeral ports come from this range, both ends included.
    pub(super) fn new(local_range: (u16, u16)) -> Self {
        Self { held: HashMap::new(), last: HashMap::new(), local_range }
    }

    /// The range of ephemeral ports.
    pub(super) fn local_range(&self) -> (u16, u16) {
        self.local_range
    }

    /// The address that stands in the way of publishing the port at `address`: the same one, or one of the two being
    /// all addresses of the family.
    pub(super) fn holder(&self, protocol: Protocol, port: u16, address: IpAddr) -> Option<IpAddr> {
        let conflicts = |held: IpAddr| {
            held == address
                || (held.is_ipv4() == address.is_ipv4()
                    && (held.is_unspecified() || address.is_unspecified()))
        };
        let holders = self.held.get(&(protocol, port))?;
        holders.iter().map(|(held, _)| *held).find(|held| conflicts(*held))
    }

    /// Notes that the port is taken.
    pub(super) fn hold(&mut self, protocol: Protocol, port: u16, address: IpAddr, token: Option<u64>) {
        self.held.entry((protocol, port)).or_default().push((address, token));
    }

    /// Notes that the port is free, and tells its socket's token.
    pub(super) fn free(&mut self, protocol: Protocol, port: u16, address: IpAddr) -> Option<u64> {
        let holders = self.held.get_mut(&(protocol, port))?;
        let position = holders.iter().position(|(held, _)| *held == address)?;
        let (_, token) = holders.swap_remove(position);
        if holders.is_empty() {
            self.held.remove(&(protocol, port));
        }
        token
    }

    /// Where to look first for a free ephemeral port: behind the last one, so that a port is not used again at once.
    pub(super) fn next_ephemeral(&self, protocol: Protocol, address: IpAddr) -> u16 {
        let (first, last) = self.local_range;
        match self.last.get(&(protocol, address)) {
            Some(port) if (first..last).contains(port) => port + 1,
            _ => first,
        }
    }

    /// Notes which ephemeral port was given out.
    pub(super) fn gave_ephemeral(&mut self, protocol: Protocol, address: IpAddr, port: u16) {
        self.last.insert((protocol, address), port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn all_addresses_conflict_with_each_of_their_family() {
        let mut registry = Registry::new((32768, 60999));
        registry.hold(Protocol::Tcp, 80, ip("0.0.0.0"), Some(1));
        registry.hold(Protocol::Tcp, 81, ip("::1"), None);
        let holder = |address, port| registry.holder(Protocol::Tcp, port, ip(address));
        assert_eq!(holder("127.0.0.1", 80), Some(ip("0.0.0.0")));
        assert_eq!(holder("::1", 80), None);
        assert_eq!(holder("::", 81), Some(ip("::1")));
        assert_eq!(holder("::2", 81), None);
        assert_eq!(registry.holder(Protocol::Udp, 80, ip("0.0.0.0")), None);
        assert_eq!(registry.free(Protocol::Tcp, 80, ip("0.0.0.0")), Some(1));
        assert_eq!(registry.holder(Protocol::Tcp, 80, ip("127.0.0.1")), None);
    }

    #[test]
    fn ephemeral_ports_go_round() {
        let mut registry = Registry::new((10, 11));
        let any = ip("0.0.0.0");
        assert_eq!(registry.next_ephemeral(Protocol::Tcp, any), 10);
        registry.gave_ephemeral(Protocol::Tcp, any, 10);
        assert_eq!(registry.next_ephemeral(Protocol::Tcp, any), 11);
        registry.gave_ephemeral(Protocol::Tcp, any, 11);
        assert_eq!(registry.next_ephemeral(Protocol::Tcp, any), 10);
        assert_eq!(registry.next_ephemeral(Protocol::Udp, any), 10);
    }
}
