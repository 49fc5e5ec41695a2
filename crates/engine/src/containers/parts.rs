//! What the containers service works with.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use skiff_images::ImageStore;
use skiff_network::{Network, Opener};
use skiff_runtime::launcher::{Launcher, Place, StartError, Starting};
use skiff_snapshots::Snapshotter;
use skiff_types::ContainerId;
use tokio::sync::{Notify, Semaphore};

use super::{spare::Spares, wait::Departed};
use crate::{
    Config, Error, Events, Result, Volumes,
    budget::Budget,
    container::Container,
    containers::Forwarders,
    host::Host,
    last_use::LastUse,
    metrics::Counters,
    model::EventKind,
    networks::NetworkIndex,
    prune::Turn,
    records::{Boot, Identity, Records},
    registry::Registry,
    seccomp::Filters,
    secrets::Secrets,
};

/// The subsystems, and what all containers share.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) host: Host,
    pub(crate) identity: Identity,
    pub(crate) boot: Boot,
    pub(crate) registry: Arc<Registry>,
    pub(crate) records: Records,
    pub(crate) events: Events,
    pub(crate) images: Arc<ImageStore>,
    pub(crate) snapshots: Arc<dyn Snapshotter>,
    pub(crate) network: Arc<Network>,
    pub(crate) networks: NetworkIndex,
    pub(crate) volumes: Volumes,
    pub(crate) launcher: LauncherSlot,
    pub(crate) filters: Filters,
    /// Opens sockets in containers' networks.
    pub(crate) opener: Opener,
    pub(crate) secrets: Secrets,
    /// What `--init` mounts.
    pub(crate) init_binary: PathBuf,
    pub(crate) pruning: Turn,
    pub(crate) counters: Counters,
    /// Logs on their way elsewhere.
    pub(crate) forwarders: Forwarders,
    /// Something was removed: there is garbage to collect.
    pub(crate) garbage: Arc<Notify>,
    pub(crate) departed: Departed,
    /// Room for what is made ahead of starts.
    pub(crate) ahead: Arc<Semaphore>,
    pub(crate) spares: Arc<Spares>,
    pub(crate) last_use: Arc<LastUse>,
    pub(crate) budget: Budget,
}

impl Parts {
    /// The container's own directory, which survives a reboot: log and files of /etc.
    pub(crate) fn dir(&self, id: &ContainerId) -> PathBuf {
        self.config.root.join("containers").join(id.to_string())
    }

    /// The container's run directory.
    pub(crate) fn run_dir(&self, id: &ContainerId) -> PathBuf {
        self.config.run_dir(id)
    }

    /// Where the container's log is with the driver `json-file`.
    pub(crate) fn log_path(&self, id: &ContainerId) -> PathBuf {
        self.dir(id).join(format!("{id}-json.log"))
    }

    /// Tells what happened to a container.
    pub(crate) fn tell(&self, container: &Container, action: impl Into<String>, more: &[(&str, String)]) {
        self.events.publish(EventKind::Container, action, container.actor(more));
    }
}

/// Runs work that blocks on a thread for it. It goes on even if nobody waits any more.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::Internal(format!("internal failure: {e}")))
}

/// Runs work that blocks for some tens of microseconds, on this thread: to wake another would take as long. Others take over
/// what this one would have done meanwhile.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Carries a request out to its end even if the client goes away.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(e) => Err(Error::Internal(format!("internal failure: {e}"))),
    }
}

/// The launcher there is at the moment.
pub(crate) struct LauncherSlot {
    current: Mutex<Arc<Launcher>>,
}

impl LauncherSlot {
    pub(crate) fn new(launcher: Launcher) -> Self {
        Self { current: Mutex::new(Arc::new(launcher)) }
    }

    fn current(&self) -> Arc<Launcher> {
        self.current.lock().expect("no panic under this lock").clone()
    }

    /// Begins a start; if the launcher is dead, starts another launcher and tries once more. Blocks.
    pub(crate) fn begin(&self, place: &Place) -> Result<Starting, StartError> {
        let launcher = self.current();
        match launcher.begin(place) {
            Err(StartError::Launcher(_)) => {}
            done => return done,
        }
        let replacement = {
            let mut current = self.current.lock().expect("no panic under this lock");
            if Arc::ptr_eq(&current, &launcher) {
                *current = Arc::new(Launcher::spawn().map_err(StartError::RunDir)?);
            }
            current.clone()
        };
        replacement.begin(place)
    }
}
