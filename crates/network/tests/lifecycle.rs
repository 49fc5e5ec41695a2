//! Endpoints come and go, the daemon is killed, somebody removes the table: what is left is what should be.
//!
//! A [`skiff_network::Network`] takes nothing down when it is dropped, so dropping one is what a kill does to the
//! kernel's state: descriptors are closed, and that is all.

mod world;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
};

use skiff_network::{AttachRequest, EndpointRequest, NetConfig, NetworkError, Protocol};
use world::*;

const GATEWAY: &str = "172.17.0.1";

fn links() -> usize {
    run("ip -o link").lines().count()
}

fn descriptors() -> usize {
    fs_err::read_dir("/proc/self/fd").expect("the descriptors").count()
}

#[test]
fn a_container_finds_its_interface_ready() {
    on_a_host(|host| {
        let network = host.open(NetConfig { mtu: 1400, ..config() }, vec![]);
        let mac = "02:42:ac:11:00:09".parse().unwrap();
        let request =
            request_with(vec![], EndpointRequest { mac: Some(mac), ..EndpointRequest::new(BRIDGE) });
        let web = Container::new(network.attach(request).unwrap());
        let record = &web.record;
        assert_eq!((record.mac, web.ip(), record.prefix), (Some(mac), ip("172.17.0.2"), 16));
        let eth0 = web.inside.run("ip address show dev eth0");
        for part in
            ["mtu 1400", ",UP,", "link/ether 02:42:ac:11:00:09", "inet 172.17.0.2/16 brd 172.17.255.255"]
        {
            assert!(eth0.contains(part), "{part} in {eth0}");
        }
        assert!(!eth0.contains("inet6"), "{eth0}");
        assert!(web.inside.run("ip address show dev lo").contains("inet6 ::1/128"));
        let routes = web.inside.run("ip -o route");
        assert!(routes.starts_with("default via 172.17.0.1 dev eth0"), "{routes}");
        let port = run(&format!("ip -d link show dev {}", record.host_interface));
        assert!(
            port.contains("master docker0") && port.starts_with(&format!("{}:", record.host_index)),
            "{port}"
        );

        let stats = || network.stats(&record.container).remove(0).1;
        let before = stats();
        assert_eq!(tcp(web.ip(), 80), None, "nothing listens, but packets go both ways");
        let after = stats();
        assert!(after.tx_packets > before.tx_packets && after.rx_packets > before.rx_packets);
        assert!(after.tx_bytes > before.tx_bytes && after.rx_bytes > before.rx_bytes);

        let isolated = Namespace { netns: network.isolated().unwrap() };
        assert_eq!(isolated.run("ip -o link").lines().count(), 1);
        assert!(isolated.run("ip address show dev lo").contains("inet 127.0.0.1/8"));
    });
}

#[test]
fn addresses_asked_for_are_checked() {
    on_a_host(|host| {
        let config = NetConfig {
            bip: Some("10.9.0.1/24".parse().unwrap()),
            fixed_cidr: Some("10.9.0.64/30".parse().unwrap()),
            default_gateway: Some("10.9.0.65".parse().unwrap()),
            ..config()
        };
        let network = host.open(config, vec![]);
        let with = |ip: &str| {
            let ipv4 = Some(ip.parse().unwrap());
            network.attach(request_with(vec![], EndpointRequest { ipv4, ..EndpointRequest::new(BRIDGE) }))
        };
        let given: Vec<_> = (0..3).map(|_| attach(&network, vec![])).collect();
        assert_eq!(
            given.iter().map(|c| c.ip()).collect::<Vec<_>>(),
            ["10.9.0.64", "10.9.0.66", "10.9.0.67"].map(ip)
        );
        assert!(given[0].inside.run("ip route").contains("default via 10.9.0.65"));
        assert_eq!(with("10.9.0.66").unwrap_err().to_string(), "Address already in use");
        assert_eq!(
            with("10.9.1.2").unwrap_err().to_string(),
            "no configured subnet or ip-range contain the IP address 10.9.1.2"
        );
        assert_eq!(
            network.attach(request(vec![])).unwrap_err().to_string(),
            format!(
                "no available IPv4 addresses on this network's address pools: bridge ({})",
                network.bridge().unwrap().id
            )
        );
        assert_eq!(with("10.9.0.200").unwrap().endpoints[0].ipv4.unwrap().to_string(), "10.9.0.200");
        let again = AttachRequest { container: given[0].record.container, ..request(vec![]) };
        assert!(matches!(network.attach(again), Err(NetworkError::AlreadyAttached { .. })));
    });
}

