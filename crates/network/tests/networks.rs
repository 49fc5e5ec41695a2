//! Networks that somebody made: who reaches whom, which way the default routes lead, and what is there after a kill.

mod world;

use std::os::fd::AsFd;

use skiff_network::{EndpointRequest, NetConfig, NetworkError, Pool, Protocol};
use world::*;

const TCP: Protocol = Protocol::Tcp;

fn bridges() -> Vec<String> {
    let links = run("ip -o link show type bridge");
    let name = |line: &str| line.split(": ").nth(1).expect("a name").to_owned();
    links.lines().map(name).filter(|name| name != "docker0").collect()
}

#[test]
fn networks_are_isolated_from_each_other_but_for_published_ports() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let a = make(&network, "a", &["10.1.0.0/24"], &[]);
        let b = make(&network, "b", &["10.2.0.0/24"], &[]);
        let one = attach_to(&network, &[&a], vec![port("8080", 80, TCP)]);
        let two = attach_to(&network, &[&a], vec![]);
        let other = attach_to(&network, &[&b], vec![]);
        let on_default = attach(&network, vec![]);
        assert_eq!((one.ip(), two.ip(), other.ip()), (ip("10.1.0.2"), ip("10.1.0.3"), ip("10.2.0.2")));
        one.serve(80);
        one.serve(81);

        assert_eq!(two.inside.within(|| tcp(one.ip(), 81)), Some(two.ip()), "neighbours");
        assert_eq!(tcp(one.ip(), 81), Some(ip("10.1.0.1")), "the host");
        for stranger in [&other, &on_default] {
            assert!(stranger.inside.within(|| tcp_refused(one.ip(), 80)));
            assert!(stranger.inside.within(|| tcp_refused(one.ip(), 81)));
            assert_eq!(
                stranger.inside.within(|| tcp(HOST, 8080)),
                Some(ip("10.1.0.1")),
                "by the host's address"
            );
        }
        neighbour.run(&format!("ip route add 10.1.0.0/24 via {HOST}"));
        assert!(neighbour.within(|| tcp_refused(one.ip(), 80)), "no way but the published one");
        assert_eq!(neighbour.within(|| tcp(HOST, 8080)), Some(ip("198.51.100.2")));
        // Containers reach the outside under the host's address.
        serve(&neighbour, 99);
        assert_eq!(two.inside.within(|| tcp(ip("198.51.100.2"), 99)), Some(HOST.into()));
    });
}

#[test]
fn an_internal_network_has_no_way_out_nor_in() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let mut request = network_request("inner", &["10.1.0.0/24"], &[]);
        request.internal = true;
        let inner = network.create(&request).unwrap();
        let outer = make(&network, "outer", &["10.2.0.0/24"], &[]);
        let web = attach_to(&network, &[&outer], vec![port("8080", 80, TCP)]);
        web.serve(80);
        serve(&neighbour, 99);
        let one = attach_to(&network, &[&inner], vec![port("8081", 80, TCP)]);
        let two = attach_to(&network, &[&inner], vec![]);
        one.serve(80);

        assert_eq!(one.record.gateway, None);
        assert!(one.record.ports.is_empty(), "it publishes nothing");
        assert_eq!(one.inside.run("ip route show default"), "");
        assert_eq!(two.inside.within(|| tcp(one.ip(), 80)), Some(two.ip()));
        assert_eq!(tcp(one.ip(), 80), Some(ip("10.1.0.1")), "the host itself is no stranger");
        neighbour.run(&format!("ip route add 10.1.0.0/24 via {HOST}"));
        assert!(neighbour.within(|| tcp_refused(one.ip(), 80)));
        // Not even who routes by himself gets out, nor to what other networks publish.
        two.inside.run("ip route add default via 10.1.0.1");
        assert!(two.inside.within(|| tcp_refused(ip("198.51.100.2"), 99)));
        assert!(two.inside.within(|| tcp_refused(ip("10.1.0.1"), 8080)));
        assert!(two.inside.within(|| tcp_refused(web.ip(), 80)));
    });
}

