//! Graylog's format: JSON in datagrams, compressed and cut into chunks, or over TCP with a zero byte behind each message.

use std::{collections::BTreeMap, io::Write, time::Duration};

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use serde_json::{Map, Value};

use super::{
    Line, SendError,
    connection::{Address, Datagrams, Post, Stream},
};
use crate::{
    ContainerFacts, OptionError, Options,
    url::{self, Url},
};

pub(crate) const OPTIONS: [&str; 5] = [
    "gelf-address",
    "gelf-compression-level",
    "gelf-compression-type",
    "gelf-tcp-max-reconnect",
    "gelf-tcp-reconnect-delay",
];

/// A datagram is not made longer than this, so that it fits every network.
const CHUNK: usize = 1420;
/// Two bytes of magic, eight of the message's id, number and count.
const CHUNK_HEAD: usize = 12;
const MOST_CHUNKS: usize = 128;
const ERROR: u8 = 3;
const INFORMATIONAL: u8 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zlib,
    None,
}

/// What the options say.
#[derive(Debug)]
pub(crate) struct Config {
    udp: bool,
    host: String,
    port: u16,
    packing: Packing,
    level: Compression,
    reconnect_delay: Option<Duration>,
}

/// The address, which Docker looks at before everything else.
pub(crate) fn address(options: &Options) -> Result<Url, OptionError> {
    let fail = |text: String| OptionError::value("gelf-address", text);
    let address = options.get("gelf-address").map_or("", String::as_str);
    if address.is_empty() {
        return Err(fail("gelf-address is a required parameter".to_owned()));
    }
    let url = Url::parse(address).map_err(fail)?;
    if !matches!(url.scheme.as_str(), "udp" | "tcp") {
        return Err(fail("gelf: endpoint needs to be TCP or UDP".to_owned()));
    }
    match url::split_port(&url.authority) {
        Ok(_) => Ok(url),
        Err(_) => Err(fail("gelf: please provide gelf-address as proto://host:port".to_owned())),
    }
}

impl Config {
    /// Reads the options. How often Docker tries to reconnect before it drops a line is checked and has no meaning here: a log waits
    /// on disk.
    pub(crate) fn read(options: &Options) -> Result<Self, OptionError> {
        let url = address(options)?;
        let udp = url.scheme == "udp";
        let mut level = Compression::fast();
        if let Some(text) = options.get("gelf-compression-level") {
            let key = "gelf-compression-level";
            level = match (udp, text.parse()) {
                (false, _) => return Err(OptionError::value(key, "compression is only supported on UDP")),
                (true, Ok(-1)) => Compression::default(),
                (true, Ok(level @ 0i32..=9)) => Compression::new(level.unsigned_abs()),
                (true, _) => return Err(unknown_value(key, text)),
            };
        }
        let mut packing = Packing::Gzip;
        if let Some(text) = options.get("gelf-compression-type") {
            let key = "gelf-compression-type";
            packing = match (udp, text.as_str()) {
                (false, _) => return Err(OptionError::value(key, "compression is only supported on UDP")),
                (true, "gzip") => Packing::Gzip,
                (true, "zlib") => Packing::Zlib,
                (true, "none") => Packing::None,
                (true, text) => return Err(unknown_value(key, text)),
            };
        }
        let mut reconnect_delay = None;
        for key in ["gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"] {
            let Some(text) = options.get(key) else { continue };
            if udp {
                return Err(OptionError::value(key, format!("{key:?} is only valid for TCP")));
            }
            let Ok(number @ 0..) = text.parse::<i64>() else {
                return Err(OptionError::value(key, format!("{key:?} must be a positive integer")));
            };
            if key == "gelf-tcp-reconnect-delay" {
                reconnect_delay = Some(Duration::from_secs(number.unsigned_abs()));
            }
        }
        let port = url.port().unwrap_or_default();
        let wrong = |_| OptionError::value("gelf-address", format!("invalid port {port:?}"));
        let port = if port.is_empty() { 0 } else { port.parse().map_err(wrong)? };
        let host = if url.host().is_empty() { "localhost" } else { url.host() }.to_owned();
        Ok(Self { udp, host, port, packing, level, reconnect_delay })
    }
}

