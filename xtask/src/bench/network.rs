//! Rows about networks: what their requests take, and what passes them. Servers and clients are threads in the namespaces of containers.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::thread::LinkNameSpaceType;
use serde_json::{Value, json};

use super::{
    Row, memory,
    report::Unit,
    subject::{Subject, milliseconds},
};

const NETWORK: &str = "bench";
const CLIENTS: usize = 8;
const LOOKUPS: usize = 20_000;
const CONNECTIONS: usize = 2_000;
const PORTS: u16 = 500;
const PUBLISHED: u16 = 18_900;
const BYTES: usize = 1 << 30;
/// So many datagrams of this size, with an answer to each burst of them, that none is lost.
const DATAGRAMS: usize = 200_000;
const BURST: usize = 16;
const DATAGRAM: usize = 1400;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where threads of this program serve in a container.
const SERVED: u16 = 80;

pub(super) const ROWS: &[Row] = &[
    Row::new("network create and rm", Unit::Milliseconds, 30, create).target(5.0),
    Row::new("network connect, of a running container", Unit::Milliseconds, 30, connect)
        .around(two, alone)
        .target(5.0),
    Row::new("start on a user-defined network", Unit::Milliseconds, 30, start)
        .around(two, alone)
        .target(10.0),
    Row::new("start with 500 published ports", Unit::Milliseconds, 5, publish).target(200.0),
    Row::new("20,000 names, 8 clients", Unit::Milliseconds, 5, |s| Ok(names(s)?.0)).around(two, alone),
    Row::new("a name, 99 of 100, 8 clients", Unit::Milliseconds, 5, |s| Ok(names(s)?.1)).around(two, alone),
    Row::new("2,000 connections to a neighbour", Unit::Milliseconds, 20, |s| connections(s, Way::Neighbour))
        .around(two, alone),
    Row::new("2,000 connections to a published port", Unit::Milliseconds, 20, |s| {
        connections(s, Way::Published)
    })
    .around(two, alone),
    Row::new("1 GiB to a neighbour", Unit::Milliseconds, 5, |s| transfer(s, Way::Neighbour))
        .around(two, alone),
    Row::new("1 GiB to a published port", Unit::Milliseconds, 5, |s| transfer(s, Way::Published))
        .around(two, alone),
    Row::new("200,000 datagrams to a neighbour", Unit::Milliseconds, 5, |s| datagrams(s, Way::Neighbour))
        .around(two, alone),
    Row::new("200,000 datagrams to a published port", Unit::Milliseconds, 5, |s| {
        datagrams(s, Way::Published)
    })
    .around(two, alone),
    Row::new("memory of 500 published ports (PSS)", Unit::Kibibytes, 1, publishing_memory).target(5120.0),
];

type Ports = serde_json::Map<String, Value>;

/// How a client reaches the server.
#[derive(Clone, Copy)]
enum Way {
    /// From another container of the network.
    Neighbour,
    /// From the host, by the first bridge's address.
    Published,
}

/// A network with a container that has a published port, and another.
fn two(subject: &mut Subject) -> Result<()> {
    subject.client.post("/networks/create", &json!({ "Name": NETWORK }))?.ok()?;
    for published in [true, false] {
        let bindings = match published {
            true => ["tcp", "udp"].into_iter().map(|p| binding(SERVED, p, PUBLISHED)).collect(),
            false => Ports::new(),
        };
        let id = made(subject, NETWORK, &bindings)?;
        subject.client.post(&format!("/containers/{id}/start"), &Value::Null)?.ok()?;
        subject.containers.push(id);
    }
    Ok(())
}

/// An entry of `PortBindings`.
fn binding(port: u16, protocol: &str, host: u16) -> (String, Value) {
    (format!("{port}/{protocol}"), json!([{ "HostPort": host.to_string() }]))
}

fn alone(subject: &mut Subject) -> Result<()> {
    subject.remove_containers()?;
    subject.client.delete(&format!("/networks/{NETWORK}"))?.ok()?;
    Ok(())
}

/// A container with published ports.
fn made(subject: &mut Subject, network: &str, bindings: &Ports) -> Result<String> {
    let exposed: Ports = bindings.keys().map(|port| (port.clone(), json!({}))).collect();
    let body = json!({ "Image": "busybox", "Cmd": ["sleep", "100000"], "ExposedPorts": exposed,
        "HostConfig": { "NetworkMode": network, "PortBindings": bindings } });
    let made = subject.client.post("/containers/create", &body)?.ok()?.json()?;
    made["Id"].as_str().map(str::to_owned).context("no Id")
}