#[test]
fn the_default_route_and_the_ports_follow_priority_then_name() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let b = make(&network, "b", &["10.2.0.0/24"], &[]);
        let a = make(&network, "a", &["10.1.0.0/24"], &[]);
        let c = make(&network, "c", &["10.3.0.0/24"], &[]);
        let web = attach_to(&network, &[&b], vec![port("8080", 80, TCP)]);
        web.serve(80);
        let id = web.record.container;
        let netns = web.inside.netns.as_fd();
        let default = || web.inside.run("ip -o route show default");
        let publishing = || {
            let all = network.endpoints_of(&id);
            let with_ports: Vec<_> = all.into_iter().filter(|e| !e.ports.is_empty()).collect();
            assert_eq!(with_ports.len(), 1, "{with_ports:?}");
            with_ports[0].network
        };
        assert!(default().starts_with("default via 10.2.0.1 dev eth0"), "{}", default());

        network.connect(netns, id, "web", &EndpointRequest::new(a.id), &[]).unwrap();
        assert!(default().starts_with("default via 10.1.0.1 dev eth1"), "{}", default());
        assert_eq!(default().lines().count(), 1);
        assert_eq!(publishing(), a.id);
        assert!(run("nft list map inet skiff published_anywhere").contains("10.1.0.2"));
        assert_eq!(tcp(ip("127.0.0.1"), 8080), Some(ip("10.1.0.1")));

        let first = EndpointRequest { gateway_priority: 1, ..EndpointRequest::new(c.id) };
        network.connect(netns, id, "web", &first, &[]).unwrap();
        assert!(default().starts_with("default via 10.3.0.1 dev eth2"), "{}", default());
        assert_eq!(network.endpoints_of(&id)[0].network, c.id);

        network.disconnect(netns, id, c.id, &[]).unwrap();
        network.disconnect(netns, id, a.id, &[]).unwrap();
        assert!(default().starts_with("default via 10.2.0.1 dev eth0"), "{}", default());
        assert_eq!(publishing(), b.id);
        assert_eq!(tcp(ip("127.0.0.1"), 8080), Some(ip("10.2.0.1")));
        assert_eq!(web.inside.run("ip -o link").lines().count(), 2, "lo and eth0");
        let gone = network.disconnect(netns, id, a.id, &[]).unwrap_err();
        assert!(matches!(gone, NetworkError::NotAttached { .. }), "{gone}");
    });
}

#[test]
fn an_endpoint_gets_what_it_asks_for() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let options = [("driver.mtu", "1300"), ("container_iface_prefix", "nic")];
        let net = make(&network, "net", &["10.1.0.0/24", "fd00:1::/64"], &options);
        let plain = attach_to(&network, &[&net], vec![]);
        let shown = plain.inside.run("ip address show dev nic0");
        for part in ["mtu 1300", "inet 10.1.0.2/24 brd 10.1.0.255", "inet6 fd00:1::2/64"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(plain.inside.run("ip -6 route show default").contains("via fd00:1::1 dev nic0"));

        let wanted = EndpointRequest {
            mac: Some("02:42:ac:11:00:09".parse().unwrap()),
            ipv4: Some("10.1.0.77".parse().unwrap()),
            ipv6: Some("fd00:1::77".parse().unwrap()),
            link_local: vec![ip("169.254.3.3"), ip("fe80::77")],
            interface: Some("door".to_owned()),
            sysctls: vec![("net/ipv4/conf/IFNAME/log_martians".to_owned(), "1".to_owned())],
            ..EndpointRequest::new(net.id)
        };
        let web = Container::new(network.attach(request_with(vec![], wanted.clone())).unwrap());
        let shown = web.inside.run("ip address show dev door");
        for part in [
            "link/ether 02:42:ac:11:00:09",
            "inet 10.1.0.77/24",
            "inet 169.254.3.3/16",
            "inet6 fd00:1::77/64",
            "inet6 fe80::77/64",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert_eq!(web.inside.run("sysctl -n net.ipv4.conf.door.log_martians").trim(), "1");
        web.serve(80);
        assert_eq!(plain.inside.within(|| tcp(ip("10.1.0.77"), 80)), Some(plain.ip()));

        let refused = |endpoint: EndpointRequest| {
            network.attach(request_with(vec![], endpoint)).unwrap_err().to_string()
        };
        assert_eq!(refused(wanted.clone()), "Address already in use");
        let strange = vec![("net/ipv4/conf/IFNAME/nope".to_owned(), "1".to_owned())];
        let text = refused(EndpointRequest { sysctls: strange, ..EndpointRequest::new(net.id) });
        assert!(text.ends_with("/proc/sys/net/ipv4/conf/nic0/nope is not a sysctl file"), "{text}");
        let text =
            refused(EndpointRequest { link_local: vec![ip("10.0.0.1")], ..EndpointRequest::new(net.id) });
        assert_eq!(text, "invalid link local IP address: 10.0.0.1");
        let long = Some("averyverylongname".to_owned());
        assert!(
            refused(EndpointRequest { interface: long, ..EndpointRequest::new(net.id) }).contains("sandbox")
        );
        assert_eq!(network.members(&net.id).len(), 2, "what was refused left nothing");
    });
}

