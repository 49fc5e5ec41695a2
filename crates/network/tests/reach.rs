//! Who reaches whom: real packets between containers, their host and its neighbours.

mod world;

use std::{net::UdpSocket, time::Duration};

use skiff_network::{NetConfig, Protocol};
use world::*;

const LOOPBACK: &str = "127.0.0.1";
const GATEWAY: &str = "172.17.0.1";

fn two_protocols(host: &str) -> Vec<skiff_network::PortSpec> {
    vec![port(host, 80, Protocol::Tcp), port(host, 80, Protocol::Udp)]
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let web = attach(&network, two_protocols("8080"));
        let other = attach(&network, vec![]);
        web.serve(80);

        let from_neighbour = Some(ip("198.51.100.2"));
        assert_eq!(neighbour.within(|| tcp(HOST, 8080)), from_neighbour, "the source address is kept");
        assert_eq!(neighbour.within(|| udp(HOST, 8080)), from_neighbour);
        let from_bridge = Some(ip(GATEWAY));
        assert_eq!(neighbour.within(|| tcp(ip("2001:db8::1"), 8080)), from_bridge, "IPv6 by the relay");
        assert_eq!(neighbour.within(|| udp(ip("2001:db8::1"), 8080)), from_bridge);

        assert_eq!(tcp(ip(LOOPBACK), 8080), from_bridge);
        assert_eq!(udp(ip(LOOPBACK), 8080), from_bridge);
        assert_eq!(tcp(ip("127.0.0.9"), 8080), from_bridge);
        assert_eq!(tcp(ip("::1"), 8080), from_bridge);
        assert_eq!(udp(ip("::1"), 8080), from_bridge);
        assert_eq!(tcp(HOST, 8080), Some(HOST.into()));
        assert_eq!(udp(HOST, 8080), Some(HOST.into()));

        for container in [&web, &other] {
            assert_eq!(container.inside.within(|| tcp(HOST, 8080)), from_bridge, "hairpin");
            assert_eq!(container.inside.within(|| udp(HOST, 8080)), from_bridge);
            assert_eq!(container.inside.within(|| tcp(ip(GATEWAY), 8080)), from_bridge);
        }

        network.release(&web.record.container);
        assert!(tcp_refused(ip(LOOPBACK), 8080));
        assert!(tcp_refused(ip("::1"), 8080));
        assert!(neighbour.within(|| tcp_refused(HOST, 8080)));
    });
}

#[test]
fn a_udp_client_reaches_the_ports_next_container() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let publish = || {
            let web = attach(&network, vec![port("8080", 80, Protocol::Udp)]);
            web.serve(80);
            web
        };
        // An address that stays taken, so that the second container has another than the first.
        let first = publish();
        let client = neighbour.within(|| UdpSocket::bind("0.0.0.0:5000").unwrap());
        client.connect((HOST, 8080)).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let ask = || client.send(b"?").and_then(|_| client.recv(&mut [0; 64])).is_ok();
        eventually("the first answers", ask);
        first.inside.run("ip link set eth0 down");
        network.release(&first.record.container);
        let second = publish();
        assert_ne!(first.ip(), second.ip());
        // A refusal of the time in between may still be waiting to be told, and an emulated machine is slow.
        assert!((0..10).any(|_| ask()), "the flow goes to the new container");
    });
}

#[test]
fn hairpin_does_not_depend_on_netfilter_on_the_bridge() {
    on_a_host(|host| {
        let _neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let web = attach(&network, two_protocols("8080"));
        let other = attach(&network, vec![]);
        web.serve(80);
        for on in ["1", "0"] {
            run(&format!("sysctl -qw net.bridge.bridge-nf-call-iptables={on}"));
            for container in [&web, &other] {
                assert_eq!(container.inside.within(|| tcp(HOST, 8080)), Some(ip(GATEWAY)), "netfilter: {on}");
                assert_eq!(container.inside.within(|| udp(HOST, 8080)), Some(ip(GATEWAY)), "netfilter: {on}");
            }
        }
    });
}

