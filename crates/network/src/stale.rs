//! Links that an earlier daemon made and nobody needs: ports of bridges that no endpoint has, bridges and parents that no network has.
//!
//! As a rule ports are on their way out with their namespaces, which died with that daemon. Removing a link waits for
//! an RCU grace period under the lock that every other change of a link wants; so this happens later, in the
//! background, to what is still there then. Only where a running container is about to get another link, what is left in its
//! namespace goes at once: it has a name and addresses that may be wanted.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::{
    NetworkError,
    bridge::HostFacts,
    endpoint::EndpointRecord,
    link::{self, Link},
    netlink::{Batch, Netlink},
    network::lock,
};

/// How long the kernel gets to take the namespaces down by itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is needed.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The indexes of the networks' bridges and parents.
    pub(crate) bridges: Vec<u32>,
    /// Their names, and those of the links between the bridges of one network.
    pub(crate) names: Vec<String>,
    /// The alias of these links if we made them.
    pub(crate) alias: String,
}

/// What nobody needs and is not removed yet.
#[derive(Clone, Debug)]
pub(crate) struct Stale(Arc<Mutex<Vec<Link>>>);

impl Stale {
    /// Finds them, and removes a while later those that are still there.
    pub(crate) fn remove_later(
        facts: &HostFacts,
        known: &Known,
        endpoints: &[EndpointRecord],
    ) -> Result<Self, NetworkError> {
        let found: Vec<Link> =
            facts.links.iter().filter(|link| is_stale(link, known, endpoints)).cloned().collect();
        let is_needed = !found.is_empty();
        let stale = Self(Arc::new(Mutex::new(found)));
        if is_needed {
            let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
            let stale = stale.clone();
            thread::Builder::new().name("stale-links".to_owned()).spawn(move || {
                thread::sleep(PATIENCE);
                while stale.remove_one(&mut route) {}
            })?;
        }
        Ok(stale)
    }

    /// The lock is held meanwhile: who finds a link gone from the list finds it gone.
    fn remove_one(&self, route: &mut Netlink) -> bool {
        let mut left = lock(&self.0);
        let Some(link) = left.pop() else { return false };
        remove(route, &link);
        true
    }

    /// Removes at once those whose other ends are in a namespace; `inside` opens a socket of it.
    pub(crate) fn clear(
        &self,
        inside: impl FnOnce() -> Result<Netlink, NetworkError>,
    ) -> Result<(), NetworkError> {
        let mut left = lock(&self.0);
        if left.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        link::get_all(&mut batch);
        let mut there = Vec::new();
        link::dump(&mut inside()?, batch, "list a container's links", |kind, body| {
            there.extend(link::parse_link(kind, body));
        })?;
        let is_there = |link: &Link| there.iter().any(|inner| link.is_other_end_of(inner));
        let found: Vec<Link> = left.extract_if(.., |link| is_there(link)).collect();
        if found.is_empty() {
            return Ok(());
        }
        let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        found.iter().for_each(|link| remove(&mut route, link));
        Ok(())
    }
}

fn remove(route: &mut Netlink, link: &Link) {
    if let Err(errno) = link::remove(route, link.index) {
        tracing::warn!(link = link.name, %errno, "a link that nobody needs could not be removed");
    }
}

fn is_stale(link: &Link, known: &Known, endpoints: &[EndpointRecord]) -> bool {
    let is_port = || {
        link.master != 0
            && known.bridges.contains(&link.master)
            && link.alias == link::ALIAS
            && !endpoints.iter().any(|record| record.host_index == link.index)
    };
    !known.names.contains(&link.name) && (link.alias == known.alias || is_port())
}