#[test]
fn gateway_modes_decide_who_gets_in() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let mode = |name: &str, subnet: &str, mode: &str| {
            make(&network, name, &[subnet], &[("bridge.gateway_mode_ipv4", mode)])
        };
        let routed = mode("routed", "10.1.0.0/24", "routed");
        let unprotected = mode("unprotected", "10.2.0.0/24", "nat-unprotected");
        let trusting = make(&network, "t", &["10.3.0.0/24"], &[("bridge.trusted_host_interfaces", "lan2")]);
        for n in 1..4 {
            neighbour.run(&format!("ip route add 10.{n}.0.0/24 via {HOST}"));
        }
        let containers: Vec<Container> = [&routed, &unprotected, &trusting]
            .map(|net| attach_to(&network, &[net], vec![port("", 80, TCP)]))
            .into();
        containers.iter().for_each(|web| [80, 81].into_iter().for_each(|port| web.serve(port)));
        for (n, wanted, what) in [
            (0, [true, false], "routed: published ports alone"),
            (1, [true, true], "unprotected: every port"),
            (2, [true, false], "trusted link: published ports alone"),
        ] {
            for (port, wanted) in [80, 81].into_iter().zip(wanted) {
                let reached = neighbour.within(|| tcp_reached(containers[n].ip(), port, wanted));
                assert_eq!(reached, wanted, "{what}: {port}");
            }
        }
        assert_eq!(containers[0].record.ports[0].host_port, 0, "routed: none of the host's ports");
        assert_ne!(containers[1].record.ports[0].host_port, 0);
        serve(&neighbour, 99);
        let seen = |n: usize| containers[n].inside.within(|| tcp(ip("198.51.100.2"), 99));
        assert_eq!(seen(0), Some(containers[0].ip()), "routed: under its own address");
        assert_eq!(seen(1), Some(HOST.into()));
        for stranger in &containers[1..] {
            assert!(stranger.inside.within(|| tcp_refused(containers[0].ip(), 81)));
        }
    });
}

#[test]
fn ipv6_is_published_and_masqueraded_as_ipv4_is() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let net = make(&network, "net", &["10.1.0.0/24", "fd00:1::/64"], &[]);
        let web = attach_to(&network, &[&net], vec![port("8080", 80, TCP)]);
        serve6(&web.inside, 80);
        let outside = ip("2001:db8::2");
        let addresses = run(&format!("ip -6 address show dev {}", net.link));
        assert!(!addresses.contains("tentative"), "the bridge may ask for its neighbours: {addresses}");
        assert_eq!(neighbour.within(|| tcp(ip("2001:db8::1"), 8080)), Some(outside), "the source is kept");
        assert!(tcp(ip("::1"), 8080).is_some(), "from the host's loopback");
        neighbour.run("ip -6 route add fd00:1::/64 via 2001:db8::1");
        assert!(neighbour.within(|| tcp_refused(ip("fd00:1::2"), 80)), "no way but the published one");
        serve6(&neighbour, 99);
        assert_eq!(web.inside.within(|| tcp(outside, 99)), Some(ip("2001:db8::1")));
    });
}

