//! Networks on a link of the host (`macvlan`, `ipvlan`): who reaches whom by the cable, what is made and what goes, and what is there
//! after a kill.
//!
//! What a kernel cannot do (VLANs, dummy links, `ipvlan`) is asked of it first; then it must be refused in plain words, with nothing
//! left behind.

mod world;

use std::{collections::BTreeMap, os::fd::AsFd};

use skiff_network::{Driver, EndpointRequest, Network, NetworkRecord, NetworkRequest};
use world::*;

/// What is asked of a network on a link.
fn on(driver: Driver, subnets: &[&str], options: &[(&str, &str)]) -> NetworkRequest {
    let options: BTreeMap<String, String> =
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    NetworkRequest { driver, options, ..network_request("lan", subnets, &[]) }
}

fn macvlan(network: &Network, subnet: &str, mode: &str) -> NetworkRecord {
    network
        .create(&on(Driver::Macvlan, &[subnet], &[("parent", "lan2"), ("macvlan_mode", mode)]))
        .expect("the network is made")
}

/// A container at this address, by which neighbours are told apart.
fn at(network: &Network, net: &NetworkRecord, address: &str) -> Container {
    let endpoint = EndpointRequest { ipv4: Some(address.parse().unwrap()), ..EndpointRequest::new(net.id) };
    Container::new(network.attach(request_with(vec![], endpoint)).expect("the endpoint is attached"))
}

/// Takes containers from their network that go on: what serves in them keeps their namespaces.
fn leave(network: &Network, containers: &[&Container]) {
    for Container { record, inside } in containers {
        network.disconnect(inside.netns.as_fd(), record.container, record.network, &[]).unwrap();
    }
}

/// The host's links but those that are prepared for bridges.
fn links() -> Vec<String> {
    let name = |line: &str| line.split(": ").nth(1).expect("a name").split('@').next().unwrap().to_owned();
    run("ip -o link").lines().map(name).filter(|name| !name.starts_with("veth")).collect()
}

/// Whether the kernel makes links of a kind, tried in a namespace of its own.
fn kernel_has(kind: &str) -> bool {
    let place = Namespace::new();
    place.run("ip link add p type veth peer name q");
    place.within(|| match kind {
        "dummy" => attempt("ip link add x type dummy"),
        "vlan" => attempt("ip link add link p name p.7 type vlan id 7"),
        kind => attempt(&format!("ip link add link p name x type {kind}")),
    })
}

#[test]
fn children_are_hosts_on_the_parents_lan() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let net = macvlan(&network, "198.51.100.0/24", "bridge");
        assert!(!net.own_link);
        let one = at(&network, &net, "198.51.100.10");
        let two = at(&network, &net, "198.51.100.11");
        one.serve(80);
        serve(&neighbour, 99);
        let mac = one.record.mac.expect("one of its own").to_string();
        assert!(one.inside.run("ip link show eth0").contains(&mac));
        assert_eq!((one.record.host_interface.as_str(), one.record.host_index), ("", 0));
        assert_eq!(neighbour.within(|| tcp(one.ip(), 80)), Some(ip("198.51.100.2")), "from the LAN");
        assert_eq!(one.inside.within(|| tcp(ip("198.51.100.2"), 99)), Some(one.ip()), "to the LAN");
        assert_eq!(two.inside.within(|| tcp(one.ip(), 80)), Some(two.ip()), "each other");
        assert!(tcp_refused(one.ip(), 80), "not from the parent's host: the kernel has it so");
        // The gateway is whoever has that address on the LAN.
        assert_eq!(one.record.gateway, "198.51.100.1".parse().ok());
        assert!(one.inside.run("ip route show default").contains("via 198.51.100.1 dev eth0"));
        assert!(!run("nft list table inet skiff").contains("lan2"), "no table stands in between");
    });
}

