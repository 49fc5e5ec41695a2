//! The service: one object that owns the networks, their addresses, the table and the published ports.

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use skiff_plugins::Plugins;
use skiff_types::{ContainerId, NetworkId};

use crate::{
    AttachRequest, Attachment, BridgeInfo, Dns, Driver, EndpointRecord, EndpointRequest, LinkStats,
    NetConfig, NetworkError, NetworkRecord, PortSpec, child,
    config::AddressPool,
    endpoint::Way,
    firewall::{Guard, Usher},
    foreign::{self, Namespaces},
    ipam,
    janitor::Janitor,
    link, open,
    plug::{self, End, Plug},
    pool::{Pool, Prepared},
    routes::Conflicts,
    sandbox,
    stale::Stale,
    state::{State, again},
    sysctl,
};

/// How many loose namespaces are kept while there are networks that use them.
const LOOSE: usize = 4;

/// The networks of this host. Cheap to share behind an `Arc`; every method may be called from any thread, and may block for
/// as long as the kernel does.
#[derive(Debug)]
pub struct Network {
    pub(crate) pool: Pool,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) default: Option<BridgeInfo>,
    pub(crate) janitor: Janitor,
    pub(crate) stale: Stale,
    pub(crate) shared: Shared,
    /// Tells the containers' programs who is called what.
    pub(crate) dns: Arc<Dns>,
    /// Held while a network gets another bridge.
    pub(crate) sharding: Mutex<()>,
    /// Writes endpoints down.
    pub(crate) keep: OnceLock<Keep>,
    /// Routes of the host that lead elsewhere what is for a network.
    pub(crate) conflicts: Conflicts,
    /// Looks for them.
    pub(crate) _scout: Guard,
    /// Puts the table back when somebody removes it.
    pub(crate) _guard: Option<Guard>,
    /// Sends on what the host's policy let in to published ports.
    pub(crate) _usher: Option<Usher>,
}

/// What writes a container's endpoints down.
pub(crate) struct Keep(Box<WriteDown>);

type WriteDown = dyn Fn(&ContainerId, &[EndpointRecord]) + Send + Sync;

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keep")
    }
}

/// What is the same for all networks.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// Where subnets come from.
    pub(crate) pools: Vec<AddressPool>,
    /// The alias of bridges and parents that we made.
    pub(crate) alias: String,
    /// Whether to make the host a router.
    pub(crate) ip_forward: bool,
    /// Whether it then routes for others too.
    pub(crate) ip_forward_no_drop: bool,
    /// Whether the table is ours to write.
    pub(crate) firewall: bool,
    /// Network and IPAM plugins.
    pub(crate) plugins: Arc<Plugins>,
    /// The paths of namespaces.
    pub(crate) namespaces: Namespaces,
}

impl Network {
    /// Makes the host's state agree with `config` and with the records of networks and endpoints: bridges exist with their
    /// addresses, the table holds exactly what the records say (replaced in one transaction), published ports are bound
    /// again, links of networks and endpoints that are gone are removed. A record of an endpoint whose interface is gone,
    /// with its container or since a reboot, is forgotten.
    ///
    /// Must be called inside a tokio runtime, which then serves what the kernel cannot forward. Blocks for some
    /// milliseconds.
    ///
    /// # Errors
    /// A configuration that contradicts itself or the records, no subnet without a conflict, what the kernel refuses.
    pub fn open(
        config: NetConfig,
        networks: Vec<NetworkRecord>,
        endpoints: Vec<EndpointRecord>,
    ) -> Result<Self, NetworkError> {
        open::open(&config, networks, endpoints)
    }

    /// Gives a container its endpoints. Rules and ports are in force when this returns. On failure nothing is left.
    ///
    /// # Errors
    /// Addresses or ports that are taken, what the kernel refuses, networks that are not there.
    pub fn attach(&self, mut request: AttachRequest) -> Result<Attachment, NetworkError> {
        let container = request.container;
        if request.endpoints.is_empty() {
            return Ok(Attachment { netns: self.pool.isolated()?, endpoints: Vec::new() });
        }
        if let Some(existing) = self.endpoints_of(&container).first() {
            let network = self.lock().name(&existing.network).to_owned();
            return Err(NetworkError::AlreadyAttached { container: request.name, network });
        }
        // Who is still told of the last end is told before he hears of this beginning.
        self.part(&container);
        let attached = self.attach_all(&mut request);
        if attached.is_err() {
            self.release(&container);
            self.part(&container);
        }
        attached
    }

