//! Who reaches a published port from outside is for the host's own firewall to decide.
//!
//! The policies are what nftables' users, ufw and firewalld write, as far as it matters here: what ufw writes has another
//! table for each family, and drops what is forwarded; firewalld rejects, and lets what was translated be forwarded.

mod world;

use std::{net::UdpSocket, time::Duration};

use skiff_network::{NetConfig, PortSpec, Protocol};
use world::*;

const GATEWAY: &str = "172.17.0.1";
const HOST6: &str = "2001:db8::1";

/// A host's firewall: its rules, and how a port is opened for a source and closed again.
struct Policy {
    rules: String,
    /// Families and tables with the chains that rules go into.
    chains: Vec<String>,
    /// Whether what our table translated may begin to be forwarded.
    forwards: bool,
}

impl Policy {
    fn plain() -> Self {
        let rules = "table inet filter {
            chain input {
                type filter hook input priority filter; policy drop;
                ct state established,related accept
                iif lo accept
                meta l4proto ipv6-icmp accept
            }
        }";
        Self { rules: rules.to_owned(), chains: vec!["inet filter input".to_owned()], forwards: true }
    }

    fn ufw() -> Self {
        let table = |family: &str, number: &str, icmp: &str| {
            format!(
                "table {family} filter {{
                    chain ufw{number}-user-input {{ }}
                    chain ufw{number}-before-input {{
                        iifname lo accept
                        ct state related,established accept
                        ct state invalid drop
                        meta l4proto {icmp} accept
                        jump ufw{number}-user-input
                    }}
                    chain ufw{number}-before-forward {{ ct state related,established accept; }}
                    chain ufw{number}-before-output {{ oifname lo accept; ct state related,established accept; }}
                    chain INPUT {{
                        type filter hook input priority filter; policy drop;
                        jump ufw{number}-before-input
                    }}
                    chain FORWARD {{
                        type filter hook forward priority filter; policy drop;
                        jump ufw{number}-before-forward
                    }}
                    chain OUTPUT {{
                        type filter hook output priority filter; policy accept;
                        jump ufw{number}-before-output
                    }}
                }}"
            )
        };
        Self {
            rules: table("ip", "", "icmp") + "\n" + &table("ip6", "6", "ipv6-icmp"),
            chains: vec!["ip filter ufw-user-input".to_owned(), "ip6 filter ufw6-user-input".to_owned()],
            forwards: false,
        }
    }

    fn firewalld() -> Self {
        let rules = "table inet firewalld {
            chain filter_IN_public_allow { }
            chain filter_INPUT_ZONES {
                jump filter_IN_public_allow
                meta l4proto { icmp, ipv6-icmp } accept
            }
            chain filter_INPUT {
                type filter hook input priority filter + 10; policy accept;
                ct state { established, related } accept
                ct status dnat accept
                iifname lo accept
                ct state invalid drop
                jump filter_INPUT_ZONES
                reject with icmpx admin-prohibited
            }
            chain filter_FORWARD {
                type filter hook forward priority filter + 10; policy accept;
                ct state { established, related } accept
                ct status dnat accept
                iifname lo accept
                ct state invalid drop
                reject with icmpx admin-prohibited
            }
            chain filter_OUTPUT {
                type filter hook output priority filter + 10; policy accept;
                ct state { established, related } accept
                oifname lo accept
            }
        }";
        let chains = vec!["inet firewalld filter_IN_public_allow".to_owned()];
        Self { rules: rules.to_owned(), chains, forwards: true }
    }

    fn all() -> [(&'static str, Self); 3] {
        [("nftables", Self::plain()), ("ufw", Self::ufw()), ("firewalld", Self::firewalld())]
    }

    /// Puts the rules in force.
    fn load(&self) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs_err::write(file.path(), &self.rules).expect("the rules are written");
        run(&format!("nft -f {}", file.path().display()));
    }

    /// Adds a rule to those that let something in.
    fn allow(&self, rule: &str) {
        self.chains.iter().for_each(|chain| drop(run(&format!("nft insert rule {chain} {rule} accept"))));
    }

    /// Takes everything away again.
    fn remove(&self) {
        let families =
            ["ip", "ip6", "inet"].map(|family| (family, run(&format!("nft list tables {family}"))));
        for (family, tables) in families {
            for name in
                tables.lines().filter_map(|line| line.rsplit(' ').next()).filter(|name| *name != "skiff")
            {
                run(&format!("nft delete table {family} {name}"));
            }
        }
    }
}

