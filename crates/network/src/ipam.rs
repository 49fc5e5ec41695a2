//! Addresses: which subnet a network gets, and which address a container gets.
//!
//! Nothing here is stored: the pool of taken addresses is rebuilt from the endpoints' records, so an address is taken
//! exactly as long as the record that names it exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;

use crate::config::AddressPool;

/// How many addresses in quarantine are looked at for each one given out.
const QUARANTINE_LOOKUPS: usize = 4;

/// The pools of a daemon that was told of none, which are Docker's.
pub(crate) fn default_pools() -> Vec<AddressPool> {
    let pool = |a, b, prefix, size| AddressPool {
        base: Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), prefix),
        size,
    };
    vec![
        pool(172, 17, 16, 16),
        pool(172, 18, 16, 16),
        pool(172, 19, 16, 16),
        pool(172, 20, 14, 16),
        pool(172, 24, 14, 16),
        pool(172, 28, 14, 16),
        pool(192, 168, 16, 20),
    ]
}

/// The first subnet of the pools that overlaps with nothing in `reserved`.
pub(crate) fn choose_subnet(pools: &[AddressPool], reserved: &[Ipv4Net]) -> Option<Ipv4Net> {
    let overlaps = |a: &Ipv4Net, b: &Ipv4Net| a.contains(&b.network()) || b.contains(&a.network());
    pools
        .iter()
        .filter_map(|pool| pool.base.subnets(pool.size).ok())
        .flatten()
        .find(|subnet| !reserved.iter().any(|net| overlaps(subnet, net)))
}

/// Why an address asked for is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is not in the subnet, or is its first or last address.
    Outside,
    /// It is taken.
    Taken,
}

/// The addresses of one subnet.
///
/// An address that was given back stays in quarantine until the interface that had it is gone: the kernel takes a
/// namespace down some milliseconds after its last process, and until then it would answer in the new owner's place.
#[derive(Debug)]
pub(crate) struct Addresses {
    subnet: Ipv4Net,
    first: u32,
    last: u32,
    taken: BTreeSet<u32>,
    quarantine: BTreeMap<u32, u32>,
    /// Every address below is taken.
    floor: u32,
}

impl Addresses {
    /// Gives addresses out of `range`, or the whole subnet; `reserved` are the gateway's and the bridge's own.
    pub(crate) fn new(
        subnet: Ipv4Net,
        range: Option<Ipv4Net>,
        reserved: impl IntoIterator<Item = Ipv4Addr>,
    ) -> Self {
        let range = range.unwrap_or(subnet);
        let first = u32::from(range.network()).max(u32::from(subnet.network()) + 1);
        let last = u32::from(range.broadcast()).min(u32::from(subnet.broadcast()).saturating_sub(1));
        let taken = reserved.into_iter().map(u32::from).collect();
        Self { subnet, first, last, taken, quarantine: BTreeMap::new(), floor: first }
    }

    /// The lowest free address. `gone` tells whether the link of that index exists no longer.
    pub(crate) fn take_any(&mut self, mut gone: impl FnMut(u32) -> bool) -> Option<Ipv4Addr> {
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
    pub(crate) fn take(&mut self, address: Ipv4Addr) -> Result<(), Refused> {
        let number = u32::from(address);
        let inside = u32::from(self.subnet.network()) < number && number < u32::from(self.subnet.broadcast());
        if !inside {
            return Err(Refused::Outside);
        }
        if self.taken.contains(&number) {
            return Err(Refused::Taken);
        }
        self.mark(number);
        Ok(())
    }

    /// Gives an address back that no interface ever had.
    pub(crate) fn give_back(&mut self, address: Ipv4Addr) {
        let address = u32::from(address);
        self.taken.remove(&address);
        self.floor = self.floor.min(address.max(self.first));
    }

    /// Gives an address back that the link of that index may still have.
    pub(crate) fn release(&mut self, address: Ipv4Addr, link: u32) {
        self.give_back(address);
        self.quarantine.insert(u32::from(address), link);
    }

    fn mark(&mut self, address: u32) -> Ipv4Addr {
        self.taken.insert(address);
        self.quarantine.remove(&address);
        Ipv4Addr::from(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_never_overlaps_with_what_the_host_routes() {
        let pools = default_pools();
        assert_eq!(choose_subnet(&pools, &[]), Some(net("172.17.0.0/16")));
        assert_eq!(choose_subnet(&pools, &[net("172.17.5.0/24")]), Some(net("172.18.0.0/16")));
        assert_eq!(choose_subnet(&pools, &[net("172.16.0.0/12")]), Some(net("192.168.0.0/20")));
        assert_eq!(
            choose_subnet(&pools, &[net("172.16.0.0/12"), net("192.168.3.1/32")]),
            Some(net("192.168.16.0/20"))
        );
        assert_eq!(choose_subnet(&pools, &[net("172.16.0.0/12"), net("192.168.0.0/16")]), None);
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
        assert_eq!(addresses.take(ip("10.0.0.255")), Err(Refused::Outside));
        assert_eq!(addresses.take(ip("10.0.1.1")), Err(Refused::Outside));
    }
}
