//! Links that an earlier daemon made and nobody needs: ports of bridges that no endpoint has, bridges and parents that no network has.
//!
//! As a rule ports are on their way out with their namespaces, which died with that daemon. Removing a link waits for
//! an RCU grace period under the lock that every other change of a link wants; so this happens later, in the
//! background, to what is still there then.

use std::{thread, time::Duration};

use rustix::io::Errno;

use crate::{
    NetworkError,
    bridge::HostFacts,
    endpoint::EndpointRecord,
    link::{self, Link},
    netlink::{Batch, Failure, Netlink},
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

/// Removes them a while later, if they are still there.
pub(crate) fn remove_later(
    facts: &HostFacts,
    known: &Known,
    endpoints: &[EndpointRecord],
) -> Result<(), NetworkError> {
    let stale: Vec<Link> =
        facts.links.iter().filter(|link| is_stale(link, known, endpoints)).cloned().collect();
    if stale.is_empty() {
        return Ok(());
    }
    let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
    thread::Builder::new().name("stale-links".to_owned()).spawn(move || {
        thread::sleep(PATIENCE);
        for link in stale {
            let mut batch = Batch::default();
            link::delete(&mut batch, link.index);
            match route.exchange(batch, |_, _| {}) {
                Ok(()) | Err(Failure { errno: Errno::NODEV, .. }) => {}
                Err(Failure { errno, .. }) => {
                    tracing::warn!(link = link.name, %errno, "a link that nobody needs could not be removed");
                }
            }
        }
    })?;
    Ok(())
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
