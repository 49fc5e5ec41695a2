//! The options of the bridge driver (`com.docker.network.…`), read and checked. The texts are Docker's.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{NetworkError, bridge::DEFAULT_MTU};

const BRIDGE: &str = "com.docker.network.bridge.";
const MTU: &str = "com.docker.network.driver.mtu";
const PREFIX: &str = "com.docker.network.container_iface_prefix";
const SOURCE_IPV4: &str = "com.docker.network.host_ipv4";
const SOURCE_IPV6: &str = "com.docker.network.host_ipv6";

/// How a family of a bridge network is joined to the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum GatewayMode {
    /// Published ports are translated, nothing else gets in; what leaves may be masqueraded.
    #[default]
    Nat,
    /// As `Nat`, and every port of a container can be reached at its own address.
    Unprotected,
    /// Nothing is translated; published ports can be reached at the container's own address.
    Routed,
    /// The bridge has no address: not even the host is reached.
    Isolated,
}

/// What the options say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BridgeOptions {
    /// The bridge's name, if one is wanted.
    pub(crate) name: Option<String>,
    /// Whether containers reach each other's unpublished ports.
    pub(crate) icc: bool,
    /// Whether what leaves carries the host's address.
    pub(crate) masquerade: bool,
    /// Where ports are published that name no address; every address if none.
    pub(crate) host_binding: Option<IpAddr>,
    /// How IPv4 is joined to the world.
    pub(crate) mode4: GatewayMode,
    /// How IPv6 is.
    pub(crate) mode6: GatewayMode,
    /// The bridge gets no IPv4 address.
    pub(crate) inhibit_ipv4: bool,
    /// Links of the host from which published ports can be reached at the container's own address.
    pub(crate) trusted: Vec<String>,
    /// The MTU of bridge and interfaces.
    pub(crate) mtu: u32,
    /// What the containers' interfaces are called, without the number.
    pub(crate) prefix: String,
    /// The address that what leaves carries instead of the outgoing link's.
    pub(crate) source4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub(crate) source6: Option<Ipv6Addr>,
}

impl BridgeOptions {
    /// Reads the options of a network. What they do not name is as Docker has it.
    pub(crate) fn read(options: &BTreeMap<String, String>, internal: bool) -> Result<Self, NetworkError> {
        let reader = Reader { options };
        let read = Self {
            name: reader.text("name").filter(|name| !name.is_empty()).map(str::to_owned),
            icc: reader.switch("enable_icc", true)?,
            masquerade: reader.switch("enable_ip_masquerade", true)?,
            host_binding: reader.address(&format!("{BRIDGE}host_binding_ipv4"))?,
            mode4: reader.mode("gateway_mode_ipv4")?,
            mode6: reader.mode("gateway_mode_ipv6")?,
            inhibit_ipv4: reader.switch("inhibit_ipv4", false)?,
            trusted: match reader.text("trusted_host_interfaces") {
                None | Some("") => Vec::new(),
                Some(list) => list.split(':').map(str::to_owned).collect(),
            },
            mtu: reader.mtu()?,
            prefix: match options.get(PREFIX).map_or("", String::as_str) {
                "" => "eth".to_owned(),
                prefix => prefix.to_owned(),
            },
            source4: reader
                .address(SOURCE_IPV4)?
                .map(|ip| match ip {
                    IpAddr::V4(ip) => Ok(ip),
                    IpAddr::V6(_) => Err(no_address(SOURCE_IPV4, &ip.to_string())),
                })
                .transpose()?,
            source6: reader
                .address(SOURCE_IPV6)?
                .map(|ip| match ip {
                    IpAddr::V6(ip) => Ok(ip),
                    IpAddr::V4(_) => Err(no_address(SOURCE_IPV6, &ip.to_string())),
                })
                .transpose()?,
        };
        // It changes nothing; but what is neither true nor false is a mistake.
        reader.switch("default_bridge", false)?;
        let isolated = [read.mode4, read.mode6].contains(&GatewayMode::Isolated);
        if isolated && !internal {
            return Err(NetworkError::IsolatedIsInternal);
        }
        Ok(read)
    }

    /// The family's mode.
    pub(crate) fn mode(&self, ipv6: bool) -> GatewayMode {
        if ipv6 { self.mode6 } else { self.mode4 }
    }