#[test]
fn without_a_bridge_nothing_is_made() {
    on_a_host(|host| {
        run("sysctl -qw net.ipv4.ip_forward=0");
        let network = host.open(NetConfig { bridge: "none".to_owned(), ..config() }, vec![]);
        assert_eq!(network.bridge(), None);
        let error = network.attach(request(vec![])).unwrap_err();
        assert_eq!(error.to_string(), format!("network {BRIDGE} not found"));
        network.isolated().unwrap();
        assert_eq!(links(), 1);
        assert!(!run("nft list table inet skiff").contains("docker0"));
        assert_eq!(run("sysctl -n net.ipv4.ip_forward").trim(), "0");
    });
}

#[test]
fn a_new_owner_of_an_address_is_known_at_once() {
    on_a_host(|host| {
        let config = NetConfig { fixed_cidr: Some("172.17.0.8/31".parse().unwrap()), ..config() };
        let network = host.open(config, vec![]);
        let other = attach(&network, vec![]);
        for _ in 0..5 {
            // The only address left: it is given again although its last interface may still be there.
            let web = attach(&network, vec![]);
            assert_eq!(web.ip(), ip("172.17.0.9"));
            web.serve(80);
            assert_eq!(tcp(web.ip(), 80), Some(ip(GATEWAY)), "the host's neighbour table");
            assert_eq!(other.inside.within(|| tcp(web.ip(), 80)), Some(other.ip()), "a container's");
            // The server's thread holds the namespace: the old owner lives on beside the new one.
            network.release(&web.record.container);
            web.inside.run("ip link set eth0 down");
        }
    });
}

#[test]
fn a_thousand_endpoints_leave_nothing() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let full = 2 + 2;
        eventually("the pool is full", || links() == full);
        let before = descriptors();
        for n in 0..1000 {
            let ports = if n % 10 == 0 { vec![port("", 80, Protocol::Tcp)] } else { vec![] };
            let web = attach(&network, ports);
            network.release(&web.record.container);
        }
        assert!(network.endpoints().is_empty());
        eventually("links of gone endpoints are gone", || links() == full);
        // How full the pool was when `before` was counted nobody knows; a leak would be a hundred descriptors or more.
        eventually("descriptors are closed", || descriptors() < before + 50);
        assert_eq!(run("nft list map inet skiff published_anywhere").matches("tcp . ").count(), 0);
        drop(network);
        eventually("the pool goes with the daemon", || links() == 2);
    });
}

#[test]
fn a_killed_daemons_successor_takes_over() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let ports = vec![port("8080", 80, Protocol::Tcp), port("127.0.0.1:8081", 80, Protocol::Tcp)];
        let web = attach(&network, ports);
        let echo = web.inside.within(|| TcpListener::bind("0.0.0.0:80").unwrap());
        std::thread::spawn(move || {
            for stream in echo.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
            }
        });
        let ping = |stream: &mut TcpStream| {
            stream.write_all(b"?").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        };
        let mut flow = neighbour.within(|| TcpStream::connect((HOST, 8080)).unwrap());
        ping(&mut flow);
        let table = table();
        let records = network.endpoints();

        drop(network);
        assert_eq!(world::table(), table, "the table outlives the daemon");
        ping(&mut flow);
        drop(neighbour.within(|| TcpStream::connect((HOST, 8080)).unwrap()));

        let network = host.open(config(), records.clone());
        assert_eq!(world::table(), table);
        ping(&mut flow);
        assert_eq!(network.endpoints_of(&web.record.container), std::slice::from_ref(&web.record));
        assert!(network.attach(request(vec![port("8080", 80, Protocol::Tcp)])).is_err(), "the port is held");
        assert!(TcpListener::bind("0.0.0.0:8080").is_err(), "against processes too");
        assert_eq!(attach(&network, vec![]).ip(), ip("172.17.0.3"), "the address is taken");
        network.release(&web.record.container);
        drop(listen(8080));
        assert!(neighbour.within(|| tcp_refused(HOST, 8080)));
    });
}

#[test]
fn a_port_lost_to_another_process_is_still_forwarded() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let web = attach(&network, vec![port("8080", 80, Protocol::Tcp)]);
        web.serve(80);
        let records = network.endpoints();
        drop(network);
        let _thief = listen(8080);
        let network = host.open(config(), records);
        assert_eq!(neighbour.within(|| tcp(HOST, 8080)), Some(ip("198.51.100.2")));
        network.release(&web.record.container);
    });
}

#[test]
fn stale_ports_go_and_strange_ones_stay() {
    on_a_host(|host| {
        let records = {
            let network = host.open(config(), vec![]);
            attach(&network, vec![]);
            network.endpoints()
        };
        for (name, alias) in [("vethold", "skiff"), ("vethmine", "mine")] {
            run(&format!("ip link add {name} type veth peer name p{name}"));
            run(&format!("ip link set {name} master docker0 alias {alias}"));
        }
        let _network = host.open(config(), records);
        eventually("the stale port is gone", || !run("ip -o link").contains(" vethold@"));
        assert!(run("ip -o link").contains(" vethmine@"));
    });
}

