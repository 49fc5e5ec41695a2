//! What carries a network: a bridge, a parent link whose children the containers get, or a driver of others.

use std::collections::BTreeMap;

use skiff_types::NetworkId;

use super::{BridgeOptions, Driver, NetworkRecord, NetworkRequest, child::ChildOptions};
use crate::{
    NetworkError,
    cni::{self, Config},
};

/// The driver and its options, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// A bridge.
    Bridge(BridgeOptions),
    /// A parent.
    Parent(ChildOptions),
    /// A network plugin, by its name.
    Remote(String),
    /// CNI plugins.
    Cni(Config),
}

impl Carrier {
    /// What is asked for: the options of a network are read.
    pub(crate) fn asked(request: &NetworkRequest) -> Result<Self, NetworkError> {
        let NetworkRequest { driver, plugin, options, internal, id, .. } = request;
        Self::read(*driver, plugin, options, *internal, id, || {
            cni::check_request(request)?;
            Ok(Config::find(options, &request.name)?)
        })
    }

    /// What is remembered.
    pub(crate) fn kept(record: &NetworkRecord) -> Result<Self, NetworkError> {
        let NetworkRecord { driver, plugin, options, internal, id, .. } = record;
        Self::read(*driver, plugin, options, *internal, id, || {
            Ok(Config::kept(&record.cni, options, &record.name)?)
        })
    }

    fn read(
        driver: Driver,
        plugin: &str,
        options: &BTreeMap<String, String>,
        internal: bool,
        id: &NetworkId,
        cni: impl FnOnce() -> Result<Config, NetworkError>,
    ) -> Result<Self, NetworkError> {
        Ok(match driver {
            Driver::Bridge => Self::Bridge(BridgeOptions::read(options, internal)?),
            Driver::Macvlan => Self::Parent(ChildOptions::macvlan(options, internal, id)?),
            Driver::Ipvlan => Self::Parent(ChildOptions::ipvlan(options, internal, id)?),
            Driver::Remote => Self::Remote(plugin.to_owned()),
            Driver::Cni => Self::Cni(cni()?),
        })
    }

    /// The options of a bridge.
    pub(crate) fn bridge(&self) -> Option<&BridgeOptions> {
        match self {
            Self::Bridge(options) => Some(options),
            _ => None,
        }
    }

    /// The options of a parent's children.
    pub(crate) fn parent(&self) -> Option<&ChildOptions> {
        match self {
            Self::Parent(options) => Some(options),
            _ => None,
        }
    }

    /// The name of the link.
    pub(crate) fn link(&self, id: &NetworkId) -> String {
        match self {
            Self::Bridge(options) => options.name.clone().unwrap_or_else(|| format!("br-{}", id.short())),
            Self::Parent(options) => options.parent.clone(),
            // Only the driver knows what there is.
            Self::Remote(_) | Self::Cni(_) => String::new(),
        }
    }

    /// Whether an address of the family is set aside for a gateway that nobody named.
    pub(crate) fn has_gateway(&self, ipv6: bool) -> bool {
        match self {
            Self::Bridge(options) => options.has_gateway(ipv6),
            Self::Parent(options) => options.has_gateway(),
            Self::Remote(_) => true,
            Self::Cni(_) => false,
        }
    }

    /// Whether there is no way out.
    pub(crate) fn is_internal(&self, asked: bool) -> bool {
        asked || self.parent().is_some_and(|options| options.internal)
    }

    /// What the containers' interfaces are called, without the number.
    pub(crate) fn prefix(&self) -> &str {
        self.bridge().map_or("eth", |options| &options.prefix)
    }
}