#[test]
fn the_default_bridge_has_ipv6_if_it_is_asked_for() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let dual = NetConfig { ipv6: true, ..config() };
        let network = host.open(dual.clone(), vec![]);
        let web = attach(&network, vec![port("8080", 80, TCP)]);
        serve6(&web.inside, 80);
        serve6(&neighbour, 99);
        let own = web.record.ipv6.expect("an address");
        let info = network.bridge().expect("a bridge").ipv6.clone().expect("a subnet");
        assert!(info.chosen && info.subnet.to_string().starts_with("fdb1:b1b1:b1b1:"), "{info:?}");
        assert_eq!(tcp(own, 80), info.gateway, "from the host");
        let outside = ip("2001:db8::2");
        assert_eq!(neighbour.within(|| tcp(ip("2001:db8::1"), 8080)), Some(outside), "published");
        assert_eq!(web.inside.within(|| tcp(outside, 99)), Some(ip("2001:db8::1")), "masqueraded");
        neighbour.run(&format!("ip -6 route add {} via 2001:db8::1", info.subnet));
        assert!(neighbour.within(|| tcp_refused(own, 80)), "no way but the published one");
        let records = network.endpoints();
        drop(network);

        let network = host.open(dual, records);
        assert_eq!(network.bridge().expect("a bridge").ipv6, Some(Pool { chosen: true, ..info.clone() }));
        let other = attach(&network, vec![]);
        assert_ne!(other.record.ipv6, web.record.ipv6);
        assert!(other.inside.within(|| tcp(own, 80)).is_some(), "neighbours");
        drop((network, web, other));

        let narrow = NetConfig {
            ipv6: true,
            bip6: "fd00:9::9/64".parse().ok(),
            fixed_cidr6: "fd00:9::100/120".parse().ok(),
            default_gateway6: "fd00:9::77".parse().ok(),
            ..config()
        };
        let network = host.open(narrow, vec![]);
        let web = attach(&network, vec![]);
        assert_eq!(web.record.ipv6, "fd00:9::100".parse().ok());
        assert!(web.inside.run("ip -6 route show default").contains("via fd00:9::77"));
        let addresses = run("ip -6 -o addr show dev docker0 scope global");
        assert!(addresses.contains("fd00:9::9/64") && !addresses.contains("fdb1:"), "{addresses}");
        drop((network, web));
        let _network = host.open(config(), vec![]);
        assert_eq!(run("ip -6 -o addr show dev docker0 scope global"), "", "and none if it is not");
    });
}

#[test]
fn without_icc_neighbours_meet_at_published_ports_alone() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let net = make(&network, "net", &["10.1.0.0/24"], &[("bridge.enable_icc", "false")]);
        let web = attach_to(&network, &[&net], vec![port("8080", 80, TCP)]);
        let other = attach_to(&network, &[&net], vec![]);
        web.serve(80);
        assert!(other.inside.within(|| tcp_refused(web.ip(), 80)));
        assert!(other.inside.within(|| tcp(ip("10.1.0.1"), 8080)).is_some());
    });
}

#[test]
fn what_a_network_asks_for_is_checked_against_the_others_and_the_host() {
    on_a_host(|host| {
        run("ip link add other type bridge");
        run("ip link set other up");
        run("ip address add 172.18.0.1/16 dev other");
        let network = host.open(config(), vec![]);
        let a = make(&network, "a", &[], &[]);
        assert_eq!(a.ipv4[0].subnet.to_string(), "172.19.0.0/16", "neither docker0's nor the host's");
        let refused = |subnets: &[&str], options: &[(&str, &str)]| {
            network.create(&network_request("x", subnets, options)).unwrap_err().to_string()
        };
        let overlap = "invalid pool request: Pool overlaps with other one on this address space";
        assert_eq!(refused(&["172.19.5.0/24"], &[]), overlap);
        assert_eq!(refused(&["172.0.0.0/8"], &[]), overlap);
        assert_eq!(
            refused(&["10.1.0.0/24", "10.2.0.0/24"], &[]),
            "bridge driver doesn't support multiple subnets"
        );
        assert_eq!(refused(&["10.1.0.0/24", "10.1.0.0/25"], &[]), overlap);
        assert_eq!(refused(&[], &[("bridge.name", "lo")]), "existing interface lo is not a bridge");
        assert!(refused(&[], &[("bridge.name", "docker0")]).ends_with("networks have same bridge name"));
        assert!(refused(&[], &[("bridge.name", "averyverylongname")]).contains("result out of range"));
        assert!(refused(&[], &[("driver.mtu", "70000")]).contains("nvalid argument"));
        assert_eq!(bridges(), ["other".to_owned(), a.link.clone()], "what was refused left nothing");
        // A subnet of the host's is not chosen, but may be asked for; its bridge is used, and stays.
        let b = make(&network, "b", &["172.18.0.0/16"], &[("bridge.name", "other")]);
        assert!(!b.own_link);
        network.remove(&b.id).unwrap();
        network.remove(&a.id).unwrap();
        eventually("our bridge is gone", || bridges() == ["other"]);
    });
}