fn create(subject: &mut Subject) -> Result<f64> {
    let began = Instant::now();
    subject.client.post("/networks/create", &json!({ "Name": "bench-one" }))?.ok()?;
    subject.client.delete("/networks/bench-one")?.ok()?;
    Ok(milliseconds(began))
}

fn connect(subject: &mut Subject) -> Result<f64> {
    let body = json!({ "Container": subject.containers[1] });
    let began = Instant::now();
    subject.client.post("/networks/bridge/connect", &body)?.ok()?;
    let took = milliseconds(began);
    subject.client.post("/networks/bridge/disconnect", &body)?.ok()?;
    Ok(took)
}

fn start(subject: &mut Subject) -> Result<f64> {
    let id = subject.create(&["sleep", "100000"], NETWORK)?;
    timed_start(subject, &id)
}

fn publish(subject: &mut Subject) -> Result<f64> {
    let id = publishing(subject)?;
    timed_start(subject, &id)
}

/// What a container with many published ports adds to the engine's memory.
fn publishing_memory(subject: &mut Subject) -> Result<f64> {
    thread::sleep(memory::IDLE);
    let before = memory::engine_pss(subject)?;
    let id = publishing(subject)?;
    subject.client.post(&format!("/containers/{id}/start"), &Value::Null)?.ok()?;
    thread::sleep(memory::IDLE);
    let after = memory::engine_pss(subject);
    subject.client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    Ok(after? - before)
}

fn publishing(subject: &mut Subject) -> Result<String> {
    let bindings: Ports = (0..PORTS).map(|n| binding(1000 + n, "tcp", 20_000 + n)).collect();
    made(subject, "bridge", &bindings)
}

fn timed_start(subject: &mut Subject, id: &str) -> Result<f64> {
    let began = Instant::now();
    subject.client.post(&format!("/containers/{id}/start"), &Value::Null)?.ok()?;
    let took = milliseconds(began);
    subject.client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    Ok(took)
}

/// The milliseconds that all lookups take, and that 99 of 100 take at most.
fn names(subject: &mut Subject) -> Result<(f64, f64)> {
    let (asked, from) = (subject.containers[0].clone(), subject.containers[1].clone());
    let place = namespace(subject, &from)?;
    let query = query(&asked[..12]);
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let query = query.clone();
            within(&place, move || ask(&query))
        })
        .collect::<Result<_>>()?;
    let mut times = Vec::with_capacity(LOOKUPS);
    for client in clients {
        times.extend(client.join().expect("no panic")?);
    }
    let all = milliseconds(began);
    times.sort_by(f64::total_cmp);
    Ok((all, times[times.len() * 99 / 100]))
}

/// One client's lookups, one after the other.
fn ask(query: &[u8]) -> Result<Vec<f64>> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect(("127.0.0.11", 53))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut answer = [0; 512];
    (0..LOOKUPS / CLIENTS)
        .map(|_| {
            let began = Instant::now();
            socket.send(query)?;
            let length = socket.recv(&mut answer)?;
            ensure!(length > query.len() && answer[3] & 15 == 0 && answer[7] == 1, "no answer to a lookup");
            Ok(milliseconds(began))
        })
        .collect()
}

/// A question for the IPv4 address of a name (RFC 1035, 4.1).
fn query(name: &str) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8];
    out.extend(name.as_bytes());
    out.extend([0, 0, 1, 0, 1]);
    out
}

fn connections(subject: &mut Subject, way: Way) -> Result<f64> {
    let (_server, client, to) = ends(subject, way, |mut stream| {
        // The client has what it wants when it is connected.
        let _ = stream.write_all(b"x");
    })?;
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            within(&client, move || {
                for _ in 0..CONNECTIONS / CLIENTS {
                    TcpStream::connect(to)?.read_exact(&mut [0])?;
                }
                Ok(())
            })
        })
        .collect::<Result<_>>()?;
    clients.into_iter().try_for_each(|client| client.join().expect("no panic"))?;
    Ok(milliseconds(began))
}

fn transfer(subject: &mut Subject, way: Way) -> Result<f64> {
    let (_server, client, to) = ends(subject, way, |mut stream| {
        let mut buffer = vec![0; 1 << 17];
        let mut left = BYTES;
        while left > 0 {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(read) => left = left.saturating_sub(read),
            }
        }
        // The client hears it, or has gone.
        let _ = stream.write_all(b"x");
    })?;
    let took = within(&client, move || {
        let mut stream = TcpStream::connect(to)?;
        let buffer = vec![0; 1 << 17];
        let began = Instant::now();
        for _ in 0..BYTES / buffer.len() {
            stream.write_all(&buffer)?;
        }
        stream.read_exact(&mut [0])?;
        Ok(milliseconds(began))
    });
    took?.join().expect("no panic")
}