fn unknown_value(key: &'static str, value: &str) -> OptionError {
    let text = format!("unknown value {} for log opt {key:?} for gelf log driver", skiff_go::quote(value));
    OptionError::value(key, text)
}

/// A Graylog, or whatever else understands its format.
pub(crate) struct Gelf {
    config: Config,
    transport: Transport,
    hostname: String,
    /// What every message holds.
    extra: BTreeMap<String, String>,
}

enum Transport {
    Datagrams(Datagrams),
    Stream(Stream),
}

impl Gelf {
    pub(crate) fn open(options: &Options, facts: &ContainerFacts) -> Result<Self, OptionError> {
        let config = Config::read(options)?;
        let mut extra: BTreeMap<String, String> = [
            ("_command", facts.command()),
            ("_container_id", facts.id.clone()),
            ("_container_name", facts.plain_name().to_owned()),
            ("_created", facts.created.clone()),
            ("_image_id", facts.image_id.clone()),
            ("_image_name", facts.image_name.clone()),
            ("_tag", facts.tag(options)?),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let rename = |key: &str| if key.starts_with('_') { key.to_owned() } else { format!("_{key}") };
        extra.extend(facts.attributes(options, rename)?);
        let (host, port) = (config.host.clone(), config.port);
        let transport = match config.udp {
            true => Transport::Datagrams(Datagrams::new(Post::Udp { host, port })),
            false => Transport::Stream(Stream::new(Address::Tcp { host, port })),
        };
        Ok(Self { config, transport, hostname: facts.hostname.clone(), extra })
    }

    pub(crate) fn retry_wait(&self) -> Option<Duration> {
        self.config.reconnect_delay
    }

    pub(crate) async fn finish(&mut self) {
        if let Transport::Stream(stream) = &mut self.transport {
            stream.finish().await;
        }
    }

    pub(crate) async fn send(&mut self, lines: &[Line]) -> Result<(), SendError> {
        // Empty lines are not sent, as Docker does not send them.
        let messages = lines
            .iter()
            .filter(|line| !line.text.is_empty())
            .map(|line| message(&self.hostname, &self.extra, line));
        match &mut self.transport {
            Transport::Stream(stream) => {
                let mut batch = Vec::new();
                for message in messages {
                    batch.extend_from_slice(&message);
                    batch.push(0);
                }
                stream.send(&batch).await
            }
            Transport::Datagrams(datagrams) => {
                let (packing, level) = (self.config.packing, self.config.level);
                let packed: Vec<_> = messages.map(|message| pack(&message, packing, level)).collect();
                if packed.iter().any(|message| message.len() > MOST_CHUNKS * (CHUNK - CHUNK_HEAD)) {
                    // What all messages have in common is too long: a line is not.
                    let address = format!("udp {}:{}", self.config.host, self.config.port);
                    let reason = "more than 128 chunks of labels and variables".to_owned();
                    return Err(SendError::Refused { address, reason });
                }
                datagrams.send_all(packed.iter().flat_map(|message| chunks(message, rand::random()))).await
            }
        }
    }
}

fn message(hostname: &str, extra: &BTreeMap<String, String>, line: &Line) -> Vec<u8> {
    let mut object = Map::new();
    let milliseconds = line.time.seconds * 1000 + i64::from(line.time.nanoseconds / 1_000_000);
    object.insert("version".into(), "1.1".into());
    object.insert("host".into(), hostname.into());
    object.insert("short_message".into(), line.text().into());
    object.insert("timestamp".into(), (milliseconds as f64 / 1000.0).into());
    object.insert("level".into(), if line.stderr { ERROR } else { INFORMATIONAL }.into());
    object.extend(extra.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))));
    Value::Object(object).to_string().into_bytes()
}

