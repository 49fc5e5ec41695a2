//! The default bridge's IPv6: which subnet and address it has, if it is to have any.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv6Net};

use crate::{
    NetworkError, Pool,
    bridge::{HostFacts, OWN_BRIDGE},
    config::{AddressPool, NetConfig},
    ipam, link,
    netlink::{Batch, Netlink},
    sysctl,
};

/// What is to be done with the bridge that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan6 {
    /// Addresses it must lose.
    remove: Vec<Ipv6Net>,
    /// The address it must get.
    add: Option<Ipv6Net>,
    /// Its subnet in the end; none without IPv6.
    pub(crate) pool: Option<Pool>,
}

/// Decides on the bridge's IPv6 address: `--bip6`, or the first of `--fixed-cidr-v6`, or what it has, or the first subnet of
/// `pools` that is free and not `taken` by another network.
///
/// # Errors
/// Addresses that contradict each other; no free subnet.
pub(crate) fn plan(
    config: &NetConfig,
    facts: &HostFacts,
    pools: &[AddressPool],
    taken: &[IpNet],
) -> Result<Plan6, NetworkError> {
    let index = facts.links.iter().find(|link| link.name == config.bridge).map(|link| link.index);
    let present: Vec<Ipv6Net> = facts
        .addresses
        .iter()
        .filter(|(link, _)| Some(*link) == index)
        .filter_map(|(_, net)| match net {
            IpNet::V6(net) if !net.addr().is_unicast_link_local() => Some(*net),
            _ => None,
        })
        .collect();
    let own = config.bridge == OWN_BRIDGE;
    let others = |kept: Option<Ipv6Net>| {
        present.iter().filter(|net| own && Some(**net) != kept).copied().collect::<Vec<_>>()
    };
    if !config.ipv6 {
        return Ok(Plan6 { remove: others(None), ..Plan6::default() });
    }
    let fits = |net: &&Ipv6Net| config.fixed_cidr6.is_none_or(|range| net.trunc().contains(&range));
    let address = match (config.bip6, present.iter().find(fits), config.fixed_cidr6) {
        (Some(bip), _, _) => checked(bip)?,
        (None, Some(kept), _) => *kept,
        (None, None, Some(range)) => first_of(range.trunc()),
        (None, None, None) => {
            let mut reserved = facts.reserved(index);
            reserved.extend(taken);
            match ipam::choose_subnet(pools, &reserved, true) {
                Some(IpNet::V6(subnet)) => first_of(subnet),
                _ => return Err(NetworkError::PoolsExhausted),
            }
        }
    };
    Ok(Plan6 {
        remove: others(Some(address)),
        add: (!present.contains(&address)).then_some(address),
        pool: Some(pool(config, address)?),
    })
}

fn checked(bip: Ipv6Net) -> Result<Ipv6Net, NetworkError> {
    match bip.addr() == bip.network() {
        true => {
            Err(NetworkError::Config(format!("invalid --bip6 {bip}: not the address of a host in a subnet")))
        }
        false => Ok(bip),
    }
}

/// The subnet's first address behind that of its routers.
fn first_of(subnet: Ipv6Net) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from(u128::from(subnet.network()) | 1), subnet.prefix_len())
}

fn pool(config: &NetConfig, address: Ipv6Net) -> Result<Pool, NetworkError> {
    let subnet = address.trunc();
    let outside = |what: &str, value: &dyn std::fmt::Display| {
        Err(NetworkError::Config(format!("{what} {value} is not in the bridge's subnet {subnet}")))
    };
    if let Some(range) = config.fixed_cidr6.filter(|range| !subnet.contains(range)) {
        return outside("IPv6 fixed cidr", &range);
    }
    if let Some(gateway) = config.default_gateway6.filter(|gateway| !subnet.contains(gateway)) {
        return outside("default IPv6 gateway", &gateway);
    }
    let other = config.default_gateway6.filter(|gateway| *gateway != address.addr());
    let auxiliary: BTreeMap<String, IpAddr> =
        other.map(|ip| ("DefaultGatewayIPv6".to_owned(), ip.into())).into_iter().collect();
    Ok(Pool {
        subnet: subnet.into(),
        range: config.fixed_cidr6.map(|range| range.trunc().into()),
        gateway: Some(address.addr().into()),
        auxiliary,
        chosen: config.bip6.is_none() && config.fixed_cidr6.is_none(),
        lease: None,
    })
}