#[test]
fn an_address_limits_who_reaches_the_port() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        run("ip address add 198.51.100.9/24 dev lan2");
        let network = host.open(config(), vec![]);
        let web = attach(
            &network,
            vec![
                port("198.51.100.9:81", 80, Protocol::Tcp),
                port("127.0.0.1:82", 80, Protocol::Tcp),
                port("::1:83", 80, Protocol::Tcp),
            ],
        );
        web.serve(80);

        assert_eq!(neighbour.within(|| tcp(ip("198.51.100.9"), 81)), Some(ip("198.51.100.2")));
        assert!(neighbour.within(|| tcp_refused(HOST, 81)));
        assert!(tcp_refused(ip(LOOPBACK), 81));
        assert_eq!(tcp(ip(LOOPBACK), 82), Some(ip(GATEWAY)));
        assert!(neighbour.within(|| tcp_refused(HOST, 82)));
        assert_eq!(tcp(ip("::1"), 83), Some(ip(GATEWAY)));
        assert!(neighbour.within(|| tcp_refused(ip("2001:db8::1"), 83)));
    });
}

#[test]
fn a_neighbour_does_not_get_to_loopback_ports_or_unpublished_ones() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let config = NetConfig { icc: true, ..config() };
        let network = host.open(config, vec![]);
        let web =
            attach(&network, vec![port("127.0.0.1:82", 80, Protocol::Tcp), port("84", 80, Protocol::Tcp)]);
        web.serve(80);
        web.serve(81);
        assert_eq!(tcp(ip(LOOPBACK), 82), Some(ip(GATEWAY)), "it is there");

        // The neighbour sends to 127.0.0.1 by way of the host.
        neighbour.run("ip address del 127.0.0.1/8 dev lo");
        neighbour.run("sysctl -qw net.ipv4.conf.lan.route_localnet=1");
        neighbour.run(&format!("ip route add 127.0.0.0/8 via {HOST} dev lan src 198.51.100.2"));
        assert!(neighbour.within(|| tcp_refused(ip(LOOPBACK), 82)));
        assert!(neighbour.within(|| tcp_refused(ip(LOOPBACK), 84)));

        neighbour.run(&format!("ip route add 172.17.0.0/16 via {HOST}"));
        assert!(neighbour.within(|| tcp_refused(web.ip(), 80)));
        assert!(neighbour.within(|| tcp_refused(web.ip(), 81)));

        // A container has the same ways.
        let other = attach(&network, vec![]);
        other.inside.run("sysctl -qw net.ipv4.conf.eth0.route_localnet=1");
        other.inside.run("ip address del 127.0.0.1/8 dev lo");
        other.inside.run(&format!("ip route add 127.0.0.0/8 via {GATEWAY} dev eth0 src {}", other.ip()));
        assert!(other.inside.within(|| tcp_refused(ip(LOOPBACK), 82)));
        assert_eq!(other.inside.within(|| tcp(web.ip(), 81)), Some(other.ip()), "ICC is on");
    });
}

#[test]
fn a_scan_finds_what_is_published_and_nothing_else_whoever_runs() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        serve(&Namespace { netns: host.netns.try_clone().unwrap() }, 70);
        let network = host.open(config(), vec![]);
        let web = attach(
            &network,
            vec![port("8080", 80, Protocol::Tcp), port("127.0.0.1:8081", 81, Protocol::Tcp)],
        );
        web.serve(80);
        web.serve(81);
        let wanted = [70, 8080];
        let scan = || -> Vec<u16> {
            let reached = |port: &u16| tcp_reached(HOST, *port, wanted.contains(port));
            neighbour.within(|| (1..=u16::MAX).filter(reached).collect())
        };
        assert_eq!(scan(), wanted);
        let records = network.endpoints();
        drop(network);
        // Whether the host's policy lets a sender in, a daemon must have told the table.
        assert!([&[70][..], &[70, 8080]].contains(&&scan()[..]), "no daemon runs");
        let _next = host.open(config(), records);
        assert_eq!(scan(), wanted);
    });
}

#[test]
fn direct_routing_reaches_published_ports_only_and_only_if_allowed() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(NetConfig { allow_direct_routing: true, ..config() }, vec![]);
        let web = attach(&network, two_protocols("8080"));
        web.serve(80);
        web.serve(81);
        neighbour.run(&format!("ip route add 172.17.0.0/16 via {HOST}"));
        assert_eq!(neighbour.within(|| tcp(web.ip(), 80)), Some(ip("198.51.100.2")));
        assert!(neighbour.within(|| tcp_refused(web.ip(), 81)));
    });
}

