//! Which port of the host a container gets, and what is said when it cannot have it. The words are Docker's.

mod world;

use std::{
    collections::HashSet,
    net::{TcpListener, UdpSocket},
};

use skiff_network::{BoundPort, HostPort, NetConfig, Network, PortSpec, Protocol};
use world::*;

const TCP: Protocol = Protocol::Tcp;

/// What publishing these ports is refused with, without the names in front; the attempt must leave nothing.
fn refusal(network: &Network, ports: Vec<PortSpec>) -> String {
    let request = request(ports);
    let container = request.container;
    let text = network.attach(request).expect_err("the port is taken").to_string();
    assert!(network.endpoints_of(&container).is_empty());
    let (front, reason) = text.split_once("): ").expect("a reason");
    assert!(
        front.starts_with("driver failed programming external connectivity on endpoint web ("),
        "unexpected words: {front}"
    );
    reason.to_owned()
}

fn shown(ports: &[BoundPort]) -> Vec<String> {
    let line = |p: &BoundPort| format!("{} {}/{} {}", p.host_ip, p.container_port, p.protocol, p.host_port);
    ports.iter().map(line).collect()
}

#[test]
fn another_containers_port_is_refused_by_its_holders_address() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let _everywhere = attach(&network, vec![port("8080", 80, TCP)]);
        let _at_two = attach(&network, vec![port("127.0.0.1:8090", 80, TCP), port("::1:8091", 80, TCP)]);
        for (wanted, holder) in [
            ("8080", "0.0.0.0:8080"),
            ("127.0.0.1:8080", "0.0.0.0:8080"),
            ("::1:8080", ":::8080"),
            ("8090", "127.0.0.1:8090"),
            ("8091", "::1:8091"),
            (":::8091", "::1:8091"),
            ("8090-8091", "127.0.0.1:8090"),
        ] {
            let expected = format!("Bind for {holder} failed: port is already allocated");
            assert_eq!(refusal(&network, vec![port(wanted, 80, TCP)]), expected, "{wanted}");
        }
        attach(&network, vec![port("8080", 80, Protocol::Udp)]);
        attach(&network, vec![port("127.0.0.2:8090", 80, TCP)]);
    });
}

#[test]
fn another_processs_port_is_refused_or_skipped() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let _tcp = TcpListener::bind("0.0.0.0:8099").unwrap();
        let _udp = UdpSocket::bind("127.0.0.1:8100").unwrap();
        let _v6 = TcpListener::bind("[::1]:8199").unwrap();
        let in_use = |host: &str, protocol: Protocol| {
            format!("failed to bind host port for {host}:172.17.0.2:80/{protocol}: address already in use")
        };
        assert_eq!(refusal(&network, vec![port("8099", 80, TCP)]), in_use("0.0.0.0:8099", TCP));
        assert_eq!(refusal(&network, vec![port("127.0.0.1:8099", 80, TCP)]), in_use("127.0.0.1:8099", TCP));
        assert_eq!(refusal(&network, vec![port("::1:8199", 80, TCP)]), in_use("[::1]:8199", TCP));
        assert_eq!(refusal(&network, vec![port("8199", 80, TCP)]), in_use("[::]:8199", TCP));
        let udp = Protocol::Udp;
        assert_eq!(refusal(&network, vec![port("8100", 80, udp)]), in_use("0.0.0.0:8100", udp));
        assert_eq!(
            refusal(&network, vec![port("10.99.99.99:8098", 80, TCP)]),
            "failed to bind host port for 10.99.99.99:8098:172.17.0.2:80/tcp: cannot assign requested address"
        );
        let web = attach(&network, vec![port("8099-8101", 80, TCP)]);
        assert_eq!(shown(&web.record.ports), ["0.0.0.0 80/tcp 8100", ":: 80/tcp 8100"]);
    });
}