#[test]
fn a_network_in_use_stays_and_a_removed_one_leaves_nothing() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let table = run("nft -s list table inet skiff");
        let net = make(&network, "net", &["10.1.0.0/24"], &[]);
        let web = attach_to(&network, &[&net], vec![]);
        let error = network.remove(&net.id).unwrap_err().to_string();
        let words =
            format!("network net has active endpoints (name:\"web\" id:\"{}\")", web.record.id.short());
        assert_eq!(error, words);
        network.release(&web.record.container);
        network.remove(&net.id).unwrap();
        assert_eq!(run("ip route show 10.1.0.0/24"), "", "its subnet is free at once");
        assert!(network.remove(&net.id).is_err());
        assert_eq!(run("nft -s list table inet skiff"), table);
        eventually("the bridge is gone", || bridges().is_empty());
        assert!(matches!(network.remove(&BRIDGE), Err(NetworkError::Predefined(_))));
    });
}

#[test]
fn after_a_kill_the_next_daemon_has_what_the_records_say() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let kept = make(&network, "kept", &["10.1.0.0/24"], &[]);
        let lost = make(&network, "lost", &["10.2.0.0/24"], &[]);
        let web = attach_to(&network, &[&kept], vec![port("8080", 80, TCP)]);
        web.serve(80);
        let records = network.endpoints();
        let index =
            || run(&format!("ip -o link show dev {}", kept.link)).split(':').next().map(str::to_owned);
        let before = index();
        drop(network);

        // One network was never acknowledged.
        let network = host.open_with(config(), vec![kept.clone()], records);
        assert_eq!(tcp(ip("127.0.0.1"), 8080), Some(ip("10.1.0.1")));
        assert_eq!(index(), before, "the bridge is the same");
        assert_eq!(attach_to(&network, &[&kept], vec![]).ip(), ip("10.1.0.3"), "the address is taken");
        assert!(!run("nft list table inet skiff").contains(&lost.link));
        eventually("the other's bridge is gone", || bridges() == [kept.link.clone()]);
        drop(network);

        // As after a reboot: the records are there, the links are not.
        drop(web);
        run(&format!("ip link delete {}", kept.link));
        run("nft delete table inet skiff");
        let network = host.open_with(config(), vec![kept.clone()], vec![]);
        let web = attach_to(&network, &[&kept], vec![]);
        assert_eq!(web.ip(), ip("10.1.0.2"));
        web.serve(80);
        assert_eq!(tcp(web.ip(), 80), Some(ip("10.1.0.1")));
    });
}

#[test]
fn a_network_without_a_default_bridge_works_all_the_same() {
    on_a_host(|host| {
        run("sysctl -qw net.ipv4.ip_forward=0");
        let network = host.open(NetConfig { bridge: "none".to_owned(), ..config() }, vec![]);
        let net = make(&network, "net", &["10.1.0.0/24"], &[]);
        assert_eq!(
            run("sysctl -n net.ipv4.ip_forward").trim(),
            "1",
            "the first network makes the host a router"
        );
        let neighbour = host.neighbour(2);
        serve(&neighbour, 99);
        let web = attach_to(&network, &[&net], vec![]);
        assert_eq!(web.inside.within(|| tcp(ip("198.51.100.2"), 99)), Some(HOST.into()));
    });
}

#[test]
fn routes_that_come_later_are_told_of_while_they_are_there() {
    on_a_host(|host| {
        run("ip link add vpn type veth peer name far");
        run("ip link set vpn up");
        run("ip link set far up");
        let network = host.open(config(), vec![]);
        let net = make(&network, "a", &["10.64.0.0/16", "fd64::/64"], &[]);
        assert_eq!(network.conflicts(), [""; 0]);
        // What our own links, other nets and everything else are routed by is no conflict.
        make(&network, "b", &["10.65.0.0/16"], &[]);
        run("ip route add 203.0.113.0/24 dev vpn");
        run("ip route add 0.0.0.0/1 dev vpn");
        let told = |count: usize, words: &str| {
            eventually(words, || {
                let all = network.conflicts();
                all.len() == count && all.iter().any(|one| one.contains(words))
            });
        };
        run("ip route add 10.64.3.0/24 dev vpn");
        told(
            1,
            "10.64.3.0/24 by vpn, which is of network a (10.64.0.0/16): its containers there are out of reach",
        );
        run("ip route add fd64::/48 dev vpn");
        told(
            2,
            "fd64::/48 by vpn, of which fd64::/64 is network a's: who has these addresses there is out of reach",
        );
        run("ip route del 10.64.3.0/24 dev vpn");
        told(1, "fd64::/48");
        // The next daemon finds it.
        drop(network);
        let network = host.open_with(config(), vec![net], vec![]);
        assert_eq!(network.conflicts().len(), 1, "{:?}", network.conflicts());
    });
}
