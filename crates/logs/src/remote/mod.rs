//! Receivers: who takes the lines of a log that goes elsewhere, and in which form.
//!
//! A [`Receiver`] is opened without anybody being there: it connects when there is something to send, and again after whatever went
//! wrong. Everything it waits for has an end ([`connection`]), and what the other side says is read up to a bound, so one that hangs,
//! resets or talks nonsense costs a retry and nothing else.

pub(crate) mod awslogs;
mod connection;
mod endpoint;
pub(crate) mod fluentd;
pub(crate) mod gcplogs;
pub(crate) mod gelf;
mod http;
mod journald;
pub(crate) mod splunk;
pub(crate) mod syslog;
mod tls;

use std::{io, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{ContainerFacts, Driver, OptionError, Options, Time};

/// One line, or a part of one, as it goes to a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its place in the log.
    pub(crate) number: u64,
    pub(crate) time: Time,
    pub(crate) stderr: bool,
    /// Without the newline.
    pub(crate) text: Vec<u8>,
    /// If the line was longer than an entry may be, or has not ended yet.
    pub(crate) part: Option<Part>,
}

impl Line {
    /// The stream's name.
    fn source(&self) -> &'static str {
        if self.stderr { "stderr" } else { "stdout" }
    }

    /// When it was written.
    fn moment(&self) -> Timestamp {
        let nanoseconds = i32::try_from(self.time.nanoseconds).unwrap_or(0);
        Timestamp::new(self.time.seconds, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// As text: the log has nothing else.
    fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }
}

/// Which part of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The number of the first part.
    pub(crate) first: u64,
    /// From 1.
    pub(crate) ordinal: u64,
    pub(crate) last: bool,
}

/// Some of the lines that got through were not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) lines: u64,
    pub(crate) reason: String,
}

/// Why lines did not get through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("{address}: {source}")]
    Io { address: String, source: io::Error },
    #[error("{address}: {what} took longer than {} s", limit.as_secs())]
    Timeout { address: String, what: &'static str, limit: Duration },
    /// Not what the protocol has at this place.
    #[error("{address}: {reason}")]
    Protocol { address: String, reason: String },
    /// The receiver will never take these lines: to try again is no use.
    #[error("{address}: refused: {reason}")]
    Refused { address: String, reason: String },
}

/// The other side of a log driver.
pub struct Receiver(Kind);

enum Kind {
    Awslogs(Box<awslogs::Awslogs>),
    Fluentd(Box<fluentd::Fluentd>),
    Gcplogs(Box<gcplogs::Gcplogs>),
    Gelf(Box<gelf::Gelf>),
    Journald(Box<journald::Journald>),
    Splunk(Box<splunk::Splunk>),
    Syslog(Box<syslog::Syslog>),
}

impl Receiver {
    /// Makes everything ready that needs nobody on the other side: reads certificates, renders the tag. Blocks for files.
    ///
    /// # Errors
    /// Options that cannot be, in the words in which Docker tells them at the start of a container. A driver that keeps its lines
    /// here has no receiver.
    pub fn open(driver: Driver, options: &Options, facts: &ContainerFacts) -> Result<Self, OptionError> {
        Ok(Self(match driver {
            Driver::Awslogs => Kind::Awslogs(Box::new(awslogs::Awslogs::open(options, facts)?)),
            Driver::Fluentd => Kind::Fluentd(Box::new(fluentd::Fluentd::open(options, facts)?)),
            Driver::Gcplogs => Kind::Gcplogs(Box::new(gcplogs::Gcplogs::open(options, facts)?)),
            Driver::Gelf => Kind::Gelf(Box::new(gelf::Gelf::open(options, facts)?)),
            Driver::Journald => Kind::Journald(Box::new(journald::Journald::open(options, facts)?)),
            Driver::Splunk => Kind::Splunk(Box::new(splunk::Splunk::open(options, facts)?)),
            Driver::Syslog => Kind::Syslog(Box::new(syslog::Syslog::open(options, facts)?)),
            Driver::JsonFile | Driver::Local | Driver::None => {
                return Err(OptionError::NoSuchDriver(driver.name().to_owned()));
            }
        }))
    }

    /// Sends lines in order. They are with the receiver when this returns, as far as its protocol can tell, but for those that are
    /// [`held`](Self::held).
    pub(crate) async fn send(&mut self, lines: &[Line]) -> Result<Option<Rejected>, SendError> {
        match &mut self.0 {
            Kind::Awslogs(receiver) => return receiver.send(lines).await,
            Kind::Fluentd(receiver) => receiver.send(lines).await,
            Kind::Gcplogs(receiver) => receiver.send(lines).await,
            Kind::Gelf(receiver) => receiver.send(lines).await,
            Kind::Journald(receiver) => receiver.send(lines).await,
            Kind::Splunk(receiver) => receiver.send(lines).await,
            Kind::Syslog(receiver) => receiver.send(lines).await,
        }
        .map(|()| None)
    }