#[test]
fn modes_say_who_reaches_whom() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        serve(&neighbour, 99);
        for mode in ["private", "vepa"] {
            let net = macvlan(&network, "198.51.100.0/24", mode);
            let (one, two) = (at(&network, &net, "198.51.100.10"), at(&network, &net, "198.51.100.11"));
            one.serve(80);
            assert!(
                two.inside.within(|| tcp_refused(one.ip(), 80)),
                "{mode}: there is no switch to send it back"
            );
            assert_eq!(one.inside.within(|| tcp(ip("198.51.100.2"), 99)), Some(one.ip()), "{mode}");
            assert!(one.inside.run("ip -d link show eth0").contains(&format!("macvlan mode {mode}")));
            leave(&network, &[&one, &two]);
            network.remove(&net.id).unwrap();
        }
        let net = macvlan(&network, "198.51.100.0/24", "passthru");
        let one = at(&network, &net, "198.51.100.12");
        assert!(one.inside.run("ip -d link show eth0").contains("macvlan mode passthru"));
        assert_eq!(one.inside.within(|| tcp(ip("198.51.100.2"), 99)), Some(one.ip()));
        let second = network.attach(request_with(vec![], EndpointRequest::new(net.id))).unwrap_err();
        assert_eq!(second.to_string(), "failed to create the macvlan port: invalid argument");
        let other =
            network.create(&on(Driver::Macvlan, &["10.7.0.0/24"], &[("parent", "lan2")])).unwrap_err();
        let words =
            format!("macvlan network {} is already using parent interface lan2 in mode passthru", net.id);
        assert_eq!(other.to_string(), words);
    });
}

#[test]
fn ports_of_the_host_lead_to_bridges_alone() {
    on_a_host(|host| {
        let _neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let net = macvlan(&network, "198.51.100.0/24", "bridge");
        let web = attach_to(&network, &[&net], vec![port("8080", 80, skiff_network::Protocol::Tcp)]);
        assert!(web.record.ports.is_empty() && !web.record.publishes());
        assert!(tcp_refused(ip("127.0.0.1"), 8080));
        // With the default route, which a bridge of higher priority gets, the ports come.
        let bridge = make(&network, "a", &["10.1.0.0/24"], &[]);
        let wanted = EndpointRequest { gateway_priority: 1, ..EndpointRequest::new(bridge.id) };
        let ports = [port("8080", 80, skiff_network::Protocol::Tcp)];
        web.serve(80);
        let container = web.record.container;
        let all = network.connect(web.inside.netns.as_fd(), container, "web", &wanted, &ports).unwrap();
        assert!(all.iter().any(|e| e.network == bridge.id && e.ports.len() == 2), "{all:?}");
        assert_eq!(tcp(ip("127.0.0.1"), 8080), Some(ip("10.1.0.1")));
        let left = network.disconnect(web.inside.netns.as_fd(), container, bridge.id, &ports).unwrap();
        assert!(left[0].ports.is_empty() && tcp_refused(ip("127.0.0.1"), 8080));
        assert!(web.inside.run("ip route show default").contains("dev eth0"));
    });
}

#[test]
fn containers_come_to_and_leave_a_lan_while_they_run() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let net = macvlan(&network, "198.51.100.0/24", "bridge");
        let web = attach(&network, vec![]);
        web.serve(80);
        let endpoint = EndpointRequest {
            ipv4: Some("198.51.100.10".parse().unwrap()),
            mac: Some("02:11:22:33:44:55".parse().unwrap()),
            interface: Some("cable".to_owned()),
            ..EndpointRequest::new(net.id)
        };
        let container = web.record.container;
        network.connect(web.inside.netns.as_fd(), container, "web", &endpoint, &[]).unwrap();
        assert!(web.inside.run("ip link show cable").contains("02:11:22:33:44:55"));
        assert!(neighbour.within(|| tcp(ip("198.51.100.10"), 80)).is_some());
        let taken = network.attach(request_with(vec![], endpoint.clone())).unwrap_err();
        assert_eq!(taken.to_string(), "Address already in use");
        network.disconnect(web.inside.netns.as_fd(), container, net.id, &[]).unwrap();
        assert!(!web.inside.run("ip -o link").contains("cable"));
        assert!(neighbour.within(|| tcp_refused(ip("198.51.100.10"), 80)));
        network.connect(web.inside.netns.as_fd(), container, "web", &endpoint, &[]).unwrap();
        assert!(neighbour.within(|| tcp(ip("198.51.100.10"), 80)).is_some(), "and back");
    });
}