#[test]
fn a_failure_leaves_neither_ports_nor_the_address_taken() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let _taken = TcpListener::bind("127.0.0.1:8002").unwrap();
        let ports = vec![port("8001", 1, TCP), port("127.0.0.1:8002", 2, TCP)];
        refusal(&network, ports);
        drop(listen(8001));
        let web = attach(&network, vec![port("8001", 1, TCP)]);
        assert_eq!(web.ip(), ip("172.17.0.2"), "so is the address, once its interface is gone");
    });
}

#[test]
fn a_published_port_is_kept_from_other_processes_until_it_is_released() {
    on_a_host(|host| {
        for relay in [true, false] {
            let network = host.open(NetConfig { userland_proxy: relay, ..config() }, vec![]);
            for (protocol, number) in [(TCP, 8080), (Protocol::Udp, 8081)] {
                let web = attach(&network, vec![port(&number.to_string(), 80, protocol)]);
                // Both as a server does it: TCP with SO_REUSEADDR.
                let free = || match protocol {
                    Protocol::Tcp => TcpListener::bind(("0.0.0.0", number)).is_ok(),
                    _ => UdpSocket::bind(("0.0.0.0", number)).is_ok(),
                };
                assert!(!free(), "{protocol}, relay: {relay}");
                network.release(&web.record.container);
                eventually("a released port is free", free);
                attach(&network, vec![port(&number.to_string(), 80, protocol)]);
            }
        }
    });
}

#[test]
fn an_address_that_is_named_stands_alone() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let web = attach(&network, vec![port("0.0.0.0:8080", 80, TCP), port(":::8081", 80, TCP)]);
        assert_eq!(shown(&web.record.ports), ["0.0.0.0 80/tcp 8080", ":: 80/tcp 8081"]);
        drop(network);
        let config = NetConfig { default_bind_address: ip("127.0.0.1"), ..config() };
        let network = host.open(config, vec![]);
        let web = attach(&network, vec![port("8082", 80, TCP)]);
        assert_eq!(shown(&web.record.ports), ["127.0.0.1 80/tcp 8082"]);
    });
}

#[test]
fn ephemeral_ports_come_from_the_kernels_range_in_turn() {
    on_a_host(|host| {
        fs_err::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40003").unwrap();
        let _taken = TcpListener::bind("0.0.0.0:40001").unwrap();
        let network = host.open(config(), vec![]);
        let ephemeral = || vec![port("", 80, TCP)];
        let first = attach(&network, ephemeral());
        assert_eq!(shown(&first.record.ports), ["0.0.0.0 80/tcp 40000", ":: 80/tcp 40000"]);
        let second = attach(&network, ephemeral());
        assert_eq!(second.record.ports[0].host_port, 40002, "the one in use is left out");
        network.release(&first.record.container);
        let third = attach(&network, ephemeral());
        assert_eq!(third.record.ports[0].host_port, 40003, "none is used again at once");
        assert_eq!(attach(&network, ephemeral()).record.ports[0].host_port, 40000);
        assert_eq!(refusal(&network, ephemeral()), "Bind for 0.0.0.0: all ports are allocated");
    });
}

#[test]
fn ephemeral_ports_are_never_given_twice() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let ports: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let ports = |_| attach(&network, vec![port("", 80, TCP)]).record.ports[0].host_port;
                        (0..10).map(ports).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 80);
    });
}

#[test]
fn five_hundred_udp_ports_are_five_hundred_elements() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let spec = |n: u16| PortSpec {
            container_port: 1000 + n,
            protocol: Protocol::Udp,
            host_ip: None,
            host_port: HostPort::Range(20000 + n, 20000 + n),
        };
        let web = attach(&network, (0..500).map(spec).collect());
        web.serve(1499);
        assert_eq!(udp(ip("127.0.0.1"), 20499), Some(ip("172.17.0.1")));
        assert_eq!(run("nft list map inet skiff published_anywhere").matches("udp . ").count(), 500);
        network.release(&web.record.container);
        assert_eq!(run("nft list map inet skiff published_anywhere").matches("udp . ").count(), 0);
    });
}
