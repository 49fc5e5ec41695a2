//! The service: one object that owns the default bridge, its addresses, its table and its published ports.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use skiff_types::ContainerId;

use crate::{BridgeInfo, Endpoint, EndpointRecord, EndpointRequest, LinkStats, NetConfig, NetworkError};

/// The networks of this host. Cheap to share behind an `Arc`; every method may be called from any thread.
#[derive(Debug)]
pub struct Network {
    info: BridgeInfo,
}

impl Network {
    /// Makes the host's state agree with `config` and with the records of the endpoints in use: the bridge exists with
    /// its address, the table holds exactly what the records say (replaced in one transaction), published ports are
    /// bound again, links of endpoints that are gone are removed.
    ///
    /// Must be called inside a tokio runtime, which then serves what the kernel cannot forward. Blocks for some
    /// milliseconds.
    ///
    /// # Errors
    /// A configuration that contradicts itself, no subnet without a conflict, what the kernel refuses.
    pub fn open(_config: NetConfig, _records: Vec<EndpointRecord>) -> Result<Self, NetworkError> {
        Err(NetworkError::Kernel { operation: "open the networks".to_owned(), errno: Errno::NOSYS })
    }

    /// Gives a container its endpoint. Rules and ports are in force when this returns. On failure nothing is left.
    ///
    /// # Errors
    /// Addresses or ports that are taken, what the kernel refuses.
    pub fn attach(&self, _request: EndpointRequest) -> Result<Endpoint, NetworkError> {
        Err(NetworkError::Kernel { operation: "attach".to_owned(), errno: Errno::NOSYS })
    }

    /// A network namespace with nothing but `lo`, up: for `--network none`.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn isolated(&self) -> Result<OwnedFd, NetworkError> {
        Err(NetworkError::Kernel { operation: "make a namespace".to_owned(), errno: Errno::NOSYS })
    }

    /// Takes back a container's address and ports. The interfaces go with the namespace, that is with the container's
    /// last process. Does nothing if the container has no endpoint.
    pub fn release(&self, _container: &ContainerId) {}

    /// The endpoint of a container.
    pub fn endpoint(&self, _container: &ContainerId) -> Option<EndpointRecord> {
        None
    }

    /// All endpoints, in no particular order.
    pub fn endpoints(&self) -> Vec<EndpointRecord> {
        Vec::new()
    }

    /// The default bridge.
    pub fn bridge(&self) -> &BridgeInfo {
        &self.info
    }

    /// Traffic of a container's interface; nothing if it has none.
    pub fn stats(&self, _container: &ContainerId) -> Option<LinkStats> {
        None
    }

    /// Writes the firewall table again, whatever became of it.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn reassert(&self) -> Result<(), NetworkError> {
        Err(NetworkError::Kernel { operation: "write the table".to_owned(), errno: Errno::NOSYS })
    }
}