/// Its daemon was killed while it connected the container: nobody knows of the link, which has the name that is next.
#[test]
fn a_stale_port_is_not_in_the_way_of_a_connection() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let other = make(&network, "other", &["10.1.0.0/24"], &[]);
        let web = attach(&network, vec![]);
        let records = network.endpoints();
        let (id, netns, wanted) =
            (web.record.container, web.inside.netns.as_fd(), EndpointRequest::new(other.id));
        network.connect(netns, id, "web", &wanted, &[]).unwrap();
        let all = network.endpoints_of(&id);
        let link = &all.iter().find(|e| e.network == other.id).unwrap().host_interface;
        drop(network);

        let network = host.open_with(config(), vec![other.clone()], records);
        network.connect(netns, id, "web", &wanted, &[]).unwrap();
        assert!(!run("ip -o link").contains(link));
        let inside = web.inside.run("ip -o -4 address");
        assert_eq!(inside.matches("10.1.0.").count(), 2, "an address and its broadcast: {inside}");
    });
}

#[test]
fn containers_hold_their_bridge_in_place() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let web = attach(&network, vec![]);
        let records = network.endpoints();
        drop(network);
        let moved = NetConfig { bip: Some("10.9.0.1/24".parse().unwrap()), ..config() };
        let error = host.try_open(moved.clone(), records).unwrap_err();
        assert!(matches!(error, NetworkError::Config(_)), "{error}");
        assert!(run("ip address show dev docker0").contains("172.17.0.1/16"), "nothing was changed");
        // As after a reboot: the records are there, the containers are not.
        let records = vec![web.record.clone()];
        drop(web);
        eventually("the container's interface is gone", || {
            !run("ip -o link").contains(&records[0].host_interface)
        });
        let network = host.open(moved, records);
        assert!(network.endpoints().is_empty());
        let docker0 = run("ip address show dev docker0");
        assert!(docker0.contains("10.9.0.1/24") && !docker0.contains("172.17"), "{docker0}");
        assert_eq!(attach(&network, vec![]).ip(), ip("10.9.0.2"));
    });
}

#[test]
fn a_table_that_others_change_comes_back() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        run("nft add table inet other");
        let network = host.open(config(), vec![]);
        let web = attach(&network, vec![port("8080", 80, Protocol::Tcp)]);
        web.serve(80);
        let whole = table();
        let tables = || run("nft list tables");
        let is_whole = || tables().contains("inet skiff") && table() == whole;
        for change in [
            "nft flush ruleset",
            "nft delete table inet skiff",
            "nft flush chain inet skiff inward",
            "nft flush map inet skiff published_anywhere",
            "nft add rule inet skiff guard accept",
        ] {
            // Where the kernel keeps the table, most are refused.
            attempt(change);
            eventually(change, is_whole);
            assert_eq!(neighbour.within(|| tcp(HOST, 8080)), Some(ip("198.51.100.2")), "{change}");
        }
        assert!(!tables().contains("other"), "only our own is put back");
        run("nft add table inet other");
        network.reassert().unwrap();
        assert!(is_whole());
        assert!(tables().contains("other"));
    });
}

#[test]
fn publishing_does_not_wait_for_a_table_to_come_back() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let kept = attach(&network, vec![port("8080", 80, Protocol::Tcp)]);
        kept.serve(80);
        let table = table();
        for _ in 0..5 {
            run("nft flush ruleset");
            let more = attach(&network, vec![port("8090", 80, Protocol::Tcp)]);
            assert!(run("nft list map inet skiff published_anywhere").contains("8090"));
            run("nft flush ruleset");
            network.release(&more.record.container);
            assert_eq!(world::table(), table);
        }
        assert_eq!(neighbour.within(|| tcp(HOST, 8080)), Some(ip("198.51.100.2")));
    });
}

#[test]
fn the_table_is_what_nft_reads_it_as() {
    on_a_host(|host| {
        run("sysctl -qw net.ipv4.ip_forward=0");
        run("nft add table inet other");
        let network = host.open(NetConfig { allow_direct_routing: true, ..config() }, vec![]);
        attach(&network, vec![port("8080", 80, Protocol::Tcp), port("127.0.0.1:81", 80, Protocol::Tcp)]);
        let expected = include_str!("table.nft");
        assert_eq!(table(), expected);
        assert!(run("nft list tables").contains("table inet other"));
        // The kernel here may have no SCTP sockets to try it with.
        let sctp = attach(&network, vec![port("9000", 90, Protocol::Sctp)]);
        let published = || run("nft list map inet skiff published_anywhere");
        assert!(published().contains("sctp . 9000 : 172.17.0.3 . 90"), "{}", published());
        assert!(network.attach(request(vec![port("9000", 90, Protocol::Sctp)])).is_err());
        network.release(&sctp.record.container);
        assert!(!published().contains("sctp"));
    });
}
