//! The way itself, from place to place until it arrives or ends.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
};

use skiff_types::ContainerId;

use super::{
    About, Namespaces, Place, Reach, Step, Verdict,
    scene::{Net, Scene},
    sockets,
    strangers::{self, Strangers},
};
use crate::{
    BoundPort, EndpointRecord, NetworkError, Protocol,
    firewall::is_translated,
    link::{self, Route},
    netlink::Netlink,
    networks::{Carrier, ChildKind, ChildOptions, GatewayMode, IpvlanFlag, MacvlanMode},
    nft::Hook,
    sandbox, sysctl,
};

type Way = Result<Verdict, NetworkError>;

/// Where a packet for the host or by way of it comes from.
#[derive(Clone, Copy, Debug)]
enum Origin<'a> {
    Host,
    /// A network, and which of its bridges.
    Net(&'a Net, u16),
    Outside,
}

/// A packet on its way.
pub(super) struct Walk<'a> {
    scene: &'a Scene,
    to: IpAddr,
    port: Option<(Protocol, u16)>,
    namespaces: &'a Namespaces<'a>,
    host: Netlink,
    steps: Vec<Step>,
    /// Whether a filter that is not ours has a say.
    filtered: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        scene: &'a Scene,
        to: IpAddr,
        port: Option<(Protocol, u16)>,
        namespaces: &'a Namespaces<'a>,
    ) -> Result<Self, NetworkError> {
        let host = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        Ok(Self { scene, to, port, namespaces, host, steps: Vec::new(), filtered: false })
    }

    /// The whole way.
    pub(super) fn told(mut self, place: Place) -> Result<Reach, NetworkError> {
        let verdict = match place {
            Place::Host => self.leave_host(),
            Place::Container(id) => self.leave_container(&id),
            Place::Outside(ip) => self.come_from(ip),
        }?;
        let verdict = match verdict {
            Verdict::Reaches if self.filtered => Verdict::Depends,
            other => other,
        };
        Ok(Reach { steps: self.steps, verdict })
    }

    fn step(&mut self, about: About, text: String) {
        self.steps.push(Step { about, text });
    }

    fn end(&mut self, about: About, text: String) -> Way {
        self.step(about, text);
        Ok(Verdict::Ends)
    }

    fn leave_container(&mut self, id: &ContainerId) -> Way {
        let to = self.to;
        let netns = (self.namespaces)(id)?;
        let (route, interface) = sandbox::inside(netns.as_fd(), || {
            let mut socket = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
            way(&mut socket, to)
        })?;
        let scene = self.scene;
        let name = scene.endpoints_of(id).next().map_or_else(|| id.short(), |e| e.container_name.clone());
        let Some(route) = route else {
            let mut of = scene.endpoints_of(id).filter_map(|e| scene.net(&e.network));
            let why = match (of.next(), scene.endpoints_of(id).all(|e| e.way(to.is_ipv6()).is_none())) {
                (None, _) => ": it is on no network",
                (Some(_), true) => ": none of its networks leads out",
                (Some(_), false) => "",
            };
            return self.end(About::Route, format!("{name} has no route to {to}{why}"));
        };
        if route.is_local {
            self.step(About::Route, format!("{to} is {name}'s own address"));
            return self.arrive_in(id, &name, to, self.port);
        }
        let Some(endpoint) = scene.endpoints_of(id).find(|e| e.interface == interface) else {
            self.step(About::Route, format!("{name} sends it by {interface}, which the daemon did not make"));
            return Ok(Verdict::Depends);
        };
        let Some(net) = scene.net(&endpoint.network) else { return Ok(Verdict::Depends) };
        let whereto = route.gateway.map_or_else(|| "straight".to_owned(), |gw| format!("to the router {gw}"));
        let network = &net.record.name;
        self.step(About::Route, format!("{name} sends it by {interface} (network {network}), {whereto}"));
        match &net.carrier {
            Carrier::Bridge(_) => self.on_bridge(net, endpoint.shard, &route),
            Carrier::Parent(options) => self.on_parent(net, options, &route),
            Carrier::Remote(_) | Carrier::Cni(_) => {
                self.step(About::Link, format!("what network {network} does with it its driver knows"));
                Ok(Verdict::Depends)
            }
        }
    }

    fn leave_host(&mut self) -> Way {
        let to = self.to;
        let (route, name) = way(&mut self.host, to)?;
        let Some(route) = route else {
            return self.end(About::Route, format!("the host has no route to {to}"));
        };
        if route.is_local {
            return self.at_host(Origin::Host);
        }
        let whereto = route.gateway.map_or_else(|| "straight".to_owned(), |gw| format!("to the router {gw}"));
        self.step(About::Route, format!("the host sends it by {name}, {whereto}"));
        match self.scene.of_bridge(&name).filter(|_| route.gateway.is_none()) {
            Some(net) => self.over_bridge(net, 0, to),
            None => self.beyond(&name),
        }
    }

    fn come_from(&mut self, from: IpAddr) -> Way {
        let to = self.to;
        let (route, name) = way(&mut self.host, from)?;
        let Some(route) = route else {
            return self.end(About::Route, format!("the host has no route back to {from}"));
        };
        if route.is_local {
            return self.leave_host();
        }
        self.step(About::Link, format!("{from} is behind {name}"));
        if to.is_loopback() {
            return self.end(About::Rule, format!("{to} is only for those on the host"));
        }
        let child = |net: &Net| net.zone.is_none() && net.record.link == name;
        if let Some(holder) = self.scene.holder(to, child) {
            self.step(About::Link, format!("{} is on the LAN of {name}", holder.container_name));
            return self.arrive_in(&holder.container, &holder.container_name, to, self.port);
        }
        let (route, _) = way(&mut self.host, to)?;
        if route.is_some_and(|route| route.is_local) {
            return self.at_host(Origin::Outside);
        }
        match self.scene.of_address(to) {
            Some(net) => self.inward(net, &name),
            None if self
                .scene
                .rules
                .is_some_and(|r| if to.is_ipv6() { r.drop_foreign6 } else { r.drop_foreign4 }) =>
            {
                self.end(
                    About::Rule,
                    "the host does not forward between others: chain forward drops it".to_owned(),
                )
            }
            None => {
                self.step(About::Route, format!("{to} is neither the host nor on a network of its own"));
                Ok(Verdict::Depends)
            }
        }
    }

    /// On the bridge of a network, sent by one of its containers.
    fn on_bridge(&mut self, net: &Net, shard: u16, route: &Route) -> Way {
        let next = route.gateway.unwrap_or(self.to);
        let Carrier::Bridge(options) = &net.carrier else { return Ok(Verdict::Depends) };
        let bridges_own = net.record.pools().any(|pool| pool.gateway == Some(next));
        if bridges_own && options.has_address(next.is_ipv6()) {
            self.step(
                About::Link,
                format!("the host takes it at {next}, the address of bridge {}", net.record.link),
            );
            return self.by_the_host(net, shard);
        }
        let neighbour = self.scene.holder(next, |other| other.record.id == net.record.id);
        if route.gateway.is_some() {
            let who = neighbour.map_or_else(|| "not known here".to_owned(), |e| e.container_name.clone());
            self.step(About::Link, format!("{next} is {who}, and sends it on as it likes"));
            return Ok(Verdict::Depends);
        }
        if neighbour.is_some() && !options.icc {
            let name = &net.record.name;
            let text =
                format!("containers of network {name} do not reach each other: its enable_icc is false");
            return self.end(About::Rule, text);
        }
        self.over_bridge(net, shard, next)
    }

    /// Over a network's bridges to whoever has the address there.
    fn over_bridge(&mut self, net: &Net, shard: u16, to: IpAddr) -> Way {
        let name = &net.record.name;
        let Some(holder) = self.scene.holder(to, |other| other.record.id == net.record.id) else {
            return self.end(About::Link, format!("nobody on network {name} has the address {to}"));
        };
        let bridges = net.bridges(shard, holder.shard);
        self.step(About::Link, format!("{bridges} it to {}", holder.container_name));
        self.arrive_in(&holder.container, &holder.container_name, to, self.port)
    }

    /// At the host, which a container of a bridge network sent it to, as its router or itself.
    fn by_the_host(&mut self, net: &Net, shard: u16) -> Way {
        let to = self.to;
        let (route, link) = way(&mut self.host, to)?;
        if route.as_ref().is_some_and(|route| route.is_local) {
            return self.at_host(Origin::Net(net, shard));
        }
        if net.record.internal {
            return self.internal(net);
        }
        if let Some(target) = self.scene.of_address(to) {
            return self.inward(target, &net.record.link);
        }
        let Some(route) = route else {
            return self.end(About::Route, format!("the host has no route to {to}"));
        };
        if !sysctl::forwards(to.is_ipv6())? {
            return self.end(About::Rule, "the host does not forward (ip_forward)".to_owned());
        }
        let zone = net.zone.as_ref().filter(|_| self.scene.rules.is_some());
        let masqueraded = |zone: &crate::firewall::Zone| {
            zone.masquerade && matches!(zone.mode(to.is_ipv6()), GatewayMode::Nat | GatewayMode::Unprotected)
        };
        let address = if zone.is_some_and(masqueraded) { "the host's" } else { "the container's own" };
        let by = route.gateway.map_or_else(|| link.clone(), |gw| format!("{link} to the router {gw}"));
        self.step(About::Rule, format!("chain forward lets it out by {by}, under {address} address"));
        if self.others_drop(Hook::FORWARD)? {
            return Ok(Verdict::Ends);
        }
        self.beyond(&link)
    }

    fn internal(&mut self, net: &Net) -> Way {
        self.end(About::Rule, format!("network {} is internal: nothing leaves it", net.record.name))
    }

    /// Forwarded to the address of a container from another link than its network's.
    fn inward(&mut self, net: &Net, from: &str) -> Way {
        let to = self.to;
        let name = &net.record.name;
        let Some(zone) = &net.zone else { return Ok(Verdict::Depends) };
        let Some(rules) = self.scene.rules else {
            self.step(About::Rule, "the daemon writes no rules (--iptables=false)".to_owned());
            return self.forwarded(net);
        };
        if net.record.internal {
            return self
                .end(About::Rule, format!("network {name} is internal: nothing gets in from elsewhere"));
        }
        let holder = self.scene.holder(to, |other| other.record.id == net.record.id);
        let published = holder.is_some_and(|holder| {
            let is_it = |p: &&BoundPort| {
                p.host_ip.is_ipv6() == to.is_ipv6() && self.port == Some((p.protocol, p.container_port))
            };
            holder.ports.iter().any(|port| is_it(&port))
        });
        let why = match zone.mode(to.is_ipv6()) {
            GatewayMode::Unprotected => Some("its gateway mode is nat-unprotected"),
            GatewayMode::Routed if self.port.is_none() => {
                Some("its gateway mode is routed, which ICMP passes")
            }
            GatewayMode::Routed if published => Some("its gateway mode is routed and the port is published"),
            GatewayMode::Nat if published && rules.direct => {
                Some("--allow-direct-routing, and the port is published")
            }
            GatewayMode::Nat if published && zone.trusted.iter().any(|link| link == from) => {
                Some("its trusted_host_interfaces name the link, and the port is published")
            }
            _ => None,
        };
        let Some(why) = why else {
            let text = format!(
                "network {name} takes nothing from {from} but answers and what is published: chain inward drops it"
            );
            return self.end(About::Rule, text);
        };
        self.step(About::Rule, format!("chain inward lets it into network {name}: {why}"));
        self.forwarded(net)
    }

    fn forwarded(&mut self, net: &Net) -> Way {
        if self.others_drop(Hook::FORWARD)? {
            return Ok(Verdict::Ends);
        }
        self.over_bridge(net, 0, self.to)
    }

    /// At an address of the host's own.
    fn at_host(&mut self, from: Origin<'_>) -> Way {
        let to = self.to;
        let scene = self.scene;
        if let Some((protocol, port)) = self.port
            && let Some((endpoint, bound)) = scene.published(to, protocol, port)
        {
            return self.published(endpoint, bound, from);
        }
        self.step(About::Route, format!("{to} is an address of the host"));
        // What the host sends itself passes the loopback, which filters leave alone.
        if !matches!(from, Origin::Host) && self.others_drop(Hook::INPUT)? {
            return Ok(Verdict::Ends);
        }
        let Some((protocol, port)) = self.port else { return Ok(Verdict::Reaches) };
        let listens = sockets::listens(to, protocol, port)?;
        self.heard("the host", port, listens)
    }

    /// At a port of the host that is published for a container.
    fn published(&mut self, endpoint: &EndpointRecord, bound: &BoundPort, from: Origin<'_>) -> Way {
        let to = self.to;
        let Some(net) = self.scene.net(&endpoint.network) else { return Ok(Verdict::Depends) };
        let Some(zone) = &net.zone else { return Ok(Verdict::Depends) };
        let name = &endpoint.container_name;
        let what = format!("port {} of the host is published for {name}", bound.host_port);
        let by_daemon = match from {
            Origin::Host => to.is_ipv6() && to.is_loopback(),
            // Their bridge would not carry it from one to another.
            Origin::Net(net, _) => net.zone.as_ref().is_some_and(|zone| !zone.icc),
            Origin::Outside => false,
        };
        let translated = is_translated(zone, endpoint, SocketAddr::new(to, bound.host_port));
        let in_kernel = self.scene.rules.is_some() && translated && !by_daemon;
        let Some(target) = endpoint.target(to) else { return Ok(Verdict::Depends) };
        let respects = self.scene.rules.is_none_or(|rules| rules.respect_host);
        if matches!(from, Origin::Outside) && (respects || !in_kernel) {
            self.step(About::Rule, format!("{what}, and the host's own input policy decides who gets there"));
            if self.others_drop(Hook::INPUT)? {
                return Ok(Verdict::Ends);
            }
        }
        let at = SocketAddr::new(target, bound.container_port);
        if !in_kernel && !self.scene.relaying {
            return self
                .end(About::Rule, format!("{what}, and nobody passes it on (--userland-proxy=false)"));
        }
        let who = if in_kernel { "chain publish turns it" } else { "the daemon passes it on" };
        self.step(About::Rule, format!("{what}: {who} to {at}"));
        if in_kernel {
            if let Origin::Net(own, _) = from
                && own.record.internal
            {
                return self.internal(own);
            }
            if let Origin::Net(own, shard @ 1..) = from
                && (own.record.id, shard) == (net.record.id, endpoint.shard)
                && sysctl::bridges_ask_netfilter(to.is_ipv6())
            {
                let text = format!(
                    "bridge {} turns it itself (br_netfilter), and gives nothing back by the port to that of both",
                    net.record.link
                );
                return self.end(About::Link, text);
            }
            if !matches!(from, Origin::Host) && self.others_drop(Hook::FORWARD)? {
                return Ok(Verdict::Ends);
            }
        }
        self.step(About::Link, format!("{} it to {name}", net.bridges(0, endpoint.shard)));
        self.arrive_in(&endpoint.container, name, target, Some((bound.protocol, bound.container_port)))
    }

    /// By a parent link, sent by one of its children.
    fn on_parent(&mut self, net: &Net, options: &ChildOptions, route: &Route) -> Way {
        let parent = &options.parent;
        if crate::networks::find_parent(&mut self.host, parent)?.is_none() {
            return self.end(About::Link, format!("the parent {parent} is not there"));
        }
        let next = route.gateway.unwrap_or(self.to);
        if link::route_to(&mut self.host, next)
            .map_err(NetworkError::kernel("ask for a route"))?
            .is_some_and(|r| r.is_local)
        {
            let text =
                format!("{next} is the host, which does not meet the children of its own link {parent}");
            return self.end(About::Link, text);
        }
        let sibling = |other: &Net| other.zone.is_none() && other.record.link == net.record.link;
        let Some(holder) = self.scene.holder(next, sibling) else {
            let router = if route.gateway.is_some() { " to that router" } else { "" };
            self.step(
                About::Link,
                format!("{parent} carries it to its LAN{router}, of which no more is known here"),
            );
            return Ok(Verdict::Reaches);
        };
        let name = &holder.container_name;
        match options.kind {
            ChildKind::Macvlan(MacvlanMode::Private) | ChildKind::Ipvlan(_, IpvlanFlag::Private) => self.end(
                About::Link,
                format!("children of {parent} do not reach each other: its mode is private"),
            ),
            ChildKind::Macvlan(MacvlanMode::Vepa) | ChildKind::Ipvlan(_, IpvlanFlag::Vepa) => {
                let text =
                    format!("{parent} sends it to its switch (mode vepa), which may send it back to {name}");
                self.step(About::Link, text);
                Ok(Verdict::Depends)
            }
            _ if route.gateway.is_some() => {
                self.step(About::Link, format!("{next} is {name}, and sends it on as it likes"));
                Ok(Verdict::Depends)
            }
            _ => {
                self.step(About::Link, format!("{parent} carries it to {name}"));
                self.arrive_in(&holder.container, name, next, self.port)
            }
        }
    }

    /// Out of the host by a link that is no network's bridge.
    fn beyond(&mut self, link: &str) -> Way {
        let child = |net: &Net| net.zone.is_none() && net.record.link == link;
        if let Some(holder) = self.scene.holder(self.to, child) {
            let name = &holder.container_name;
            let text = format!(
                "{name} is a child of {link}, and the host does not meet the children of its own links"
            );
            return self.end(About::Link, text);
        }
        self.step(About::Link, format!("it leaves by {link}; what is behind is not known here"));
        Ok(Verdict::Reaches)
    }

    /// In a container's namespace.
    fn arrive_in(&mut self, id: &ContainerId, name: &str, at: IpAddr, port: Option<(Protocol, u16)>) -> Way {
        let Some((protocol, port)) = port else { return Ok(Verdict::Reaches) };
        let netns = (self.namespaces)(id)?;
        let listens = sandbox::inside(netns.as_fd(), || sockets::listens(at, protocol, port))?;
        self.heard(name, port, listens)
    }

    fn heard(&mut self, name: &str, port: u16, listens: Option<bool>) -> Way {
        match listens {
            Some(true) => {
                self.step(About::Port, format!("{name} listens at port {port}"));
                Ok(Verdict::Reaches)
            }
            Some(false) => self.end(About::Port, format!("nobody listens at port {port} of {name}")),
            None => {
                self.step(About::Port, format!("whether {name} listens at port {port} is not known here"));
                Ok(Verdict::Depends)
            }
        }
    }

    /// Whether others' filters drop everything; if they have rules, these are told, and what comes of it depends on them.
    fn others_drop(&mut self, hook: u32) -> Result<bool, NetworkError> {
        Ok(match strangers::at(hook)? {
            Strangers::Pass => false,
            Strangers::Drop(chain) => {
                self.step(About::Filter, format!("{chain}, which is not ours, drops everything"));
                true
            }
            Strangers::Decide(chains) => {
                let text = format!("rules that are not ours have a say: {}", chains.join(", "));
                self.step(About::Filter, text);
                self.filtered = true;
                false
            }
        })
    }
}

/// The way of a namespace to an address, and the link's name.
fn way(socket: &mut Netlink, to: IpAddr) -> Result<(Option<Route>, String), NetworkError> {
    let route = link::route_to(socket, to).map_err(NetworkError::kernel("ask for a route"))?;
    let found = match &route {
        Some(route) => link::find(socket, route.link).map_err(NetworkError::kernel("look at a link"))?,
        None => None,
    };
    Ok((route, found.map(|link| link.name).unwrap_or_default()))
}
