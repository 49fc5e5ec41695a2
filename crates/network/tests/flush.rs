//! Somebody flushes the host's rules while somebody else knocks at every door: nothing passes that should not.

mod world;

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use skiff_network::Protocol;
use world::*;

const TCP: Protocol = Protocol::Tcp;
const UDP: Protocol = Protocol::Udp;

/// What flushes or reloads do: everybody's rules, ours by name, a reload in one transaction, and iptables' chains.
const FLUSHES: [&str; 4] = [
    "nft flush ruleset",
    "nft delete table inet skiff",
    "nft flush chain inet skiff inward",
    "nft -f /dev/stdin",
];

fn flush(how: &str) {
    match how {
        "nft -f /dev/stdin" => {
            let file = tempfile::NamedTempFile::new().expect("a file");
            let rules = "flush ruleset\ntable inet filter {\nchain input {\ntype filter hook input priority 0;\n}\n}\n";
            fs_err::write(file.path(), rules).expect("the rules are written");
            run(&format!("nft -f {}", file.path().display()));
        }
        how => drop(attempt(how)),
    }
}

/// Sends to all of these, round after round, until it is told to stop; counts the rounds.
fn knock(doors: &[(std::net::IpAddr, u16)], stop: &AtomicBool, rounds: &AtomicU64) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    while !stop.load(Ordering::Relaxed) {
        for door in doors {
            // Refused by an ICMP message or not: knock on.
            let _ = socket.send_to(b"knock", door);
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// Has everybody stop when it goes, by a panic too.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nobody_gets_in_while_the_rules_are_flushed() {
    on_a_host(|host| {
        let neighbour = host.neighbour(2);
        let network = host.open(config(), vec![]);
        let apart = make(&network, "apart", &["10.5.0.0/24"], &[]);
        let web = attach(&network, vec![port("127.0.0.1:82", 82, UDP), port("84", 84, TCP)]);
        let stranger = attach_to(&network, &[&apart], vec![]);
        let counter = Counter::new(&web.inside, "81-84");
        // The neighbour knows a way to the containers, and to the host's loopback.
        neighbour.run(&format!("ip route add 172.17.0.0/16 via {HOST}"));
        neighbour.run("ip address del 127.0.0.1/8 dev lo");
        neighbour.run("sysctl -qw net.ipv4.conf.lan.route_localnet=1");
        neighbour.run(&format!("ip route add 127.0.0.0/8 via {HOST} dev lan src 198.51.100.2"));
        let doors =
            [(web.ip(), 81), (web.ip(), 82), (web.ip(), 84), (ip("127.0.0.1"), 82), (HOST.into(), 82)];

        let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let _stop = Stop(&stop);
            for from in [&neighbour, &stranger.inside] {
                scope.spawn(|| from.within(|| knock(&doors, &stop, &rounds)));
            }
            let more = |count: u64| {
                let from = rounds.load(Ordering::Relaxed);
                eventually("they knock", || rounds.load(Ordering::Relaxed) >= from + count);
            };
            let whole = table();
            for how in FLUSHES.iter().cycle().take(40) {
                flush(how);
                more(200);
                eventually(how, || table() == whole);
            }
            if kernel_keeps_tables() {
                assert_eq!(counter.packets(), 0);
            }
            // Had the rules been away, they would have got in.
            drop(network);
            flush("nft flush ruleset");
            eventually("they get in", || counter.packets() > 0);
        });
    });
}

#[test]
fn the_next_daemon_takes_the_table_over() {
    on_a_host(|host| {
        let network = host.open(config(), vec![]);
        let whole = table();
        drop(network);
        assert_eq!(table(), whole, "it outlives its owner");
        let _network = host.open(config(), vec![]);
        let kept = !attempt("nft delete table inet skiff");
        assert_eq!(kept, kernel_keeps_tables());
        eventually("it is there", || attempt("nft list table inet skiff") && table() == whole);
    });
}