#[test]
fn without_icc_containers_meet_at_published_ports_only() {
    on_a_host(|host| {
        let _neighbour = host.neighbour(2);
        let network = host.open(NetConfig { icc: false, ..config() }, vec![]);
        let web = attach(&network, two_protocols("8080"));
        let other = attach(&network, vec![]);
        web.serve(80);
        assert_eq!(tcp(web.ip(), 80), Some(ip(GATEWAY)), "the host reaches it");
        for on in ["1", "0"] {
            run(&format!("sysctl -qw net.bridge.bridge-nf-call-iptables={on}"));
            assert!(other.inside.within(|| tcp_refused(web.ip(), 80)), "netfilter: {on}");
            assert_eq!(other.inside.within(|| tcp(HOST, 8080)), Some(ip(GATEWAY)), "netfilter: {on}");
            assert_eq!(other.inside.within(|| udp(HOST, 8080)), Some(ip(GATEWAY)), "netfilter: {on}");
        }
        // Nor by sending to the neighbour through the bridge's own address.
        other.inside.run(&format!("ip route add {}/32 via {GATEWAY} dev eth0", web.ip()));
        assert!(other.inside.within(|| tcp_refused(web.ip(), 80)));
    });
}

#[test]
fn what_containers_send_outside_carries_the_hosts_address() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        serve(&neighbour, 99);
        let network = host.open(config(), vec![]);
        let container = attach(&network, vec![]);
        let far = ip("198.51.100.2");
        assert_eq!(container.inside.within(|| tcp(far, 99)), Some(HOST.into()));
        assert_eq!(container.inside.within(|| udp(far, 99)), Some(HOST.into()));
    });
}

#[test]
fn without_masquerade_containers_show_their_own_address() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        serve(&neighbour, 99);
        neighbour.run(&format!("ip route add 172.17.0.0/16 via {HOST}"));
        let network = host.open(NetConfig { ip_masq: false, ..config() }, vec![]);
        let container = attach(&network, vec![]);
        assert_eq!(container.inside.within(|| tcp(ip("198.51.100.2"), 99)), Some(container.ip()));
    });
}

#[test]
fn a_host_that_did_not_forward_does_so_for_containers_alone() {
    on_a_host(|host| {
        run("sysctl -qw net.ipv4.ip_forward=0");
        let a = host.neighbour(2);
        let b = host.neighbour(3);
        run("ip address add 203.0.113.1/24 dev lan3");
        b.run("ip address flush dev lan");
        b.run("ip address add 203.0.113.2/24 dev lan");
        b.run("ip route add default via 203.0.113.1");
        a.run(&format!("ip route add 203.0.113.0/24 via {HOST}"));
        serve(&b, 99);
        let far = ip("203.0.113.2");
        for _restart in 0..2 {
            let network = host.open(config(), vec![]);
            assert_eq!(run("sysctl -n net.ipv4.ip_forward").trim(), "1");
            let container = attach(&network, vec![]);
            assert_eq!(container.inside.within(|| tcp(far, 99)), Some(ip("203.0.113.1")));
            assert!(a.within(|| tcp_refused(far, 99)), "the host is no router for others");
        }
    });
}

#[test]
fn with_forwarding_left_alone_nothing_is_switched_on() {
    on_a_host(|host| {
        run("sysctl -qw net.ipv4.ip_forward=0");
        let network = host.open(NetConfig { ip_forward: false, ..config() }, vec![]);
        assert_eq!(run("sysctl -n net.ipv4.ip_forward").trim(), "0");
        let web = attach(&network, two_protocols("8080"));
        web.serve(80);
        assert_eq!(tcp(ip(LOOPBACK), 8080), Some(ip(GATEWAY)));
    });
}

#[test]
fn without_a_firewall_the_daemon_serves_published_ports() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(NetConfig { firewall: false, ..config() }, vec![]);
        let web = attach(&network, two_protocols("8080"));
        web.serve(80);
        assert_eq!(run("nft list ruleset"), "");
        for from_host in [tcp(ip(LOOPBACK), 8080), udp(ip(LOOPBACK), 8080), tcp(ip("::1"), 8080)] {
            assert_eq!(from_host, Some(ip(GATEWAY)));
        }
        assert_eq!(neighbour.within(|| tcp(HOST, 8080)), Some(ip(GATEWAY)));
        assert_eq!(neighbour.within(|| udp(HOST, 8080)), Some(ip(GATEWAY)));
    });
}
