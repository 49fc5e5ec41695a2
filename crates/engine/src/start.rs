//! Starting and ending the engine.

use crate::{Config, Containers, Error, Events, Execs, Images, Networks, Result, System};

/// The services, wired.
#[derive(Clone)]
pub struct Engine {
    /// Containers.
    pub containers: Containers,
    /// Processes started inside containers.
    pub execs: Execs,
    /// Images.
    pub images: Images,
    /// Networks.
    pub networks: Networks,
    /// What happened.
    pub events: Events,
    /// The daemon and its host.
    pub system: System,
}

impl Engine {
    /// Opens the store, probes the host, starts the launcher and takes over what runs.
    ///
    /// # Errors
    /// A store that is damaged, newer or in use, a kernel without what containers need, a launcher that does not start.
    pub async fn start(config: Config) -> Result<Engine> {
        let _ = config;
        Err(Error::NotImplemented("the engine does not start yet".into()))
    }

    /// Writes what is not written yet and lets go. Containers go on.
    pub async fn shutdown(&self) {}
}
