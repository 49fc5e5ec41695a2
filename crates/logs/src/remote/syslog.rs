//! Syslog: RFC 3164, RFC 5424, over UDP, TCP, TLS (RFC 5425) or the host's own socket.
//!
//! Lines are written as Docker writes them, with the line's own time where Docker puts the time of sending.

use std::path::{Path, PathBuf};

use jiff::{Zoned, tz::TimeZone};
use rustix::io::Errno;

use super::{
    Line, SendError,
    connection::{Address, Datagrams, Post, Stream},
    tls::{self, Trust},
};
use crate::{
    ContainerFacts, OptionError, Options,
    url::{self, Url},
};

pub(crate) const OPTIONS: [&str; 7] = [
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
];

const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
/// `daemon`.
const DEFAULT_FACILITY: u8 = 3;
const ERROR: u8 = 3;
const INFORMATIONAL: u8 = 6;
/// Where a host's own syslog listens.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// RFC 3164 without the host's name.
    Unix,
    Rfc3164,
    Rfc5424,
    /// With microseconds.
    Rfc5424Micro,
}

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Local,
    Udp(String, u16),
    Tcp(String, u16),
    Tls(String, u16),
    Unix(PathBuf),
    UnixDatagram(PathBuf),
}

/// What is refused when a container is created. A socket that is not there is refused only then: later it may come back.
pub(crate) fn check(options: &Options) -> Result<(), OptionError> {
    if let Place::Unix(path) | Place::UnixDatagram(path) = place(options)?
        && !path.exists()
    {
        let words = format!("stat {}: no such file or directory", path.display());
        return Err(OptionError::value("syslog-address", words));
    }
    facility(options)?;
    format(options).map(drop)
}

fn place(options: &Options) -> Result<Place, OptionError> {
    let fail = |text: String| OptionError::value("syslog-address", text);
    let Some(address) = options.get("syslog-address").filter(|address| !address.is_empty()) else {
        return Ok(Place::Local);
    };
    let url = Url::parse(address).map_err(fail)?;
    let scheme = url.scheme.as_str();
    if matches!(scheme, "unix" | "unixgram") {
        let path = PathBuf::from(url.path);
        return Ok(if scheme == "unix" { Place::Unix(path) } else { Place::UnixDatagram(path) });
    }
    if !matches!(scheme, "udp" | "tcp" | "tcp+tls") {
        return Err(fail(format!("unsupported scheme: '{scheme}'")));
    }
    let (host, port) = match url::split_port(&url.authority) {
        Ok((host, port)) => (host, port),
        Err(e) if e.ends_with("missing port in address") => (url.host(), "514"),
        Err(e) => return Err(fail(e)),
    };
    let port = port.parse().map_err(|_| fail(format!("invalid port {port:?}")))?;
    let host = if host.is_empty() { "localhost" } else { host }.to_owned();
    Ok(match scheme {
        "udp" => Place::Udp(host, port),
        "tcp" => Place::Tcp(host, port),
        _ => Place::Tls(host, port),
    })
}

fn facility(options: &Options) -> Result<u8, OptionError> {
    let name = options.get("syslog-facility").map_or("", String::as_str);
    let known = FACILITIES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let number = || name.parse::<u8>().ok().filter(|number| *number <= 23);
    match known.or_else(number) {
        Some(facility) => Ok(facility),
        None if name.is_empty() => Ok(DEFAULT_FACILITY),
        None => Err(OptionError::value("syslog-facility", "invalid syslog facility")),
    }
}

fn format(options: &Options) -> Result<Format, OptionError> {
    match options.get("syslog-format").map_or("", String::as_str) {
        "" => Ok(Format::Unix),
        "rfc3164" => Ok(Format::Rfc3164),
        "rfc5424" => Ok(Format::Rfc5424),
        "rfc5424micro" => Ok(Format::Rfc5424Micro),
        _ => Err(OptionError::value("syslog-format", "Invalid syslog format")),
    }
}

/// A syslog receiver.
pub(crate) struct Syslog {
    transport: Transport,
    style: Style,
    /// Messages on a stream begin with their length (RFC 5425).
    counted: bool,
}

enum Transport {
    Datagrams(Datagrams),
    Stream(Stream),
}

