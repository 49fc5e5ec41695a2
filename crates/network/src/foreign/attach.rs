//! Endpoints of drivers of others: made, joined, and unmade again.

use std::{
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use skiff_types::{ContainerId, NetworkId};

use super::{
    Foreign, Progress,
    pools::{leave_addresses, take_addresses, told},
    protocol::{Asked, Driver, Interface, Joined},
};
use crate::{
    EndpointRecord, EndpointRequest, Network, NetworkError, NetworkRecord, PortSpec,
    cni::{Config, Place},
    endpoint::Way,
    link,
    netlink::{Batch, Netlink},
    networks::Carrier,
    plug::Plug,
    sandbox,
};

/// How long a network waits, when it is removed, for drivers that are still being told of ends.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// What is needed to tell a driver of an end.
#[derive(Clone, Debug)]
pub(crate) struct Farewell {
    pub(crate) record: EndpointRecord,
    pub(crate) network: NetworkRecord,
    pub(crate) carrier: Carrier,
}

impl Network {
    /// Takes the addresses of an endpoint if a plugin gives them out, and then reserves it as any other, with a port of a bridge.
    pub(crate) fn reserve(
        &self,
        container: ContainerId,
        name: &str,
        request: &mut EndpointRequest,
    ) -> Result<EndpointRecord, NetworkError> {
        let record = self.reserve_addresses(container, name, request)?;
        if let Err(error) = self.make_shards(&record) {
            let farewell = self.lock().farewell(&record);
            self.lock().forget(container, record.network);
            if let Some(farewell) = farewell {
                self.say(&farewell, None);
            }
            return Err(error);
        }
        Ok(record)
    }

    fn reserve_addresses(
        &self,
        container: ContainerId,
        name: &str,
        request: &mut EndpointRequest,
    ) -> Result<EndpointRecord, NetworkError> {
        let network = {
            let mut state = self.lock();
            let net = state.networks.get(&request.network);
            match net.filter(|net| net.record.addressing.is_plugin()).map(|net| net.record.clone()) {
                None => return state.reserve(container, name, request),
                Some(network) if state.endpoints.contains_key(&(container, network.id)) => {
                    let (container, network) = (name.to_owned(), network.name);
                    return Err(NetworkError::AlreadyAttached { container, network });
                }
                Some(network) => network,
            }
        };
        take_addresses(&self.shared.plugins, &network, request)?;
        let reserved = self.lock().reserve(container, name, request);
        if reserved.is_err() {
            let addresses = request.ipv4.map(IpAddr::V4).into_iter().chain(request.ipv6.map(IpAddr::V6));
            leave_addresses(&self.shared.plugins, &network, addresses);
        }
        reserved
    }

    /// Has a driver of others join a container to its network. What was made is in the endpoint's record, whatever the outcome.
    pub(crate) fn plug_foreign(
        &self,
        netns: BorrowedFd<'_>,
        plug: Plug,
        carrier: &Carrier,
        request: &EndpointRequest,
        ports: &[PortSpec],
    ) -> Result<(), NetworkError> {
        match carrier {
            Carrier::Remote(plugin) => self.join_remote(netns, plug, plugin, request, ports),
            Carrier::Cni(config) => self.add_by_cni(netns, plug, config, request, ports),
            Carrier::Bridge(_) | Carrier::Parent(_) => Ok(()),
        }
    }

    fn join_remote(
        &self,
        netns: BorrowedFd<'_>,
        plug: Plug,
        plugin: &str,
        request: &EndpointRequest,
        ports: &[PortSpec],
    ) -> Result<(), NetworkError> {
        let driver = Driver::find(&self.shared.plugins, plugin)?;
        let mut record = plug.record;
        let sandbox = self.shared.namespaces.keep(&record.container, netns)?;
        let asked = asked(request, ports);
        let created = driver.create_endpoint(&record, &asked).and_then(|interface| {
            foreign(&mut record).progress = Progress::Created;
            take_interface(&mut record, &interface)
        });
        self.note_foreign(&record);
        created.map_err(|source| NetworkError::CreateEndpoint {
            endpoint: record.container_name.clone(),
            network: self.lock().name(&record.network).to_owned(),
            source: Box::new(source),
        })?;
        let joined = driver.join(&record, &sandbox.to_string_lossy(), &asked)?;
        foreign(&mut record).progress = Progress::Joined;
        self.note_foreign(&record);
        take_join(&mut record, &joined, &driver)?;
        let name = joined.interface_name.unwrap_or_default();
        record.interface = match (&request.interface, name.dst_name.as_str()) {
            (Some(asked), _) => asked.clone(),
            (None, "") => self.lock().free_name(&record, &name.dst_prefix),
            (None, whole) => whole.to_owned(),
        };
        foreign(&mut record).source.clone_from(&name.src_name);
        self.note_foreign(&record);
        if name.src_name.is_empty() {
            return Ok(());
        }
        move_in(netns, &name.src_name, &record, &plug.sysctls)
    }

    fn add_by_cni(
        &self,
        netns: BorrowedFd<'_>,
        plug: Plug,
        config: &Config,
        request: &EndpointRequest,
        ports: &[PortSpec],
    ) -> Result<(), NetworkError> {
        let mut record = plug.record;
        if !ports.is_empty() {
            record.ports = self.lock().claim_ports(&record, config, ports)?;
        }
        let path = self.shared.namespaces.keep(&record.container, netns)?;
        foreign(&mut record).progress = Progress::Joined;
        self.note_foreign(&record);
        let place = Place {
            addresses: request.ipv4.map(IpAddr::V4).into_iter().chain(request.ipv6.map(IpAddr::V6)).collect(),
            mac: request.mac,
            ..Place::of(&record, Some(&path))
        };
        let answer = match config.add(&place) {
            Ok(answer) => answer,
            Err(error) => {
                // It is deleted already.
                foreign(&mut record).progress = Progress::Reserved;
                self.note_foreign(&record);
                return Err(error.into());
            }
        };
        let told = answer.told(&record.interface);
        record.mac = told.mac.or(record.mac);
        told.addresses.into_iter().for_each(|net| set_address(&mut record, net));
        told.gateways.into_iter().for_each(|ip| set_gateway(&mut record, ip));
        let foreign = foreign(&mut record);
        foreign.servers = told.servers;
        foreign.host_links = told.host_links;
        foreign.answer = Some(answer);
        self.note_foreign(&record);
        self.welcome_guests()?;
        match plug.sysctls.is_empty() {
            true => Ok(()),
            false => sandbox::inside(netns, || sandbox::set_sysctls(&record, &plug.sysctls)),
        }
    }

    /// Notes what is known of an endpoint, unless it is gone meanwhile.
    fn note_foreign(&self, record: &EndpointRecord) {
        let mut state = self.lock();
        if state.endpoints.contains_key(&(record.container, record.network)) {
            state.insert(record.clone());
        }
    }

    /// Lets what CNI plugins have joined to the host be forwarded, where nothing else is.
    fn welcome_guests(&self) -> Result<(), NetworkError> {
        let mut state = self.lock();
        match state.firewall.as_ref().is_some_and(|firewall| firewall.drops_foreign()) {
            true => state.rewrite_table(),
            false => Ok(()),
        }
    }

    /// Sees to it that default routes lead where they should, and that the driver whose endpoint has the container's default route publishes
    /// its ports. Containers without endpoints of others have nothing to see to.
    pub(crate) fn settle_foreign(
        &self,
        netns: BorrowedFd<'_>,
        container: ContainerId,
        request: &EndpointRequest,
        ports: &[PortSpec],
    ) -> Result<(), NetworkError> {
        let (endpoints, ways) = {
            let state = self.lock();
            (state.of(&container), state.ways(&container))
        };
        if !endpoints.iter().any(|endpoint| endpoint.foreign.is_some()) {
            return Ok(());
        }
        sandbox::redirect(&mut sandbox::route(netns)?, &ways.routes)?;
        for mut endpoint in endpoints {
            let Some(Carrier::Remote(plugin)) = self.carrier(&endpoint.network) else { continue };
            let wanted = ways.publishing == Some(endpoint.network);
            if wanted == endpoint.foreign.as_ref().is_some_and(|foreign| foreign.outside) {
                continue;
            }
            let driver = Driver::find(&self.shared.plugins, &plugin)?;
            match wanted {
                true => driver.program_outside(&endpoint, &asked(request, ports)).map_err(|source| {
                    NetworkError::Outside {
                        endpoint_name: endpoint.container_name.clone(),
                        endpoint: endpoint.id,
                        source: Box::new(source),
                    }
                })?,
                false => told(driver.revoke_outside(&endpoint)),
            }
            foreign(&mut endpoint).outside = wanted;
            self.note_foreign(&endpoint);
        }
        Ok(())
    }

    /// Asks plugins once how the endpoints of a container that has come up are.
    pub(crate) fn look_at_foreign(&self, container: &ContainerId) {
        for endpoint in self.endpoints_of(container).iter().filter(|endpoint| endpoint.foreign.is_some()) {
            if let Some(Carrier::Remote(plugin)) = self.carrier(&endpoint.network) {
                let looked =
                    Driver::find(&self.shared.plugins, &plugin).and_then(|driver| driver.look(endpoint));
                if let Err(error) = looked {
                    tracing::debug!(%container, %error, "a network plugin does not describe an endpoint");
                }
            }
        }
    }

    fn carrier(&self, network: &NetworkId) -> Option<Carrier> {
        self.lock().networks.get(network).map(|net| net.carrier.clone())
    }

    /// The endpoints of a container that has ended whose drivers are to be told of it yet: keep these records until [`Self::part`] has
    /// returned.
    pub fn leaving(&self, container: &ContainerId) -> Vec<EndpointRecord> {
        let state = self.lock();
        state.leaving.get(container).into_iter().flatten().map(|farewell| farewell.record.clone()).collect()
    }

    /// Tells the drivers of a container's endpoints that it has ended. Blocks for as long as they take; does nothing when there is nobody to
    /// tell.
    pub fn part(&self, container: &ContainerId) {
        let farewells = match self.lock().leaving.get_mut(container) {
            Some(farewells) => farewells.clone(),
            None => return,
        };
        let netns = self.shared.namespaces.find(container);
        for farewell in &farewells {
            self.say(farewell, netns.as_ref());
        }
        drop(netns);
        self.shared.namespaces.drop(container);
        self.lock().leaving.remove(container);
        if farewells.iter().any(|farewell| matches!(farewell.carrier, Carrier::Cni(_)))
            && let Err(error) = self.welcome_guests()
        {
            tracing::warn!(%error, "links of containers that have ended could not be taken from the table");
        }
    }

    /// Takes one endpoint of others from a container that goes on.
    pub(crate) fn part_from(&self, netns: BorrowedFd<'_>, farewell: &Farewell) {
        match netns.try_clone_to_owned() {
            Ok(netns) => self.say(farewell, Some(&netns)),
            Err(_) => self.say(farewell, None),
        }
        let container = &farewell.record.container;
        if !self.endpoints_of(container).iter().any(|endpoint| endpoint.foreign.is_some()) {
            self.shared.namespaces.drop(container);
        }
    }

    fn say(&self, farewell: &Farewell, netns: Option<&OwnedFd>) {
        let Farewell { record, network, carrier } = farewell;
        match carrier {
            Carrier::Remote(plugin) => match Driver::find(&self.shared.plugins, plugin) {
                Ok(driver) => leave(&driver, record, netns.map(AsFd::as_fd)),
                Err(error) => told(Err(error)),
            },
            Carrier::Cni(config) => {
                if record.foreign.as_ref().is_some_and(|foreign| foreign.progress == Progress::Joined) {
                    let path = self.shared.namespaces.path(&record.container);
                    config.delete(&Place::of(record, netns.is_some().then_some(&path)));
                }
            }
            Carrier::Bridge(_) | Carrier::Parent(_) => {}
        }
        leave_addresses(&self.shared.plugins, network, record.own_addresses());
        if let Some(net) = self.lock().networks.get_mut(&record.network) {
            net.release(record);
        }
    }

    /// Waits a while for drivers that are being told that containers of a network have ended.
    pub(crate) fn wait_for_leaving(&self, network: &NetworkId) {
        let until = Instant::now() + PATIENCE;
        let is_left = || {
            let state = self.lock();
            state.leaving.values().flatten().any(|farewell| farewell.record.network == *network)
        };
        while is_left() && Instant::now() < until {
            thread::sleep(PAUSE);
        }
    }

    /// Has CNI plugins look whether the endpoints of a running container are as they should be. What is wrong is logged.
    pub(crate) fn check_by_cni(&self, container: &ContainerId) {
        let Some(path) =
            self.shared.namespaces.find(container).map(|_| self.shared.namespaces.path(container))
        else {
            return;
        };
        for record in self.endpoints_of(container) {
            let Some(Carrier::Cni(config)) = self.carrier(&record.network) else { continue };
            if !config.checks() {
                continue;
            }
            if let Err(error) = config.check(&Place::of(&record, Some(&path))) {
                tracing::warn!(container = record.container_name, %error, "its place in a CNI network is not as it should be");
            }
        }
    }
}

fn asked<'a>(request: &'a EndpointRequest, ports: &'a [PortSpec]) -> Asked<'a> {
    Asked { driver_options: &request.driver_options, exposed: &request.exposed, ports }
}

fn foreign(record: &mut EndpointRecord) -> &mut Foreign {
    record.foreign.get_or_insert_default()
}

fn set_address(record: &mut EndpointRecord, net: IpNet) {
    match net.addr() {
        IpAddr::V4(ip) => (record.ipv4, record.prefix) = (Some(ip), net.prefix_len()),
        IpAddr::V6(ip) => (record.ipv6, record.prefix6) = (Some(ip), net.prefix_len()),
    }
}

fn set_gateway(record: &mut EndpointRecord, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => record.gateway = Some(ip),
        IpAddr::V6(ip) => record.gateway6 = Some(ip),
    }
}

