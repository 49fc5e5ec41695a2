//! Progress, one JSON object a line: load, import, pull.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::empty;

/// A line of progress. Exactly one of `stream`, `status`, `error` and `aux` says something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JsonMessage {
    #[serde(skip_serializing_if = "empty")]
    pub stream: String,
    #[serde(skip_serializing_if = "empty")]
    pub status: String,
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<JsonProgress>,
    /// The progress as a drawn bar, for clients that do not draw.
    #[serde(skip_serializing_if = "empty")]
    pub progress: String,
    #[serde(skip_serializing_if = "empty")]
    pub id: String,
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<JsonError>,
    #[serde(skip_serializing_if = "empty")]
    pub error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<Value>,
}

/// How far something is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JsonProgress {
    #[serde(skip_serializing_if = "empty")]
    pub current: i64,
    #[serde(skip_serializing_if = "empty")]
    pub total: i64,
    #[serde(skip_serializing_if = "empty")]
    pub start: i64,
    #[serde(rename = "hidecounts", skip_serializing_if = "empty")]
    pub hide_counts: bool,
    #[serde(skip_serializing_if = "empty")]
    pub units: String,
}

/// An error that came after the answer had begun.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JsonError {
    #[serde(skip_serializing_if = "empty")]
    pub code: i64,
    #[serde(skip_serializing_if = "empty")]
    pub message: String,
}
