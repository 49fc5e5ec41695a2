//! The embedded name server: 127.0.0.11 in every container on a user-defined network.
//!
//! Each such container has a UDP and a TCP socket in its own network namespace, held by the daemon, and a small table
//! that leads port 53 there ([`redirect`]). A message is read by [`query`], decided on by [`lookup`] from the names in the
//! [`book`], and either answered at once ([`reply`]) or passed on to name servers ([`forward`]) as it is. Everything a
//! container can make us hold is bounded: questions under way, connections, cached answers, bytes of each.
//!
//! The wire format is ours because so little of it is needed: one question in, addresses out, and responses that are
//! walked but never taken apart. Tests hold it against another implementation's.
//!
//! Sockets end with the daemon. The next one opens others in the namespace of every container that it takes over and
//! writes the table anew; what is asked in between is answered when the client asks again.

mod ask;
mod book;
mod cache;
mod forward;
mod host;
mod lookup;
mod name;
mod query;
mod redirect;
mod reply;
mod resolver;
mod response;
mod server;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLockWriteGuard},
};

use rustix::io::Errno;
use skiff_types::{ContainerId, NetworkId};
use tokio::task::JoinSet;

use crate::NetworkError;
pub use ask::addresses_of;
use book::Book;
pub use book::NameEntry;
use host::HostServers;
pub use lookup::{Membership, NameServers, ResolverConfig};
use resolver::{Resolver, Shared};
use server::Sockets;

/// The names of all networks, and the resolvers of all containers. Cheap to call from any thread.
#[derive(Debug)]
pub struct Dns {
    shared: Arc<Shared>,
    running: Mutex<HashMap<ContainerId, Running>>,
    runtime: tokio::runtime::Handle,
}

#[derive(Debug)]
struct Running {
    resolver: Arc<Resolver>,
    /// Ended by being dropped.
    _tasks: JoinSet<()>,
}

impl Dns {
    /// No names yet. Must be called inside a tokio runtime, which then serves.
    pub fn start() -> Self {
        Self::with(HostServers::new())
    }

    fn with(host: HostServers) -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self { shared: Arc::new(Shared::new(host)), running: Mutex::default(), runtime }
    }

    /// Says what a container is called on a network, in place of what was said before.
    pub fn put(&self, entry: NameEntry) {
        self.book().put(entry);
    }

    /// Forgets a container's names on a network.
    pub fn remove(&self, network: &NetworkId, container: &ContainerId) {
        self.book().remove(network, container);
    }

    /// Serves a container in its network namespace, in which `lo` must be up. It goes on until [`Self::stop`], and keeps
    /// the namespace alive as long.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn serve(&self, config: ResolverConfig, netns: BorrowedFd<'_>) -> Result<(), NetworkError> {
        let refused = |error: std::io::Error| NetworkError::Kernel {
            operation: "serve names in a container".into(),
            errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
        };
        let container = config.container;
        let sockets = self.shared.opener.inside(netns, Sockets::open).map_err(refused)?;
        let netns = netns.try_clone_to_owned()?;
        let resolver = Arc::new(Resolver::new(self.shared.clone(), config, netns));
        let _inside = self.runtime.enter();
        let tasks = sockets.serve(&resolver).map_err(refused)?;
        self.running().insert(container, Running { resolver, _tasks: tasks });
        Ok(())
    }

    /// Whether a container is served.
    pub fn serves(&self, container: &ContainerId) -> bool {
        self.running().contains_key(container)
    }

    /// Tells a container's resolver of networks that were joined or left. Does nothing if it has none.
    pub fn change(&self, config: ResolverConfig) {
        if let Some(running) = self.running().get(&config.container) {
            running.resolver.change(config);
        }
    }

    /// Ends serving a container, and forgets its names.
    pub fn stop(&self, container: &ContainerId) {
        let running = self.running().remove(container);
        drop(running);
        self.book().remove_everywhere(container);
    }

    fn book(&self) -> RwLockWriteGuard<'_, Book> {
        self.shared.book.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<ContainerId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
