//! The firewall: one table, `inet skiff`, that only Skiff writes.
//!
//! [`plan`] says what the table holds for given networks and ports; [`Firewall`] keeps the kernel's in step, each
//! change one transaction. From Linux 6.9 on the table belongs to the daemon's socket: nobody else can change it, `nft flush ruleset`
//! passes it by, and it stays when the daemon ends, then for everybody to change. Before, the [`Guard`] puts it back when it was
//! changed. Making a network or publishing a port adds elements to sets and maps, so neither the number of
//! rules nor the cost of a lookup grows with their number.

mod guard;
mod judged;
mod packet;
pub(crate) mod plan;
mod ports;
mod usher;
mod zone;

use std::{collections::BTreeSet, thread, time::Duration};

use rustix::io::Errno;

use crate::{
    NetworkError, conntrack,
    endpoint::EndpointRecord,
    netlink::{Netlink, Watch},
    nft::{self, Family, Op, Policy},
    ports::Protocol,
};
pub(crate) use guard::Guard;
use plan::{FOREIGN4, FOREIGN6, FORWARD, Rules, TABLE};
pub(crate) use ports::is_translated;
pub(crate) use usher::Usher;
pub(crate) use zone::Zone;

/// How often, and after how long each time, to ask again for a table that another process holds.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// The kernel's table and the socket through which it is written.
#[derive(Debug)]
pub(crate) struct Firewall {
    socket: Netlink,
    rules: Rules,
    /// Links of the host that lead to containers of others' drivers.
    guests: BTreeSet<String>,
    /// Whether the kernel keeps the table from others, as far as is known.
    owned: bool,
}

/// Whether a change found the table as it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Found {
    /// It did, and is made.
    Table,
    /// Somebody removed the table or parts of it: it must be written anew, with the change.
    Nothing,
}

impl Firewall {
    /// Opens the way to the table of this thread's network namespace; writes nothing yet.
    ///
    /// A table left by an earlier daemon keeps its policy of not forwarding for others.
    pub(crate) fn open(mut rules: Rules) -> Result<Self, NetworkError> {
        let mut socket = Netlink::netfilter().map_err(NetworkError::kernel("open netfilter's socket"))?;
        for (chain, drops) in [(FOREIGN4, &mut rules.drop_foreign4), (FOREIGN6, &mut rules.drop_foreign6)] {
            *drops |= nft::has_chain(&mut socket, TABLE, chain)
                .map_err(NetworkError::kernel("read the chains of table inet skiff"))?;
        }
        // A packet must pass every table, and we write no other's.
        if let Ok(Some(Policy::Drop)) = nft::policy(&mut socket, Family::Ipv4, "filter", "FORWARD") {
            tracing::warn!(
                "iptables' FORWARD chain drops what its rules do not accept: containers may be cut off from other hosts"
            );
        }
        Ok(Self { socket, rules, guests: BTreeSet::new(), owned: true })
    }

    /// What the table says of all networks.
    pub(crate) fn rules(&self) -> Rules {
        self.rules
    }

    /// Whether some family is not forwarded between strangers.
    pub(crate) fn drops_foreign(&self) -> bool {
        self.rules.drop_foreign4 || self.rules.drop_foreign6
    }