/// Takes over what a plugin decided about the interface: only what nobody decided before.
fn take_interface(record: &mut EndpointRecord, given: &Interface) -> Result<(), NetworkError> {
    let strange =
        |what: &str, value: &str| NetworkError::Strange { what: what.to_owned(), value: value.to_owned() };
    if !given.mac_address.is_empty() {
        let mac = given.mac_address.parse().map_err(|_| strange("a MAC address", &given.mac_address))?;
        if let Some(present) = record.mac {
            return Err(NetworkError::Present {
                what: "MAC address",
                present: present.to_string(),
                given: given.mac_address.clone(),
            });
        }
        record.mac = Some(mac);
    }
    for (text, ipv6) in [(&given.address, false), (&given.address_ipv6, true)] {
        if text.is_empty() {
            continue;
        }
        let net: IpNet = text.parse().map_err(|_| strange("an address", text))?;
        let present = if ipv6 { record.ipv6.map(IpAddr::V6) } else { record.ipv4.map(IpAddr::V4) };
        if let Some(present) = present {
            return Err(NetworkError::Present {
                what: "IP",
                present: present.to_string(),
                given: text.clone(),
            });
        }
        if net.addr().is_ipv6() != ipv6 {
            return Err(strange("an address", text));
        }
        set_address(record, net);
    }
    Ok(())
}