/// A daemon may be killed between making and marking a child; others may have brought one of theirs.
#[test]
fn children_that_nobody_knows_go_and_strange_ones_stay() {
    on_a_host(|host| {
        let _neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let net = macvlan(&network, "198.51.100.0/24", "bridge");
        let web = attach_to(&network, &[&net], vec![]);
        let inside = &web.inside;
        // The group of what is not marked yet has our name in letters.
        for (name, group) in [("new", 0x736b_6966), ("marked", 0), ("brought", 0)] {
            run(&format!("ip link add link lan2 name {name} group {group} type macvlan mode bridge"));
            run(&format!("ip link set {name} netns {}", inside.path()));
        }
        inside.run("ip link set marked alias skiff up");
        inside.run("ip link set brought up");
        inside.run("ip link add own type veth peer name peer");
        inside.run("ip link add link eth0 name grandchild type macvlan mode bridge");
        network.tidy(inside.netns.as_fd(), &web.record.container).unwrap();
        let links = inside.run("ip -o link");
        let mut names: Vec<_> =
            links.lines().filter_map(|l| l.split(": ").nth(1)?.split('@').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["brought", "eth0", "grandchild", "lo", "own", "peer"], "{links}");
    });
}

#[test]
fn several_subnets_and_families_share_a_parent() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let mut request =
            on(Driver::Macvlan, &["10.1.0.0/29", "10.2.0.0/24", "2001:db8::/64"], &[("parent", "lan2")]);
        request.pools[0].range = Some("10.1.0.4/30".parse().unwrap());
        request.pools[0].auxiliary.insert("printer".to_owned(), ip("10.1.0.5"));
        request.pools[1].gateway = Some(ip("10.2.0.9"));
        request.pools[2].gateway = Some(ip("2001:db8::2"));
        let net = network.create(&request).unwrap();
        let one = attach_to(&network, &[&net], vec![]);
        assert_eq!(
            (one.ip(), one.record.prefix, one.record.gateway),
            (ip("10.1.0.6"), 29, "10.1.0.4".parse().ok())
        );
        assert!(one.inside.run("ip -6 route show default").contains("via 2001:db8::2"));
        let two = attach_to(&network, &[&net], vec![]);
        assert_eq!(two.ip(), ip("10.2.0.1"), "the first subnet's range is used up");
        assert_eq!((two.record.prefix, two.record.gateway), (24, "10.2.0.9".parse().ok()));
        let fixed = at(&network, &net, "10.2.0.77");
        assert!(fixed.inside.run("ip route show default").contains("via 10.2.0.9"));
        serve6(&neighbour, 99);
        let own = one.record.ipv6.expect("an IPv6 address");
        assert_eq!(one.inside.within(|| tcp(ip("2001:db8::2"), 99)), Some(own.into()));
        let outside = network.attach(request_with(
            vec![],
            EndpointRequest { ipv4: "10.9.0.1".parse().ok(), ..EndpointRequest::new(net.id) },
        ));
        let words = "no configured subnet or ip-range contain the IP address 10.9.0.1";
        assert_eq!(outside.unwrap_err().to_string(), words);
    });
}

#[test]
fn an_internal_network_on_a_lan_has_no_default_route() {
    on_a_host(|host| {
        let _neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let mut request = on(Driver::Macvlan, &["10.1.0.0/24"], &[("parent", "lan2")]);
        request.internal = true;
        let net = network.create(&request).unwrap();
        let one = attach_to(&network, &[&net], vec![]);
        assert_eq!((one.ip(), one.record.gateway), (ip("10.1.0.1"), None), "no address is set aside");
        assert_eq!(one.inside.run("ip route show default"), "");
    });
}

