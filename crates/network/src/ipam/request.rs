//! What a client asks of a network's addresses, read and checked. The texts are Docker's.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

/// One entry of `IPAM.Config` as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolConfig {
    /// The subnet.
    pub subnet: String,
    /// The part of it that addresses are given out of; may be empty.
    pub ip_range: String,
    /// The gateway; may be empty.
    pub gateway: String,
    /// Addresses that are not given out, by name.
    pub auxiliary: BTreeMap<String, String>,
}

/// One entry of `IPAM.Config`, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRequest {
    /// The subnet.
    pub subnet: IpNet,
    /// The part of it that addresses are given out of.
    pub range: Option<IpNet>,
    /// The gateway.
    pub gateway: Option<IpAddr>,
    /// Addresses that are not given out, by name.
    pub auxiliary: BTreeMap<String, IpAddr>,
}

impl PoolRequest {
    /// Reads the entries.
    ///
    /// # Errors
    /// Everything that is wrong with them, one line for each fault.
    pub fn read(configs: &[PoolConfig]) -> Result<Vec<Self>, Vec<String>> {
        let mut faults = Vec::new();
        let pools: Vec<_> = configs.iter().filter_map(|config| read(config, &mut faults)).collect();
        if faults.is_empty() { Ok(pools) } else { Err(faults) }
    }
}

fn read(config: &PoolConfig, faults: &mut Vec<String>) -> Option<PoolRequest> {
    let subnet = match block(&config.subnet) {
        Ok(subnet) => subnet,
        Err(why) => {
            faults.push(format!("invalid subnet {}: {why}", config.subnet));
            return None;
        }
    };
    let mut range = None;
    if !config.ip_range.is_empty() {
        match block(&config.ip_range).and_then(|range| part_of(&subnet, range)) {
            Ok(part) => range = Some(part),
            Err(why) => faults.push(format!("invalid ip-range {}: {why}", config.ip_range)),
        }
    }
    let mut gateway = None;
    if !config.gateway.is_empty() {
        match member(&subnet, &config.gateway) {
            Ok(address) => gateway = Some(address),
            Err(why) => faults.push(format!("invalid gateway {}: {why}", config.gateway)),
        }
    }
    let mut auxiliary = BTreeMap::new();
    for (name, text) in &config.auxiliary {
        match member(&subnet, text) {
            Ok(address) => drop(auxiliary.insert(name.clone(), address)),
            Err(why) => faults.push(format!("invalid auxiliary address {name}: {why}")),
        }
    }
    Some(PoolRequest { subnet, range, gateway, auxiliary })
}

fn block(text: &str) -> Result<IpNet, String> {
    let net: IpNet = text.parse().map_err(|_| "invalid CIDR block notation".to_owned())?;
    match net.trunc() {
        exact if exact == net => Ok(net),
        exact => Err(format!("it should be {exact}")),
    }
}

fn part_of(subnet: &IpNet, range: IpNet) -> Result<IpNet, String> {
    if range.addr().is_ipv4() != subnet.addr().is_ipv4() {
        return Err(format!("parent subnet is an {} block", family(subnet)));
    }
    if range.prefix_len() < subnet.prefix_len() {
        return Err(format!("CIDR block is bigger than its parent subnet {subnet}"));
    }
    match subnet.contains(&range) {
        true => Ok(range),
        false => Err(format!("parent subnet {subnet} doesn't contain ip-range")),
    }
}

fn member(subnet: &IpNet, text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "invalid address".to_owned())?;
    if address.is_ipv4() != subnet.addr().is_ipv4() {
        return Err(format!("parent subnet is an {} block", family(subnet)));
    }
    match subnet.contains(&address) {
        true => Ok(address),
        false => Err(format!("parent subnet {subnet} doesn't contain this address")),
    }
}

fn family(net: &IpNet) -> &'static str {
    match net {
        IpNet::V4(_) => "IPv4",
        IpNet::V6(_) => "IPv6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(subnet: &str, ip_range: &str, gateway: &str, auxiliary: &[(&str, &str)]) -> PoolConfig {
        PoolConfig {
            subnet: subnet.into(),
            ip_range: ip_range.into(),
            gateway: gateway.into(),
            auxiliary: auxiliary.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }

    /// Recorded from Docker 28.5.2.
    #[test]
    fn faults_are_told_in_dockers_words() {
        let net = "10.99.0.0/24";
        for (config, fault) in [
            (config("10.99.0.5/24", "", "", &[]), "invalid subnet 10.99.0.5/24: it should be 10.99.0.0/24"),
            (config("", "", "10.0.0.1", &[]), "invalid subnet : invalid CIDR block notation"),
            (config("10.99.0.0/33", "", "", &[]), "invalid subnet 10.99.0.0/33: invalid CIDR block notation"),
            (
                config(net, "10.98.0.0/24", "", &[]),
                "invalid ip-range 10.98.0.0/24: parent subnet 10.99.0.0/24 doesn't contain ip-range",
            ),
            (
                config(net, "10.99.0.0/16", "", &[]),
                "invalid ip-range 10.99.0.0/16: CIDR block is bigger than its parent subnet 10.99.0.0/24",
            ),
            (
                config(net, "10.99.0.5/28", "", &[]),
                "invalid ip-range 10.99.0.5/28: it should be 10.99.0.0/28",
            ),
            (
                config("fd00::/64", "10.0.0.0/24", "", &[]),
                "invalid ip-range 10.0.0.0/24: parent subnet is an IPv6 block",
            ),
            (config(net, "", "fd00::1", &[]), "invalid gateway fd00::1: parent subnet is an IPv4 block"),
            (
                config(net, "", "10.98.0.1", &[]),
                "invalid gateway 10.98.0.1: parent subnet 10.99.0.0/24 doesn't contain this address",
            ),
            (config(net, "", "10.99.0.1/24", &[]), "invalid gateway 10.99.0.1/24: invalid address"),
            (config(net, "", "", &[("a", "x")]), "invalid auxiliary address a: invalid address"),
        ] {
            assert_eq!(PoolRequest::read(&[config]), Err(vec![fault.to_owned()]));
        }
        let two = [config(net, "y", "x", &[("b", "z")]), config("foo", "", "", &[])];
        let faults = PoolRequest::read(&two).unwrap_err();
        assert_eq!(faults.len(), 4, "{faults:?}");
    }
}
