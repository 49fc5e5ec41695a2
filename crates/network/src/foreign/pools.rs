//! Subnets and addresses that an IPAM plugin gives out.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::json;
use skiff_plugins::Plugins;

use super::protocol::{Ipam, PoolData};
use crate::{
    EndpointRecord, EndpointRequest, MacAddr, NetworkError, NetworkRecord, NetworkRequest, PoolRequest,
    networks::{Addressing, Pool},
};

/// How many subnets a plugin is asked for until one is free here.
const TRIES: usize = 16;

/// What a plugin calls a subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The plugin's name of the pool.
    pub(crate) id: String,
    /// The address space that it is in.
    pub(crate) space: String,
}

/// The subnets of a new network, by a plugin's grace.
pub(crate) struct Taking<'a> {
    pub(crate) plugins: &'a Plugins,
    /// The plugin.
    pub(crate) name: &'a str,
    pub(crate) options: &'a std::collections::BTreeMap<String, String>,
    /// The scope of the network.
    pub(crate) scope: &'a str,
    /// Whether the network's driver wants an address for a gateway.
    pub(crate) has_gateway: &'a dyn Fn(bool) -> bool,
    /// Whether a subnet that the plugin chose cannot be had here.
    pub(crate) is_taken: &'a dyn Fn(&IpNet) -> bool,
}

/// Asks for the IPv4 and the IPv6 subnets of a network.
///
/// # Errors
/// The plugin's; it goes on choosing subnets that are in use here. Nothing is kept then.
pub(crate) fn take_pools(
    taking: &Taking<'_>,
    request: &NetworkRequest,
) -> Result<(Vec<Pool>, Vec<Pool>), NetworkError> {
    let ipam = Ipam::find(taking.plugins, taking.name)?;
    let space = ipam.space(taking.scope)?;
    let mut out = [Vec::new(), Vec::new()];
    for (ipv6, wanted) in [(false, request.ipv4), (true, request.ipv6)] {
        let asked: Vec<&PoolRequest> =
            request.pools.iter().filter(|pool| pool.subnet.addr().is_ipv6() == ipv6).collect();
        let asked: Vec<Option<&PoolRequest>> = match asked.is_empty() {
            true => vec![None; usize::from(wanted)],
            false if wanted => asked.into_iter().map(Some).collect(),
            false => Vec::new(),
        };
        for asked in asked {
            match take_pool(&ipam, taking, &space, asked, ipv6) {
                Ok(pool) => out[usize::from(ipv6)].push(pool),
                Err(error) => {
                    out.iter().flatten().for_each(|pool| leave_pool(&ipam, pool));
                    return Err(error);
                }
            }
        }
    }
    let [ipv4, ipv6] = out;
    Ok((ipv4, ipv6))
}

fn take_pool(
    ipam: &Ipam,
    taking: &Taking<'_>,
    space: &str,
    asked: Option<&PoolRequest>,
    ipv6: bool,
) -> Result<Pool, NetworkError> {
    let text = |net: Option<IpNet>| net.map(|net| net.to_string()).unwrap_or_default();
    let wanted = text(asked.map(|asked| asked.subnet));
    let range = text(asked.and_then(|asked| asked.range));
    // What cannot be had is kept until another is found, or the plugin would give it again.
    let mut refused = Vec::new();
    let given = loop {
        let given = request_pool(ipam, taking, space, &wanted, &range, ipv6);
        match given {
            Ok((data, subnet)) if asked.is_none() && (taking.is_taken)(&subnet) => {
                refused.push(data.pool_id);
                if refused.len() == TRIES {
                    break Err(NetworkError::PoolOverlaps);
                }
            }
            given => break given,
        }
    };
    refused.iter().for_each(|id| told(ipam.release_pool(id)));
    let (data, subnet) = given?;
    let mut pool = Pool {
        subnet,
        range: asked.and_then(|asked| asked.range),
        gateway: None,
        auxiliary: Default::default(),
        chosen: asked.is_none(),
        lease: Some(Lease { id: data.pool_id.clone(), space: space.to_owned() }),
    };
    if let Err(error) = reserve(ipam, taking, asked, &data, &mut pool) {
        leave_pool(ipam, &pool);
        return Err(error);
    }
    Ok(pool)
}

