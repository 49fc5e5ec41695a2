//! The default bridge's interface: made, found or changed, so that it has the address the configuration wants.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::{
    NetworkError,
    config::NetConfig,
    endpoint::MacAddr,
    ipam,
    link::{self, Link},
    netlink::{Batch, Netlink},
};

/// The bridge that is made if it is missing; another name means somebody else made it.
pub(crate) const OWN_BRIDGE: &str = "docker0";
/// The MTU of links when the configuration names none.
pub(crate) const DEFAULT_MTU: u32 = 1500;

/// What the host has: links, addresses, and what it routes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostFacts {
    /// All links.
    pub(crate) links: Vec<Link>,
    /// Their addresses.
    pub(crate) addresses: Vec<(u32, IpNet)>,
    /// Where packets go, by link.
    pub(crate) routes: Vec<(u32, IpNet)>,
    /// The name servers in the host's resolv.conf.
    pub(crate) nameservers: Vec<IpAddr>,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Make the bridge.
    create: bool,
    /// Addresses it must lose.
    remove: Vec<Ipv4Net>,
    /// The address it must get.
    add: Option<Ipv4Net>,
    /// Its address and subnet in the end.
    pub(crate) address: Ipv4Net,
}

impl HostFacts {
    /// Asks the kernel.
    pub(crate) fn read(route: &mut Netlink) -> Result<Self, NetworkError> {
        let mut facts = Self::read_nets(route)?;
        let mut batch = Batch::default();
        link::get_all(&mut batch);
        link::dump(route, batch, "list the links", |kind, body| {
            facts.links.extend(link::parse_link(kind, body))
        })?;
        Ok(facts)
    }

    /// Asks only which nets are in use.
    pub(crate) fn read_nets(route: &mut Netlink) -> Result<Self, NetworkError> {
        let mut facts = Self { nameservers: nameservers(), ..Self::default() };
        let mut batch = Batch::default();
        link::get_addresses(&mut batch);
        link::dump(route, batch, "list the addresses", |kind, body| {
            facts.addresses.extend(link::parse_address(kind, body));
        })?;
        let mut batch = Batch::default();
        link::get_routes(&mut batch);
        link::dump(route, batch, "list the routes", |kind, body| {
            facts.routes.extend(link::parse_route(kind, body));
        })?;
        Ok(facts)
    }

    /// Whether this very link exists: indexes start anew with each boot.
    pub(crate) fn has_link(&self, index: u32, name: &str) -> bool {
        self.links.iter().any(|link| link.index == index && link.name == name)
    }

    /// What is used elsewhere than at this link.
    pub(crate) fn reserved(&self, bridge: Option<u32>) -> Vec<IpNet> {
        let elsewhere = self.addresses.iter().chain(&self.routes).filter(|(link, _)| Some(*link) != bridge);
        elsewhere
            .map(|(_, net)| net.trunc())
            .chain(self.nameservers.iter().map(|ip| IpNet::from(*ip)))
            .filter(|net| net.prefix_len() > 0)
            .collect()
    }
}

/// Decides on the bridge's address: `--bip`, or what it has, or the first subnet of the pools that is free and not `taken`
/// by another network.
///
/// # Errors
/// A bridge that should exist and does not, or is no bridge; no free subnet.
pub(crate) fn plan(config: &NetConfig, facts: &HostFacts, taken: &[IpNet]) -> Result<Plan, NetworkError> {
    let existing = facts.links.iter().find(|link| link.name == config.bridge);
    match existing {
        Some(link) if link.kind != "bridge" => {
            return Err(NetworkError::Config(format!(
                "existing interface {} is not a bridge",
                config.bridge
            )));
        }
        None if config.bridge != OWN_BRIDGE => {
            return Err(NetworkError::Config(format!(
                "bridge device with non default bridge name {} must be created manually",
                config.bridge
            )));
        }
        _ => {}
    }
    let index = existing.map(|link| link.index);
    let present: Vec<Ipv4Net> = facts
        .addresses
        .iter()
        .filter(|(link, _)| Some(*link) == index)
        .filter_map(|(_, net)| match net {
            IpNet::V4(net) => Some(*net),
            IpNet::V6(_) => None,
        })
        .collect();
    let address = match (config.bip, present.first()) {
        (Some(bip), _) => checked_bip(bip)?,
        (None, Some(first)) => *first,
        (None, None) => {
            let default = ipam::default_pools();
            let pools = match &config.default_address_pools[..] {
                [] => &default[..],
                configured => configured,
            };
            let mut reserved = facts.reserved(index);
            reserved.extend(taken);
            match ipam::choose_subnet(pools, &reserved, false) {
                Some(IpNet::V4(subnet)) => {
                    Ipv4Net::new_assert(Ipv4Addr::from(u32::from(subnet.network()) + 1), subnet.prefix_len())
                }
                _ => return Err(NetworkError::PoolsExhausted),
            }
        }
    };
    let own = config.bridge == OWN_BRIDGE;
    Ok(Plan {
        create: existing.is_none(),
        remove: if own { present.iter().filter(|net| **net != address).copied().collect() } else { vec![] },
        add: (!present.contains(&address)).then_some(address),
        address,
    })
}

