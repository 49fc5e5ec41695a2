//! The firewall: one table, `inet skiff`, that only Skiff writes.
//!
//! [`plan`] says what the table holds for given networks and ports; [`Firewall`] keeps the kernel's in step, each
//! change one transaction. Publishing a port adds an element to a map, so neither the number of rules nor the cost of
//! a lookup grows with the number of ports.

pub(crate) mod plan;

use rustix::io::Errno;

use crate::{NetworkError, endpoint::EndpointRecord, netlink::Netlink, nft};
use plan::{FORWARD, Rules, TABLE};

/// The kernel's table and the socket through which it is written.
#[derive(Debug)]
pub(crate) struct Firewall {
    socket: Netlink,
    rules: Rules,
}

impl Firewall {
    /// Opens the way to the table of this thread's network namespace; writes nothing yet.
    ///
    /// A table left by an earlier daemon keeps its policy of not forwarding for others.
    pub(crate) fn open(mut rules: Rules) -> Result<Self, NetworkError> {
        let mut socket = Netlink::netfilter().map_err(NetworkError::kernel("open netfilter's socket"))?;
        rules.drop_foreign |= nft::chain_policy_is_drop(&mut socket, TABLE, FORWARD)
            .map_err(NetworkError::kernel("read the policy of table inet skiff"))?;
        Ok(Self { socket, rules })
    }

    /// Replaces the whole table by what these endpoints need.
    pub(crate) fn rewrite<'a>(
        &mut self,
        endpoints: impl IntoIterator<Item = &'a EndpointRecord>,
    ) -> Result<(), NetworkError> {
        let ops = plan::table(&self.rules, endpoints);
        nft::commit(&mut self.socket, TABLE, &ops).map_err(NetworkError::kernel("write table inet skiff"))
    }

    /// Publishes the ports of an endpoint. `others` are the endpoints that were there before: somebody may have removed
    /// the table, which then is written anew.
    pub(crate) fn publish<'a>(
        &mut self,
        endpoint: &'a EndpointRecord,
        others: impl IntoIterator<Item = &'a EndpointRecord>,
    ) -> Result<(), NetworkError> {
        let ops = plan::publish(&self.rules, endpoint);
        match nft::commit(&mut self.socket, TABLE, &ops) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => self.rewrite(others.into_iter().chain([endpoint])),
            Err(errno) => {
                Err(NetworkError::Kernel { operation: "publish ports in table inet skiff".into(), errno })
            }
        }
    }

    /// Takes back what [`Self::publish`] did; `others` are the endpoints that stay.
    pub(crate) fn unpublish<'a>(
        &mut self,
        endpoint: &EndpointRecord,
        others: impl IntoIterator<Item = &'a EndpointRecord>,
    ) -> Result<(), NetworkError> {
        let ops = plan::unpublish(&self.rules, endpoint);
        match nft::commit(&mut self.socket, TABLE, &ops) {
            Ok(()) => Ok(()),
            Err(_) => self.rewrite(others),
        }
    }
}