fn request_pool(
    ipam: &Ipam,
    taking: &Taking<'_>,
    space: &str,
    wanted: &str,
    range: &str,
    ipv6: bool,
) -> Result<(PoolData, IpNet), NetworkError> {
    let data = ipam.request_pool(space, wanted, range, taking.options, ipv6)?;
    match data.pool.parse::<IpNet>() {
        Ok(subnet) if subnet.addr().is_ipv6() == ipv6 => Ok((data, subnet.trunc())),
        _ => {
            told(ipam.release_pool(&data.pool_id));
            Err(ipam.broken("IpamDriver.RequestPool", format!("{:?} is no such subnet", data.pool)))
        }
    }
}

/// Takes the addresses that containers do not get: the gateway's and those set aside.
fn reserve(
    ipam: &Ipam,
    taking: &Taking<'_>,
    asked: Option<&PoolRequest>,
    data: &PoolData,
    pool: &mut Pool,
) -> Result<(), NetworkError> {
    const GATEWAY: &str = "com.docker.network.gateway";
    let asked_gateway = asked.and_then(|asked| asked.gateway);
    let offered = data.data.get(GATEWAY).and_then(|v| v.as_str()?.parse::<IpNet>().ok());
    pool.gateway = match offered {
        Some(offered) if asked_gateway.is_none() => Some(offered.addr()),
        _ if asked_gateway.is_some() || (taking.has_gateway)(pool.subnet.addr().is_ipv6()) => {
            let kind = json!({ "RequestAddressType": GATEWAY });
            let given = ipam.request_address(&data.pool_id, asked_gateway, Some(kind));
            let label = asked_gateway.map(|ip| ip.to_string()).unwrap_or_default();
            let given = given.map_err(|e| e.labelled(format!("failed to allocate gateway ({label})")))?;
            Some(given.addr())
        }
        _ => None,
    };
    for (name, ip) in asked.iter().flat_map(|asked| &asked.auxiliary) {
        let given = ipam.request_address(&data.pool_id, Some(*ip), None);
        given.map_err(|e| e.labelled(format!("failed to allocate secondary ip address ({name}:{ip})")))?;
        pool.auxiliary.insert(name.clone(), *ip);
    }
    Ok(())
}

/// Gives back the subnets of a network that is gone.
pub(crate) fn leave_pools(plugins: &Plugins, record: &NetworkRecord) {
    let Addressing::Plugin { name, .. } = &record.addressing else { return };
    leave(plugins, name, &record.pools().cloned().collect::<Vec<_>>());
}

/// Gives back subnets.
pub(crate) fn leave(plugins: &Plugins, name: &str, pools: &[Pool]) {
    match Ipam::find(plugins, name) {
        Ok(ipam) => pools.iter().for_each(|pool| leave_pool(&ipam, pool)),
        Err(error) => told(Err(error)),
    }
}

fn leave_pool(ipam: &Ipam, pool: &Pool) {
    let Some(lease) = &pool.lease else { return };
    for address in pool.reserved() {
        told(ipam.release_address(&lease.id, address));
    }
    told(ipam.release_pool(&lease.id));
}

