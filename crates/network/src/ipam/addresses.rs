//! Which addresses of a subnet are taken.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::number::{address, bounds, number, usable};

/// How many addresses in quarantine are looked at for each one given out.
const QUARANTINE_LOOKUPS: usize = 4;

/// Why an address asked for is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is not in the subnet.
    Outside,
    /// It is taken, or is the network's own or the broadcast address.
    Taken,
}

/// The addresses of one subnet.
///
/// An address that was given back stays in quarantine until the interface that had it is gone: the kernel takes a
/// namespace down some milliseconds after its last process, and until then it would answer in the new owner's place.
#[derive(Debug)]
pub(crate) struct Addresses {
    subnet: IpNet,
    first: u128,
    last: u128,
    taken: BTreeSet<u128>,
    quarantine: BTreeMap<u128, u32>,
    /// Every address below is taken.
    floor: u128,
}

impl Addresses {
    /// Gives addresses out of `range`, or the whole subnet; `reserved` are the gateway's, the bridge's own and those that
    /// the network leaves to others.
    pub(crate) fn new(
        subnet: IpNet,
        range: Option<IpNet>,
        reserved: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        let (lowest, highest) = usable(&subnet);
        let (first, last) = range.as_ref().map_or((lowest, highest), bounds);
        let (first, last) = (first.max(lowest), last.min(highest));
        let taken = reserved.into_iter().map(number).collect();
        Self { subnet, first, last, taken, quarantine: BTreeMap::new(), floor: first }
    }

    /// Whether an address is in the subnet.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.subnet.contains(&address)
    }

    /// The lowest free address. `gone` tells whether the link of that index exists no longer.
    pub(crate) fn take_any(&mut self, mut gone: impl FnMut(u32) -> bool) -> Option<IpAddr> {
        let mut lookups = 0;
        let mut fallback = None;
        let mut below_are_taken = true;
        for address in self.floor..=self.last {
            if self.taken.contains(&address) {
                continue;
            }
            if below_are_taken {
                self.floor = address;
                below_are_taken = false;
            }
            if let Some(&link) = self.quarantine.get(&address) {
                lookups += 1;
                if lookups > QUARANTINE_LOOKUPS || !gone(link) {
                    fallback = fallback.or(Some(address));
                    continue;
                }
            }
            return Some(self.mark(address));
        }
        fallback.map(|address| self.mark(address))
    }

    /// This address.
    pub(crate) fn take(&mut self, address: IpAddr) -> Result<(), Refused> {
        if !self.subnet.contains(&address) {
            return Err(Refused::Outside);
        }
        let number = number(address);
        let (lowest, highest) = usable(&self.subnet);
        if !(lowest..=highest).contains(&number) || self.taken.contains(&number) {
            return Err(Refused::Taken);
        }
        self.mark(number);
        Ok(())
    }

    /// Gives an address back that no interface ever had.
    pub(crate) fn give_back(&mut self, address: IpAddr) {
        let address = number(address);
        self.taken.remove(&address);
        self.floor = self.floor.min(address.max(self.first));
    }

    /// Gives an address back that the link of that index may still have.
    pub(crate) fn release(&mut self, address: IpAddr, link: u32) {
        self.give_back(address);
        self.quarantine.insert(number(address), link);
    }

    fn mark(&mut self, number: u128) -> IpAddr {
        self.taken.insert(number);
        self.quarantine.remove(&number);
        address(&self.subnet, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_lowest_free_address_is_given_until_none_is_left() {
        let mut addresses = Addresses::new(net("10.0.0.0/29"), None, [ip("10.0.0.1")]);
        let all: Vec<_> = std::iter::from_fn(|| addresses.take_any(|_| true)).collect();
        assert_eq!(all, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"].map(ip));
        addresses.release(ip("10.0.0.4"), 9);
        addresses.release(ip("10.0.0.3"), 8);
        assert_eq!(addresses.take_any(|_| true), Some(ip("10.0.0.3")));
        assert_eq!(addresses.take_any(|_| true), Some(ip("10.0.0.4")));
        assert_eq!(addresses.take_any(|_| true), None);
    }

    #[test]
    fn an_address_waits_for_its_old_interface_unless_it_is_the_last() {
        let mut addresses = Addresses::new(net("10.0.0.0/29"), None, [ip("10.0.0.1")]);
        assert_eq!(addresses.take_any(|_| true), Some(ip("10.0.0.2")));
        addresses.release(ip("10.0.0.2"), 7);
        assert_eq!(addresses.take_any(|link| link != 7), Some(ip("10.0.0.3")));
        for last in ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"] {
            assert_eq!(addresses.take_any(|link| link != 7), Some(ip(last)));
        }
    }

    #[test]
    fn a_range_limits_what_is_given_but_not_what_may_be_asked_for() {
        let mut addresses = Addresses::new(net("10.0.0.0/24"), Some(net("10.0.0.8/30")), [ip("10.0.0.9")]);
        let all: Vec<_> = std::iter::from_fn(|| addresses.take_any(|_| true)).collect();
        assert_eq!(all, ["10.0.0.8", "10.0.0.10", "10.0.0.11"].map(ip));
        assert_eq!(addresses.take(ip("10.0.0.10")), Err(Refused::Taken));
        assert_eq!(addresses.take(ip("10.0.0.200")), Ok(()));
        assert_eq!(addresses.take(ip("10.0.0.255")), Err(Refused::Taken));
        assert_eq!(addresses.take(ip("10.0.1.1")), Err(Refused::Outside));
    }

    #[test]
    fn the_smallest_subnets_use_all_they_have_and_ipv6_keeps_its_first() {
        let all = |subnet: &str, reserved: &str| {
            let mut addresses = Addresses::new(net(subnet), None, [ip(reserved)]);
            std::iter::from_fn(|| addresses.take_any(|_| true)).take(3).collect::<Vec<_>>()
        };
        assert_eq!(all("10.0.0.0/31", "10.0.0.0"), [ip("10.0.0.1")]);
        assert_eq!(all("10.0.0.0/32", "10.0.0.0"), Vec::<IpAddr>::new());
        assert_eq!(all("fd00::/127", "fd00::1"), Vec::<IpAddr>::new());
        assert_eq!(all("fd00::/64", "fd00::1"), ["fd00::2", "fd00::3", "fd00::4"].map(ip));
    }
}
