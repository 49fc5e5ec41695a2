//! Whether a container's program does its work, as its health check found.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// What health checks say of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last [`Health::KEPT`] checks, oldest first. They outlive a restart of the container, as with Docker.
    pub log: Vec<HealthResult>,
}

/// The verdict of health checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No check has succeeded yet, and not enough have failed.
    #[default]
    Starting,
    /// The last check succeeded, or too few have failed since one did.
    Healthy,
    /// Too many checks have failed; or nobody checks any more, because the container is paused or has ended.
    Unhealthy,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResult {
    /// When it began.
    pub start: Timestamp,
    /// When its outcome was known.
    pub end: Timestamp,
    /// Exit code of its program, 0 for success; -1 if the program could not be run or took too long.
    pub exit_code: i32,
    /// What it printed, cut at 4096 bytes.
    pub output: String,
}

impl Health {
    /// How many checks are remembered.
    pub const KEPT: usize = 5;
}

impl HealthStatus {
    /// The word in `State.Health.Status` and of the `health` filter.
    pub fn as_str(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}
