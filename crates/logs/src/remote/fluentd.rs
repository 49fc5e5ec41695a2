//! Fluentd's forward protocol (version 1): batches in forward mode, acknowledged if `fluentd-request-ack` says so.

use std::time::{Duration, Instant};

use base64::Engine;

use super::{
    Line, SendError,
    connection::{Address, Stream, TRANSFER},
    tls::{self, Trust},
};
use crate::{ContainerFacts, OptionError, Options, url::Url};

mod msgpack;

pub(crate) const OPTIONS: [&str; 9] = [
    "fluentd-address",
    "fluentd-async",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-max-retries",
    "fluentd-request-ack",
    "fluentd-retry-wait",
    "fluentd-sub-second-precision",
    "fluentd-write-timeout",
];
const HOST: &str = "127.0.0.1";
const PORT: u16 = 24224;

/// What the options say.
#[derive(Debug)]
pub(crate) struct Config {
    place: Place,
    request_ack: bool,
    sub_second: bool,
    retry_wait: Duration,
    /// None: as all receivers.
    write_timeout: Option<Duration>,
    /// None: never.
    reconnect_interval: Option<Duration>,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Tcp(String, u16),
    Tls(String, u16),
    Unix(String),
}

impl Config {
    /// Reads the options. Those that are about Docker's buffer in memory are checked and have no other meaning here: a log waits on
    /// disk.
    pub(crate) fn read(options: &Options) -> Result<Self, OptionError> {
        let text = |key: &str| options.get(key).map_or("", String::as_str);
        let place = place(text("fluentd-address")).map_err(|e| {
            let address = text("fluentd-address");
            OptionError::value("fluentd-address", format!("invalid fluentd-address ({address}): {e}"))
        })?;
        let given = |key: &'static str| options.get(key).filter(|value| !value.is_empty());
        let switch = |key: &'static str| match given(key) {
            Some(value) => skiff_go::parse_bool(value).map_err(|e| OptionError::value(key, e)),
            None => Ok(false),
        };
        if let Some(limit) = given("fluentd-buffer-limit") {
            let fail =
                |e: skiff_types::ParseSizeError| OptionError::value("fluentd-buffer-limit", e.to_string());
            skiff_types::parse_size(limit).map_err(fail)?;
        }
        let retry_wait = match given("fluentd-retry-wait") {
            Some(wait) => {
                skiff_go::parse_duration(wait).map_err(|e| OptionError::value("fluentd-retry-wait", e))?
            }
            None => 1_000_000_000,
        };
        if let Some(retries) = given("fluentd-max-retries") {
            let fail = |e: String| OptionError::value("fluentd-max-retries", e);
            if skiff_go::parse_uint(retries, 32).map_err(fail)? > i32::MAX as u64 {
                return Err(fail("invalid fluentd-max-retries: value out of range".to_owned()));
            }
        }
        switch("fluentd-async")?;
        let reconnect_interval = match given("fluentd-async-reconnect-interval") {
            Some(text) => reconnect_interval(text)?,
            None => None,
        };
        let sub_second = switch("fluentd-sub-second-precision")?;
        let request_ack = switch("fluentd-request-ack")?;
        let write_timeout = match given("fluentd-write-timeout") {
            Some(text) => write_timeout(text)?,
            None => None,
        };
        let retry_wait = Duration::from_nanos(u64::try_from(retry_wait).unwrap_or(0));
        Ok(Self { place, request_ack, sub_second, retry_wait, write_timeout, reconnect_interval })
    }
}

fn reconnect_interval(text: &str) -> Result<Option<Duration>, OptionError> {
    const KEY: &str = "fluentd-async-reconnect-interval";
    const RANGE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(10);
    let fail = |e: String| OptionError::value(KEY, format!("invalid value for {KEY}: {e}"));
    let nanoseconds = skiff_go::parse_duration(text).map_err(fail)?;
    let interval = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
    if nanoseconds != 0 && !RANGE.contains(&interval) {
        let shown = skiff_go::quote(&skiff_go::format_duration(nanoseconds));
        return Err(fail(format!("value ({shown}) must be between 100ms and 10s")));
    }
    Ok(Some(interval).filter(|interval| !interval.is_zero()))
}

fn write_timeout(text: &str) -> Result<Option<Duration>, OptionError> {
    const KEY: &str = "fluentd-write-timeout";
    let fail =
        |e: &str| OptionError::value(KEY, format!("invalid value for {KEY}: value must be a duration{e}"));
    let nanoseconds = skiff_go::parse_duration(text).map_err(|e| fail(&format!(": {e}")))?;
    let timeout = u64::try_from(nanoseconds).map_err(|_| fail(" that is non-negative"))?;
    Ok(Some(Duration::from_nanos(timeout)).filter(|timeout| !timeout.is_zero()))
}

fn place(address: &str) -> Result<Place, String> {
    if address.is_empty() {
        return Ok(Place::Tcp(HOST.to_owned(), PORT));
    }
    let whole = if address.contains("://") { address.to_owned() } else { format!("tcp://{address}") };
    let url = Url::parse(&whole)?;
    match url.scheme.as_str() {
        "unix" if url.path.trim_start_matches('/').is_empty() => return Err("path is empty".to_owned()),
        "unix" => return Ok(Place::Unix(url.path)),
        "tcp" | "tls" => {}
        other => return Err(format!("unsupported scheme: '{other}'")),
    }
    if !url.path.is_empty() {
        return Err("should not contain a path element".to_owned());
    }
    let host = if url.host().is_empty() { HOST } else { url.host() }.to_owned();
    let port = match url.port() {
        None => PORT,
        Some(port) => port.parse().map_err(|_| {
            format!("invalid port: strconv.ParseUint: parsing {}: value out of range", skiff_go::quote(port))
        })?,
    };
    Ok(if url.scheme == "tls" { Place::Tls(host, port) } else { Place::Tcp(host, port) })
}

