//! A host of its own for each test: a network namespace in which a [`Network`] is opened, neighbours on its LAN, and
//! containers that are nothing but their endpoint. Everything is held by descriptors and goes with them.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    thread::LinkNameSpaceType,
};
use skiff_network::{
    Addressing, AttachRequest, Attachment, Driver, EndpointRecord, EndpointRequest, HostPort, NetConfig,
    Network, NetworkError, NetworkRecord, NetworkRequest, PoolRequest, PortSpec, Protocol,
};
use skiff_types::{ContainerId, NetworkId};

/// How long something that must arrive may take.
const ARRIVES: Duration = Duration::from_secs(5);
/// How long to wait for what must not arrive.
const NEVER: Duration = Duration::from_millis(400);

/// The address of the host on the LAN.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Runs a test as a host of its own.
pub(crate) fn on_a_host(test: impl FnOnce(&Host) + Send) {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            skiff_sys::netns::unshare_net().expect("a network namespace: tests run as root");
            run("ip link set lo up");
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let host = Host { runtime: runtime.expect("a runtime"), netns: current_netns() };
            test(&host);
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// The host under test; the test's thread is in its namespace.
pub(crate) struct Host {
    runtime: tokio::runtime::Runtime,
    pub(crate) netns: OwnedFd,
}

impl Host {
    pub(crate) fn try_open(
        &self,
        config: NetConfig,
        records: Vec<EndpointRecord>,
    ) -> Result<Network, NetworkError> {
        let _inside = self.runtime.enter();
        Network::open(config, vec![], records)
    }

    /// As [`Host::open`], with networks that somebody made.
    pub(crate) fn open_with(
        &self,
        config: NetConfig,
        networks: Vec<NetworkRecord>,
        records: Vec<EndpointRecord>,
    ) -> Network {
        let _inside = self.runtime.enter();
        Network::open(config, networks, records).expect("the network opens")
    }

    pub(crate) fn open(&self, config: NetConfig, records: Vec<EndpointRecord>) -> Network {
        self.try_open(config, records).expect("the network opens")
    }

    /// Another host on the same cable, with address 198.51.100.`n` and 2001:db8::`n`; this host is …1.
    pub(crate) fn neighbour(&self, n: u8) -> Namespace {
        let neighbour = Namespace::new();
        run(&format!("ip link add lan{n} type veth peer name lan netns {}", neighbour.path()));
        if n == 2 {
            run(&format!("ip address add {HOST}/24 dev lan{n}"));
            run(&format!("ip address add 2001:db8::1/64 dev lan{n} nodad"));
        }
        run(&format!("ip link set lan{n} up"));
        neighbour.run("ip link set lo up");
        neighbour.run(&format!("ip address add 198.51.100.{n}/24 dev lan"));
        neighbour.run(&format!("ip address add 2001:db8::{n}/64 dev lan nodad"));
        neighbour.run("ip link set lan up");
        neighbour
    }
}

pub(crate) fn config() -> NetConfig {
    NetConfig { pool_size: 2, ..NetConfig::new(BRIDGE) }
}

/// The identifier of the default bridge in all tests.
pub(crate) const BRIDGE: NetworkId = NetworkId::from_bytes([0xb1; 32]);

pub(crate) fn request(ports: Vec<PortSpec>) -> AttachRequest {
    request_with(ports, EndpointRequest::new(BRIDGE))
}

pub(crate) fn request_with(ports: Vec<PortSpec>, endpoint: EndpointRequest) -> AttachRequest {
    AttachRequest {
        container: ContainerId::random(),
        name: "web".to_owned(),
        endpoints: vec![endpoint],
        ports,
    }
}

/// What is asked of a network with these subnets and options of the bridge driver.
pub(crate) fn network_request(name: &str, subnets: &[&str], options: &[(&str, &str)]) -> NetworkRequest {
    let pool = |subnet: &&str| PoolRequest {
        subnet: subnet.parse().expect("a subnet"),
        range: None,
        gateway: None,
        auxiliary: Default::default(),
    };
    let option = |(key, value): &(&str, &str)| (format!("com.docker.network.{key}"), (*value).to_owned());
    NetworkRequest {
        id: NetworkId::random(),
        name: name.to_owned(),
        driver: Driver::Bridge,
        plugin: String::new(),
        addressing: Addressing::Own,
        ipv4: true,
        ipv6: subnets.iter().any(|subnet| subnet.contains(':')),
        internal: false,
        pools: subnets.iter().map(pool).collect(),
        options: options.iter().map(option).collect(),
    }
}

/// Makes a network.
pub(crate) fn make(
    network: &Network,
    name: &str,
    subnets: &[&str],
    options: &[(&str, &str)],
) -> NetworkRecord {
    network.create(&network_request(name, subnets, options)).expect("the network is made")
}

/// A container in these networks, the first the main one.
pub(crate) fn attach_to(network: &Network, of: &[&NetworkRecord], ports: Vec<PortSpec>) -> Container {
    let endpoints = of.iter().map(|net| EndpointRequest::new(net.id)).collect();
    let container = ContainerId::random();
    let request = AttachRequest { container, name: "web".to_owned(), endpoints, ports };
    Container::new(network.attach(request).expect("the endpoints are attached"))
}

pub(crate) fn attach(network: &Network, ports: Vec<PortSpec>) -> Container {
    Container::new(network.attach(request(ports)).expect("the endpoint is attached"))
}

pub(crate) fn port(host: &str, container_port: u16, protocol: Protocol) -> PortSpec {
    let (ip, port) = host.rsplit_once(':').map_or((None, host), |(ip, port)| (Some(ip), port));
    let host_ip = ip.map(|ip| ip.parse().expect("an address"));
    let host_port = match port.split_once('-') {
        _ if port.is_empty() => HostPort::Ephemeral,
        Some((first, last)) => HostPort::Range(first.parse().unwrap(), last.parse().unwrap()),
        None => HostPort::Range(port.parse().unwrap(), port.parse().unwrap()),
    };
    PortSpec { container_port, protocol, host_ip, host_port }
}

/// A network namespace, entered by a thread for each thing done there.
pub(crate) struct Namespace {
    pub(crate) netns: OwnedFd,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let made = thread::spawn(|| {
            skiff_sys::netns::unshare_net().expect("a network namespace");
            current_netns()
        });
        Self { netns: made.join().expect("a namespace") }
    }

    /// By which other programs find it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.netns.as_raw_fd())
    }

    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter(&self.netns);
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    pub(crate) fn run(&self, command: &str) -> String {
        self.within(|| run(command))
    }
}

