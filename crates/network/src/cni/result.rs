//! What plugins answer to `ADD`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::MacAddr;

/// An answer, as it was given and as far as it is understood.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Answer {
    /// As it was given: plugins are told of it later.
    #[serde(with = "as_text")]
    pub(crate) value: Value,
}

/// Records are kept in a format that cannot hold any JSON value.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use serde_json::Value;

    pub(super) fn serialize<S: Serializer>(value: &Value, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        serde_json::from_str(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// What an answer says of the container's interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) mac: Option<MacAddr>,
    /// Its addresses, at most one of each family.
    pub(crate) addresses: Vec<IpNet>,
    /// Where its default routes lead, at most one of each family.
    pub(crate) gateways: Vec<IpAddr>,
    /// Name servers.
    pub(crate) servers: Vec<IpAddr>,
    /// Links of the host that belong to it.
    pub(crate) host_links: Vec<String>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    interfaces: Option<Vec<Interface>>,
    #[serde(default)]
    ips: Option<Vec<Ip>>,
    #[serde(default)]
    routes: Option<Vec<Route>>,
    #[serde(default)]
    dns: Option<Dns>,
}

#[derive(Deserialize)]
struct Interface {
    name: String,
    #[serde(default)]
    mac: String,
    #[serde(default)]
    sandbox: String,
}

#[derive(Deserialize)]
struct Ip {
    address: IpNet,
    #[serde(default)]
    gateway: Option<IpAddr>,
    #[serde(default)]
    interface: Option<usize>,
}

#[derive(Deserialize)]
struct Route {
    dst: IpNet,
    #[serde(default)]
    gw: Option<IpAddr>,
}

#[derive(Default, Deserialize)]
struct Dns {
    #[serde(default)]
    nameservers: Option<Vec<IpAddr>>,
}

impl Answer {
    /// Reads an answer.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        read(&value)?;
        Ok(Self { value })
    }

    /// What it says of an interface.
    pub(crate) fn told(&self, interface: &str) -> Told {
        let Ok(raw) = read(&self.value) else { return Told::default() };
        let interfaces = raw.interfaces.unwrap_or_default();
        let is_own = |link: &Interface| !link.sandbox.is_empty() && link.name == interface;
        let is_ours = |ip: &&Ip| ip.interface.and_then(|i| interfaces.get(i)).is_none_or(is_own);
        let ips = raw.ips.unwrap_or_default();
        let first =
            |ipv6: bool| ips.iter().filter(is_ours).find(move |ip| ip.address.addr().is_ipv6() == ipv6);
        let families = [first(false), first(true)];
        let routes = raw.routes.unwrap_or_default();
        let gateway = |ip: &Ip| {
            let is_default = |route: &&Route| {
                route.dst.prefix_len() == 0 && route.dst.addr().is_ipv6() == ip.address.addr().is_ipv6()
            };
            routes.iter().find(is_default)?.gw.or(ip.gateway)
        };
        Told {
            mac: interfaces.iter().find(|link| is_own(link)).and_then(|link| link.mac.parse().ok()),
            addresses: families.into_iter().flatten().map(|ip| ip.address).collect(),
            gateways: families.into_iter().flatten().filter_map(gateway).collect(),
            servers: raw.dns.unwrap_or_default().nameservers.unwrap_or_default(),
            host_links: interfaces.iter().filter(|l| l.sandbox.is_empty()).map(|l| l.name.clone()).collect(),
        }
    }
}

fn read(value: &Value) -> Result<Raw, String> {
    Raw::deserialize(value).map_err(|e| format!("its answer is not understood: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the bridge plugin of Debian 12.
    const BRIDGE: &str = r#"{"cniVersion":"1.0.0","interfaces":[{"name":"cni0","mac":"aa:bb:cc:dd:ee:01"},{"name":"veth1","mac":"aa:bb:cc:dd:ee:02"},
        {"name":"eth0","mac":"aa:bb:cc:dd:ee:04","sandbox":"/run/netns/x"}],"ips":[{"interface":2,"address":"10.4.0.2/24","gateway":"10.4.0.1"},
        {"interface":2,"address":"fd00::2/64","gateway":"fd00::1"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"10.9.0.0/16","gw":"10.4.0.9"}],"dns":{"nameservers":["10.4.0.53"]}}"#;

    #[test]
    fn an_answer_tells_of_addresses_routes_and_names() {
        let told = Answer::parse(BRIDGE.as_bytes()).unwrap().told("eth0");
        assert_eq!(told.mac.unwrap().to_string(), "aa:bb:cc:dd:ee:04");
        assert_eq!(told.addresses, ["10.4.0.2/24".parse().unwrap(), "fd00::2/64".parse().unwrap()]);
        assert_eq!(told.gateways, ["10.4.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(told.servers, ["10.4.0.53".parse::<IpAddr>().unwrap()]);
        assert_eq!(told.host_links, ["cni0", "veth1"]);
    }

    #[test]
    fn an_answer_survives_being_kept() {
        let answer = Answer::parse(BRIDGE.as_bytes()).unwrap();
        let kept = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<Answer>(&kept).unwrap(), answer);
        assert!(Answer::parse(br#"{"ips":[{"address":"x"}]}"#).is_err());
        assert_eq!(Answer::default().told("eth0"), Told::default());
    }
}