/// A fluentd.
pub(crate) struct Fluentd {
    config: Config,
    stream: Stream,
    connected: Option<Instant>,
    tag: String,
    /// What every record holds.
    common: Vec<(String, String)>,
    id: String,
}

impl Fluentd {
    pub(crate) fn open(options: &Options, facts: &ContainerFacts) -> Result<Self, OptionError> {
        let config = Config::read(options)?;
        let address = match &config.place {
            Place::Tcp(host, port) => Address::Tcp { host: host.clone(), port: *port },
            Place::Unix(path) => Address::Unix(path.into()),
            Place::Tls(host, port) => Address::Tls {
                host: host.clone(),
                port: *port,
                config: tls::config("fluentd-address", Trust::default())?,
                name: tls::name("fluentd-address", host)?,
            },
        };
        let mut common = facts.attributes(options, str::to_owned)?;
        common.entry("container_id".to_owned()).or_insert_with(|| facts.id.clone());
        common.entry("container_name".to_owned()).or_insert_with(|| facts.name.clone());
        Ok(Self {
            stream: Stream::limited(address, config.write_timeout.unwrap_or(TRANSFER)),
            config,
            connected: None,
            tag: facts.tag(options)?,
            common: common.into_iter().collect(),
            id: facts.id.clone(),
        })
    }

    pub(crate) fn retry_wait(&self) -> Duration {
        self.config.retry_wait
    }

    pub(crate) async fn finish(&mut self) {
        self.stream.finish().await;
    }

    pub(crate) async fn send(&mut self, lines: &[Line]) -> Result<(), SendError> {
        if let Some(interval) = self.config.reconnect_interval
            && self.connected.is_none_or(|at| at.elapsed() >= interval)
        {
            self.stream.close();
            self.connected = Some(Instant::now());
        }
        if !self.config.request_ack {
            return self.stream.send(&self.batch(lines, None)).await;
        }
        let chunk = base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 16]>());
        self.stream.ask(&self.batch(lines, Some(&chunk))).await?;
        let acknowledged = self.acknowledgement(&chunk).await;
        if acknowledged.is_err() {
            self.stream.close();
        }
        acknowledged
    }

    /// `[tag, [[time, record], …], {option}]`
    fn batch(&self, lines: &[Line], chunk: Option<&str>) -> Vec<u8> {
        let mut out = Vec::new();
        msgpack::array(3, &mut out);
        msgpack::text(self.tag.as_bytes(), &mut out);
        msgpack::array(lines.len(), &mut out);
        for line in lines {
            msgpack::array(2, &mut out);
            let seconds = u32::try_from(line.time.seconds).unwrap_or(0);
            match self.config.sub_second {
                true => msgpack::event_time(seconds, line.time.nanoseconds, &mut out),
                false => msgpack::unsigned(seconds, &mut out),
            }
            self.record(line, &mut out);
        }
        let options = [("size", None), ("chunk", chunk)];
        msgpack::map(1 + usize::from(chunk.is_some()), &mut out);
        msgpack::text(options[0].0.as_bytes(), &mut out);
        msgpack::unsigned(u32::try_from(lines.len()).unwrap_or(u32::MAX), &mut out);
        if let (name, Some(chunk)) = options[1] {
            msgpack::text(name.as_bytes(), &mut out);
            msgpack::text(chunk.as_bytes(), &mut out);
        }
        out
    }

    fn record(&self, line: &Line, out: &mut Vec<u8>) {
        let of_part = line.part.map(|part| {
            [
                ("partial_message", "true".to_owned()),
                // The same for all parts of a line, and for no other line.
                ("partial_id", format!("{}{:016x}", self.id, part.first)),
                ("partial_ordinal", part.ordinal.to_string()),
                ("partial_last", part.last.to_string()),
            ]
        });
        let of_part = of_part.iter().flatten();
        msgpack::map(self.common.len() + 2 + of_part.clone().count(), out);
        for (key, value) in &self.common {
            msgpack::text(key.as_bytes(), out);
            msgpack::text(value.as_bytes(), out);
        }
        for (key, value) in of_part {
            msgpack::text(key.as_bytes(), out);
            msgpack::text(value.as_bytes(), out);
        }
        msgpack::text(b"source", out);
        msgpack::text(line.source().as_bytes(), out);
        msgpack::text(b"log", out);
        msgpack::text(&line.text, out);
    }

    /// Waits for `{"ack": chunk}`.
    async fn acknowledgement(&mut self, chunk: &str) -> Result<(), SendError> {
        /// An acknowledgement has some forty bytes.
        const MOST: usize = 1024;
        let mut answer = Vec::new();
        loop {
            let mut space = [0; 256];
            let len = self.stream.receive(&mut space).await?;
            answer.extend_from_slice(&space[..len]);
            let reason = match msgpack::acknowledged(&answer) {
                Ok(Some(ack)) if ack == chunk.as_bytes() => return Ok(()),
                Ok(Some(_)) => "another batch was acknowledged".to_owned(),
                Ok(None) if answer.len() < MOST => continue,
                Ok(None) => "the acknowledgement has no end".to_owned(),
                Err(reason) => reason.to_owned(),
            };
            return Err(self.stream.address().protocol(reason));
        }
    }
}

#[cfg(test)]
mod tests;
