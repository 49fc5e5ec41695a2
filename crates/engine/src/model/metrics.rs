//! Figures about the engine and its containers, as monitoring reads them.

use std::collections::BTreeMap;

use super::{HealthStatus, Sample, Status, Timestamp};

/// Everything at one moment. Counters count since the daemon started, unless they say otherwise.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Version of the engine.
    pub version: String,
    /// Commit it was built from.
    pub commit: String,
    /// `uname -m`.
    pub architecture: String,
    /// `uname -r`.
    pub kernel: String,
    /// From /etc/os-release.
    pub os: String,
    /// Snapshot driver.
    pub driver: String,
    /// Id of the engine.
    pub id: String,
    /// Processors.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: i64,
    /// Containers by state: `running`, `paused`, `stopped`.
    pub states: [(&'static str, usize); 3],
    /// Number of images.
    pub images: usize,
    /// Events so far.
    pub events: u64,
    /// Clients that listen to events.
    pub event_listeners: usize,
    /// Health checks so far.
    pub health_checks: u64,
    /// Those that could not be run or took too long.
    pub health_checks_failed: u64,
    /// Lines that receivers of logs have.
    pub log_lines_sent: u64,
    /// Lines that receivers of logs will never have.
    pub log_lines_lost: u64,
    /// Tries that failed to reach a receiver of a log.
    pub log_send_failures: u64,
    /// Every container.
    pub containers: Vec<ContainerMetrics>,
}

/// One container.
#[derive(Clone, Debug)]
pub struct ContainerMetrics {
    /// What it uses; empty unless it runs.
    pub sample: Sample,
    /// The image as named at creation.
    pub image: String,
    /// Where it is in its life.
    pub status: Status,
    /// What its health checks say.
    pub health: Option<HealthStatus>,
    /// How often its policy started it again.
    pub restarts: u32,
    /// How it last ended; 0 while it runs.
    pub exit_code: i32,
    /// When it last started.
    pub started_at: Option<Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}