fn pack(message: &[u8], packing: Packing, level: Compression) -> Vec<u8> {
    // A vector takes all that is written to it.
    let packed = match packing {
        Packing::None => return message.to_vec(),
        Packing::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(message).and_then(|()| encoder.finish())
        }
        Packing::Zlib => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(message).and_then(|()| encoder.finish())
        }
    };
    packed.unwrap_or_else(|_| message.to_vec())
}

/// The datagrams of one message, at most [`MOST_CHUNKS`].
fn chunks(message: &[u8], id: [u8; 8]) -> Vec<Vec<u8>> {
    if message.len() <= CHUNK {
        return vec![message.to_vec()];
    }
    let parts: Vec<&[u8]> = message.chunks(CHUNK - CHUNK_HEAD).collect();
    let count = parts.len() as u8;
    let chunk = |(number, part): (u8, &&[u8])| [&[0x1e, 0x0f][..], &id, &[number, count], part].concat();
    (0..).zip(&parts).map(chunk).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::testing::{block_on, facts, line, options};
    use super::*;

    #[test]
    fn messages_carry_what_docker_s_carry() {
        let options = options(&[("gelf-address", "udp://h:1"), ("labels", "app"), ("env", "STAGE")]);
        let gelf = Gelf::open(&options, &facts()).unwrap();
        let json: Value = serde_json::from_slice(&message("host", &gelf.extra, &line(2, "hello"))).unwrap();
        let expected = serde_json::json!({
            "version": "1.1", "host": "host", "short_message": "hello", "timestamp": 1_795_721_685.5, "level": 3,
            "_command": "nginx -g", "_container_id": facts().id, "_container_name": "web",
            "_created": "2026-11-26T19:14:45.5Z", "_image_id": "sha256:feed", "_image_name": "nginx:1",
            "_tag": "0123456789ab", "_app": "shop", "_STAGE": "test",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn long_messages_are_cut_and_can_be_put_together() {
        let message: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        let cut = chunks(&message, *b"12345678");
        assert_eq!(cut.len(), 8);
        let mut together = Vec::new();
        for (number, chunk) in cut.iter().enumerate() {
            assert!(chunk.len() <= CHUNK);
            assert_eq!(chunk[..CHUNK_HEAD], [&b"\x1e\x0f12345678"[..], &[number as u8, 8]].concat());
            together.extend_from_slice(&chunk[CHUNK_HEAD..]);
        }
        assert_eq!(together, message);
        assert_eq!(chunks(&message[..CHUNK], [0; 8]), [message[..CHUNK].to_vec()]);
    }

    #[test]
    fn datagrams_are_compressed_as_was_asked_for() {
        let message = b"hello hello hello".to_vec();
        let mut text = Vec::new();
        let packed = pack(&message, Packing::Gzip, Compression::new(9));
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, message);
        text.clear();
        let packed = pack(&message, Packing::Zlib, Compression::fast());
        flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, message);
        assert_eq!(pack(&message, Packing::None, Compression::fast()), message);
    }

    #[test]
    fn labels_that_no_datagrams_take_are_refused() {
        block_on(async {
            let options = options(&[
                ("gelf-address", "udp://127.0.0.1:1"),
                ("gelf-compression-type", "none"),
                ("labels", "app"),
            ]);
            let mut facts = facts();
            facts.labels.insert("app".into(), "x".repeat(200_000));
            let sent = Gelf::open(&options, &facts).unwrap().send(&[line(1, "x")]).await;
            assert!(matches!(sent, Err(SendError::Refused { .. })), "{sent:?}");
        });
    }

    #[test]
    fn a_receiver_of_this_host_that_is_gone_is_noticed() {
        block_on(async {
            let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let options = options(&[("gelf-address", &format!("udp://{closed}"))]);
            let mut gelf = Gelf::open(&options, &facts()).unwrap();
            assert!(gelf.send(&[line(1, "x"), line(3, "y")]).await.is_err());
        });
    }
}