/// Carries the plan out on a bridge that is there.
pub(crate) fn apply(plan: &Plan6, bridge: &str, index: u32, route: &mut Netlink) -> Result<(), NetworkError> {
    if plan.pool.is_some() {
        sysctl::enable_ipv6(bridge, false)?;
    }
    if plan.remove.is_empty() && plan.add.is_none() {
        return Ok(());
    }
    let mut batch = Batch::default();
    plan.remove.iter().for_each(|net| link::delete_address(&mut batch, index, (*net).into()));
    plan.add.iter().for_each(|net| link::add_address(&mut batch, index, (*net).into()));
    link::run(route, batch, &format!("set up bridge {bridge}"))
}

#[cfg(test)]
mod tests {
    use skiff_types::NetworkId;

    use super::*;
    use crate::link::Link;

    fn net(text: &str) -> Ipv6Net {
        text.parse().unwrap()
    }

    fn config() -> NetConfig {
        NetConfig { ipv6: true, ..NetConfig::new(NetworkId::from_bytes([0xab; 32])) }
    }

    fn facts(addresses: &[&str]) -> HostFacts {
        HostFacts {
            links: vec![Link { index: 7, name: "docker0".into(), kind: "bridge".into(), ..Link::default() }],
            addresses: addresses.iter().map(|a| (7, a.parse().unwrap())).collect(),
            ..HostFacts::default()
        }
    }

    fn planned(config: &NetConfig, addresses: &[&str]) -> Plan6 {
        plan(config, &facts(addresses), &[ipam::unique_local(&config.network_id)], &[]).unwrap()
    }

    #[test]
    fn the_address_is_what_was_asked_for_or_what_is_there_or_chosen() {
        let chosen = planned(&config(), &["fe80::1/64"]);
        assert_eq!((chosen.add, chosen.remove), (Some(net("fdab:abab:abab::1/64")), vec![]));
        assert!(chosen.pool.unwrap().chosen);
        let kept = planned(&config(), &["fd00:1::1/64"]);
        assert_eq!((kept.add, kept.pool.unwrap().gateway), (None, "fd00:1::1".parse().ok()));
        let fixed = NetConfig { fixed_cidr6: Some(net("2001:db8:1::/64")), ..config() };
        let plan = planned(&fixed, &["fd00:1::1/64"]);
        assert_eq!((plan.add, plan.remove), (Some(net("2001:db8:1::1/64")), vec![net("fd00:1::1/64")]));
        let asked = NetConfig {
            bip6: Some(net("2001:db8:2::5/64")),
            fixed_cidr6: Some(net("2001:db8:2::100/120")),
            default_gateway6: "2001:db8:2::9".parse().ok(),
            ..config()
        };
        let pool = planned(&asked, &[]).pool.unwrap();
        assert_eq!((pool.subnet.to_string(), pool.chosen), ("2001:db8:2::/64".to_owned(), false));
        assert_eq!(pool.container_gateway(), "2001:db8:2::9".parse().ok());
    }

    #[test]
    fn without_ipv6_what_an_earlier_daemon_gave_is_taken_away() {
        let off = NetConfig { ipv6: false, bip6: Some(net("2001:db8:2::5/64")), ..config() };
        let plan = planned(&off, &["fd00:1::1/64", "fe80::1/64"]);
        assert_eq!((plan.pool, plan.add, plan.remove), (None, None, vec![net("fd00:1::1/64")]));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for wrong in [
            NetConfig { bip6: Some(net("2001:db8::/64")), ..config() },
            NetConfig {
                bip6: Some(net("2001:db8::1/64")),
                fixed_cidr6: Some(net("2001:db8:1::/80")),
                ..config()
            },
            NetConfig {
                bip6: Some(net("2001:db8::1/64")),
                default_gateway6: "2001:db8:7::9".parse().ok(),
                ..config()
            },
        ] {
            assert!(matches!(plan(&wrong, &facts(&[]), &[], &[]), Err(NetworkError::Config(_))));
        }
    }
}
