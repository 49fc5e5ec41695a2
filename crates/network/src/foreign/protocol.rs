//! The protocols of network and IPAM plugins (libnetwork's `docs/remote.md` and `docs/ipam.md`): one function for each request.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use skiff_plugins::{Plugin, Plugins};

use super::StaticRoute;
use crate::{EndpointRecord, HostPort, NetworkError, NetworkRecord, PortSpec, Protocol, networks::Pool};

/// A network plugin.
#[derive(Clone, Debug)]
pub(crate) struct Driver(Arc<Plugin>);

/// An IPAM plugin.
#[derive(Clone, Debug)]
pub(crate) struct Ipam(Arc<Plugin>);

/// What a plugin decided about an interface that nobody else had.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Interface {
    #[serde(deserialize_with = "nullable")]
    pub(super) mac_address: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) address: String,
    #[serde(rename = "AddressIPv6", deserialize_with = "nullable")]
    pub(super) address_ipv6: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Created {
    interface: Option<Interface>,
}

/// How a container is joined to a network.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Joined {
    pub(super) interface_name: Option<InterfaceName>,
    #[serde(deserialize_with = "nullable")]
    pub(super) gateway: String,
    #[serde(rename = "GatewayIPv6", deserialize_with = "nullable")]
    pub(super) gateway_ipv6: String,
    static_routes: Option<Vec<Route>>,
}

/// The link of an endpoint.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct InterfaceName {
    pub(super) src_name: String,
    pub(super) dst_prefix: String,
    /// Newer plugins may say the whole name.
    #[serde(deserialize_with = "nullable")]
    pub(super) dst_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Route {
    destination: String,
    #[serde(deserialize_with = "nullable")]
    next_hop: String,
    /// 0: by the next hop; 1: on the link.
    route_type: u8,
}

