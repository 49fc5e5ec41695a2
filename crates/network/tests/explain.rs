//! Explanations and reality: every verdict is held against a connection that is really tried.

mod world;

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd,
};

use skiff_network::{
    About, Driver, EndpointRequest, NetConfig, Network, NetworkRequest, Place, Protocol, Reach, Verdict,
};
use world::*;

const TCP: Protocol = Protocol::Tcp;

/// A place in the world: what the network calls it, and where to try from.
struct Spot<'a> {
    name: &'a str,
    place: Place,
    /// None: the host itself.
    inside: Option<&'a Namespace>,
}

impl<'a> Spot<'a> {
    fn container(name: &'a str, container: &'a Container) -> Self {
        Self { name, place: Place::Container(container.record.container), inside: Some(&container.inside) }
    }

    fn tries(&self, to: IpAddr, protocol: Protocol, port: u16, expected: bool) -> bool {
        let reached = || match protocol {
            Protocol::Udp => udp_reached(to, port, expected),
            _ => tcp_reached(to, port, expected),
        };
        self.inside.map_or_else(reached, |inside| inside.within(reached))
    }
}

/// The explanation, with the containers' namespaces at hand.
fn told(
    network: &Network,
    all: &[&Container],
    from: Place,
    to: IpAddr,
    port: Option<(Protocol, u16)>,
) -> Reach {
    let namespaces = |id: &skiff_types::ContainerId| {
        let of = all.iter().find(|container| container.record.container == *id);
        of.ok_or_else(|| io::Error::other("no such container"))?.inside.netns.try_clone()
    };
    network.reach(from, to, port, &namespaces).expect("an explanation")
}