#[test]
fn parents_that_cannot_be_are_refused() {
    on_a_host(|host| {
        let _neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let before = links();
        let refused = |driver, parent: &str| {
            let options: &[(&str, &str)] = if parent.is_empty() { &[] } else { &[("parent", parent)] };
            network.create(&on(driver, &["10.1.0.0/24"], options)).unwrap_err().to_string()
        };
        for (parent, words) in [
            ("lo", "loopback interface is not a valid macvlan parent link"),
            ("nope", "invalid subinterface vlan name nope, example formatting is eth0.10"),
            ("nope.5", "-o parent interface was not found on the host: nope"),
            ("lan2.0", "vlan id must be between 1-4094, received: 0"),
            ("lan2.4095", "vlan id must be between 1-4094, received: 4095"),
            (
                "averyveryverylongname",
                "invalid subinterface vlan name averyveryverylongname, example formatting is eth0.10",
            ),
        ] {
            assert_eq!(refused(Driver::Macvlan, parent), words);
        }
        if !kernel_has("vlan") {
            let words = "failed to create lan2.50 vlan link: operation not supported: this kernel has no VLANs (8021q)";
            assert_eq!(refused(Driver::Macvlan, "lan2.50"), words);
        }
        if !kernel_has("dummy") {
            assert!(refused(Driver::Macvlan, "").ends_with("this kernel has no dummy links"));
            assert!(refused(Driver::Ipvlan, "").ends_with("this kernel has no dummy links"));
        }
        if !kernel_has("ipvlan") {
            let net = network.create(&on(Driver::Ipvlan, &["10.1.0.0/24"], &[("parent", "lan2")])).unwrap();
            let error = network.attach(request_with(vec![], EndpointRequest::new(net.id))).unwrap_err();
            let words =
                "failed to create the ipvlan port: operation not supported: this kernel has no ipvlan links";
            assert_eq!(error.to_string(), words);
            assert!(network.members(&net.id).is_empty());
            network.remove(&net.id).unwrap();
        }
        assert_eq!(links(), before, "what was refused left nothing");
        // The parent may go away under a network, and come back.
        let net = macvlan(&network, "10.1.0.0/24", "bridge");
        // Before Linux 6.2 only what is down can be called otherwise.
        run("ip link set lan2 down");
        run("ip link set lan2 name wan2");
        let error = network.attach(request_with(vec![], EndpointRequest::new(net.id))).unwrap_err();
        let words = "the requested parent interface lan2 was not found on the Docker host";
        assert_eq!(error.to_string(), words);
        run("ip link set wan2 name lan2");
        run("ip link set lan2 up");
        attach_to(&network, &[&net], vec![]);
    });
}

#[test]
fn a_vlan_or_dummy_that_was_made_goes_with_its_last_network() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let before = links();
        if kernel_has("vlan") {
            neighbour.run("ip link add link lan name lan.50 type vlan id 50");
            neighbour.run("ip address add 10.1.0.9/24 dev lan.50");
            neighbour.run("ip link set lan.50 up");
            serve(&neighbour, 99);
            let vlan = |subnet: &str| {
                network.create(&on(Driver::Macvlan, &[subnet], &[("parent", "lan2.50")])).unwrap()
            };
            let (one, two) = (vlan("10.1.0.0/24"), vlan("10.2.0.0/24"));
            assert!(one.own_link && two.own_link);
            let web = attach_to(&network, &[&one], vec![]);
            assert_eq!(web.inside.within(|| tcp(ip("10.1.0.9"), 99)), Some(web.ip()), "tagged frames arrive");
            network.release(&web.record.container);
            network.remove(&one.id).unwrap();
            assert!(links().contains(&"lan2.50".to_owned()), "another network uses it");
            network.remove(&two.id).unwrap();
            assert_eq!(links(), before);
            // One that somebody else made stays.
            run("ip link add link lan2 name lan2.60 type vlan id 60");
            let net =
                network.create(&on(Driver::Macvlan, &["10.3.0.0/24"], &[("parent", "lan2.60")])).unwrap();
            network.remove(&net.id).unwrap();
            assert!(links().contains(&"lan2.60".to_owned()));
            run("ip link delete lan2.60");
        }
        if kernel_has("dummy") {
            let net = network.create(&on(Driver::Macvlan, &["10.1.0.0/24"], &[])).unwrap();
            assert_eq!(net.link, format!("dm-{}", net.id.short()));
            let (one, two) = (attach_to(&network, &[&net], vec![]), attach_to(&network, &[&net], vec![]));
            one.serve(80);
            assert_eq!(two.inside.within(|| tcp(one.ip(), 80)), Some(two.ip()));
            assert_eq!(one.inside.run("ip route show default"), "", "nothing is behind it");
            network.release(&one.record.container);
            network.release(&two.record.container);
            network.remove(&net.id).unwrap();
        }
        assert_eq!(links(), before);
    });
}