/// What all messages have in common.
struct Style {
    format: Format,
    facility: u8,
    hostname: String,
    tag: String,
    pid: u32,
    zone: TimeZone,
}

impl Syslog {
    pub(crate) fn open(options: &Options, facts: &ContainerFacts) -> Result<Self, OptionError> {
        let style = Style {
            format: format(options)?,
            facility: facility(options)?,
            hostname: facts.hostname.clone(),
            tag: facts.tag(options)?,
            pid: std::process::id(),
            zone: TimeZone::system(),
        };
        let place = place(options)?;
        let counted =
            matches!(place, Place::Tls(..)) && matches!(style.format, Format::Rfc5424 | Format::Rfc5424Micro);
        let transport = match place {
            Place::Local => {
                Transport::Datagrams(Datagrams::new(Post::Unix(LOCAL.map(PathBuf::from).to_vec())))
            }
            Place::UnixDatagram(path) => Transport::Datagrams(Datagrams::new(Post::Unix(vec![path]))),
            Place::Udp(host, port) => Transport::Datagrams(Datagrams::new(Post::Udp { host, port })),
            Place::Unix(path) => Transport::Stream(Stream::new(Address::Unix(path))),
            Place::Tcp(host, port) => Transport::Stream(Stream::new(Address::Tcp { host, port })),
            Place::Tls(host, port) => {
                let name = tls::name("syslog-address", &host)?;
                let config = tls_config(options)?;
                Transport::Stream(Stream::new(Address::Tls { host, port, config, name }))
            }
        };
        Ok(Self { transport, style, counted })
    }

    pub(crate) async fn finish(&mut self) {
        if let Transport::Stream(stream) = &mut self.transport {
            stream.finish().await;
        }
    }

    pub(crate) async fn send(&mut self, lines: &[Line]) -> Result<(), SendError> {
        let sent = match &mut self.transport {
            Transport::Datagrams(datagrams) => send_each(datagrams, &self.style, lines).await,
            Transport::Stream(stream) => {
                let mut batch = Vec::new();
                for message in messages(&self.style, lines) {
                    if self.counted {
                        batch.extend_from_slice(format!("{} ", message.len()).as_bytes());
                    }
                    batch.extend_from_slice(message.as_bytes());
                }
                stream.send(&batch).await
            }
        };
        match (&sent, &self.transport) {
            // A socket for messages: `unix://` is said of those too.
            (Err(SendError::Io { source, .. }), Transport::Stream(stream))
                if source.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) =>
            {
                let Address::Unix(path) = stream.address() else { return sent };
                let mut datagrams = Datagrams::new(Post::Unix(vec![path.clone()]));
                let again = send_each(&mut datagrams, &self.style, lines).await;
                self.transport = Transport::Datagrams(datagrams);
                again
            }
            _ => sent,
        }
    }
}

fn tls_config(options: &Options) -> Result<std::sync::Arc<tokio_rustls::rustls::ClientConfig>, OptionError> {
    let path = |key: &str| options.get(key).filter(|path| !path.is_empty()).map(Path::new);
    let authorities = match path("syslog-tls-ca-cert") {
        None => None,
        Some(path) => {
            let pem = tls::read(&format!("could not read CA certificate {:?}: ", path.display()), path)?;
            if !tls::has_certificates(&pem) {
                let text = format!("failed to append certificates from PEM file: {:?}", path.display());
                return Err(OptionError::value("syslog-tls-ca-cert", text));
            }
            Some(pem)
        }
    };
    let identity = match (path("syslog-tls-cert"), path("syslog-tls-key")) {
        (None, None) => None,
        (certificate, key) => Some((certificate.unwrap_or(Path::new("")), key.unwrap_or(Path::new("")))),
    };
    let trust = Trust {
        authorities: authorities.as_deref(),
        identity,
        // As Docker: that it is there is enough.
        anybody: options.contains_key("syslog-tls-skip-verify"),
    };
    tls::config("syslog-tls-cert", trust)
}

async fn send_each(datagrams: &mut Datagrams, style: &Style, lines: &[Line]) -> Result<(), SendError> {
    datagrams.send_all(messages(style, lines).map(String::into_bytes)).await
}

