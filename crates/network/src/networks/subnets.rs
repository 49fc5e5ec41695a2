//! From what a network asks for to the subnets it gets: a pure function of the request, the pools and what is taken.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    Carrier, Driver,
    record::{NetworkRequest, Pool},
};
use crate::{
    NetworkError,
    config::AddressPool,
    ipam::{Addresses, PoolRequest, Refused, choose_subnet, overlap},
};

/// What is taken already.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    /// Subnets of other networks, which no network may share.
    pub(crate) networks: Vec<IpNet>,
    /// What the host routes elsewhere: not chosen, but anybody may ask for it.
    pub(crate) host: Vec<IpNet>,
}

impl Taken {
    /// Whether another network has some of a subnet.
    pub(crate) fn by_network(&self, subnet: &IpNet) -> bool {
        self.networks.iter().any(|other| overlap(other, subnet))
    }

    /// Whether another network has some of it, or the host routes it elsewhere.
    pub(crate) fn by_anybody(&self, subnet: &IpNet) -> bool {
        self.by_network(subnet) || self.host.iter().any(|other| overlap(other, subnet))
    }
}

/// The IPv4 and the IPv6 subnets of a new network.
///
/// # Errors
/// Subnets that overlap with others', pools that are used up, gateways and auxiliary addresses that cannot be had.
pub(crate) fn decide(
    request: &NetworkRequest,
    carrier: &Carrier,
    pools: &[AddressPool],
    taken: &Taken,
) -> Result<(Vec<Pool>, Vec<Pool>), NetworkError> {
    let of_family = |ipv6: bool| request.pools.iter().filter(move |p| p.subnet.addr().is_ipv6() == ipv6);
    let mut out = [Vec::new(), Vec::new()];
    for (ipv6, wanted) in [(false, request.ipv4), (true, request.ipv6)] {
        if !wanted {
            continue;
        }
        let mut all: Vec<&PoolRequest> = of_family(ipv6).collect();
        let chosen;
        if all.is_empty() {
            let reserved: Vec<IpNet> = taken.networks.iter().chain(&taken.host).copied().collect();
            let subnet = choose_subnet(pools, &reserved, ipv6).ok_or(NetworkError::PoolsExhausted)?;
            chosen = PoolRequest { subnet, range: None, gateway: None, auxiliary: Default::default() };
            all.push(&chosen);
            out[usize::from(ipv6)].push(pool(all[0], carrier.has_gateway(ipv6), true)?);
            continue;
        }
        for (i, asked) in all.iter().enumerate() {
            let own = all[..i].iter().any(|other| overlap(&other.subnet, &asked.subnet));
            if own || taken.by_network(&asked.subnet) {
                return Err(NetworkError::PoolOverlaps);
            }
            out[usize::from(ipv6)].push(pool(asked, carrier.has_gateway(ipv6), false)?);
        }
        if all.len() > 1 && request.driver == Driver::Bridge {
            return Err(NetworkError::ManySubnets);
        }
    }
    let [ipv4, ipv6] = out;
    Ok((ipv4, ipv6))
}

/// Gives the gateway its address: the one asked for, or the first that is given out.
fn pool(asked: &PoolRequest, has_gateway: bool, chosen: bool) -> Result<Pool, NetworkError> {
    let PoolRequest { subnet, range, gateway, auxiliary } = asked.clone();
    let mut addresses = Addresses::new(subnet, range, []);
    let gateway = match gateway {
        Some(gateway) => {
            Some(take(&mut addresses, gateway).map_err(|()| NetworkError::GatewayInUse(gateway))?)
        }
        None if !has_gateway => None,
        None => Some(addresses.take_any(|_| true).ok_or(NetworkError::NoGateway(subnet))?),
    };
    for (name, address) in &auxiliary {
        let taken = gateway == Some(*address);
        if taken || take(&mut addresses, *address).is_err() {
            return Err(NetworkError::AuxiliaryInUse { name: name.clone(), address: *address });
        }
    }
    Ok(Pool { subnet, range, gateway, auxiliary, chosen, lease: None })
}

fn take(addresses: &mut Addresses, address: IpAddr) -> Result<IpAddr, ()> {
    match addresses.take(address) {
        Ok(()) => Ok(address),
        Err(Refused::Outside | Refused::Taken) => Err(()),
    }
}