#[test]
fn after_a_kill_children_go_on_and_links_agree_with_the_records() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let kept = macvlan(&network, "198.51.100.0/24", "bridge");
        let web = at(&network, &kept, "198.51.100.10");
        web.serve(80);
        let before = links();
        if kernel_has("vlan") {
            let lost = on(Driver::Macvlan, &["10.2.0.0/24"], &[("parent", "lan2.50")]);
            network.create(&lost).unwrap();
        }
        let records = network.endpoints();
        drop(network);
        // The network on the VLAN was never acknowledged.
        let network = host.open_with(config(), vec![kept.clone()], records);
        assert!(neighbour.within(|| tcp(web.ip(), 80)).is_some());
        let taken = EndpointRequest { ipv4: web.record.ipv4, ..EndpointRequest::new(kept.id) };
        assert_eq!(
            network.attach(request_with(vec![], taken)).unwrap_err().to_string(),
            "Address already in use"
        );
        eventually("the VLAN is gone", || links() == before);
        let container = web.record.container;
        network.disconnect(web.inside.netns.as_fd(), container, kept.id, &[]).unwrap();
        assert!(!web.inside.run("ip -o link").contains("eth0"));
        network.remove(&kept.id).unwrap();
        assert!(links().contains(&"lan2".to_owned()), "a link of the host stays");
    });
}

#[test]
fn ipvlan_on_layer_2_and_3() {
    on_a_host(|host| {
        if !kernel_has("ipvlan") {
            // What is said then, another test sees.
            return;
        }
        let neighbour = host.neighbour(2);
        serve(&neighbour, 99);
        let network = host.open(config(), vec![]);
        for (mode, flag) in
            [("l2", "bridge"), ("l2", "private"), ("l2", "vepa"), ("l3", "bridge"), ("l3s", "bridge")]
        {
            let options = [("parent", "lan2"), ("ipvlan_mode", mode), ("ipvlan_flag", flag)];
            let net = network.create(&on(Driver::Ipvlan, &["198.51.100.0/24"], &options)).unwrap();
            let (one, two) = (at(&network, &net, "198.51.100.10"), at(&network, &net, "198.51.100.11"));
            one.serve(80);
            assert_eq!(one.record.mac, None);
            let shown = one.inside.run("ip -d link show eth0");
            assert!(shown.contains(&format!("mode {mode}")) && shown.contains(flag), "{shown}");
            let meet = two.inside.within(|| match flag {
                "bridge" => tcp(one.ip(), 80).is_some(),
                _ => !tcp_refused(one.ip(), 80),
            });
            assert_eq!(meet, flag == "bridge", "{mode} {flag}");
            let route = one.inside.run("ip route show default");
            match mode {
                "l2" => {
                    assert!(route.contains("via 198.51.100.1 dev eth0"), "{route}");
                    assert!(neighbour.within(|| tcp(one.ip(), 80)).is_some(), "from the LAN");
                }
                _ => {
                    assert!(route.starts_with("default dev eth0") && one.record.gateway.is_none(), "{route}");
                    // Behind a router without ARP for others: the neighbour must know where to send.
                    let link = run("ip -o link show lan2");
                    let mac = link.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next());
                    let mac = mac.expect("a hardware address");
                    neighbour.run(&format!(
                        "ip neighbour replace {} lladdr {} dev lan",
                        one.ip(),
                        mac.trim()
                    ));
                    assert!(neighbour.within(|| tcp(one.ip(), 80)).is_some(), "{mode}: by way of the parent");
                    neighbour.run(&format!("ip neighbour delete {} dev lan", one.ip()));
                }
            }
            leave(&network, &[&one, &two]);
            network.remove(&net.id).unwrap();
        }
        let options = [("parent", "lan2")];
        let net = network.create(&on(Driver::Ipvlan, &["10.1.0.0/24"], &options)).unwrap();
        let again = network.create(&on(Driver::Ipvlan, &["10.2.0.0/24"], &options)).unwrap_err();
        let words = format!("network di-{} is already using parent interface lan2", net.id.short());
        assert_eq!(again.to_string(), words);
        let own = EndpointRequest { mac: "02:11:22:33:44:55".parse().ok(), ..EndpointRequest::new(net.id) };
        let words = "failed to create endpoint web on network lan: ipvlan interfaces do not support custom mac address assignment";
        assert_eq!(network.attach(request_with(vec![], own)).unwrap_err().to_string(), words);
    });
}