    /// Which links lead to containers of others' drivers. Takes effect when the table is written.
    pub(crate) fn set_guests<'a>(&mut self, links: impl Iterator<Item = &'a String>) {
        self.guests = links.filter(|link| link.len() <= crate::link::MAX_NAME).cloned().collect();
    }

    /// Whether the table is there.
    pub(crate) fn stands(&mut self) -> Result<bool, Errno> {
        Ok(nft::policy(&mut self.socket, Family::Inet, TABLE, FORWARD)?.is_some())
    }

    /// Opens the ears for what others do to the table.
    pub(crate) fn watch(&self) -> Result<Watch, NetworkError> {
        let watch = self.socket.port().and_then(|port| nft::watch(TABLE, port));
        watch.map_err(NetworkError::kernel("listen for changes of the tables"))
    }

    /// From now on a family is not forwarded between strangers. Takes effect when the table is written.
    pub(crate) fn drop_foreign(&mut self, ipv6: bool) {
        match ipv6 {
            true => self.rules.drop_foreign6 = true,
            false => self.rules.drop_foreign4 = true,
        }
    }

    /// Replaces the whole table by what these networks and endpoints need.
    pub(crate) fn rewrite<'a>(
        &mut self,
        zones: impl IntoIterator<Item = &'a Zone>,
        endpoints: impl IntoIterator<Item = (&'a Zone, &'a EndpointRecord)>,
    ) -> Result<(), NetworkError> {
        let (zones, endpoints) = (Vec::from_iter(zones), Vec::from_iter(endpoints));
        let mut write = |owned| {
            let mut ops = plan::table(&self.rules, owned, zones.iter().copied(), endpoints.iter().copied());
            ops.extend(plan::guests(&self.guests));
            nft::commit(&mut self.socket, TABLE, &ops)
        };
        let mut written = write(self.owned);
        // A daemon that was just killed lets go of the table when the last copy of its socket is closed.
        for _ in 0..PATIENCE {
            if written != Err(Errno::PERM) {
                break;
            }
            thread::sleep(PAUSE);
            written = write(self.owned);
        }
        if self.owned && matches!(written, Err(Errno::OPNOTSUPP | Errno::INVAL)) {
            written = write(false);
            self.owned = written.is_err();
        }
        written.map_err(NetworkError::kernel("write table inet skiff"))
    }

    /// Makes a network known.
    pub(crate) fn add_zone(&mut self, zone: &Zone) -> Result<Found, NetworkError> {
        self.change(&zone.add(), "add a network to table inet skiff")
    }

    /// Makes a further bridge of a network known.
    pub(crate) fn add_shard(&mut self, bridge: &str) -> Result<Found, NetworkError> {
        self.change(&zone::add_shard(bridge), "add a bridge to table inet skiff")
    }

    /// Makes a network unknown again.
    pub(crate) fn delete_zone(&mut self, zone: &Zone) -> Result<Found, NetworkError> {
        self.change(&zone.delete(), "take a network from table inet skiff")
    }

    /// Publishes the ports of an endpoint.
    pub(crate) fn publish(&mut self, zone: &Zone, endpoint: &EndpointRecord) -> Result<Found, NetworkError> {
        self.change(&plan::publish(&self.rules, zone, endpoint), "publish ports in table inet skiff")
    }

    /// Takes back what [`Self::publish`] did.
    pub(crate) fn unpublish(
        &mut self,
        zone: &Zone,
        endpoint: &EndpointRecord,
    ) -> Result<Found, NetworkError> {
        self.change(&plan::unpublish(&self.rules, zone, endpoint), "withdraw ports from table inet skiff")
    }

    /// Ends what goes on by itself after a port was withdrawn.
    pub(crate) fn cut_flows(&mut self, endpoint: &EndpointRecord) -> Result<(), NetworkError> {
        if !endpoint.ports.iter().any(|port| port.protocol == Protocol::Udp) {
            return Ok(());
        }
        let addresses = [endpoint.ipv4.map(Into::into), endpoint.ipv6.map(Into::into)];
        for address in addresses.into_iter().flatten() {
            conntrack::cut_udp(&mut self.socket, address)
                .map_err(NetworkError::kernel("cut the UDP flows of a container"))?;
        }
        Ok(())
    }

    fn change(&mut self, ops: &[Op], operation: &str) -> Result<Found, NetworkError> {
        match nft::commit(&mut self.socket, TABLE, ops) {
            Ok(()) => Ok(Found::Table),
            Err(Errno::NOENT) => Ok(Found::Nothing),
            Err(errno) => Err(NetworkError::Kernel { operation: operation.to_owned(), errno }),
        }
    }
}