/// Every place against every address and port. What depends on others is counted and must not be told of what is ours alone.
fn compare(network: &Network, all: &[&Container], spots: &[Spot<'_>], targets: &[(&str, IpAddr, u16)]) {
    compare_by(&[TCP, Protocol::Udp], network, all, spots, targets);
}

fn compare_by(
    protocols: &[Protocol],
    network: &Network,
    all: &[&Container],
    spots: &[Spot<'_>],
    targets: &[(&str, IpAddr, u16)],
) {
    let mut wrong = Vec::new();
    for (spot, protocol) in spots.iter().flat_map(|spot| protocols.iter().map(move |p| (spot, *p))) {
        for (what, to, port) in targets {
            let reach = told(network, all, spot.place, *to, Some((protocol, *port)));
            let real = spot.tries(*to, protocol, *port, reach.verdict == Verdict::Reaches);
            let wanted = if real { Verdict::Reaches } else { Verdict::Ends };
            if reach.verdict != wanted {
                let from = spot.name;
                wrong.push(format!(
                    "{from} → {what} ({to}:{port}, {protocol:?}): really {real}, told {reach:#?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn between_networks_the_host_and_what_is_published() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let a = make(&network, "a", &["10.1.0.0/24"], &[]);
        let b = make(&network, "b", &["10.2.0.0/24"], &[]);
        let shut = make(&network, "shut", &["10.3.0.0/24"], &[("bridge.enable_icc", "false")]);
        let mut inner = network_request("inner", &["10.4.0.0/24"], &[]);
        inner.internal = true;
        let inner = network.create(&inner).unwrap();
        let mut ports = [TCP, Protocol::Udp].map(|protocol| port("8080", 80, protocol)).to_vec();
        ports.push(port("127.0.0.1:8081", 80, TCP));
        let one = attach_to(&network, &[&a], ports);
        let two = attach_to(&network, &[&a], vec![]);
        let other = attach_to(&network, &[&b], vec![]);
        let twice = [TCP, Protocol::Udp].map(|protocol| port("8082", 80, protocol));
        let closed = attach_to(&network, &[&shut], twice.to_vec());
        let beside = attach_to(&network, &[&shut], vec![]);
        let hidden = attach_to(&network, &[&inner], vec![]);
        let near = attach_to(&network, &[&inner], vec![]);
        let both = attach_to(&network, &[&a, &inner], vec![]);
        let default = attach(&network, vec![]);
        let nowhere = Container {
            record: skiff_network::EndpointRecord {
                container: skiff_types::ContainerId::random(),
                ..one.record.clone()
            },
            inside: Namespace { netns: network.isolated().unwrap() },
        };
        [&one, &other, &closed, &hidden].iter().for_each(|container| container.serve(80));
        serve(&neighbour, 99);
        let all = [&one, &two, &other, &closed, &beside, &hidden, &near, &both, &default, &nowhere];
        // The host's own program.
        let here = Namespace { netns: host.netns.try_clone().unwrap() };
        serve(&here, 70);
        let outside = ip("198.51.100.2");
        let spots = [
            Spot { name: "host", place: Place::Host, inside: None },
            Spot::container("one", &one),
            Spot::container("two", &two),
            Spot::container("other", &other),
            Spot::container("closed", &closed),
            Spot::container("beside", &beside),
            Spot::container("hidden", &hidden),
            Spot::container("near", &near),
            Spot::container("both", &both),
            Spot::container("default", &default),
            Spot::container("nowhere", &nowhere),
        ];
        let targets = [
            ("a neighbour", one.ip(), 80),
            ("a port where nobody listens", one.ip(), 81),
            ("an address that nobody has", ip("10.1.0.200"), 80),
            ("another network", other.ip(), 80),
            ("a network without icc", closed.ip(), 80),
            ("an internal network", hidden.ip(), 80),
            ("the host's published port", HOST.into(), 8080),
            ("the published port at a bridge", ip("10.1.0.1"), 8080),
            ("the published port without icc", HOST.into(), 8082),
            ("the same at its bridge", ip("10.3.0.1"), 8082),
            ("a port published on the loopback", HOST.into(), 8081),
            ("the loopback", ip("127.0.0.1"), 8081),
            ("the host's own program", HOST.into(), 70),
            ("the host's own program at a bridge", ip("10.4.0.1"), 70),
            ("a port of the host where nobody listens", HOST.into(), 71),
            ("the outside", outside, 99),
            ("no route", ip("203.0.113.1"), 80),
        ];
        compare(&network, &all, &spots, &targets);

        neighbour.run(&format!("ip route add 10.0.0.0/8 via {HOST}"));
        let spot = [Spot { name: "outside", place: Place::Outside(outside), inside: Some(&neighbour) }];
        let targets = [
            ("a container", one.ip(), 80),
            ("an internal one", hidden.ip(), 80),
            ("the host's program", HOST.into(), 70),
            ("published", HOST.into(), 8080),
            ("published on the loopback", HOST.into(), 8081),
            ("published without icc", HOST.into(), 8082),
            ("nothing", HOST.into(), 71),
        ];
        compare(&network, &all, &spot, &targets);
    });
}

#[test]
fn gateway_modes_trusted_links_and_direct_routing() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let outside = ip("198.51.100.2");
        neighbour.run(&format!("ip route add 10.0.0.0/8 via {HOST}"));
        serve(&neighbour, 99);
        for direct in [false, true] {
            let network = host.open(NetConfig { allow_direct_routing: direct, ..config() }, vec![]);
            let mode = |mode: &'static str| ("bridge.gateway_mode_ipv4", mode);
            let nets = [
                make(&network, "routed", &["10.1.0.0/24"], &[mode("routed")]),
                make(&network, "open", &["10.2.0.0/24"], &[mode("nat-unprotected")]),
                make(&network, "trusting", &["10.3.0.0/24"], &[("bridge.trusted_host_interfaces", "lan2")]),
                make(&network, "plain", &["10.4.0.0/24"], &[]),
            ];
            let containers: Vec<Container> =
                nets.iter().map(|net| attach_to(&network, &[net], vec![port("", 80, TCP)])).collect();
            containers.iter().for_each(|web| [80, 81].into_iter().for_each(|port| web.serve(port)));
            let all: Vec<&Container> = containers.iter().collect();
            let mut spots: Vec<Spot<'_>> =
                nets.iter().zip(&containers).map(|(net, web)| Spot::container(&net.name, web)).collect();
            spots.push(Spot { name: "outside", place: Place::Outside(outside), inside: Some(&neighbour) });
            let mut targets = vec![("the outside", outside, 99)];
            for (net, web) in nets.iter().zip(&containers) {
                targets.extend([80, 81].map(|port| (net.name.as_str(), web.ip(), port)));
            }
            // An outsider does not ask for itself.
            let (last, inside) = spots.split_last().expect("there are some");
            compare(&network, &all, inside, &targets);
            compare(&network, &all, std::slice::from_ref(last), &targets[1..]);
            for net in &nets {
                let container = containers.iter().find(|web| web.record.network == net.id).unwrap();
                network.release(&container.record.container);
                network.remove(&net.id).unwrap();
            }
        }
    });
}

#[test]
fn ipv6_is_told_as_ipv4_is() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let a = make(&network, "a", &["10.1.0.0/24", "fd00:1::/64"], &[]);
        let b = make(&network, "b", &["10.2.0.0/24", "fd00:2::/64"], &[]);
        let one = attach_to(&network, &[&a], vec![port("8080", 80, TCP)]);
        let two = attach_to(&network, &[&a], vec![]);
        let other = attach_to(&network, &[&b], vec![]);
        let four = attach(&network, vec![]);
        serve6(&one.inside, 80);
        serve6(&neighbour, 99);
        let own = one.record.ipv6.unwrap().into();
        // Neighbours find each other only when their links' own addresses are known to be theirs alone.
        eventually("the neighbour answers", || tcp(ip("2001:db8::2"), 99).is_some());
        let spots = [
            Spot { name: "host", place: Place::Host, inside: None },
            Spot::container("two", &two),
            Spot::container("other", &other),
            Spot::container("four", &four),
        ];
        let targets = [
            ("an address", own, 80),
            ("nobody listens", own, 81),
            ("published", ip("2001:db8::1"), 8080),
            ("the loopback", ip("::1"), 8080),
            ("the outside", ip("2001:db8::2"), 99),
        ];
        compare_by(&[TCP], &network, &[&one, &two, &other, &four], &spots, &targets);
        neighbour.run("ip -6 route add fd00:1::/64 via 2001:db8::1");
        let outside = ip("2001:db8::2");
        let spot = [Spot { name: "outside", place: Place::Outside(outside), inside: Some(&neighbour) }];
        compare_by(&[TCP], &network, &[&one, &two, &other, &four], &spot, &targets[..3]);
    });
}