/// Ends when it is dropped.
struct Server(SocketAddr, OwnedFd);

impl Drop for Server {
    fn drop(&mut self) {
        let at = self.0;
        // Its last connection is ours.
        let end = within(&self.1, move || {
            TcpStream::connect(at).map(|mut stream| stream.write_all(b"end"))?.map_err(anyhow::Error::from)
        });
        let _ = end.map(thread::JoinHandle::join);
    }
}

fn datagrams(subject: &mut Subject, way: Way) -> Result<f64> {
    let (place, client, to) = places(subject, way)?;
    let server = bound(&place, UdpSocket::bind)?;
    server.set_read_timeout(Some(PATIENCE))?;
    let server = thread::spawn(move || -> Result<()> {
        let mut buffer = [0; DATAGRAM];
        for n in 1..=DATAGRAMS {
            let (_, from) = server.recv_from(&mut buffer)?;
            if n % BURST == 0 {
                server.send_to(b"x", from)?;
            }
        }
        Ok(())
    });
    let took = within(&client, move || {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let began = Instant::now();
        for _ in 0..DATAGRAMS / BURST {
            for _ in 0..BURST {
                socket.send(&[0; DATAGRAM])?;
            }
            socket.recv(&mut [0])?;
        }
        Ok(milliseconds(began))
    });
    let took = took?.join().expect("no panic");
    server.join().expect("no panic").and(took)
}

/// A server in the first container, the namespace of a client, and the address that it has the server at.
fn ends(subject: &mut Subject, way: Way, serve: fn(TcpStream)) -> Result<(Server, OwnedFd, SocketAddr)> {
    let (place, client, to) = places(subject, way)?;
    let listener = bound(&place, TcpListener::bind)?;
    let at = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), SERVED);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let is_end = stream.peer_addr().is_ok_and(|peer| peer.ip() == at.ip());
            if is_end {
                return;
            }
            serve(stream);
        }
    });
    Ok((Server(at, place), client, to))
}

/// A server's socket in a container.
fn bound<T: Send + 'static>(place: &OwnedFd, bind: fn((&'static str, u16)) -> io::Result<T>) -> Result<T> {
    within(place, move || Ok(bind(("0.0.0.0", SERVED))?))?.join().expect("no panic")
}

/// The namespaces of server and client, and the address that the client has the server at.
fn places(subject: &mut Subject, way: Way) -> Result<(OwnedFd, OwnedFd, SocketAddr)> {
    let (first, second) = (subject.containers[0].clone(), subject.containers[1].clone());
    let place = namespace(subject, &first)?;
    let inspected = subject.client.get(&format!("/containers/{first}/json"))?.ok()?.json()?;
    let network = &inspected["NetworkSettings"]["Networks"][NETWORK];
    let ip = |key: &str| -> Result<IpAddr> { Ok(network[key].as_str().context("no address")?.parse()?) };
    let (client, to) = match way {
        Way::Neighbour => (namespace(subject, &second)?, SocketAddr::new(ip("IPAddress")?, SERVED)),
        Way::Published => (host(subject)?, SocketAddr::new(ip("Gateway")?, PUBLISHED)),
    };
    Ok((place, client, to))
}

fn namespace(subject: &mut Subject, id: &str) -> Result<OwnedFd> {
    let inspected = subject.client.get(&format!("/containers/{id}/json"))?.ok()?.json()?;
    let pid = inspected["State"]["Pid"].as_i64().context("no Pid")?;
    Ok(fs_err::File::open(format!("/proc/{pid}/ns/net"))?.into_parts().0.into())
}

/// The network namespace where the engine publishes ports.
fn host(subject: &Subject) -> Result<OwnedFd> {
    let pid = match &subject.daemon {
        Some(daemon) => daemon.pid().context("the daemon is down")?.to_string(),
        None => "self".to_owned(),
    };
    Ok(fs_err::File::open(format!("/proc/{pid}/ns/net"))?.into_parts().0.into())
}

/// Starts a thread there.
fn within<T: Send + 'static>(
    place: &OwnedFd,
    run: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<thread::JoinHandle<Result<T>>> {
    let place = place.try_clone()?;
    Ok(thread::spawn(move || {
        rustix::thread::move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))?;
        run()
    }))
}