/// A container's endpoint as the tests see it.
pub(crate) struct Container {
    pub(crate) record: EndpointRecord,
    pub(crate) inside: Namespace,
}

impl Container {
    pub(crate) fn new(attached: Attachment) -> Self {
        let Attachment { netns, mut endpoints } = attached;
        Self { record: endpoints.remove(0), inside: Namespace { netns } }
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.record.ipv4.expect("an IPv4 address").into()
    }

    /// Answers each TCP connection and UDP datagram on a port with the address it seems to come from.
    pub(crate) fn serve(&self, port: u16) {
        serve(&self.inside, port);
    }
}

/// As [`Container::serve`], anywhere.
pub(crate) fn serve(place: &Namespace, port: u16) {
    let (ready, is_ready) = mpsc::channel();
    let netns = place.netns.try_clone().expect("a descriptor");
    thread::spawn(move || {
        enter(&netns);
        // Only the sockets and this thread hold the namespace from here on.
        drop(netns);
        let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a TCP port");
        let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a UDP port");
        ready.send(()).expect("the test waits");
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                if &buffer[..length] == b"end" {
                    break;
                }
                let _ = udp.send_to(from.ip().to_string().as_bytes(), from);
            }
        });
        for stream in tcp.incoming() {
            let Ok(mut stream) = stream else { continue };
            let from = stream.peer_addr().expect("a peer").ip().to_string();
            let _ = stream.write_all(from.as_bytes());
        }
    });
    is_ready.recv().expect("the server starts");
}

/// As [`serve`], for TCP over IPv6 alone.
pub(crate) fn serve6(place: &Namespace, port: u16) {
    let listener = place.within(|| TcpListener::bind(("::", port)).expect("a TCP port"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let from = stream.peer_addr().expect("a peer").ip().to_canonical().to_string();
            let _ = stream.write_all(from.as_bytes());
        }
    });
}

/// Connects by TCP and gives the address the server saw; nothing if it cannot be reached.
pub(crate) fn tcp(to: impl Into<IpAddr>, port: u16) -> Option<IpAddr> {
    tcp_within(to.into(), port, ARRIVES)
}

