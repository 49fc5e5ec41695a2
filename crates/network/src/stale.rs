//! Ports of the bridge that an earlier daemon made and no endpoint has.
//!
//! As a rule they are on their way out with their namespaces, which died with that daemon. Removing a link waits for
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

/// Removes the ports a while later, if they are still there.
pub(crate) fn remove_later(
    facts: &HostFacts,
    bridge: u32,
    records: &[EndpointRecord],
) -> Result<(), NetworkError> {
    let stale: Vec<Link> =
        facts.links.iter().filter(|link| is_stale(link, bridge, records)).cloned().collect();
    if stale.is_empty() {
        return Ok(());
    }
    let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
    thread::Builder::new().name("stale-ports".to_owned()).spawn(move || {
        thread::sleep(PATIENCE);
        for link in stale {
            let mut batch = Batch::default();
            link::delete(&mut batch, link.index);
            match route.exchange(batch, |_, _| {}) {
                Ok(()) | Err(Failure { errno: Errno::NODEV, .. }) => {}
                Err(Failure { errno, .. }) => {
                    tracing::warn!(link = link.name, %errno, "a stale port of the bridge could not be removed");
                }
            }
        }
    })?;
    Ok(())
}

fn is_stale(link: &Link, bridge: u32, records: &[EndpointRecord]) -> bool {
    link.master == bridge
        && link.alias == link::ALIAS
        && !records.iter().any(|record| record.host_index == link.index)
}