    /// Sends the lines that are held.
    pub(crate) async fn flush(&mut self) -> Result<Option<Rejected>, SendError> {
        match &mut self.0 {
            Kind::Awslogs(receiver) => receiver.flush().await,
            _ => Ok(None),
        }
    }

    /// Lines that wait for those that they belong together with.
    pub(crate) fn held(&self) -> &[Line] {
        match &self.0 {
            Kind::Awslogs(receiver) => receiver.held(),
            _ => &[],
        }
    }

    /// When those are to be sent all the same.
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.0 {
            Kind::Awslogs(receiver) => receiver.due(),
            _ => None,
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.due().is_some_and(|due| due <= Instant::now())
    }

    /// There is nothing more to send for now.
    pub(crate) async fn finish(&mut self) {
        match &mut self.0 {
            Kind::Fluentd(receiver) => receiver.finish().await,
            Kind::Gelf(receiver) => receiver.finish().await,
            Kind::Syslog(receiver) => receiver.finish().await,
            // Connections of HTTP end by being dropped, datagrams have none.
            Kind::Awslogs(_) | Kind::Gcplogs(_) | Kind::Journald(_) | Kind::Splunk(_) => {}
        }
    }

    /// How long to wait before the first try after a failure.
    pub(crate) fn retry_wait(&self) -> Duration {
        const USUAL: Duration = Duration::from_secs(1);
        match &self.0 {
            Kind::Fluentd(receiver) => receiver.retry_wait(),
            Kind::Gelf(receiver) => receiver.retry_wait().unwrap_or(USUAL),
            _ => USUAL,
        }
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        sync::{Arc, Mutex},
        thread,
    };

    use super::*;

    /// Answers requests: the head in lower case but for the first line, the body; status and body of the answer.
    pub(crate) type Answers = dyn FnMut(&str, &str) -> (u16, String) + Send;

    /// A server of HTTP for as long as the process runs; its URL.
    pub(crate) fn server(answers: impl FnMut(&str, &str) -> (u16, String) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: Arc<Mutex<Answers>> = Arc::new(Mutex::new(answers));
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let answers = answers.clone();
                thread::spawn(move || serve(socket, &answers));
            }
        });
        url
    }

    fn serve(mut socket: TcpStream, answers: &Mutex<Answers>) -> Option<()> {
        let mut got = Vec::new();
        loop {
            let head = loop {
                if let Some(at) = memchr::memmem::find(&got, b"\r\n\r\n") {
                    break at;
                }
                read(&mut socket, &mut got)?;
            };
            let text = String::from_utf8(got[..head].to_vec()).unwrap();
            let (first, rest) = text.split_once("\r\n").unwrap();
            let text = format!("{first}\r\n{}", rest.to_ascii_lowercase());
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let end = head + 4 + length.map_or(0, |length| length.parse().unwrap());
            while got.len() < end {
                read(&mut socket, &mut got)?;
            }
            let body = String::from_utf8(got[head + 4..end].to_vec()).unwrap();
            got.drain(..end);
            let (status, answer) = (answers.lock().unwrap())(&text, &body);
            let length = answer.len();
            write!(socket, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{answer}").ok()?;
        }
    }

    fn read(socket: &mut TcpStream, into: &mut Vec<u8>) -> Option<()> {
        let mut space = [0; 1 << 16];
        let len = socket.read(&mut space).ok().filter(|len| *len > 0)?;
        into.extend_from_slice(&space[..len]);
        Some(())
    }

    impl Receiver {
        pub(crate) fn awslogs(environment: endpoint::Environment, with: &Options) -> Self {
            Self(Kind::Awslogs(Box::new(awslogs::Awslogs::open_in(environment, with, &facts()).unwrap())))
        }
    }

    /// An environment of these variables.
    pub(crate) fn variables(pairs: &[(&str, &str)]) -> endpoint::Environment {
        let all = options(pairs);
        Arc::new(move |name| all.get(name).cloned())
    }

    pub(crate) fn line(number: u64, text: &str) -> Line {
        let time = Time { seconds: 1_795_721_685, nanoseconds: 500_000_000 };
        Line { number, time, stderr: number.is_multiple_of(2), text: text.into(), part: None }
    }

    pub(crate) fn facts() -> ContainerFacts {
        ContainerFacts {
            id: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".into(),
            name: "/web".into(),
            image_id: "sha256:feed".into(),
            image_name: "nginx:1".into(),
            created: "2026-11-26T19:14:45.5Z".into(),
            entrypoint: "nginx".into(),
            arguments: vec!["-g".into()],
            env: vec!["STAGE=test".into()],
            labels: [("app".to_owned(), "shop".to_owned())].into(),
            hostname: "host".into(),
        }
    }

    pub(crate) fn options(options: &[(&str, &str)]) -> Options {
        options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }
}
