//! What changes with every endpoint: who has which address and ports, and the table that says so.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
};

use skiff_types::{ContainerId, EndpointId};

use crate::{
    BridgeInfo, EndpointRecord, EndpointRequest, LinkStats, NetworkError,
    firewall::Firewall,
    ipam::{Addresses, Refused},
    link::{self, CONTAINER_INTERFACE},
    netlink::Netlink,
    pool::Prepared,
    publish::Publisher,
};

/// What changes with every endpoint. The lock is held for system calls that do not wait, never while a namespace is
/// made.
#[derive(Debug)]
pub(crate) struct State {
    /// Who is attached.
    pub(crate) endpoints: HashMap<ContainerId, EndpointRecord>,
    /// Which addresses are free.
    pub(crate) addresses: Addresses,
    /// Who has which ports, and their sockets.
    pub(crate) publisher: Publisher,
    /// The table; none if it is not ours to write.
    pub(crate) firewall: Option<Firewall>,
    /// For questions about links.
    pub(crate) route: Netlink,
}

impl State {
    /// Takes address and ports and publishes them: all that is not inside the container's namespace.
    pub(crate) fn reserve(
        &mut self,
        request: &EndpointRequest,
        prepared: &Prepared,
        info: &BridgeInfo,
    ) -> Result<EndpointRecord, NetworkError> {
        if self.endpoints.contains_key(&request.container) {
            return Err(NetworkError::AlreadyAttached(request.container));
        }
        let id = EndpointId::random();
        let ipv4 = self.take_address(request.ipv4, info)?;
        let ports = self.publisher.publish(ipv4, &request.ports).map_err(|source| NetworkError::Publish {
            endpoint_name: request.name.clone(),
            endpoint: id,
            source: Box::new(source),
        });
        let ports = ports.inspect_err(|_| self.addresses.give_back(ipv4))?;
        let record = EndpointRecord {
            id,
            container: request.container,
            network: info.id,
            interface: CONTAINER_INTERFACE.to_owned(),
            host_interface: prepared.host_interface.clone(),
            host_index: prepared.host_index,
            mac: request.mac.unwrap_or(prepared.mac),
            ipv4,
            prefix: info.subnet.prefix_len(),
            gateway: info.gateway,
            ports,
        };
        if let Some(firewall) = self.firewall.as_mut().filter(|_| !record.ports.is_empty())
            && let Err(error) = firewall.publish(&record, self.endpoints.values())
        {
            self.publisher.withdraw(&record.ports);
            self.addresses.give_back(ipv4);
            return Err(error);
        }
        self.endpoints.insert(request.container, record.clone());
        Ok(record)
    }

    fn take_address(
        &mut self,
        wanted: Option<Ipv4Addr>,
        info: &BridgeInfo,
    ) -> Result<Ipv4Addr, NetworkError> {
        let Some(address) = wanted else {
            let route = &mut self.route;
            return self
                .addresses
                .take_any(|link| !link_exists(route, link))
                .ok_or(NetworkError::AddressesExhausted(info.id));
        };
        match self.addresses.take(address) {
            Ok(()) => Ok(address),
            Err(Refused::Outside) => Err(NetworkError::AddressOutside(address)),
            Err(Refused::Taken) => Err(NetworkError::AddressInUse(address)),
        }
    }

    /// Takes back what [`Self::reserve`] gave.
    pub(crate) fn release(&mut self, container: &ContainerId) {
        let Some(record) = self.endpoints.remove(container) else { return };
        if let Some(firewall) = self.firewall.as_mut().filter(|_| !record.ports.is_empty())
            && let Err(error) = firewall.unpublish(&record, self.endpoints.values())
        {
            tracing::warn!(%container, %error, "published ports could not be withdrawn");
        }
        self.publisher.withdraw(&record.ports);
        self.addresses.release(record.ipv4, record.host_index);
    }

    /// Writes the whole table anew.
    pub(crate) fn rewrite_table(&mut self) -> Result<(), NetworkError> {
        let endpoints = self.endpoints.values();
        self.firewall.as_mut().map_or(Ok(()), |firewall| firewall.rewrite(endpoints))
    }

    /// Binds the ports of the endpoints that were there before.
    pub(crate) fn restore_ports(&mut self) {
        for record in self.endpoints.values() {
            for (port, errno) in self.publisher.restore(record) {
                let address = SocketAddr::new(port.host_ip, port.host_port);
                let container = record.container;
                tracing::warn!(%container, %address, %errno, "a published port could not be bound again");
            }
        }
    }

    /// Traffic as the container sees it: the other way round than the bridge's port.
    pub(crate) fn stats(&mut self, container: &ContainerId) -> Option<LinkStats> {
        let index = self.endpoints.get(container)?.host_index;
        let outside = link::find(&mut self.route, index).ok().flatten()?.stats;
        Some(LinkStats {
            rx_bytes: outside.tx_bytes,
            rx_packets: outside.tx_packets,
            rx_errors: outside.tx_errors,
            rx_dropped: outside.tx_dropped,
            tx_bytes: outside.rx_bytes,
            tx_packets: outside.rx_packets,
            tx_errors: outside.rx_errors,
            tx_dropped: outside.rx_dropped,
        })
    }
}

/// In doubt it does.
fn link_exists(route: &mut Netlink, index: u32) -> bool {
    !matches!(link::find(route, index), Ok(None))
}