/// As [`tcp`], for what is expected to fail.
pub(crate) fn tcp_refused(to: impl Into<IpAddr>, port: u16) -> bool {
    tcp_within(to.into(), port, NEVER).is_none()
}

/// Whether a server is reached, in the time that what is expected takes.
pub(crate) fn tcp_reached(to: impl Into<IpAddr>, port: u16, expected: bool) -> bool {
    if expected { tcp(to, port).is_some() } else { !tcp_refused(to, port) }
}

fn tcp_within(to: IpAddr, port: u16, timeout: Duration) -> Option<IpAddr> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(to, port), timeout).ok()?;
    stream.set_read_timeout(Some(timeout)).ok()?;
    let mut seen = String::new();
    stream.read_to_string(&mut seen).ok()?;
    seen.parse().ok()
}

/// As [`udp`], for what is expected to fail.
pub(crate) fn udp_refused(to: impl Into<IpAddr>, port: u16) -> bool {
    !udp_reached(to, port, false)
}

/// Whether a server answers a datagram, in the time that what is expected takes. A host with many addresses may answer from another one.
pub(crate) fn udp_reached(to: impl Into<IpAddr>, port: u16, expected: bool) -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    socket.set_read_timeout(Some(if expected { ARRIVES } else { NEVER })).expect("a timeout");
    let sent = socket.send_to(b"who am I", (to.into(), port));
    sent.is_ok() && socket.recv_from(&mut [0; 64]).is_ok()
}

/// Sends a datagram and gives the address the server saw.
pub(crate) fn udp(to: impl Into<IpAddr>, port: u16) -> Option<IpAddr> {
    let to = to.into();
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { "::".parse().unwrap() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.set_read_timeout(Some(ARRIVES)).ok()?;
    socket.connect((to, port)).ok()?;
    socket.send(b"who am I").ok()?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()?.parse().ok()
}

/// Runs a command in the calling thread's namespace; it must succeed.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_ascii_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a command in the calling thread's namespace; whether it succeeded.
pub(crate) fn attempt(command: &str) -> bool {
    let mut words = command.split_ascii_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    output.status.success()
}

/// The table as `nft` shows it, without the senders that were let in a moment ago and without its owner.
pub(crate) fn table() -> String {
    let listed = run("nft -s list table inet skiff");
    let sender = |line: &str| line.contains("elements") && line.contains(&HOST.to_string());
    // An owner is a line of flags, an empty one behind it, and a comment.
    let flags = |line: &str| line.starts_with("\tflags");
    let lines = listed.lines().filter(|line| !sender(line) && !flags(line));
    let plain: String =
        lines.map(|line| line.split(" # progname").next().unwrap_or(line).to_owned() + "\n").collect();
    plain.replacen("{\n\n", "{\n", 1)
}

/// Whether the kernel keeps others from changing a table that has an owner, and keeps it when the owner is gone.
pub(crate) fn kernel_keeps_tables() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().expect("a number"), numbers.next().expect("a number")) >= (6, 9)
}

/// Counts the packets to a port, or a range of them, that arrive somewhere.
pub(crate) struct Counter<'a>(&'a Namespace);

impl<'a> Counter<'a> {
    /// None yet.
    pub(crate) fn new(place: &'a Namespace, ports: &str) -> Self {
        place.run("nft add table inet seen");
        place.run("nft add chain inet seen every { type filter hook prerouting priority raw ; }");
        place.run(&format!("nft add rule inet seen every th dport {ports} counter"));
        Self(place)
    }

    /// How many so far.
    pub(crate) fn packets(&self) -> u64 {
        let listed = self.0.run("nft list chain inet seen every");
        let (_, behind) = listed.split_once("counter packets ").expect("a counter");
        behind.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
    }
}

/// Waits until `condition` holds; the limit only ends a test that would wait for ever.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(std::time::Instant::now() < until, "still not so: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Listens on a port that must be free. Children that other tests of this process start have a copy of every socket
/// until their exec.
pub(crate) fn listen(port: u16) -> TcpListener {
    let mut listener = None;
    eventually("the port is free", || {
        listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok();
        listener.is_some()
    });
    listener.expect("a listener")
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn enter(netns: &OwnedFd) {
    rustix::thread::move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
        .expect("the namespace can be entered");
}

fn current_netns() -> OwnedFd {
    rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .expect("the namespace")
}
