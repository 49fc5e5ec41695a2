//! Receivers: who takes the lines of a log that goes elsewhere, and in which form.
//!
//! A [`Receiver`] is opened without anybody being there: it connects when there is something to send, and again after whatever went
//! wrong. Everything it waits for has an end ([`connection`]), and what the other side says is read up to a bound, so one that hangs,
//! resets or talks nonsense costs a retry and nothing else.

mod connection;
pub(crate) mod fluentd;
pub(crate) mod gelf;
mod http;
mod journald;
pub(crate) mod splunk;
pub(crate) mod syslog;
mod tls;

use std::{io, time::Duration};

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
    Fluentd(Box<fluentd::Fluentd>),
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
            Driver::Fluentd => Kind::Fluentd(Box::new(fluentd::Fluentd::open(options, facts)?)),
            Driver::Gelf => Kind::Gelf(Box::new(gelf::Gelf::open(options, facts)?)),
            Driver::Journald => Kind::Journald(Box::new(journald::Journald::open(options, facts)?)),
            Driver::Splunk => Kind::Splunk(Box::new(splunk::Splunk::open(options, facts)?)),
            Driver::Syslog => Kind::Syslog(Box::new(syslog::Syslog::open(options, facts)?)),
            Driver::JsonFile | Driver::Local | Driver::None => {
                return Err(OptionError::NoSuchDriver(driver.name().to_owned()));
            }
        }))
    }

    /// Sends lines in order. They are with the receiver when this returns, as far as its protocol can tell.
    pub(crate) async fn send(&mut self, lines: &[Line]) -> Result<(), SendError> {
        match &mut self.0 {
            Kind::Fluentd(receiver) => receiver.send(lines).await,
            Kind::Gelf(receiver) => receiver.send(lines).await,
            Kind::Journald(receiver) => receiver.send(lines).await,
            Kind::Splunk(receiver) => receiver.send(lines).await,
            Kind::Syslog(receiver) => receiver.send(lines).await,
        }
    }

    /// There is nothing more to send for now.
    pub(crate) async fn finish(&mut self) {
        match &mut self.0 {
            Kind::Fluentd(receiver) => receiver.finish().await,
            Kind::Gelf(receiver) => receiver.finish().await,
            Kind::Syslog(receiver) => receiver.finish().await,
            // Connections of HTTP end by being dropped, datagrams have none.
            Kind::Journald(_) | Kind::Splunk(_) => {}
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
    use super::*;

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
