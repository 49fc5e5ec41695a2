//! How long endpoints take, in a network namespace of its own: `cargo run --release -p skiff-network --example endpoints`.
#![allow(clippy::print_stdout, reason = "a program for people to read")]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use skiff_network::{AttachRequest, EndpointRequest, HostPort, NetConfig, Network, PortSpec, Protocol};
use skiff_types::{ContainerId, NetworkId};

const BRIDGE: NetworkId = NetworkId::from_bytes([1; 32]);

fn main() {
    skiff_sys::netns::unshare_net().expect("root");
    let lo = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(lo.unwrap().success());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let config = NetConfig::new(BRIDGE);

    let start = Instant::now();
    let network = Network::open(config.clone(), vec![], vec![]).unwrap();
    row("open", start.elapsed());

    for pause in [100, 5] {
        let (mut attach, mut release) = (Vec::new(), Vec::new());
        for _ in 0..(10 + 500 / pause) {
            thread::sleep(Duration::from_millis(pause));
            let (a, r) = one(&network, vec![]);
            attach.push(a);
            release.push(r);
        }
        row(&format!("attach every {pause} ms, median"), median(&mut attach));
        row(&format!("attach every {pause} ms, 95 %"), attach[attach.len() * 95 / 100]);
        row("release, median", median(&mut release));
    }

    let mut attach: Vec<_> = (0..200).map(|_| held(&network, Duration::from_millis(4))).collect();
    row("attach after attach held 4 ms, median", median(&mut attach));
    row("attach after attach held 4 ms, 95 %", attach[attach.len() * 95 / 100]);

    let tcp = || vec![port(80, HostPort::Ephemeral, Protocol::Tcp)];
    let mut published: Vec<_> = (0..100)
        .map(|_| {
            thread::sleep(Duration::from_millis(5));
            one(&network, tcp())
        })
        .collect();
    row("attach with one port, median", median(&mut published.iter().map(|p| p.0).collect::<Vec<_>>()));
    row("release with one port, median", median(&mut published.drain(..).map(|p| p.1).collect::<Vec<_>>()));

    let before = private_memory();
    let many =
        (0..500).map(|n| port(1000 + n, HostPort::Range(20000 + n, 20000 + n), Protocol::Udp)).collect();
    let start = Instant::now();
    let endpoint = network.attach(request(many)).unwrap();
    row("attach with 500 UDP ports", start.elapsed());
    println!("{:<40} {:>7} KiB", "private memory for them", private_memory().saturating_sub(before));
    let start = Instant::now();
    network.release(&endpoint.endpoints[0].container);
    row("release of them", start.elapsed());
    drop(endpoint);

    thread::sleep(Duration::from_secs(1));
    let start = Instant::now();
    let endpoints = eight_at_a_time(100, || network.attach(request(vec![])).unwrap());
    row("100 endpoints, 8 at a time", start.elapsed());
    let start = Instant::now();
    endpoints.iter().for_each(|e| network.release(&e.endpoints[0].container));
    drop(endpoints);
    row("all released", start.elapsed());

    thread::sleep(Duration::from_secs(2));
    throughput(&network);
    let records = network.endpoints();
    drop(network);
    let start = Instant::now();
    let _again = Network::open(config, vec![], records).unwrap();
    row("open again", start.elapsed());
}

fn throughput(network: &Network) {
    let ports = [(80, 8080), (81, 8081)];
    let ports = ports.map(|(inside, host)| port(inside, HostPort::Range(host, host), Protocol::Tcp)).to_vec();
    let endpoint = network.attach(request(ports)).unwrap();
    let inside = |work: fn(TcpStream), port: u16| {
        let netns = endpoint.netns.try_clone().unwrap();
        let (ready, is_ready) = std::sync::mpsc::channel();
        thread::spawn(move || {
            rustix::thread::move_into_link_name_space(netns.as_fd(), None).unwrap();
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
            ready.send(()).unwrap();
            listener.incoming().for_each(|stream| work(stream.unwrap()));
        });
        is_ready.recv().unwrap();
    };
    inside(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())), 80);
    inside(drop, 81);
    for (name, host) in [("127.0.0.1", "127.0.0.1"), ("::1 (relay)", "::1")] {
        let host = host.parse().unwrap();
        let start = Instant::now();
        for _ in 0..2000 {
            let mut stream = TcpStream::connect(SocketAddr::new(host, 8081)).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
        let rate = 2000.0 / start.elapsed().as_secs_f64();
        let mut stream = TcpStream::connect(SocketAddr::new(host, 8080)).unwrap();
        let chunk = vec![0; 1 << 20];
        let start = Instant::now();
        for _ in 0..1000 {
            stream.write_all(&chunk).unwrap();
        }
        let speed = 1000.0 / start.elapsed().as_secs_f64();
        println!("{:<40} {rate:>7.0} connections/s, {speed:.0} MiB/s", format!("published port by {name}"));
    }
    network.release(&endpoint.endpoints[0].container);
}

fn one(network: &Network, ports: Vec<PortSpec>) -> (Duration, Duration) {
    let request = request(ports);
    let start = Instant::now();
    let endpoint = network.attach(request).unwrap();
    let attach = start.elapsed();
    let start = Instant::now();
    network.release(&endpoint.endpoints[0].container);
    drop(endpoint);
    (attach, start.elapsed())
}

/// Attaches, as a container that runs for a moment does it.
fn held(network: &Network, time: Duration) -> Duration {
    let request = request(vec![]);
    let start = Instant::now();
    let endpoint = network.attach(request).unwrap();
    let attach = start.elapsed();
    thread::sleep(time);
    network.release(&endpoint.endpoints[0].container);
    attach
}

fn eight_at_a_time<T: Send>(count: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    let left = std::sync::atomic::AtomicUsize::new(count);
    let work = &work;
    let left = &left;
    let take = || left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) as isize > 0;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(move || {
                    let mut made = Vec::new();
                    while take() {
                        made.push(work());
                    }
                    made
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn request(ports: Vec<PortSpec>) -> AttachRequest {
    let endpoints = vec![EndpointRequest::new(BRIDGE)];
    AttachRequest { container: ContainerId::random(), name: "web".into(), endpoints, ports }
}

fn port(container_port: u16, host_port: HostPort, protocol: Protocol) -> PortSpec {
    PortSpec { container_port, protocol, host_ip: None, host_port }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn row(what: &str, time: Duration) {
    println!("{what:<40} {:>7.3} ms", time.as_secs_f64() * 1e3);
}

fn private_memory() -> u64 {
    let text = fs_err::read_to_string("/proc/self/smaps_rollup").unwrap();
    text.lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}
