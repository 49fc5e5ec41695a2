//! What happened, as `GET /events` tells it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// The daemon.
    Daemon,
}

impl EventKind {
    /// The word in `Type`.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Container => "container",
            EventKind::Image => "image",
            EventKind::Network => "network",
            EventKind::Volume => "volume",
            EventKind::Daemon => "daemon",
        }
    }
}

/// Who it happened to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Id or name.
    pub id: String,
    /// Name, image, labels, and what the action adds.
    pub attributes: BTreeMap<String, String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What it is about.
    pub kind: EventKind,
    /// `create`, `start`, `exec_create: sh -c true`, …
    pub action: String,
    /// Who it happened to.
    pub actor: Actor,
    /// When.
    pub time: Timestamp,
}
