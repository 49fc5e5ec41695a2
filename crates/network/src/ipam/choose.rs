//! Which subnet a network gets that asks for none.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use skiff_types::NetworkId;

use super::number::{address, bounds};
use crate::config::AddressPool;

/// The pools of a daemon that was told of none: first Docker's, which are used up by 31 networks; then small subnets from
/// the end of 10.0.0.0/8, where few networks number from.
pub(crate) fn default_pools() -> Vec<AddressPool> {
    let pool = |a, b, prefix, size| AddressPool {
        base: Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), prefix).into(),
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
        pool(10, 240, 12, 24),
    ]
}

/// The pool of IPv6 subnets of one host: unique local addresses (RFC 4193), whose 40 random bits come from an identifier
/// that stays.
pub(crate) fn unique_local(host: &NetworkId) -> AddressPool {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&host.as_bytes()[..5]);
    AddressPool { base: Ipv6Net::new_assert(Ipv6Addr::from(octets), 48).into(), size: 64 }
}

/// Whether two nets have an address in common.
pub(crate) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The first subnet of the pools of one family that overlaps with nothing in `reserved`.
pub(crate) fn choose_subnet(pools: &[AddressPool], reserved: &[IpNet], ipv6: bool) -> Option<IpNet> {
    let of_family = |net: &&IpNet| matches!(net, IpNet::V6(_)) == ipv6;
    let mut taken: Vec<(u128, u128)> = reserved.iter().filter(of_family).map(bounds).collect();
    taken.sort_unstable();
    // Nets overlap only by one lying in the other: what is left has rising ends.
    taken.dedup_by(|inner, outer| inner.1 <= outer.1);
    pools.iter().filter(|pool| of_family(&&pool.base)).find_map(|pool| free_in(pool, &taken))
}

fn free_in(pool: &AddressPool, taken: &[(u128, u128)]) -> Option<IpNet> {
    let (first, last) = bounds(&pool.base);
    let size = 1u128.checked_shl(u32::from(pool.base.max_prefix_len() - pool.size))?;
    let mut start = first;
    loop {
        let end = start.checked_add(size - 1).filter(|end| *end <= last)?;
        let next = taken.partition_point(|(_, taken_end)| *taken_end < start);
        match taken.get(next) {
            Some((taken_start, taken_end)) if *taken_start <= end => {
                let behind = taken_end.checked_add(1)?;
                start = behind.checked_next_multiple_of(size)?;
            }
            _ => return IpNet::new(address(&pool.base, start), pool.size).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn choose(reserved: &[&str]) -> Option<IpNet> {
        let reserved: Vec<_> = reserved.iter().map(|text| net(text)).collect();
        choose_subnet(&default_pools(), &reserved, false)
    }

    #[test]
    fn a_subnet_never_overlaps_with_what_the_host_routes() {
        assert_eq!(choose(&[]), Some(net("172.17.0.0/16")));
        assert_eq!(choose(&["172.17.5.0/24"]), Some(net("172.18.0.0/16")));
        assert_eq!(choose(&["172.16.0.0/12"]), Some(net("192.168.0.0/20")));
        assert_eq!(choose(&["172.16.0.0/12", "192.168.3.1/32"]), Some(net("192.168.16.0/20")));
        assert_eq!(choose(&["172.16.0.0/12", "192.168.0.0/16"]), Some(net("10.240.0.0/24")));
        assert_eq!(choose(&["172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"]), None);
        let nested = ["172.17.0.0/16", "172.17.3.0/24", "172.18.0.0/15", "172.18.0.0/24", "fd00::/8"];
        assert_eq!(choose(&nested), Some(net("172.20.0.0/16")));
    }

    #[test]
    fn a_thousand_networks_find_subnets_and_none_twice() {
        let mut taken = vec![net("10.241.0.0/16")];
        for _ in 0..1000 {
            let next = choose_subnet(&default_pools(), &taken, false).unwrap();
            assert!(!taken.iter().any(|net| overlap(net, &next)), "{next}");
            taken.push(next);
        }
    }

    #[test]
    fn ipv6_subnets_are_unique_local_and_stay_the_hosts() {
        let host = NetworkId::random();
        let pools = [unique_local(&host)];
        let first = choose_subnet(&pools, &[], true).unwrap();
        assert_eq!(Some(first), choose_subnet(&pools, &[net("172.17.0.0/16")], true));
        let second = choose_subnet(&pools, &[first], true).unwrap();
        assert!(net("fd00::/8").contains(&first) && !overlap(&first, &second));
        assert_eq!(first.prefix_len(), 64);
    }

    #[test]
    fn the_last_subnet_of_a_pool_is_given_and_no_other_family_looked_at() {
        let pool = AddressPool { base: net("255.255.0.0/16"), size: 17 };
        assert_eq!(choose_subnet(&[pool], &[net("255.255.0.0/17")], false), Some(net("255.255.128.0/17")));
        assert_eq!(choose_subnet(&[pool], &[net("255.255.0.0/16")], false), None);
        assert_eq!(choose_subnet(&[pool], &[], true), None);
    }
}
