//! `--subnet`, `--ip-range`, `--gateway`, `--aux-address` of a network, put together subnet by subnet. The texts are docker's.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

/// What was given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) subnets: Vec<String>,
    pub(crate) ranges: Vec<String>,
    pub(crate) gateways: Vec<String>,
    /// Name and address.
    pub(crate) auxiliary: Vec<(String, String)>,
}

/// One entry of `IPAM.Config`.
#[derive(Debug, Default)]
struct Pool<'a> {
    subnet: &'a str,
    range: &'a str,
    gateway: &'a str,
    auxiliary: Map<String, Value>,
}

/// The entries of `IPAM.Config`.
pub(crate) fn pools(given: &Given) -> Result<Vec<Value>, String> {
    if given.subnets.len() < given.ranges.len().max(given.gateways.len()) {
        return Err("every ip-range or gateway must have a corresponding subnet".to_owned());
    }
    let mut pools: Vec<Pool<'_>> = Vec::new();
    for subnet in &given.subnets {
        for other in &pools {
            if holds(subnet, other.subnet)? || holds(other.subnet, subnet)? {
                return Err("multiple overlapping subnet configuration is not supported".to_owned());
            }
        }
        pools.push(Pool { subnet, ..Pool::default() });
    }
    for range in &given.ranges {
        let pool = find(&mut pools, range)?.ok_or_else(|| format!("no matching subnet for range {range}"))?;
        if !pool.range.is_empty() {
            return Err(format!(
                "cannot configure multiple ranges ({range}, {}) on the same subnet ({})",
                pool.range, pool.subnet
            ));
        }
        pool.range = range;
    }
    for gateway in &given.gateways {
        let pool =
            find(&mut pools, gateway)?.ok_or_else(|| format!("no matching subnet for gateway {gateway}"))?;
        if !pool.gateway.is_empty() {
            return Err(format!(
                "cannot configure multiple gateways ({gateway}, {}) for the same subnet ({})",
                pool.gateway, pool.subnet
            ));
        }
        pool.gateway = gateway;
    }
    for (name, address) in &given.auxiliary {
        let pool = find(&mut pools, address)?
            .ok_or_else(|| format!("no matching subnet for aux-address {address}"))?;
        pool.auxiliary.insert(name.clone(), json!(address));
    }
    Ok(pools.into_iter().map(entry).collect())
}

fn entry(pool: Pool<'_>) -> Value {
    let mut entry = Map::new();
    entry.insert("Subnet".to_owned(), json!(pool.subnet));
    for (key, text) in [("IPRange", pool.range), ("Gateway", pool.gateway)] {
        if !text.is_empty() {
            entry.insert(key.to_owned(), json!(text));
        }
    }
    if !pool.auxiliary.is_empty() {
        entry.insert("AuxiliaryAddresses".to_owned(), pool.auxiliary.into());
    }
    entry.into()
}

fn find<'a, 'b>(pools: &'a mut [Pool<'b>], what: &str) -> Result<Option<&'a mut Pool<'b>>, String> {
    for pool in pools {
        if holds(pool.subnet, what)? {
            return Ok(Some(pool));
        }
    }
    Ok(None)
}

/// Whether an address, or the first of a range, lies in a subnet; what is no address lies in none.
fn holds(subnet: &str, what: &str) -> Result<bool, String> {
    let bad = |text: &str| format!("invalid CIDR address: {text}");
    let (base, length) = cidr(subnet).ok_or_else(|| format!("invalid subnet: {}", bad(subnet)))?;
    let address = match what.contains('/') {
        true => cidr(what).ok_or_else(|| bad(what))?.0,
        false => match what.parse() {
            Ok(address) => address,
            Err(_) => return Ok(false),
        },
    };
    Ok(match (base, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => shares(u32::from(a).into(), u32::from(b).into(), length, 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => shares(a.into(), b.into(), length, 128),
        _ => false,
    })
}

fn shares(a: u128, b: u128, length: u32, bits: u32) -> bool {
    (a ^ b).checked_shr(bits - length).unwrap_or(0) == 0
}

fn cidr(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length = length.parse().ok()?;
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn each_option_goes_to_its_subnet() {
        let given = Given {
            subnets: list(&["10.1.0.0/24", "fd00::/64", "10.2.0.0/24"]),
            ranges: list(&["10.2.0.128/25"]),
            gateways: list(&["fd00::1", "10.1.0.9"]),
            auxiliary: vec![("a".into(), "10.1.0.5".into())],
        };
        assert_eq!(
            pools(&given).unwrap(),
            [
                json!({ "Subnet": "10.1.0.0/24", "Gateway": "10.1.0.9", "AuxiliaryAddresses": { "a": "10.1.0.5" } }),
                json!({ "Subnet": "fd00::/64", "Gateway": "fd00::1" }),
                json!({ "Subnet": "10.2.0.0/24", "IPRange": "10.2.0.128/25" }),
            ]
        );
    }

    /// Recorded from docker 28.5.
    #[test]
    fn what_does_not_fit_is_told_in_dockers_words() {
        let fault = |subnets: &[&str], ranges: &[&str], gateways: &[&str]| {
            let given = Given {
                subnets: list(subnets),
                ranges: list(ranges),
                gateways: list(gateways),
                ..Given::default()
            };
            pools(&given).unwrap_err()
        };
        let net = "10.1.0.0/24";
        for (fault, words) in [
            (fault(&[net, net], &[], &[]), "multiple overlapping subnet configuration is not supported"),
            (fault(&[], &[], &["10.1.0.1"]), "every ip-range or gateway must have a corresponding subnet"),
            (fault(&[net], &[], &["10.2.0.1"]), "no matching subnet for gateway 10.2.0.1"),
            (fault(&[net], &[], &["x"]), "no matching subnet for gateway x"),
            (fault(&["x"], &[], &["10.1.0.1"]), "invalid subnet: invalid CIDR address: x"),
        ] {
            assert_eq!(fault, words);
        }
    }
}