/// Takes over the routes that a plugin wants.
fn take_join(record: &mut EndpointRecord, joined: &Joined, driver: &Driver) -> Result<(), NetworkError> {
    let strange = |text: &str| NetworkError::Strange { what: "a gateway".to_owned(), value: text.to_owned() };
    let gateway = |text: &str| match text {
        "" => Ok(None),
        text => text.parse::<IpAddr>().map(Some).map_err(|_| strange(text)),
    };
    (record.gateway, record.gateway6) = (None, None);
    for ip in [gateway(&joined.gateway)?, gateway(&joined.gateway_ipv6)?].into_iter().flatten() {
        set_gateway(record, ip);
    }
    foreign(record).routes = joined.routes(driver)?;
    Ok(())
}

/// Brings a link of the host into a container, under its new name, and configures it.
fn move_in(
    netns: BorrowedFd<'_>,
    source: &str,
    record: &EndpointRecord,
    sysctls: &[(String, String)],
) -> Result<(), NetworkError> {
    let name = &record.interface;
    let operation = format!("failed to add interface {source} to sandbox");
    let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
    let mut batch = Batch::default();
    link::get_by_name(&mut batch, source);
    let outer = link::one_link(&mut route, batch, &operation)?;
    let mut batch = Batch::default();
    link::take_down(&mut batch, outer.index);
    link::move_to(&mut batch, outer.index, netns);
    link::run(&mut route, batch, &operation)?;
    sandbox::inside(netns, || {
        let mut inside = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        let mut batch = Batch::default();
        link::get_by_name(&mut batch, source);
        let index = link::one_link(&mut inside, batch, &operation)?.index;
        let mut batch = Batch::default();
        link::rename(&mut batch, index, name);
        link::run(
            &mut inside,
            batch,
            &format!("{operation}: error renaming interface {source:?} to {name:?}"),
        )?;
        sandbox::prepare_interface(record, sysctls)?;
        if record.mac.is_some() {
            let mut batch = Batch::default();
            link::bring_up_index(&mut batch, index);
            link::run(&mut inside, batch, &operation)?;
        }
        sandbox::configure(&mut inside, index, record, &[] as &[Way])?;
        for static_route in record.foreign.iter().flat_map(|foreign| &foreign.routes) {
            let mut batch = Batch::default();
            link::add_route(&mut batch, index, static_route.to, static_route.via);
            link::run(&mut inside, batch, &format!("failed to add static route {}", static_route.to))?;
        }
        Ok(())
    })
}