    fn attach_all(&self, request: &mut AttachRequest) -> Result<Attachment, NetworkError> {
        let mut plugs = Vec::with_capacity(request.endpoints.len());
        for endpoint in &mut request.endpoints {
            let record = self.reserve(request.container, &request.name, endpoint)?;
            plugs.push(Plug::new(record, endpoint, &self.lock())?);
        }
        let is_foreign = plugs.iter().any(|plug| plug.record.foreign.is_some());
        if is_foreign {
            self.keep_intent(&request.container);
        }
        let ways = {
            let mut state = self.lock();
            state.settle_ports(request.container, &request.ports)?;
            state.ways(&request.container)
        };
        let mut plugs = plugs.into_iter();
        let first = plugs.next().expect("a request has an endpoint");
        let netns = match first.fits_prepared() {
            true => {
                let prepared = if first.is_default { self.pool.endpoint()? } else { self.pool.loose()? };
                self.use_prepared(prepared, first, &ways.through("eth0"))?
            }
            false => {
                let netns = self.pool.isolated()?;
                self.plug(netns.as_fd(), first, &ways, &request.ports)?;
                netns
            }
        };
        for next in plugs {
            self.plug(netns.as_fd(), next, &ways, &request.ports)?;
        }
        if is_foreign {
            self.lock().settle_ports(request.container, &request.ports)?;
            self.settle_foreign(netns.as_fd(), request.container, &request.endpoints[0], &request.ports)?;
            self.look_at_foreign(&request.container);
        }
        let state = self.lock();
        let kept =
            |endpoint: &EndpointRequest| state.endpoints.get(&(request.container, endpoint.network)).cloned();
        let endpoints = request.endpoints.iter().filter_map(kept).collect();
        Ok(Attachment { netns, endpoints })
    }

    fn use_prepared(
        &self,
        mut prepared: Prepared,
        mut plug: Plug,
        ways: &[Way],
    ) -> Result<OwnedFd, NetworkError> {
        plug.record.host_interface.clone_from(&prepared.host_interface);
        plug.record.host_index = prepared.host_index;
        self.note_link(&plug.record);
        if !plug.is_default {
            plug::join_bridge(&mut prepared, &plug)?;
        }
        if !plug.is_as_prepared() {
            sandbox::inside(prepared.netns.as_fd(), || {
                sandbox::prepare_interface(&plug.record, &plug.sysctls)
            })?;
        }
        sandbox::configure(&mut prepared.route, prepared.index, &plug.record, ways)?;
        Ok(prepared.netns)
    }

    fn plug(
        &self,
        netns: BorrowedFd<'_>,
        mut plug: Plug,
        ways: &crate::state::Ways,
        ports: &[PortSpec],
    ) -> Result<(), NetworkError> {
        let ways = ways.through(&plug.record.interface);
        match &plug.end {
            End::Port { .. } => plug::insert(netns, &mut plug, &ways, |record| self.note_link(record)),
            End::Child(options) => child::insert(netns, &plug, options, &ways),
            End::Foreign(asked) => {
                let (carrier, request) = *asked.clone();
                self.plug_foreign(netns, plug, &carrier, &request, ports)
            }
        }
    }

    /// Has what drivers of others are about to be asked for written down, as if it were done.
    fn keep_intent(&self, container: &ContainerId) {
        let mut endpoints = self.endpoints_of(container);
        for foreign in endpoints.iter_mut().filter_map(|endpoint| endpoint.foreign.as_mut()) {
            foreign.progress = foreign::Progress::Joined;
        }
        if let Some(keep) = self.keep.get() {
            keep.0(container, &endpoints);
        }
    }

    /// Says how endpoints are written down before drivers of others are asked for them. Only the first time counts.
    pub fn keep_intents_by(&self, keep: impl Fn(&ContainerId, &[EndpointRecord]) + Send + Sync + 'static) {
        let _ = self.keep.set(Keep(Box::new(keep)));
    }

    /// The path of a container's network namespace, if it has one: where drivers of others are at work.
    pub fn namespace_path(&self, container: &ContainerId) -> Option<PathBuf> {
        self.shared.namespaces.find(container).map(|_| self.shared.namespaces.path(container))
    }

