use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{ContainerFacts, Destination, Driver, Options};

/// A spool, what writes to it and what goes on.
struct Scene {
    _dir: tempfile::TempDir,
    spool: Spool,
    told: Arc<Mutex<Vec<Progress>>>,
    number: u64,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path().join("spool"));
        let destination = Destination {
            driver: "syslog".into(),
            options: Options::new(),
            facts: ContainerFacts::default(),
        };
        let number = spool.prepare(&destination).unwrap();
        Self { _dir: dir, spool, told: Arc::default(), number }
    }

    fn write(&mut self, count: u64) {
        let mut file =
            fs_err::OpenOptions::new().create(true).append(true).open(self.spool.log_path()).unwrap();
        for _ in 0..count {
            let number = self.number;
            writeln!(
                file,
                r#"{{"log":"line {number}\n","stream":"stdout","number":{number},"time":"2026-11-20T21:00:28.5Z"}}"#
            )
            .unwrap();
            self.number += 1;
        }
    }

    fn receiver(&self, address: &str) -> Receiver {
        let options = [("syslog-address".to_owned(), address.to_owned())].into();
        Receiver::open(Driver::Syslog, &options, &ContainerFacts::default()).unwrap()
    }

    /// Sends until all is sent.
    async fn run(&self, receiver: &mut Receiver) {
        let (_ended, mut producer) = watch::channel(Producer::Ended);
        let told = |progress| self.told.lock().unwrap().push(progress);
        forward(&self.spool, receiver, &mut producer, told).await.unwrap();
    }

    fn told(&self) -> Vec<Progress> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    (listener, address)
}

