//! Networks with more containers than a bridge has ports.

mod world;

use std::os::fd::AsFd;

use skiff_network::{Network, NetworkRecord, Place, Protocol, Verdict};
use world::*;

/// The kernel's limit.
const PORTS: usize = 1023;
const OUTSIDE: &str = "198.51.100.2";

fn ports(bridge: &str) -> usize {
    run(&format!("ip -o link show master {bridge}")).lines().count()
}

/// The names of a network's second bridge and of the two ends of what joins it to the first.
fn shard(net: &NetworkRecord) -> [String; 3] {
    ["br", "up", "dn"].map(|kind| format!("{kind}2-{}", &net.id.to_string()[..11]))
}

fn full(network: &Network, net: &NetworkRecord) -> Vec<Container> {
    let all: Vec<Container> = (0..=PORTS).map(|_| attach_to(network, &[net], vec![])).collect();
    assert_eq!((all[0].record.shard, all[PORTS].record.shard), (0, 1));
    all
}

/// What `from` is told of its way to a port of `to`, held against reality.
fn explained(network: &Network, from: &Container, to: std::net::IpAddr, port: u16) -> String {
    let namespaces = |id: &skiff_types::ContainerId| match *id == from.record.container {
        true => from.inside.netns.try_clone(),
        false => Err(std::io::Error::other("not asked for")),
    };
    let place = Place::Container(from.record.container);
    // Whether somebody listens would be looked for in the other's namespace.
    let published = (to == HOST).then_some((Protocol::Tcp, port));
    let reach = network.reach(place, to, published, &namespaces);
    let steps = match reach {
        Ok(reach) => {
            let told = reach.verdict == Verdict::Reaches;
            let really = from.inside.within(|| tcp_reached(to, port, told));
            assert_eq!(told, really, "{reach:#?}");
            reach.steps
        }
        Err(error) => panic!("{error}"),
    };
    steps.into_iter().map(|step| step.text).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_network_is_one_lan_on_several_bridges() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        serve(&neighbour, 99);
        let network = host.open(config(), vec![]);
        let net = make(&network, "a", &["10.64.0.0/16", "fd64::/64"], &[]);
        let all = full(&network, &net);
        let (first, beside, last) = (&all[0], &all[PORTS - 1], &all[PORTS]);
        let [bridge, near, far] = shard(&net);
        assert!(ports(&net.link) < PORTS && ports(&bridge) > PORTS - 1000);

        first.serve(80);
        last.serve(80);
        serve6(&first.inside, 81);
        let one_lan = || {
            assert_eq!(last.inside.within(|| tcp(first.ip(), 80)), Some(last.ip()));
            assert_eq!(first.inside.within(|| tcp(last.ip(), 80)), Some(first.ip()));
            assert_eq!(beside.inside.within(|| tcp(last.ip(), 80)), Some(beside.ip()));
            let (to, from) = (first.record.ipv6.unwrap(), last.record.ipv6.unwrap());
            assert_eq!(last.inside.within(|| tcp(to, 81)), Some(from.into()));
            assert_eq!(last.inside.within(|| tcp(ip(OUTSIDE), 99)), Some(HOST.into()), "outside");
            assert_eq!(last.inside.within(|| udp(ip(OUTSIDE), 99)), Some(HOST.into()), "outside");
            assert_eq!(tcp(last.ip(), 80), Some(ip("10.64.0.1")), "the host");
        };
        one_lan();
        let told = explained(&network, last, first.ip(), 80);
        assert!(told.contains(&format!("bridges {bridge}, {} carry it to web", net.link)), "{told}");

        // The next daemon completes what the last one had only half made, and has who is on it.
        let records = network.endpoints();
        drop(network);
        run(&format!("ip link set {far} nomaster down"));
        run(&format!("ip link set {near} nomaster"));
        let network = host.open_with(config(), vec![net.clone()], records);
        one_lan();

        let late = attach_to(&network, &[&net], vec![port("18777", 80, Protocol::Tcp)]);
        assert_eq!(late.record.shard, 1);
        late.serve(80);
        assert_eq!(neighbour.within(|| tcp(HOST, 18777)), Some(ip(OUTSIDE)));
        assert_eq!(first.inside.within(|| tcp(HOST, 18777)), Some(ip("10.64.0.1")));
        run("sysctl -qw net.bridge.bridge-nf-call-iptables=0");
        assert_eq!(last.inside.within(|| tcp(HOST, 18777)), Some(ip("10.64.0.1")), "on the same bridge");
        run("sysctl -qw net.bridge.bridge-nf-call-iptables=1");
        let told = explained(&network, last, HOST.into(), 18777);
        assert!(told.contains("br_netfilter"), "{told}");

        // Who leaves makes room, on the first bridge before others.
        network.disconnect(first.inside.netns.as_fd(), first.record.container, net.id, &[]).unwrap();
        assert_eq!(attach_to(&network, &[&net], vec![]).record.shard, 0);

        // A network's bridges go with it.
        for endpoint in network.endpoints() {
            network.release(&endpoint.container);
        }
        network.remove(&net.id).unwrap();
        assert!(!table().contains(&bridge), "{}", table());
        eventually("the links are gone", || {
            [&net.link, &bridge, &near, &far].iter().all(|link| !attempt(&format!("ip link show {link}")))
        });
    });
}

#[test]
fn further_bridges_keep_apart_what_the_first_does() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        serve(&neighbour, 99);
        let network = host.open(config(), vec![]);
        let net = make(&network, "b", &["10.65.0.0/16"], &[("bridge.enable_icc", "false")]);
        let other = make(&network, "c", &["10.66.0.0/16"], &[]);
        let stranger = attach_to(&network, &[&other], vec![]);
        let all = full(&network, &net);
        let (first, beside, last) = (&all[0], &all[PORTS - 1], &all[PORTS]);
        [first, beside, last, &stranger].iter().for_each(|container| container.serve(80));
        for (one, to) in [(first, last), (last, first), (last, beside), (last, &stranger), (&stranger, last)]
        {
            assert!(one.inside.within(|| tcp_refused(to.ip(), 80)));
        }
        assert_eq!(last.inside.within(|| tcp(ip(OUTSIDE), 99)), Some(HOST.into()), "outside");

        // Nor by sending to the host where it takes no part.
        let [bridge, ..] = shard(&net);
        let shown = run(&format!("ip -br link show {bridge}"));
        let mac = shown.split_ascii_whitespace().nth(2).expect("a hardware address");
        serve(&Namespace { netns: host.netns.try_clone().unwrap() }, 70);
        assert_eq!(last.inside.within(|| tcp(ip("10.65.0.1"), 70)), Some(last.ip()), "the host is there");
        last.inside.run(&format!("ip neigh replace 10.65.0.1 lladdr {mac} dev eth0 nud permanent"));
        for (to, port) in [(ip("10.65.0.1"), 70), (stranger.ip(), 80), (beside.ip(), 80), (ip(OUTSIDE), 99)] {
            assert!(last.inside.within(|| tcp_refused(to, port)), "{to}");
        }
    });
}