    /// Notes which link an endpoint got, unless it is gone meanwhile.
    fn note_link(&self, record: &EndpointRecord) {
        if let Some(kept) = self.lock().endpoints.get_mut(&(record.container, record.network)) {
            kept.host_interface.clone_from(&record.host_interface);
            kept.host_index = record.host_index;
        }
    }

    /// Gives a running container one more endpoint, and answers all it has. Its default routes lead where Docker's would
    /// then, and its ports follow them. On failure all is as before.
    ///
    /// # Errors
    /// As [`Self::attach`]; the container is in the network.
    pub fn connect(
        &self,
        netns: BorrowedFd<'_>,
        container: ContainerId,
        name: &str,
        endpoint: &EndpointRequest,
        ports: &[PortSpec],
    ) -> Result<Vec<EndpointRecord>, NetworkError> {
        self.stale.clear(|| sandbox::route(netns))?;
        let mut endpoint = endpoint.clone();
        let record = self.reserve(container, name, &mut endpoint)?;
        let (plug, ways) = {
            let state = self.lock();
            (Plug::new(record, &endpoint, &state)?, state.ways(&container))
        };
        if plug.record.foreign.is_some() {
            self.keep_intent(&container);
        }
        // A network whose endpoint does not lead out has nothing to publish.
        let connected = self
            .plug(netns, plug, &ways, &[])
            .and_then(|()| self.lock().settle_ports(container, ports))
            .and_then(|()| self.settle_foreign(netns, container, &endpoint, ports));
        match connected {
            Ok(()) => Ok(self.endpoints_of(&container)),
            Err(error) => {
                // The first error is the one to tell.
                let _ = self.disconnect(netns, container, endpoint.network, ports);
                Err(error)
            }
        }
    }

    /// Takes an endpoint from a running container, and answers those it has left.
    ///
    /// # Errors
    /// The container is not in the network; what the kernel refuses.
    pub fn disconnect(
        &self,
        netns: BorrowedFd<'_>,
        container: ContainerId,
        network: NetworkId,
        ports: &[PortSpec],
    ) -> Result<Vec<EndpointRecord>, NetworkError> {
        let (record, farewell, ways) = {
            let mut state = self.lock();
            let farewell = state.endpoints.get(&(container, network)).cloned();
            let farewell = farewell.and_then(|record| state.farewell(&record));
            let record = state.forget(container, network);
            let record = record.ok_or(NetworkError::NotAttached { container, network })?;
            let settled = state.settle_ports(container, &again(&record, ports));
            if let Err(error) = settled {
                tracing::warn!(%container, %error, "published ports could not follow the default route");
            }
            (record, farewell, state.ways(&container))
        };
        let mut route = sandbox::route(netns)?;
        match record.driver {
            Driver::Bridge => plug::remove(&record)?,
            Driver::Macvlan | Driver::Ipvlan => child::remove(&record, &mut route)?,
            Driver::Remote | Driver::Cni => {}
        }
        if let Some(farewell) = farewell {
            self.part_from(netns, &farewell);
        }
        sandbox::redirect(&mut route, &ways.routes)?;
        self.settle_foreign(netns, container, &EndpointRequest::new(network), ports)?;
        Ok(self.endpoints_of(&container))
    }

