//! The whole way on the real kernel: programs in a network namespace of their own ask 127.0.0.11, servers on the host and in
//! the container answer, or do not.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::dns::{Dns, host::HostServers, redirect::ADDRESS};

/// How long something that must happen may take.
const HAPPENS: Duration = Duration::from_secs(20);

/// A host of its own, and a container.
struct World {
    dns: Option<Dns>,
    runtime: tokio::runtime::Runtime,
    inside: OwnedFd,
    dir: tempfile::TempDir,
}

fn in_a_world(test: impl FnOnce(&mut World) + Send) {
    thread::scope(|scope| {
        let outcome = scope.spawn(|| {
            new_namespace();
            let dir = tempfile::tempdir().expect("a directory");
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let inside = thread::spawn(new_namespace).join().expect("a namespace");
            let mut world = World { dns: None, runtime: runtime.expect("a runtime"), inside, dir };
            world.resolv_conf(&[]);
            world.begin();
            test(&mut world);
        });
        outcome.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Puts the calling thread into a namespace with `lo` up.
fn new_namespace() -> OwnedFd {
    skiff_sys::netns::unshare_net().expect("a network namespace: tests run as root");
    let mut route = crate::netlink::Netlink::route().expect("a socket");
    let mut batch = crate::netlink::Batch::default();
    crate::link::bring_up(&mut batch, "lo");
    crate::link::run(&mut route, batch, "bring up lo").expect("lo");
    fs_err::File::open("/proc/thread-self/ns/net").expect("the namespace").into_file().into()
}

impl World {
    /// A daemon starts, perhaps after another.
    fn begin(&mut self) {
        let _inside = self.runtime.enter();
        self.dns = Some(Dns::with(HostServers::of(self.file())));
    }

    fn dns(&self) -> &Dns {
        self.dns.as_ref().expect("a daemon")
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("resolv.conf")
    }

    fn resolv_conf(&self, servers: &[&str]) {
        let text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        let new = self.dir.path().join("new");
        fs_err::write(&new, text).expect("a file");
        fs_err::rename(&new, self.file()).expect("a file");
    }

    fn serve(&self, servers: NameServers) {
        let config = ResolverConfig { servers, ..config(&[(network(1), "front")]) };
        self.dns().put(member(2, network(1), "front", &["web", "svc"]));
        self.dns().put(member(3, network(1), "front", &["api", "svc"]));
        self.dns().serve(config, self.inside.as_fd()).expect("names are served");
    }

    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let kind = rustix::thread::LinkNameSpaceType::Network;
                rustix::thread::move_into_link_name_space(self.inside.as_fd(), Some(kind))
                    .expect("the namespace");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What a program in the container is answered.
    fn ask(&self, message: &[u8]) -> Vec<u8> {
        self.within(|| ask_at((ADDRESS, 53).into(), message))
    }

    fn ask_tcp(&self, message: &[u8]) -> Vec<u8> {
        self.within(|| {
            let mut stream = TcpStream::connect((ADDRESS, 53)).expect("a connection");
            stream.set_read_timeout(Some(HAPPENS)).expect("a timeout");
            stream.write_all(&framed(message)).expect("a question is sent");
            unframed(&mut stream).expect("an answer")
        })
    }
}

fn ask_at(server: SocketAddr, message: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.set_read_timeout(Some(HAPPENS)).expect("a timeout");
    // Connected: an answer from any other address is none.
    socket.connect(server).expect("a socket");
    socket.send(message).expect("a question is sent");
    let mut buffer = vec![0; 65536];
    let length = socket.recv(&mut buffer).expect("an answer");
    buffer.truncate(length);
    assert_eq!(buffer[..2], message[..2], "the answer's id");
    buffer
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

fn unframed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Questions over UDP: the port they came from, and what they were.
type Seen = Arc<Mutex<Vec<(u16, Vec<u8>)>>>;

/// A name server in the thread's namespace. It ends when it is dropped.
struct Server {
    seen: Seen,
    over_tcp: Arc<Mutex<usize>>,
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Server {
    /// Answers each question over UDP with the messages that `udp` makes of it, over TCP with the one that `tcp` makes.
    fn start(
        ip: &str,
        udp: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
        tcp: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let address: SocketAddr = format!("{ip}:53").parse().expect("an address");
        let (socket, listener) =
            (UdpSocket::bind(address).expect("port 53"), TcpListener::bind(address).expect("port 53"));
        let poll = Duration::from_millis(20);
        socket.set_read_timeout(Some(poll)).expect("a timeout");
        listener.set_nonblocking(true).expect("a listener");
        let (seen, over_tcp, stop) =
            (Seen::default(), Arc::<Mutex<usize>>::default(), Arc::new(AtomicBool::new(false)));
        let (seen2, tcp2, stop2, stop3) = (seen.clone(), over_tcp.clone(), stop.clone(), stop.clone());
        let udp = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stop2.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
                seen2.lock().unwrap().push((client.port(), buffer[..length].to_vec()));
                for answer in udp(&buffer[..length]) {
                    socket.send_to(&answer, client).expect("an answer is sent");
                }
            }
        });
        let tcp = thread::spawn(move || {
            while !stop3.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    thread::sleep(poll);
                    continue;
                };
                stream.set_nonblocking(false).expect("a stream");
                if let Ok(message) = unframed(&mut stream) {
                    *tcp2.lock().unwrap() += 1;
                    let _ = stream.write_all(&framed(&tcp(&message)));
                }
            }
        });
        Self { seen, over_tcp, stop, threads: vec![udp, tcp] }
    }

    /// One that answers everything with an address.
    fn knowing(ip: &str, address: [u8; 4]) -> Self {
        let answer = move |m: &[u8]| response(m, 0, &[record(1, 60, &address)], &[]);
        Self::start(ip, move |m| vec![answer(m)], answer)
    }

    fn silent(ip: &str) -> Self {
        Self::start(ip, |_| vec![], |_| vec![])
    }

    fn questions(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn programs_are_answered_over_udp_and_tcp_and_may_have_port_53_for_themselves() {
    in_a_world(|world| {
        let own = world.within(|| Server::knowing("0.0.0.0", [9, 9, 9, 9]));
        world.serve(NameServers::Given(vec![]));
        for answer in [world.ask(&query("WEB", 1)), world.ask_tcp(&query("WEB", 1))] {
            assert_eq!((code(&answer), addresses(&answer)), (0, vec![ip("10.0.0.2")]));
        }
        assert_eq!(addresses(&world.ask(&query("svc", 1))), [ip("10.0.0.2"), ip("10.0.0.3")]);
        let no_data = world.ask(&query("web", 28));
        assert_eq!((code(&no_data), addresses(&no_data)), (0, vec![]));
        // No server is known.
        assert_eq!(code(&world.ask(&query("example.org", 1))), 2);
        assert_eq!(code(&world.ask(&query("web", 1)[..14])), 1);
        assert_eq!(own.questions(), 0);
        let theirs = world.within(|| ask_at("127.0.0.1:53".parse().unwrap(), &query("web", 1)));
        assert_eq!(addresses(&theirs), [ip("9.9.9.9")]);
        // The next daemon takes over; then the container ends.
        world.dns = None;
        world.begin();
        world.serve(NameServers::Given(vec![]));
        assert_eq!(addresses(&world.ask(&query("web", 1))), [ip("10.0.0.2")]);
        assert!(world.dns().serves(&container(99)));
        world.dns().stop(&container(99));
        assert!(!world.dns().serves(&container(99)));
    });
}

#[test]
fn who_asks_while_no_daemon_runs_is_not_refused_and_is_answered_by_the_next() {
    in_a_world(|world| {
        world.serve(NameServers::Given(vec![]));
        world.dns = None;
        let sockets = |kind| {
            let text = world.within(|| fs_err::read_to_string(format!("/proc/thread-self/net/{kind}")));
            text.expect("a list").lines().count() - 1
        };
        let until = Instant::now() + HAPPENS;
        while sockets("udp") + sockets("tcp") > 0 {
            assert!(Instant::now() < until, "the daemon's sockets stay open");
            thread::sleep(Duration::from_millis(5));
        }
        let moment = Duration::from_millis(300);
        let question = query("web", 1);
        let udp = world.within(|| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        udp.connect((ADDRESS, 53)).expect("an address");
        udp.set_read_timeout(Some(moment)).expect("a timeout");
        udp.send(&question).expect("a question is sent");
        let heard = udp.recv(&mut [0; 512]).expect_err("nobody is there").kind();
        assert_eq!(heard, std::io::ErrorKind::WouldBlock);
        let inside = world.inside.try_clone().expect("a descriptor");
        let tcp = thread::spawn(move || {
            let kind = rustix::thread::LinkNameSpaceType::Network;
            rustix::thread::move_into_link_name_space(inside.as_fd(), Some(kind)).expect("the namespace");
            let mut stream = TcpStream::connect_timeout(&(ADDRESS, 53).into(), HAPPENS)?;
            stream.write_all(&framed(&query("web", 1)))?;
            unframed(&mut stream)
        });
        thread::sleep(moment);
        assert!(!tcp.is_finished(), "it waits");
        world.begin();
        world.serve(NameServers::Given(vec![]));
        udp.set_read_timeout(Some(HAPPENS)).expect("a timeout");
        udp.send(&question).expect("a question is sent");
        let mut answer = vec![0; 512];
        let length = udp.recv(&mut answer).expect("an answer");
        assert_eq!(addresses(&answer[..length]), [ip("10.0.0.2")]);
        let answer = tcp.join().expect("no panic").expect("an answer");
        assert_eq!(addresses(&answer), [ip("10.0.0.2")]);
    });
}

#[test]
fn every_connection_may_ask_again_and_none_may_stay_for_nothing() {
    in_a_world(|world| {
        world.serve(NameServers::Given(vec![]));
        world.within(|| {
            let mut stream = TcpStream::connect((ADDRESS, 53)).expect("a connection");
            for name in ["web", "api"] {
                // In pieces.
                for byte in framed(&query(name, 1)) {
                    stream.write_all(&[byte]).expect("a byte is sent");
                }
                assert_eq!(addresses(&unframed(&mut stream).expect("an answer")).len(), 1);
            }
            // Too long for a query: the connection ends.
            let mut stream = TcpStream::connect((ADDRESS, 53)).expect("a connection");
            stream.write_all(&[0xff; 2]).expect("a length is sent");
            assert_eq!(stream.read(&mut [0; 1]).expect("an end"), 0);
            // Many more than are served at once: those who hold theirs do not keep others out for ever.
            let _idle: Vec<_> =
                (0..40).map(|_| TcpStream::connect((ADDRESS, 53)).expect("a connection")).collect();
            let mut late = TcpStream::connect((ADDRESS, 53)).expect("a connection");
            late.set_read_timeout(Some(HAPPENS + HAPPENS)).expect("a timeout");
            late.write_all(&framed(&query("web", 1))).expect("a question is sent");
            assert_eq!(addresses(&unframed(&mut late).expect("an answer")).len(), 1);
        });
    });
}

#[test]
fn servers_of_the_host_are_asked_from_the_host_and_given_ones_from_the_container() {
    in_a_world(|world| {
        let host = Server::knowing("127.0.0.1", [1, 1, 1, 1]);
        let inside = world.within(|| Server::knowing("127.0.0.1", [2, 2, 2, 2]));
        world.resolv_conf(&["127.0.0.1"]);
        world.serve(NameServers::Host);
        assert_eq!(addresses(&world.ask(&query("example.org", 1))), [ip("1.1.1.1")]);
        assert_eq!(addresses(&world.ask_tcp(&query("tcp.example.org", 1))), [ip("1.1.1.1")]);
        assert_eq!((host.questions(), *host.over_tcp.lock().unwrap(), inside.questions()), (1, 1, 0));
        // It is remembered.
        assert_eq!(addresses(&world.ask(&query("EXAMPLE.org", 1))), [ip("1.1.1.1")]);
        assert_eq!(host.questions(), 1);
        let given = NameServers::Given(vec![ip("127.0.0.1")]);
        world.dns().change(ResolverConfig { servers: given, ..config(&[(network(1), "front")]) });
        assert_eq!(addresses(&world.ask(&query("example.org", 1))), [ip("2.2.2.2")]);
        assert_eq!(inside.questions(), 1);
        // An internal network's container asks nobody.
        let internal = ResolverConfig { forwards: false, ..config(&[(network(1), "front")]) };
        world.dns().change(internal);
        assert_eq!(code(&world.ask(&query("example.net", 1))), 2);
        assert_eq!((host.questions(), inside.questions()), (1, 1));
    });
}

#[test]
fn the_hosts_file_is_followed() {
    in_a_world(|world| {
        let (_first, _second) =
            (Server::knowing("127.0.0.1", [1, 1, 1, 1]), Server::knowing("127.0.0.2", [2, 2, 2, 2]));
        world.resolv_conf(&["127.0.0.1"]);
        world.serve(NameServers::Host);
        assert_eq!(addresses(&world.ask(&query("example.org", 1))), [ip("1.1.1.1")]);
        world.resolv_conf(&["127.0.0.2"]);
        let deadline = Instant::now() + HAPPENS;
        while addresses(&world.ask(&query("example.org", 1))) != [ip("2.2.2.2")] {
            assert!(
                Instant::now() < deadline,
                "the old server is still asked, or what it said is still believed"
            );
            thread::sleep(Duration::from_millis(100));
        }
        fs_err::remove_file(world.file()).expect("a file");
        while code(&world.ask(&query("other.example.org", 1))) != 2 {
            assert!(Instant::now() < deadline, "servers of a file that is gone are still asked");
            thread::sleep(Duration::from_millis(100));
        }
    });
}

#[test]
fn servers_that_fail_or_are_silent_are_followed_by_others() {
    in_a_world(|world| {
        let failing =
            Server::start("127.0.0.1", |m| vec![response(m, 2, &[], &[])], |m| response(m, 5, &[], &[]));
        let silent = Server::silent("127.0.0.2");
        let good = Server::knowing("127.0.0.3", [3, 3, 3, 3]);
        // Nobody listens at the last one.
        world.resolv_conf(&["127.0.0.9", "127.0.0.1", "127.0.0.3"]);
        world.serve(NameServers::Host);
        assert_eq!(addresses(&world.ask(&query("a.example", 1))), [ip("3.3.3.3")]);
        assert_eq!(addresses(&world.ask_tcp(&query("b.example", 1))), [ip("3.3.3.3")]);
        assert_eq!((failing.questions(), good.questions()), (1, 1));
        world.dns().stop(&container(99));
        world.resolv_conf(&["127.0.0.2", "127.0.0.3"]);
        world.begin();
        world.serve(NameServers::Host);
        assert_eq!(addresses(&world.ask(&query("c.example", 1))), [ip("3.3.3.3")]);
        assert_eq!(silent.questions(), 1);
        // Now it is asked last: not at all, unless the other is slow on a busy machine.
        let is_spared = (0..5).any(|n| {
            let before = silent.questions();
            assert_eq!(addresses(&world.ask(&query(&format!("d{n}.example"), 1))), [ip("3.3.3.3")]);
            silent.questions() == before
        });
        assert!(is_spared);
        // If all fail, their failure is told.
        world.resolv_conf(&["127.0.0.1", "127.0.0.9"]);
        world.begin();
        world.serve(NameServers::Host);
        assert_eq!(code(&world.ask(&query("e.example", 1))), 2);
    });
}

#[test]
fn guessed_answers_are_refused() {
    in_a_world(|world| {
        let lies = |m: &[u8]| response(m, 0, &[record(1, 60, &[6, 6, 6, 6])], &[]);
        let wrong = move |m: &[u8]| {
            let mut id = lies(m);
            id[0] ^= 1;
            let question = lies(&[&m[..2], &query("other.example", 1)[2..]].concat());
            let mut not_a_response = lies(m);
            not_a_response[2] &= 0x7f;
            vec![id, question, not_a_response, b"x".to_vec()]
        };
        let right = |m: &[u8]| response(m, 0, &[record(1, 60, &[1, 1, 1, 1])], &[]);
        let answers = move |m: &[u8]| [wrong(m), vec![right(m)]].concat();
        let server = Server::start("127.0.0.1", answers, right);
        world.resolv_conf(&["127.0.0.1"]);
        world.serve(NameServers::Host);
        for n in 0..20 {
            assert_eq!(addresses(&world.ask(&query(&format!("{n}.example"), 1))), [ip("1.1.1.1")]);
        }
        let seen = server.seen.lock().unwrap().clone();
        let distinct = |values: Vec<u32>| values.into_iter().collect::<std::collections::BTreeSet<_>>().len();
        assert!(distinct(seen.iter().map(|(port, _)| u32::from(*port)).collect()) > 15, "ports");
        assert!(
            distinct(seen.iter().map(|(_, m)| u32::from(m[0]) << 8 | u32::from(m[1])).collect()) > 15,
            "ids"
        );
        drop(server);
        // Who floods us with guesses is asked over TCP, where nobody else can answer.
        let guesses = move |m: &[u8]| std::iter::repeat_with(|| wrong(m)).take(10).flatten().collect();
        let server = Server::start("127.0.0.1", guesses, right);
        assert_eq!(addresses(&world.ask(&query("flood.example", 1))), [ip("1.1.1.1")]);
        assert_eq!(*server.over_tcp.lock().unwrap(), 1);
    });
}

#[test]
fn long_answers_are_asked_for_again_over_tcp() {
    in_a_world(|world| {
        let long = |m: &[u8]| {
            response(m, 0, &(0..90).map(|n| record(1, 60, &[1, 1, 1, n])).collect::<Vec<_>>(), &[])
        };
        let cut = |m: &[u8]| {
            let mut message = response(m, 0, &[], &[]);
            message[2] |= 2;
            vec![message]
        };
        let _polite = Server::start("127.0.0.1", cut, long);
        // One that sends more than was asked for.
        let _rude = Server::start("127.0.0.2", move |m| vec![long(m)], long);
        for server in ["127.0.0.1", "127.0.0.2"] {
            world.resolv_conf(&[server]);
            world.begin();
            world.serve(NameServers::Host);
            let short = world.ask(&query("example.org", 1));
            assert!(short[2] & 2 != 0 && short.len() <= 512, "{server}");
            assert_eq!(addresses(&world.ask_tcp(&query("example.org", 1))).len(), 90, "{server}");
        }
        assert_eq!(addresses(&world.ask(&edns_query("example.org", 1, 4096))).len(), 90);
    });
}

#[test]
fn a_flood_of_questions_keeps_nobody_from_being_answered() {
    in_a_world(|world| {
        let _silent = Server::silent("127.0.0.1");
        world.resolv_conf(&["127.0.0.1"]);
        world.serve(NameServers::Host);
        let refused = world.within(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.connect((ADDRESS, 53)).expect("a socket");
            socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
            let (mut refused, mut buffer) = (0, [0; 512]);
            for n in 0..400 {
                socket.send(&query(&format!("{n}.example"), 1)).expect("a question is sent");
                while n > 128 && socket.recv(&mut buffer).is_ok() {
                    refused += usize::from(code(&buffer) == 5);
                }
            }
            refused
        });
        assert!(refused > 0);
        assert_eq!(addresses(&world.ask(&query("web", 1))), [ip("10.0.0.2")]);
    });
}
