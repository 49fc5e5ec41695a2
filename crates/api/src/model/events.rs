//! Events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::empty;

/// A line of `GET /events`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventMessage {
    /// As `action`, for containers and images only.
    #[serde(skip_serializing_if = "empty")]
    pub status: String,
    /// As the actor's, for containers and images only.
    #[serde(skip_serializing_if = "empty")]
    pub id: String,
    /// The image, for containers only.
    #[serde(skip_serializing_if = "empty")]
    pub from: String,
    #[serde(rename = "Type")]
    pub r#type: String,
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "Actor")]
    pub actor: Actor,
    #[serde(skip_serializing_if = "empty")]
    pub scope: String,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "empty")]
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano", skip_serializing_if = "empty")]
    pub time_nano: i64,
}

/// Whom an event is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}