#[test]
fn children_of_a_parent() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        serve(&neighbour, 99);
        let lan = |mode: &str| NetworkRequest {
            driver: Driver::Macvlan,
            options: [("parent", "lan2"), ("macvlan_mode", mode)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..network_request("lan", &["198.51.100.0/24"], &[])
        };
        let at = |net: &skiff_network::NetworkRecord, address: &str| {
            let ipv4 = Some(address.parse::<Ipv4Addr>().unwrap());
            let endpoint = EndpointRequest { ipv4, ..EndpointRequest::new(net.id) };
            Container::new(network.attach(request_with(vec![], endpoint)).unwrap())
        };
        for mode in ["bridge", "private"] {
            let net = network.create(&lan(mode)).unwrap();
            let (one, two) = (at(&net, "198.51.100.10"), at(&net, "198.51.100.11"));
            let web = attach(&network, vec![]);
            one.serve(80);
            web.serve(80);
            let all = [&one, &two, &web];
            let spots = [
                Spot { name: "host", place: Place::Host, inside: None },
                Spot::container("two", &two),
                Spot::container("web", &web),
                Spot { name: "outside", place: Place::Outside(ip("198.51.100.2")), inside: Some(&neighbour) },
            ];
            let targets = [("a child", one.ip(), 80), ("nobody listens", one.ip(), 81)];
            compare(&network, &all, &spots, &targets);
            let targets = [("the LAN", ip("198.51.100.2"), 99), ("the parent's host", HOST.into(), 70)];
            compare(&network, &all, &spots[1..2], &targets);
            for container in [&one, &two] {
                let (netns, id) = (container.inside.netns.as_fd(), container.record.container);
                network.disconnect(netns, id, net.id, &[]).unwrap();
            }
            network.remove(&net.id).unwrap();
            network.release(&web.record.container);
        }
        let net = network.create(&lan("vepa")).unwrap();
        let (one, two) = (at(&net, "198.51.100.12"), at(&net, "198.51.100.13"));
        let reach =
            told(&network, &[&one, &two], Place::Container(two.record.container), one.ip(), Some((TCP, 80)));
        assert_eq!(reach.verdict, Verdict::Depends, "on the switch");
    });
}

#[test]
fn other_peoples_filters_are_told_and_their_policies_counted() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let web = attach(&network, vec![port("8080", 80, TCP)]);
        web.serve(80);
        let outside = Place::Outside(ip("198.51.100.2"));
        let ask = || told(&network, &[&web], outside, HOST.into(), Some((TCP, 8080)));
        assert_eq!(ask().verdict, Verdict::Reaches);
        assert!(neighbour.within(|| tcp(HOST, 8080)).is_some());
        run("nft add table inet theirs");
        run("nft add chain inet theirs in { type filter hook input priority filter ; policy drop ; }");
        let reach = ask();
        assert_eq!(reach.verdict, Verdict::Ends);
        let last = reach.steps.last().unwrap();
        let words = "chain in of table inet theirs, which is not ours, drops everything";
        assert_eq!((last.about, last.text.as_str()), (About::Filter, words));
        assert!(neighbour.within(|| tcp_refused(HOST, 8080)));
        run("nft add rule inet theirs in tcp dport 8080 accept");
        assert_eq!(ask().verdict, Verdict::Depends);
        drop(network);
        // Docker's way, nobody is asked.
        let network = host.open(NetConfig { respect_host: false, ..config() }, vec![web.record.clone()]);
        let reach = told(&network, &[&web], outside, HOST.into(), Some((TCP, 8080)));
        assert_eq!(reach.verdict, Verdict::Reaches, "{reach:?}");
        assert!(neighbour.within(|| tcp(HOST, 8080)).is_some());
        // A container whose packets a filter of the forward hook drops.
        run("nft add chain inet theirs passing { type filter hook forward priority filter ; policy drop ; }");
        serve(&neighbour, 99);
        let from = Place::Container(web.record.container);
        let reach = told(&network, &[&web], from, ip("198.51.100.2"), Some((TCP, 99)));
        assert_eq!(reach.verdict, Verdict::Ends);
        assert!(web.inside.within(|| tcp_refused(ip("198.51.100.2"), 99)));
    });
}