fn both(number: &str) -> Vec<PortSpec> {
    vec![port(number, 80, Protocol::Tcp), port(number, 80, Protocol::Udp)]
}

/// Answers each datagram with the address that it seems to come from.
fn answer(place: &Namespace, port: u16) {
    let socket = place.within(|| UdpSocket::bind(("0.0.0.0", port)).expect("a socket"));
    std::thread::spawn(move || {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 64]) {
            let _ = socket.send_to(from.ip().to_string().as_bytes(), from);
        }
    });
}

fn no_answer(to: std::net::IpAddr, port: u16) -> bool {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    socket.connect((to, port)).expect("an address");
    (0..3).all(|_| socket.send(b"?").is_err() || socket.recv(&mut [0; 64]).is_err())
}

#[test]
fn a_port_is_open_to_the_outside_if_the_hosts_firewall_opens_it() {
    for (name, policy) in Policy::all() {
        on_a_host(|host| {
            let neighbour = host.neighbour(2);
            let network = host.open(config(), vec![]);
            let both_families = make(&network, "six", &["10.6.0.0/24", "fd00:6::/64"], &[]);
            let web = attach_to(&network, &[&both_families], both("8080"));
            let other = attach(&network, vec![]);
            serve6(&web.inside, 80);
            answer(&web.inside, 80);
            let outside = ip("198.51.100.2");
            let outside6 = ip("2001:db8::2");
            let from_neighbour = |to| neighbour.within(|| tcp(to, 8080));
            assert_eq!(from_neighbour(HOST.into()), Some(outside), "{name}: nothing in the way");

            policy.load();
            let shut = || {
                neighbour.within(|| {
                    tcp_refused(HOST, 8080)
                        && tcp_refused(ip(HOST6), 8080)
                        && no_answer(HOST.into(), 8080)
                        && no_answer(ip(HOST6), 8080)
                })
            };
            let arrived = Counter::new(&web.inside, "80");
            assert!(shut(), "{name}");
            assert_eq!(arrived.packets(), 0, "{name}");
            for (place, to) in [("127.0.0.1", 8080), ("198.51.100.1", 8080), ("::1", 8080)] {
                assert!(tcp(ip(place), to).is_some(), "{name}: the host itself, by {place}");
            }
            for to in [HOST.into(), ip(GATEWAY)] {
                let reached = other.inside.within(|| tcp_reached(to, 8080, policy.forwards));
                assert_eq!(reached, policy.forwards, "{name}: a container, by {to}, as before");
            }

            policy.allow("tcp dport 8080");
            assert_eq!(from_neighbour(HOST.into()), Some(outside), "{name}: the address is kept");
            assert_eq!(from_neighbour(ip(HOST6)), Some(outside6), "{name}: of IPv6 too");
            assert!(neighbour.within(|| no_answer(HOST.into(), 8080)), "{name}: only TCP was opened");
            policy.allow("udp dport 8080");
            assert_eq!(neighbour.within(|| udp(HOST, 8080)), Some(outside), "{name}");

            policy.remove();
            policy.load();
            assert!(shut(), "{name}: closed again");
            policy.allow("iifname lan3 tcp dport 8080");
            assert!(shut(), "{name}: open to another link");
            policy.allow("iifname lan2 tcp dport 8080");
            assert_eq!(from_neighbour(HOST.into()), Some(outside), "{name}: to this one");
        });
    }
}