    /// Whether an address of the family is set aside for the bridge.
    pub(crate) fn has_gateway(&self, ipv6: bool) -> bool {
        self.mode(ipv6) != GatewayMode::Isolated
    }

    /// Whether the bridge has that address.
    pub(crate) fn has_address(&self, ipv6: bool) -> bool {
        self.has_gateway(ipv6) && (ipv6 || !self.inhibit_ipv4)
    }
}

struct Reader<'a> {
    options: &'a BTreeMap<String, String>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.options.get(&format!("{BRIDGE}{name}")).map(String::as_str)
    }

    fn switch(&self, name: &str, default: bool) -> Result<bool, NetworkError> {
        match self.text(name) {
            None => Ok(default),
            Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
            Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
            Some(other) => Err(option(
                &format!("{BRIDGE}{name}"),
                other,
                format!("strconv.ParseBool: parsing {other:?}: invalid syntax"),
            )),
        }
    }

    fn address(&self, name: &str) -> Result<Option<IpAddr>, NetworkError> {
        let Some(text) = self.options.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| no_address(name, text))
    }

    fn mode(&self, name: &str) -> Result<GatewayMode, NetworkError> {
        match self.text(name) {
            None | Some("" | "nat") => Ok(GatewayMode::Nat),
            Some("nat-unprotected") => Ok(GatewayMode::Unprotected),
            Some("routed") => Ok(GatewayMode::Routed),
            Some("isolated") => Ok(GatewayMode::Isolated),
            Some(other) => {
                Err(option(&format!("{BRIDGE}{name}"), other, format!("unknown gateway mode {other}")))
            }
        }
    }

    fn mtu(&self) -> Result<u32, NetworkError> {
        let Some(text) = self.options.get(MTU) else { return Ok(DEFAULT_MTU) };
        let number: i64 = text
            .parse()
            .map_err(|_| option(MTU, text, format!("strconv.Atoi: parsing {text:?}: invalid syntax")))?;
        match u32::try_from(number) {
            Ok(0) => Ok(DEFAULT_MTU),
            // What the kernel refuses it says itself.
            Ok(mtu) => Ok(mtu),
            Err(_) => Err(NetworkError::Mtu(number)),
        }
    }
}

fn option(name: &str, value: &str, why: String) -> NetworkError {
    NetworkError::Option { name: name.to_owned(), value: value.to_owned(), why }
}

fn no_address(name: &str, value: &str) -> NetworkError {
    option(name, value, "nil ip".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)], internal: bool) -> Result<BridgeOptions, String> {
        let options = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        BridgeOptions::read(&options, internal).map_err(|e| e.to_string())
    }

    /// Recorded from Docker 28.5.2.
    #[test]
    fn faults_are_told_in_dockers_words() {
        for (name, value, why) in [
            ("bridge.enable_icc", "x", "strconv.ParseBool: parsing \"x\": invalid syntax"),
            ("bridge.enable_ip_masquerade", "", "strconv.ParseBool: parsing \"\": invalid syntax"),
            ("bridge.host_binding_ipv4", "x", "nil ip"),
            ("bridge.gateway_mode_ipv4", "x", "unknown gateway mode x"),
            ("bridge.default_bridge", "x", "strconv.ParseBool: parsing \"x\": invalid syntax"),
            ("driver.mtu", "x", "strconv.Atoi: parsing \"x\": invalid syntax"),
            ("host_ipv4", "x", "nil ip"),
        ] {
            let name = format!("com.docker.network.{name}");
            let words = format!("failed to parse {name} value: {value} ({why})");
            assert_eq!(read(&[(&name, value)], false), Err(words));
        }
        assert_eq!(read(&[(MTU, "-1")], false), Err("invalid MTU number: -1".to_owned()));
        let isolated = [("com.docker.network.bridge.gateway_mode_ipv4", "isolated")];
        let words = "gateway mode 'isolated' can only be used for an internal network";
        assert_eq!(read(&isolated, false), Err(words.to_owned()));
        assert!(!read(&isolated, true).unwrap().has_address(false));
    }

    #[test]
    fn what_is_not_said_is_as_docker_has_it() {
        let plain = read(&[(MTU, "0"), ("x", "y")], false).unwrap();
        assert!(plain.icc && plain.masquerade && plain.has_address(false) && plain.has_address(true));
        assert_eq!((plain.mtu, plain.prefix.as_str(), plain.mode4), (1500, "eth", GatewayMode::Nat));
    }
}