/// A pool that a plugin gave.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct PoolData {
    /// What it is called.
    #[serde(rename = "PoolID")]
    pub(crate) pool_id: String,
    /// Its subnet.
    pub(crate) pool: String,
    /// What the plugin says besides; may name the gateway.
    #[serde(deserialize_with = "nullable")]
    pub(crate) data: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Address {
    address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Spaces {
    local_default_address_space: String,
    global_default_address_space: String,
}

/// What an IPAM plugin wants to be told.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct IpamNeeds {
    /// The hardware address that an address is for.
    #[serde(rename = "RequiresMACAddress")]
    pub(crate) mac: bool,
    /// Pools and addresses in use, again, when the engine starts.
    #[serde(rename = "RequiresRequestReplay")]
    pub(crate) replay: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Scope {
    scope: String,
}

type Result<T> = std::result::Result<T, NetworkError>;

/// Go writes null for what is empty.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Driver {
    /// The network plugin of a name.
    pub(crate) fn find(plugins: &Plugins, name: &str) -> Result<Self> {
        Ok(Self(plugins.get(name, "NetworkDriver")?))
    }

    /// Where its networks are: `local`, or `global` on every host at once.
    pub(crate) fn scope(&self) -> Result<String> {
        let capabilities: Scope = self.0.ask("NetworkDriver.GetCapabilities", &json!({}))?;
        match capabilities.scope.as_str() {
            scope @ ("local" | "global") => Ok(scope.to_owned()),
            other => Err(self
                .0
                .broken(
                    "NetworkDriver.GetCapabilities",
                    format!("invalid capability: expecting 'local' or 'global', got {other}"),
                )
                .into()),
        }
    }

    pub(crate) fn create_network(&self, record: &NetworkRecord) -> Result<()> {
        let mut options = json!({
            "com.docker.network.enable_ipv4": !record.ipv4.is_empty() || record.has_no_ipam(),
            "com.docker.network.enable_ipv6": !record.ipv6.is_empty(),
            "com.docker.network.generic": record.options,
        });
        if record.internal {
            options["com.docker.network.internal"] = json!(true);
        }
        let mut ipv4: Vec<Value> = record.ipv4.iter().map(ipam_data).collect();
        if record.has_no_ipam() {
            ipv4.push(json!({ "AddressSpace": "null", "Pool": "0.0.0.0/0" }));
        }
        let body = json!({
            "NetworkID": record.id.to_string(),
            "Options": options,
            "IPv4Data": ipv4,
            "IPv6Data": record.ipv6.iter().map(ipam_data).collect::<Vec<_>>(),
        });
        self.0.ask::<Value>("NetworkDriver.CreateNetwork", &body)?;
        Ok(())
    }

    pub(crate) fn delete_network(&self, record: &NetworkRecord) -> Result<()> {
        self.tell("NetworkDriver.DeleteNetwork", &json!({ "NetworkID": record.id.to_string() }))
    }

    pub(super) fn create_endpoint(&self, endpoint: &EndpointRecord, asked: &Asked<'_>) -> Result<Interface> {
        let text = |net: Option<IpNet>| net.map(|net| net.to_string()).unwrap_or_default();
        let v4 = endpoint.ipv4.and_then(|ip| IpNet::new(ip.into(), endpoint.prefix).ok());
        let v6 = endpoint.ipv6.and_then(|ip| IpNet::new(ip.into(), endpoint.prefix6).ok());
        let mut body = ids(endpoint);
        body["Interface"] = json!({
            "Address": text(v4),
            "AddressIPv6": text(v6),
            "MacAddress": endpoint.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        });
        body["Options"] = asked.options();
        for (key, value) in asked.driver_options {
            body["Options"][key] = json!(value);
        }
        let created: Created = self.0.ask("NetworkDriver.CreateEndpoint", &body)?;
        Ok(created.interface.unwrap_or_default())
    }

    pub(super) fn join(&self, endpoint: &EndpointRecord, sandbox: &str, asked: &Asked<'_>) -> Result<Joined> {
        let mut body = ids(endpoint);
        body["SandboxKey"] = json!(sandbox);
        body["Options"] = asked.options();
        Ok(self.0.ask("NetworkDriver.Join", &body)?)
    }

    pub(super) fn program_outside(&self, endpoint: &EndpointRecord, asked: &Asked<'_>) -> Result<()> {
        let mut body = ids(endpoint);
        body["Options"] = asked.options();
        self.tell("NetworkDriver.ProgramExternalConnectivity", &body)
    }

    pub(super) fn revoke_outside(&self, endpoint: &EndpointRecord) -> Result<()> {
        self.tell("NetworkDriver.RevokeExternalConnectivity", &ids(endpoint))
    }

    /// What the plugin says of an endpoint. Docker asks when a container has come up; nothing depends on the answer.
    pub(super) fn look(&self, endpoint: &EndpointRecord) -> Result<()> {
        self.tell("NetworkDriver.EndpointOperInfo", &ids(endpoint))
    }

    pub(super) fn leave(&self, endpoint: &EndpointRecord) -> Result<()> {
        self.tell("NetworkDriver.Leave", &ids(endpoint))
    }

    pub(super) fn delete_endpoint(&self, endpoint: &EndpointRecord) -> Result<()> {
        self.tell("NetworkDriver.DeleteEndpoint", &ids(endpoint))
    }

    fn tell(&self, method: &'static str, body: &Value) -> Result<()> {
        self.0.ask::<Value>(method, body)?;
        Ok(())
    }
}

impl Ipam {
    /// The IPAM plugin of a name.
    pub(crate) fn find(plugins: &Plugins, name: &str) -> Result<Self> {
        Ok(Self(plugins.get(name, "IpamDriver")?))
    }

    /// What it wants to be told. Plugins of the first version do not know the question.
    pub(crate) fn needs(&self) -> IpamNeeds {
        self.0.ask("IpamDriver.GetCapabilities", &json!({})).unwrap_or_default()
    }

    /// The address space of networks with this scope.
    pub(crate) fn space(&self, scope: &str) -> Result<String> {
        let spaces: Spaces = self.0.ask("IpamDriver.GetDefaultAddressSpaces", &json!({}))?;
        Ok(if scope == "global" {
            spaces.global_default_address_space
        } else {
            spaces.local_default_address_space
        })
    }

    pub(crate) fn request_pool(
        &self,
        space: &str,
        pool: &str,
        range: &str,
        options: &BTreeMap<String, String>,
        ipv6: bool,
    ) -> Result<PoolData> {
        let body =
            json!({ "AddressSpace": space, "Pool": pool, "SubPool": range, "Options": options, "V6": ipv6 });
        Ok(self.0.ask("IpamDriver.RequestPool", &body)?)
    }