#[test]
fn a_sender_is_let_in_and_another_is_not() {
    on_a_host(|host| {
        let (friend, stranger) = (host.neighbour(2), host.neighbour(3));
        run("ip link add lan type bridge");
        run("ip link set lan up");
        run("ip address flush dev lan2");
        for port in ["lan2", "lan3"] {
            run(&format!("ip link set {port} master lan"));
        }
        run(&format!("ip address add {HOST}/24 dev lan"));
        let network = host.open(config(), vec![]);
        let web = attach(&network, both("8080"));
        web.serve(80);
        let policy = Policy::plain();
        policy.load();
        policy.allow("ip saddr 198.51.100.2 tcp dport 8080");
        let arrived = Counter::new(&web.inside, "80");
        assert!(stranger.within(|| tcp_refused(HOST, 8080)));
        assert_eq!(arrived.packets(), 0);
        for _ in 0..50 {
            assert_eq!(friend.within(|| tcp(HOST, 8080)), Some(ip("198.51.100.2")));
        }
        assert!(stranger.within(|| tcp_refused(HOST, 8080)));
    });
}

#[test]
fn datagrams_that_nobody_answers_arrive_where_forwarding_is_dropped() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let sink = attach(&network, vec![port("514", 514, Protocol::Udp)]);
        let socket = sink.inside.within(|| UdpSocket::bind("0.0.0.0:514").expect("a socket"));
        let policy = Policy::ufw();
        policy.load();
        policy.allow("udp dport 514");
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let sender = neighbour.within(|| UdpSocket::bind("0.0.0.0:0").expect("a socket"));
        for size in [10, 1000, 20, 4000] {
            // The second one may come before the connection counts as established.
            eventually("a datagram arrives, a longer one in fragments", || {
                sender.send_to(&vec![7; size], (HOST, 514)).unwrap();
                socket.recv(&mut [0; 8000]).is_ok_and(|length| length == size)
            });
        }
    });
}

#[test]
fn a_long_first_datagram_arrives_whole() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let sink = attach(&network, vec![port("514", 514, Protocol::Udp)]);
        let socket = sink.inside.within(|| UdpSocket::bind("0.0.0.0:514").expect("a socket"));
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let sender = neighbour.within(|| UdpSocket::bind("0.0.0.0:0").expect("a socket"));
        sender.send_to(&[7; 60_000], (HOST, 514)).unwrap();
        assert_eq!(socket.recv(&mut vec![0; 65_536]).expect("a datagram"), 60_000);
    });
}

#[test]
fn what_others_redirect_to_a_published_port_is_served() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let web = attach(&network, vec![port("8080", 80, Protocol::Tcp)]);
        web.serve(80);
        run("nft add table ip other");
        run("nft add chain ip other pre { type nat hook prerouting priority -110 ; }");
        run("nft add rule ip other pre tcp dport 81 redirect to :8080");
        assert_eq!(neighbour.within(|| tcp(HOST, 81)), Some(ip(GATEWAY)), "by the daemon");
        assert_eq!(neighbour.within(|| tcp(HOST, 8080)), Some(ip("198.51.100.2")));
    });
}

#[test]
fn without_the_daemon_a_second_attempt_gets_in_and_the_policy_holds() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let web = attach(&network, both("8080"));
        web.serve(80);
        drop(network);
        let policy = Policy::plain();
        policy.load();
        let arrived = Counter::new(&web.inside, "80");
        assert!(neighbour.within(|| tcp_refused(HOST, 8080) && no_answer(HOST.into(), 8080)));
        assert_eq!(arrived.packets(), 0);
        policy.allow("th dport 8080");
        assert_eq!(neighbour.within(|| tcp(HOST, 8080)), Some(ip("198.51.100.2")));
        assert!(neighbour.within(|| !no_answer(HOST.into(), 8080)));
    });
}

#[test]
fn as_docker_does_it_nobody_is_asked() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(NetConfig { respect_host: false, ..config() }, vec![]);
        let web = attach(&network, both("8080"));
        web.serve(80);
        Policy::plain().load();
        assert_eq!(neighbour.within(|| tcp(HOST, 8080)), Some(ip("198.51.100.2")));
        assert_eq!(neighbour.within(|| udp(HOST, 8080)), Some(ip("198.51.100.2")));
    });
}

#[test]
fn many_connections_at_once_all_get_in() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let web = attach(&network, both("8080"));
        web.serve(80);
        Policy::plain().load();
        Policy::plain().allow("tcp dport 8080");
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope
                        .spawn(|| neighbour.within(|| (0..100).filter(|_| tcp(HOST, 8080).is_some()).count()))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(all, 800);
    });
}
