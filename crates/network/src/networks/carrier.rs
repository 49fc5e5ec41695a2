//! What carries a network: a bridge, or a parent link whose children the containers get.

use skiff_types::NetworkId;

use super::{BridgeOptions, Driver, child::ChildOptions};
use crate::NetworkError;

/// The driver and its options, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// A bridge.
    Bridge(BridgeOptions),
    /// A parent.
    Parent(ChildOptions),
}

impl Carrier {
    /// Reads the options of a network.
    pub(crate) fn read(
        driver: Driver,
        options: &std::collections::BTreeMap<String, String>,
        internal: bool,
        id: &NetworkId,
    ) -> Result<Self, NetworkError> {
        Ok(match driver {
            Driver::Bridge => Self::Bridge(BridgeOptions::read(options, internal)?),
            Driver::Macvlan => Self::Parent(ChildOptions::macvlan(options, internal, id)?),
            Driver::Ipvlan => Self::Parent(ChildOptions::ipvlan(options, internal, id)?),
        })
    }

    /// The options of a bridge.
    pub(crate) fn bridge(&self) -> Option<&BridgeOptions> {
        match self {
            Self::Bridge(options) => Some(options),
            Self::Parent(_) => None,
        }
    }

    /// The options of a parent's children.
    pub(crate) fn parent(&self) -> Option<&ChildOptions> {
        match self {
            Self::Bridge(_) => None,
            Self::Parent(options) => Some(options),
        }
    }

    /// The name of the link.
    pub(crate) fn link(&self, id: &NetworkId) -> String {
        match self {
            Self::Bridge(options) => options.name.clone().unwrap_or_else(|| format!("br-{}", id.short())),
            Self::Parent(options) => options.parent.clone(),
        }
    }

    /// Whether an address of the family is set aside for a gateway that nobody named.
    pub(crate) fn has_gateway(&self, ipv6: bool) -> bool {
        match self {
            Self::Bridge(options) => options.has_gateway(ipv6),
            Self::Parent(options) => options.has_gateway(),
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
