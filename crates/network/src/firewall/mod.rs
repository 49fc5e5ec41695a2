//! The firewall: one table, `inet skiff`, that only Skiff writes.
//!
//! [`plan`] says what the table holds for given networks and ports; [`Firewall`] keeps the kernel's in step, each
//! change one transaction. Publishing a port adds an element to a map, so neither the number of rules nor the cost of
//! a lookup grows with the number of ports.

mod guard;
pub(crate) mod plan;

use rustix::io::Errno;

use crate::{
    NetworkError, conntrack,
    endpoint::EndpointRecord,
    netlink::Netlink,
    nft::{self, Family, Policy, Watch},
    ports::Protocol,
};
pub(crate) use guard::Guard;
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
        let own = nft::policy(&mut socket, Family::Inet, TABLE, FORWARD)
            .map_err(NetworkError::kernel("read the policy of table inet skiff"))?;
        rules.drop_foreign |= own == Some(Policy::Drop);
        // A packet must pass every table, and we write no other's.
        if let Ok(Some(Policy::Drop)) = nft::policy(&mut socket, Family::Ipv4, "filter", "FORWARD") {
            tracing::warn!(
                "iptables' FORWARD chain drops what its rules do not accept: containers may be cut off from other hosts"
            );
        }
        Ok(Self { socket, rules })
    }

    /// Whether the table is there.
    pub(crate) fn stands(&mut self) -> Result<bool, Errno> {
        Ok(nft::policy(&mut self.socket, Family::Inet, TABLE, FORWARD)?.is_some())
    }

    /// Opens the ears for what others do to the table.
    pub(crate) fn watch(&self) -> Result<Watch, NetworkError> {
        let watch = self.socket.port().and_then(|port| Watch::open(TABLE, port));
        watch.map_err(NetworkError::kernel("listen for changes of the tables"))
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

    /// Takes back what [`Self::publish`] did and cuts what goes on by itself; `others` are the endpoints that stay.
    pub(crate) fn unpublish<'a>(
        &mut self,
        endpoint: &EndpointRecord,
        others: impl IntoIterator<Item = &'a EndpointRecord>,
    ) -> Result<(), NetworkError> {
        let ops = plan::unpublish(&self.rules, endpoint);
        if nft::commit(&mut self.socket, TABLE, &ops).is_err() {
            self.rewrite(others)?;
        }
        match endpoint.ports.iter().any(|port| port.protocol == Protocol::Udp) {
            true => conntrack::cut_udp(&mut self.socket, endpoint.ipv4)
                .map_err(NetworkError::kernel("cut the UDP flows of a container")),
            false => Ok(()),
        }
    }
}