fn checked_bip(bip: Ipv4Net) -> Result<Ipv4Net, NetworkError> {
    let unusable = bip.addr() == bip.network() || bip.addr() == bip.broadcast();
    match unusable || bip.prefix_len() > 30 {
        true => {
            Err(NetworkError::Config(format!("invalid --bip {bip}: not the address of a host in a subnet")))
        }
        false => Ok(bip),
    }
}

/// Carries the plan out and gives the bridge's index.
pub(crate) fn apply(plan: &Plan, config: &NetConfig, route: &mut Netlink) -> Result<u32, NetworkError> {
    let name = &config.bridge;
    let mut batch = Batch::default();
    if plan.create {
        let mtu = if config.mtu == 0 { DEFAULT_MTU } else { config.mtu };
        link::create_bridge(&mut batch, name, MacAddr::random(), mtu);
    }
    link::bring_up(&mut batch, name);
    link::get_by_name(&mut batch, name);
    let operation = format!("set up bridge {name}");
    let index = link::one_link(route, batch, &operation)?.index;
    if !plan.remove.is_empty() || plan.add.is_some() {
        let mut batch = Batch::default();
        plan.remove.iter().for_each(|net| link::delete_address(&mut batch, index, (*net).into()));
        plan.add.iter().for_each(|net| link::add_address(&mut batch, index, (*net).into()));
        link::run(route, batch, &operation)?;
    }
    Ok(index)
}

/// A host without resolv.conf has no name servers.
fn nameservers() -> Vec<IpAddr> {
    let text = fs_err::read_to_string("/etc/resolv.conf").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|address| match address.trim().parse() {
            Ok(ip) if !IpAddr::is_loopback(&ip) => Some(ip),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use skiff_types::NetworkId;

    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn any(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn config() -> NetConfig {
        NetConfig::new(NetworkId::random())
    }

    fn with_bridge(kind: &str, addresses: &[&str]) -> HostFacts {
        HostFacts {
            links: vec![Link { index: 7, name: "docker0".into(), kind: kind.into(), ..Link::default() }],
            addresses: addresses.iter().map(|a| (7, any(a))).collect(),
            routes: addresses.iter().map(|a| (7, any(a).trunc())).collect(),
            ..HostFacts::default()
        }
    }

    #[test]
    fn a_missing_bridge_is_made_in_the_first_free_subnet() {
        let facts = HostFacts {
            addresses: vec![(2, any("172.17.3.9/24"))],
            routes: vec![(2, any("172.18.0.0/15"))],
            nameservers: vec!["172.20.1.1".parse().unwrap()],
            ..HostFacts::default()
        };
        let plan = plan(&config(), &facts, &[]).unwrap();
        assert!(plan.create && plan.remove.is_empty());
        assert_eq!((plan.add, plan.address), (Some(net("172.21.0.1/16")), net("172.21.0.1/16")));
        let beside = super::plan(&config(), &facts, &[any("172.21.0.0/16")]).unwrap();
        assert_eq!(beside.address, net("172.22.0.1/16"));
    }

    #[test]
    fn an_existing_bridge_keeps_its_address_unless_another_is_wanted() {
        let facts = with_bridge("bridge", &["10.9.0.1/24"]);
        let kept = plan(&config(), &facts, &[]).unwrap();
        assert_eq!(kept, Plan { create: false, remove: vec![], add: None, address: net("10.9.0.1/24") });
        let moved = plan(&NetConfig { bip: Some(net("10.8.0.5/24")), ..config() }, &facts, &[]).unwrap();
        assert_eq!(moved.remove, [net("10.9.0.1/24")]);
        assert_eq!(moved.add, Some(net("10.8.0.5/24")));
    }

    #[test]
    fn what_cannot_be_the_bridge_is_refused() {
        assert!(matches!(plan(&config(), &with_bridge("veth", &[]), &[]), Err(NetworkError::Config(_))));
        let other = NetConfig { bridge: "br9".into(), ..config() };
        assert!(matches!(plan(&other, &HostFacts::default(), &[]), Err(NetworkError::Config(_))));
        for bip in ["10.0.0.0/24", "10.0.0.255/24", "10.0.0.1/31"] {
            let bip = NetConfig { bip: Some(net(bip)), ..config() };
            assert!(matches!(plan(&bip, &HostFacts::default(), &[]), Err(NetworkError::Config(_))));
        }
        let full = HostFacts {
            routes: ["172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"].map(|net| (2, any(net))).to_vec(),
            ..HostFacts::default()
        };
        assert!(matches!(plan(&config(), &full, &[]), Err(NetworkError::PoolsExhausted)));
    }
}