/// Empty lines are not sent, as Docker does not send them.
fn messages<'a>(style: &'a Style, lines: &'a [Line]) -> impl Iterator<Item = String> + 'a {
    lines.iter().filter(|line| !line.text.is_empty()).map(|line| style.message(line))
}

impl Style {
    fn message(&self, line: &Line) -> String {
        let severity = if line.stderr { ERROR } else { INFORMATIONAL };
        let priority = self.facility * 8 + severity;
        let moment = line.moment().to_zoned(self.zone.clone());
        let Self { hostname, tag, pid, .. } = self;
        let text = line.text();
        match self.format {
            Format::Unix => format!("<{priority}>{} {tag}[{pid}]: {text}\n", moment.strftime("%b %e %T")),
            Format::Rfc3164 => {
                format!("<{priority}>{} {hostname} {tag}[{pid}]: {text}\n", moment.strftime("%b %e %T"))
            }
            Format::Rfc5424 | Format::Rfc5424Micro => {
                let time = self.rfc3339(&moment);
                format!("<{priority}>1 {time} {hostname} {tag} {pid} {tag} - {text}\n")
            }
        }
    }

    fn rfc3339(&self, moment: &Zoned) -> String {
        let clock = match self.format {
            Format::Rfc5424Micro => moment.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
            _ => moment.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        };
        match moment.offset().is_zero() {
            true => clock + "Z",
            false => clock + &moment.strftime("%:z").to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{block_on, facts, line, options};
    use super::*;

    fn style(format: Format, zone: TimeZone) -> Style {
        Style { format, facility: 3, hostname: "host".into(), tag: "web".into(), pid: 7, zone }
    }

    #[test]
    fn messages_are_written_as_docker_writes_them() {
        let utc = |format| style(format, TimeZone::UTC);
        for (style, expected) in [
            (utc(Format::Unix), "<30>Nov 26 19:34:45 web[7]: hello\n"),
            (utc(Format::Rfc3164), "<30>Nov 26 19:34:45 host web[7]: hello\n"),
            (utc(Format::Rfc5424), "<30>1 2026-11-26T19:34:45Z host web 7 web - hello\n"),
            (utc(Format::Rfc5424Micro), "<30>1 2026-11-26T19:34:45.500000Z host web 7 web - hello\n"),
            (
                style(Format::Rfc5424, TimeZone::fixed(jiff::tz::offset(2))),
                "<30>1 2026-11-26T21:34:45+02:00 host web 7 web - hello\n",
            ),
        ] {
            assert_eq!(style.message(&line(1, "hello")), expected);
        }
        assert!(utc(Format::Unix).message(&line(2, "x")).starts_with("<27>"), "stderr is an error");
        assert_eq!(messages(&utc(Format::Unix), &[line(1, "")]).count(), 0);
    }

    #[test]
    fn a_stream_carries_messages_one_after_the_other() {
        block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("tcp://{}", listener.local_addr().unwrap());
            let options = options(&[("syslog-address", &address), ("tag", "{{.Name}}")]);
            let mut syslog = Syslog::open(&options, &facts()).unwrap();
            let receive = async {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut text = String::new();
                let mut space = [0; 4096];
                while text.lines().count() < 2 {
                    let len = tokio::io::AsyncReadExt::read(&mut socket, &mut space).await.unwrap();
                    text.push_str(std::str::from_utf8(&space[..len]).unwrap());
                }
                // And goes away.
                text
            };
            let lines = [line(1, "one"), line(2, "two")];
            let (received, sent) = tokio::join!(receive, syslog.send(&lines));
            let _ = sent;
            let lines: Vec<_> = received.lines().collect();
            assert!(lines[0].ends_with(": one") && lines[0].contains(" web["), "{received}");
            assert!(lines[1].ends_with(": two"), "{received}");
        });
    }

    #[test]
    fn a_receiver_that_is_not_there_is_told() {
        block_on(async {
            let options = options(&[("syslog-address", "tcp://127.0.0.1:1")]);
            let error = Syslog::open(&options, &facts()).unwrap().send(&[line(1, "x")]).await.unwrap_err();
            assert!(error.to_string().starts_with("tcp 127.0.0.1:1: "), "{error}");
        });
    }
}