/// The messages of a connection, until there are so many or its end.
async fn messages(socket: &mut TcpStream, most: usize) -> Vec<String> {
    let mut text = String::new();
    let mut space = [0; 1 << 16];
    while text.lines().count() < most {
        match socket.read(&mut space).await.unwrap() {
            0 => break,
            len => text.push_str(std::str::from_utf8(&space[..len]).unwrap()),
        }
    }
    text.lines().map(|line| line.split_once("]: ").unwrap().1.to_owned()).collect()
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

#[test]
fn everything_arrives_in_order_and_the_next_daemon_goes_on_behind_it() {
    block_on(async {
        let mut scene = Scene::new();
        scene.write(5000);
        let (listener, address) = listener().await;
        let mut receiver = scene.receiver(&address);
        let receive = async {
            let mut socket = listener.accept().await.unwrap().0;
            (messages(&mut socket, 5000).await, socket)
        };
        let ((received, _socket), ()) = tokio::join!(receive, scene.run(&mut receiver));
        let expected: Vec<_> = (1..=5000).map(|n| format!("line {n}")).collect();
        assert_eq!(received, expected);
        let sent = |told: Vec<Progress>| {
            told.iter().map(|p| if let Progress::Sent(n) = p { *n } else { 0 }).sum::<u64>()
        };
        assert_eq!(sent(scene.told()), 5000);
        scene.write(1);
        let mut next = scene.receiver(&address);
        let receive = async {
            let mut socket = listener.accept().await.unwrap().0;
            (messages(&mut socket, 1).await, socket)
        };
        let ((received, _socket), ()) = tokio::join!(receive, scene.run(&mut next));
        assert_eq!(received, ["line 5001"]);
        assert_eq!(scene.told(), [Progress::Sent(1)]);
    });
}

#[test]
fn what_was_not_acknowledged_is_sent_again() {
    block_on(async {
        let mut scene = Scene::new();
        scene.write(3);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = [
            ("fluentd-address", listener.local_addr().unwrap().to_string()),
            ("fluentd-request-ack", "true".to_owned()),
            ("fluentd-retry-wait", "100ms".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let mut receiver = Receiver::open(Driver::Fluentd, &options, &ContainerFacts::default()).unwrap();
        let receive = async {
            // Takes it, and dies before it says so.
            let mut socket = listener.accept().await.unwrap().0;
            socket.read_buf(&mut Vec::new()).await.unwrap();
            drop(socket);
            let mut socket = listener.accept().await.unwrap().0;
            let mut batch = Vec::new();
            let chunk = loop {
                socket.read_buf(&mut batch).await.unwrap();
                let at = memchr::memmem::find(&batch, b"\xa5chunk\xb8").map(|at| at + 7);
                if let Some(chunk) = at.and_then(|at| batch.get(at..at + 24)) {
                    break chunk.to_vec();
                }
            };
            let acknowledgement = [&b"\x81\xa3ack\xb8"[..], &chunk].concat();
            tokio::io::AsyncWriteExt::write_all(&mut socket, &acknowledgement).await.unwrap();
            (batch, socket)
        };
        let ((batch, _socket), ()) = tokio::join!(receive, scene.run(&mut receiver));
        for line in ["line 1", "line 2", "line 3"] {
            assert!(memchr::memmem::find(&batch, line.as_bytes()).is_some());
        }
        assert!(scene.told().ends_with(&[Progress::Working, Progress::Sent(3)]));
    });
}

#[test]
fn what_comes_while_nobody_listens_is_sent_when_somebody_does() {
    block_on(async {
        let mut scene = Scene::new();
        scene.write(2);
        let (listener, address) = listener().await;
        let port = listener.local_addr().unwrap();
        drop(listener);
        let mut receiver = scene.receiver(&address);
        let told = scene.told.clone();
        let receive = async {
            while !told.lock().unwrap().iter().any(|p| matches!(p, Progress::Failing(_))) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // Somebody else may have it for a moment.
            let listener = loop {
                match TcpListener::bind(port).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            let mut socket = listener.accept().await.unwrap().0;
            (messages(&mut socket, 2).await, socket)
        };
        let ((received, _socket), ()) = tokio::join!(receive, scene.run(&mut receiver));
        assert_eq!(received, ["line 1", "line 2"]);
        assert!(scene.told().ends_with(&[Progress::Working, Progress::Sent(2)]));
    });
}

#[test]
fn lines_that_are_gone_are_told_once() {
    block_on(async {
        let mut scene = Scene::new();
        scene.number += 7;
        scene.write(1);
        let (listener, address) = listener().await;
        let mut receiver = scene.receiver(&address);
        let receive = async {
            let mut socket = listener.accept().await.unwrap().0;
            (messages(&mut socket, 1).await, socket)
        };
        let _ = tokio::join!(receive, scene.run(&mut receiver));
        assert_eq!(scene.told(), [Progress::Lost(7, None), Progress::Sent(1)]);
        scene.run(&mut scene.receiver(&address)).await;
        assert_eq!(scene.told(), []);
    });
}

#[test]
fn a_running_container_is_followed_until_it_ends() {
    block_on(async {
        let mut scene = Scene::new();
        let (listener, address) = listener().await;
        let mut receiver = scene.receiver(&address);
        let (ends, mut producer) = watch::channel(Producer::Writes);
        let spool = scene.spool.clone();
        let sending = async { forward(&spool, &mut receiver, &mut producer, |_| {}).await.unwrap() };
        let writing = async {
            scene.write(1);
            let mut socket = listener.accept().await.unwrap().0;
            assert_eq!(messages(&mut socket, 1).await, ["line 1"]);
            scene.write(1);
            assert_eq!(messages(&mut socket, 1).await, ["line 2"]);
            scene.write(1);
            ends.send(Producer::Ended).unwrap();
            assert_eq!(messages(&mut socket, 1).await, ["line 3"]);
            socket
        };
        tokio::join!(sending, writing);
    });
}

/// Who receives puts lines together.
#[test]
fn the_cursor_stays_before_lines_that_are_held() {
    use crate::remote::testing;

    let messages: Arc<Mutex<Vec<String>>> = Arc::default();
    let noting = messages.clone();
    let url = testing::server(move |_, body| {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let events = body["logEvents"].as_array().unwrap();
        noting.lock().unwrap().extend(events.iter().map(|e| e["message"].as_str().unwrap().to_owned()));
        (200, "{}".to_owned())
    });
    let options = testing::options(&[
        ("awslogs-group", "g"),
        ("awslogs-region", "here"),
        ("awslogs-endpoint", &url),
        ("awslogs-multiline-pattern", "[13]$"),
        // Nobody waits for it here.
        ("awslogs-force-flush-interval-seconds", "3600"),
    ]);
    let environment = testing::variables(&[("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "S")]);
    let receiver = || Receiver::awslogs(environment.clone(), &options);
    block_on(async {
        let mut scene = Scene::new();
        scene.write(4);
        let (still, mut producer) = watch::channel(Producer::Writes);
        // This daemon is killed when the first event is there.
        let mut first = receiver();
        tokio::select! {
            _ = forward(&scene.spool, &mut first, &mut producer, |_| {}) => {}
            () = async { while messages.lock().unwrap().is_empty() { tokio::task::yield_now().await } } => {}
        }
        drop(still);
        assert_eq!(*messages.lock().unwrap(), ["line 1\nline 2\n"]);
        // The next one has everything that was not sent, and what was with it.
        messages.lock().unwrap().clear();
        scene.run(&mut receiver()).await;
        assert_eq!(*messages.lock().unwrap(), ["line 1\nline 2\n", "line 3\nline 4\n"]);
        assert_eq!(scene.told(), [Progress::Sent(2), Progress::Sent(2)]);
        messages.lock().unwrap().clear();
        scene.run(&mut receiver()).await;
        assert!(messages.lock().unwrap().is_empty());
    });
}