    /// Makes the links in a running container's namespace and those of its endpoints that the host does not see agree: a child of a parent
    /// that no endpoint knows is removed, an endpoint whose link is gone is forgotten.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn tidy(&self, netns: BorrowedFd<'_>, container: &ContainerId) -> Result<(), NetworkError> {
        let endpoints = self.endpoints_of(container);
        let known: Vec<&str> = endpoints.iter().map(|e| e.interface.as_str()).collect();
        let mut inside = sandbox::route(netns)?;
        let there = child::remove_strays(&mut inside, &known)?;
        for endpoint in endpoints.iter().filter(|e| e.driver != Driver::Bridge) {
            let is_there = match &endpoint.foreign {
                // One without a link of ours to move is what its plugin makes of it.
                Some(foreign) if endpoint.driver == Driver::Remote && foreign.source.is_empty() => true,
                Some(_) => link::find_by_name(&mut inside, &endpoint.interface)?.is_some(),
                None => there.contains(&endpoint.interface),
            };
            if !is_there {
                let farewell = self.lock().farewell(endpoint);
                self.lock().forget(*container, endpoint.network);
                if let Some(farewell) = farewell {
                    self.part_from(netns, &farewell);
                }
            }
        }
        self.check_by_cni(container);
        Ok(())
    }

    /// Calls a container otherwise, and answers its endpoints as they are then.
    pub fn rename(
        &self,
        container: &ContainerId,
        name: &str,
        names: impl Fn(&EndpointRecord) -> Vec<String>,
    ) -> Vec<EndpointRecord> {
        let mut state = self.lock();
        for old in state.of(container) {
            let names = if old.names.is_empty() { Vec::new() } else { names(&old) };
            state.insert(EndpointRecord { container_name: name.to_owned(), names, ..old });
        }
        state.of(container)
    }

    /// A network namespace with nothing but `lo`, up: for `--network none`.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn isolated(&self) -> Result<OwnedFd, NetworkError> {
        self.pool.isolated()
    }

    /// Takes back a container's addresses, ports and names. The interfaces go with the namespace, that is with the container's
    /// last process. Does nothing if the container has no endpoint. Drivers of others are to be told by [`Self::part`].
    pub fn release(&self, container: &ContainerId) {
        self.lock().release(container);
        self.dns.stop(container);
    }

    /// The endpoints of a container, those first that a default route would rather lead through.
    pub fn endpoints_of(&self, container: &ContainerId) -> Vec<EndpointRecord> {
        self.lock().of(container)
    }

    /// The endpoints of a network, in no particular order.
    pub fn members(&self, network: &NetworkId) -> Vec<EndpointRecord> {
        self.lock().endpoints.values().filter(|endpoint| endpoint.network == *network).cloned().collect()
    }

    /// All endpoints, in no particular order.
    pub fn endpoints(&self) -> Vec<EndpointRecord> {
        self.lock().endpoints.values().cloned().collect()
    }

    /// What is remembered of a network, or would be of the default bridge.
    pub fn net(&self, network: &NetworkId) -> Option<NetworkRecord> {
        self.lock().networks.get(network).map(|net| net.record.clone())
    }

    /// The default bridge, unless the configuration wants none.
    pub fn bridge(&self) -> Option<&BridgeInfo> {
        self.default.as_ref()
    }

    /// Traffic of a container, by interface.
    pub fn stats(&self, container: &ContainerId) -> Vec<(String, LinkStats)> {
        self.lock().stats(container)
    }

    /// The routes of the host that lead elsewhere what is for a network, in words.
    pub fn conflicts(&self) -> Vec<String> {
        lock(&self.conflicts).iter().cloned().collect()
    }

    /// Writes the firewall table again, whatever became of it. When somebody else changes it this happens by itself.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn reassert(&self) -> Result<(), NetworkError> {
        self.lock().rewrite_table()
    }

    /// Keeps loose namespaces in stock if there are networks that use them.
    pub(crate) fn keep_loose_if_needed(&self) {
        let needed = self.lock().networks.values().any(|net| !net.is_default && net.zone.is_some());
        self.pool.keep_loose(if needed { LOOSE } else { 0 });
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

pub(crate) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Makes the host a router of the families of a network that leads out, if the operator does not forbid it; one that
    /// did not forward before does not forward for strangers now.
    pub(crate) fn become_router(
        &self,
        state: &Mutex<State>,
        record: &NetworkRecord,
    ) -> Result<(), NetworkError> {
        if record.internal || !self.ip_forward {
            return Ok(());
        }
        for (wanted, ipv6) in [(!record.ipv4.is_empty(), false), (!record.ipv6.is_empty(), true)] {
            if !wanted || sysctl::forwards(ipv6)? {
                continue;
            }
            if !self.ip_forward_no_drop {
                let mut state = lock(state);
                if let Some(firewall) = &mut state.firewall {
                    firewall.drop_foreign(ipv6);
                    state.rewrite_table()?;
                }
            }
            sysctl::forward(ipv6)?;
        }
        Ok(())
    }

    /// As the operator wants it.
    pub(crate) fn new(config: &NetConfig) -> Self {
        let mut pools = match &config.default_address_pools[..] {
            [] => ipam::default_pools(),
            configured => configured.to_vec(),
        };
        if !pools.iter().any(|pool| pool.base.addr().is_ipv6()) {
            pools.push(ipam::unique_local(&config.network_id));
        }
        Self {
            pools,
            alias: format!("{}-{}", crate::link::ALIAS, config.network_id.short()),
            ip_forward: config.ip_forward,
            ip_forward_no_drop: config.ip_forward_no_drop,
            firewall: config.firewall,
            plugins: Arc::default(),
            namespaces: Namespaces::below(&config.run),
        }
    }
}