/// Takes the addresses of a new endpoint, and notes them in what it asks for.
///
/// # Errors
/// The plugin's. Nothing is kept then.
pub(crate) fn take_addresses(
    plugins: &Plugins,
    record: &NetworkRecord,
    request: &mut EndpointRequest,
) -> Result<(), NetworkError> {
    let Addressing::Plugin { name, .. } = &record.addressing else { return Ok(()) };
    let ipam = Ipam::find(plugins, name)?;
    let options = match ipam.needs().mac {
        true => {
            let mac = *request.mac.get_or_insert_with(MacAddr::random);
            Some(json!({ "com.docker.network.endpoint.macaddress": mac.to_string() }))
        }
        false => None,
    };
    for (pools, wanted, ipv6) in [
        (&record.ipv4, request.ipv4.map(IpAddr::V4), false),
        (&record.ipv6, request.ipv6.map(IpAddr::V6), true),
    ] {
        let asked_for = |pool: &&Pool| wanted.is_none_or(|ip| pool.subnet.contains(&ip));
        let Some(pool) = pools.iter().find(asked_for) else {
            match wanted {
                Some(ip) => {
                    give_back(&ipam, record, request, ipv6);
                    return Err(NetworkError::AddressOutside(ip));
                }
                None => continue,
            }
        };
        let Some(lease) = &pool.lease else { continue };
        match ipam.request_address(&lease.id, wanted, options.clone()).map(|net| net.addr()) {
            Ok(IpAddr::V4(ip)) if !ipv6 => request.ipv4 = Some(ip),
            Ok(IpAddr::V6(ip)) if ipv6 => request.ipv6 = Some(ip),
            other => {
                give_back(&ipam, record, request, ipv6);
                let strange =
                    |ip| ipam.broken("IpamDriver.RequestAddress", format!("{ip} is of the wrong family"));
                return Err(other.map_or_else(|error| error, strange));
            }
        }
    }
    Ok(())
}

/// Gives back the IPv4 address of an endpoint whose IPv6 address cannot be had.
fn give_back(ipam: &Ipam, record: &NetworkRecord, request: &EndpointRequest, ipv6: bool) {
    if let Some(ip) = request.ipv4.filter(|_| ipv6) {
        leave_address(ipam, record, ip.into());
    }
}

fn leave_address(ipam: &Ipam, record: &NetworkRecord, ip: IpAddr) {
    if let Some(lease) = record.pool_of(ip).and_then(|pool| pool.lease.as_ref()) {
        told(ipam.release_address(&lease.id, ip));
    }
}

/// Gives back addresses.
pub(crate) fn leave_addresses(
    plugins: &Plugins,
    record: &NetworkRecord,
    addresses: impl IntoIterator<Item = IpAddr>,
) {
    let Addressing::Plugin { name, .. } = &record.addressing else { return };
    match Ipam::find(plugins, name) {
        Ok(ipam) => addresses.into_iter().for_each(|ip| leave_address(&ipam, record, ip)),
        Err(error) => told(Err(error)),
    }
}

/// Tells plugins that keep nothing themselves which pools and addresses are in use.
pub(crate) fn replay_pools(plugins: &Plugins, networks: &[NetworkRecord], endpoints: &[EndpointRecord]) {
    for record in networks {
        let Addressing::Plugin { name, options } = &record.addressing else { continue };
        let again = Ipam::find(plugins, name).and_then(|ipam| {
            if !ipam.needs().replay {
                return Ok(());
            }
            for pool in record.pools() {
                let Some(lease) = &pool.lease else { continue };
                let (subnet, range) = (pool.subnet.to_string(), pool.range.map(|r| r.to_string()));
                let range = range.unwrap_or_default();
                ipam.request_pool(&lease.space, &subnet, &range, options, pool.subnet.addr().is_ipv6())?;
                let members = endpoints.iter().filter(|e| e.network == record.id);
                let addresses = members.flat_map(EndpointRecord::own_addresses);
                for ip in pool.reserved().chain(addresses.filter(|ip| pool.subnet.contains(ip))) {
                    ipam.request_address(&lease.id, Some(ip), None)?;
                }
            }
            Ok(())
        });
        if let Err(error) = again {
            tracing::warn!(network = record.name, %error, "an IPAM plugin could not be told what is in use");
        }
    }
}

/// What a plugin does not give up it has to keep.
pub(super) fn told(outcome: Result<(), NetworkError>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "a plugin did not do what was asked of it");
    }
}