/// Tells a network plugin of an end. Its link gets back to the host first, if it is still there.
fn leave(driver: &Driver, record: &EndpointRecord, netns: Option<BorrowedFd<'_>>) {
    let foreign = record.foreign.clone().unwrap_or_default();
    if foreign.outside {
        told(driver.revoke_outside(record));
    }
    if foreign.progress == Progress::Joined {
        told(driver.leave(record));
        if let Some(netns) = netns.filter(|_| !foreign.source.is_empty()) {
            told(move_out(netns, record, &foreign.source));
        }
    }
    if foreign.progress >= Progress::Created {
        told(driver.delete_endpoint(record));
    }
}

fn move_out(netns: BorrowedFd<'_>, record: &EndpointRecord, source: &str) -> Result<(), NetworkError> {
    let host: OwnedFd = fs_err::File::open("/proc/thread-self/ns/net")?.into_parts().0.into();
    sandbox::inside(netns, || {
        let mut inside = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        let Some(link) = link::find_by_name(&mut inside, &record.interface)? else { return Ok(()) };
        let mut batch = Batch::default();
        link::take_down(&mut batch, link.index);
        link::rename(&mut batch, link.index, source);
        link::move_to(&mut batch, link.index, host.as_fd());
        link::run(&mut inside, batch, &format!("give {source} back to the host"))
    })
}