    pub(crate) fn release_pool(&self, id: &str) -> Result<()> {
        self.0.ask::<Value>("IpamDriver.ReleasePool", &json!({ "PoolID": id }))?;
        Ok(())
    }

    /// An address of a pool: this one, or any.
    pub(crate) fn request_address(
        &self,
        id: &str,
        address: Option<IpAddr>,
        options: Option<Value>,
    ) -> Result<IpNet> {
        const METHOD: &str = "IpamDriver.RequestAddress";
        let address = address.map(|ip| ip.to_string()).unwrap_or_default();
        let answer: Address =
            self.0.ask(METHOD, &json!({ "PoolID": id, "Address": address, "Options": options }))?;
        answer.address.parse().map_err(|_| {
            let answered = match answer.address.as_str() {
                "" => "no address returned".to_owned(),
                other => format!("{other:?} is not an address with the length of its prefix"),
            };
            self.0.broken(METHOD, answered).into()
        })
    }

    pub(crate) fn release_address(&self, id: &str, address: IpAddr) -> Result<()> {
        let body = json!({ "PoolID": id, "Address": address.to_string() });
        self.0.ask::<Value>("IpamDriver.ReleaseAddress", &body)?;
        Ok(())
    }

    /// That an answer makes no sense.
    pub(crate) fn broken(&self, method: &'static str, reason: impl ToString) -> NetworkError {
        self.0.broken(method, reason).into()
    }
}

impl Joined {
    /// The static routes.
    pub(super) fn routes(&self, driver: &Driver) -> Result<Vec<StaticRoute>> {
        let read = |route: &Route| {
            let to: IpNet = route.destination.parse().ok()?;
            match route.route_type {
                0 => Some(StaticRoute { to, via: Some(route.next_hop.parse().ok()?) }),
                1 => Some(StaticRoute { to, via: None }),
                _ => None,
            }
        };
        let all = self.static_routes.iter().flatten();
        let broken = |route: &Route| {
            driver.0.broken("NetworkDriver.Join", format!("invalid static route {route:?}")).into()
        };
        all.map(|route| read(route).ok_or_else(|| broken(route))).collect()
    }
}

/// What a container asks for that a driver is told of.
pub(super) struct Asked<'a> {
    pub(super) driver_options: &'a BTreeMap<String, String>,
    pub(super) exposed: &'a [(u16, Protocol)],
    pub(super) ports: &'a [PortSpec],
}

impl Asked<'_> {
    /// The ports as Docker tells of them.
    fn options(&self) -> Value {
        let exposed =
            |(port, protocol): &(u16, Protocol)| json!({ "Proto": protocol.number(), "Port": port });
        let mapped = |port: &PortSpec| {
            let (first, last) = match port.host_port {
                HostPort::Ephemeral => (0, 0),
                HostPort::Range(first, last) => (first, last),
            };
            json!({
                "Proto": port.protocol.number(),
                "IP": "",
                "Port": port.container_port,
                "HostIP": port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
                "HostPort": first,
                "HostPortEnd": last,
            })
        };
        json!({
            "com.docker.network.endpoint.exposedports": self.exposed.iter().map(exposed).collect::<Vec<_>>(),
            "com.docker.network.portmap": self.ports.iter().map(mapped).collect::<Vec<_>>(),
        })
    }
}

fn ids(endpoint: &EndpointRecord) -> Value {
    json!({ "NetworkID": endpoint.network.to_string(), "EndpointID": endpoint.id.to_string() })
}

/// A subnet as network plugins are told of it.
fn ipam_data(pool: &Pool) -> Value {
    let space = pool.lease.as_ref().map_or("LocalDefault", |lease| lease.space.as_str());
    let mut data = json!({ "AddressSpace": space, "Pool": pool.subnet.to_string() });
    if let Some(gateway) = pool.gateway_net() {
        data["Gateway"] = json!(gateway.to_string());
    }
    if !pool.auxiliary.is_empty() {
        let with_prefix = |ip: &IpAddr| format!("{ip}/{}", pool.subnet.prefix_len());
        data["AuxAddresses"] =
            pool.auxiliary.iter().map(|(name, ip)| (name.clone(), json!(with_prefix(ip)))).collect();
    }
    data
}
