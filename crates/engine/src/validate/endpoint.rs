//! What a container may ask of a network. The texts are Docker's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use skiff_network::{Driver, MacAddr, NetworkRecord};

use crate::model::{EndpointConfig, UserNetwork};

/// Kernel parameters of an endpoint's interface.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// Checks what is asked of a network against the network.
///
/// # Errors
/// Everything that is wrong; a hardware address that is none comes alone.
pub(crate) fn check(network: &UserNetwork, config: &EndpointConfig) -> Result<(), Vec<String>> {
    if !config.mac_address.is_empty() && config.mac_address.parse::<MacAddr>().is_err() {
        return Err(vec![format!("invalid MAC address {}", config.mac_address)]);
    }
    let mut faults = Vec::new();
    let builtin = matches!(network.name.as_str(), "bridge" | "host" | "none");
    if builtin && config.aliases.as_ref().is_some_and(|a| !a.is_empty()) {
        faults.push(
            "network-scoped alias is supported only for containers in user defined networks".to_owned(),
        );
    }
    if let Some(ipam) = &config.ipam {
        let (v4, v6) = (&ipam.ipv4_address, &ipam.ipv6_address);
        if builtin && (!v4.is_empty() || !v6.is_empty()) {
            faults.push("user specified IP address is supported on user defined networks only".to_owned());
        }
        let record = network.network.as_ref();
        address(v4, false, v4.parse::<Ipv4Addr>().ok().map(Into::into), record, builtin, &mut faults);
        address(v6, true, v6.parse::<Ipv6Addr>().ok().map(Into::into), record, builtin, &mut faults);
        for ip in ipam.link_local_ips.iter().flatten().filter(|ip| ip.parse::<IpAddr>().is_err()) {
            faults.push(format!("invalid link-local IP address: {ip}"));
        }
    }
    if let Err(fault) = sysctls(config) {
        faults.push(fault);
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn address(
    text: &str,
    ipv6: bool,
    parsed: Option<IpAddr>,
    network: Option<&NetworkRecord>,
    builtin: bool,
    faults: &mut Vec<String>,
) {
    if text.is_empty() {
        return;
    }
    if parsed.is_none() {
        faults.push(format!("invalid {} address: {text}", if ipv6 { "IPv6" } else { "IPv4" }));
    }
    // Whether CNI plugins give an address they say when they are asked for it.
    if network.is_some_and(|network| network.driver == Driver::Cni) {
        return;
    }
    let pools = network.map_or(&[][..], |network| if ipv6 { &network.ipv6 } else { &network.ipv4 });
    // The default bridge's subnets count as configured.
    if !pools.iter().any(|pool| builtin || !pool.chosen) {
        faults.push(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
                .to_owned(),
        );
    } else if !parsed.is_some_and(|ip| pools.iter().any(|pool| pool.subnet.contains(&ip))) {
        faults.push(format!("no configured subnet or ip-range contain the IP address {text}"));
    }
}

/// The kernel parameters that an endpoint's options name: path with `IFNAME` for the interface, and value.
///
/// # Errors
/// One that is not an interface's.
pub(crate) fn sysctls(config: &EndpointConfig) -> Result<Vec<(String, String)>, String> {
    let Some(text) = config.driver_opts.get(SYSCTLS).filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    text.split(',').map(sysctl).collect()
}

/// `net.X.Y.IFNAME.Z=V`; docker's command line makes small letters of all it is given.
fn sysctl(text: &str) -> Result<(String, String), String> {
    let fault = || {
        format!(
            "unrecognised network interface sysctl '{text}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
        )
    };
    let (name, value) = text.split_once('=').ok_or_else(fault)?;
    let words: Vec<&str> = name.split('.').collect();
    let word = |w: &&str| {
        !w.is_empty() && w.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
    };
    match words.as_slice() {
        ["net", family @ ("ipv4" | "ipv6" | "mpls"), kind, "IFNAME" | "ifname", last]
            if [kind, last].into_iter().all(word) =>
        {
            Ok((format!("net/{family}/{kind}/IFNAME/{last}"), value.to_owned()))
        }
        _ => Err(fault()),
    }
}

/// Faults as `connect` tells them.
pub(crate) fn faults(faults: &[String]) -> String {
    match faults {
        [one] => format!("invalid endpoint settings:\n{one}"),
        many => format!("invalid endpoint settings:\n* {}", many.join("\n* ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(sysctl: &str) -> EndpointConfig {
        EndpointConfig {
            driver_opts: [(SYSCTLS.to_owned(), sysctl.to_owned())].into(),
            ..EndpointConfig::default()
        }
    }

    #[test]
    fn only_parameters_of_the_interface_are_set() {
        let two =
            sysctls(&with("net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.accept_ra=2")).unwrap();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            two,
            [pair("net/ipv4/conf/IFNAME/log_martians", "1"), pair("net/ipv6/conf/IFNAME/accept_ra", "2")]
        );
        for bad in [
            "net.ipv4.ip_forward=1",
            "x",
            "net.core.conf.IFNAME.x=1",
            "net.ipv4.conf.IFNAME.a/b=1",
            "net.ipv4.conf.IFNAME...=1",
            "net.ipv4.conf.IfName.x=1",
            "net.ipv4.conf.IFNAME.x",
        ] {
            assert!(sysctls(&with(bad)).is_err(), "{bad}");
        }
    }
}
