//! How dear names are: what it costs to begin serving a container, and a container to ask (`bench/names.sh` measures that).
//!
//! As root: `names begin [COUNT]` prints the median time of [`Dns::serve`] in fresh namespaces; `names serve` serves one
//! until standard input ends, and prints the path of its namespace. It knows `name-0` to `name-999`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people to read")]

use std::{
    io::Read,
    net::Ipv4Addr,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    process::Command,
    thread,
    time::Instant,
};

use skiff_network::{Dns, Membership, NameEntry, NameServers, ResolverConfig};
use skiff_types::{ContainerId, NetworkId};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let _inside = runtime.enter();
    let dns = Dns::start();
    let network = NetworkId::random();
    for n in 0..1000u16 {
        let [high, low] = n.to_be_bytes();
        dns.put(NameEntry {
            network,
            network_name: "measured".into(),
            container: ContainerId::random(),
            names: vec![format!("name-{n}")],
            ipv4: Some(Ipv4Addr::new(10, 0, high, low)),
            ipv6: None,
        });
    }
    let config = || ResolverConfig {
        container: ContainerId::random(),
        networks: vec![Membership { network, name: "measured".into(), links: Vec::new() }],
        forwards: true,
        servers: NameServers::Host,
        ndots_set: false,
    };
    match arguments.next().as_deref() {
        Some("begin") => {
            let count = arguments.next().map_or(200, |n| n.parse().expect("a number"));
            let mut times: Vec<_> = (0..count)
                .map(|_| {
                    let (config, namespace) = (config(), namespace());
                    let began = Instant::now();
                    dns.serve(config, namespace.as_fd()).expect("names are served");
                    began.elapsed()
                })
                .collect();
            times.sort();
            println!("{count} times: median {:?}, worst {:?}", times[count / 2], times[count - 1]);
        }
        Some("serve") => {
            let namespace = namespace();
            dns.serve(config(), namespace.as_fd()).expect("names are served");
            println!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
            let _ = std::io::stdin().read(&mut [0]);
        }
        _ => eprintln!("usage: names begin [COUNT] | serve"),
    }
}

/// A network namespace with `lo` up.
fn namespace() -> OwnedFd {
    let made = thread::spawn(|| {
        skiff_sys::netns::unshare_net().expect("a network namespace");
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip");
        assert!(up.success());
        OwnedFd::from(fs_err::File::open("/proc/thread-self/ns/net").expect("the namespace").into_file())
    });
    made.join().expect("a namespace")
}
