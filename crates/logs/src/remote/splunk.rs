//! Splunk's HTTP event collector.

use std::{collections::BTreeMap, io::Write, path::Path};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body_util::Full;
use hyper::{Request, StatusCode, header};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Line, SendError,
    connection::Address,
    http::{Answer, Http},
    tls::{self, Trust},
};
use crate::{ContainerFacts, OptionError, Options, url::Url};

pub(crate) const OPTIONS: [&str; 13] = [
    "splunk-url",
    "splunk-token",
    "splunk-source",
    "splunk-sourcetype",
    "splunk-index",
    "splunk-capath",
    "splunk-caname",
    "splunk-insecureskipverify",
    "splunk-format",
    "splunk-verify-connection",
    "splunk-gzip",
    "splunk-gzip-level",
    "splunk-index-acknowledgment",
];

const PATH: &str = "/services/collector/event/1.0";
/// As many as Docker sends at once.
const AT_ONCE: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Inline,
    Json,
    Raw,
}

/// A Splunk.
pub(crate) struct Splunk {
    http: Http,
    /// Host and port, for the request.
    authority: String,
    address: String,
    authorization: header::HeaderValue,
    gzip: Option<Compression>,
    /// Names the channel of requests whose events are acknowledged when they are indexed.
    channel: Option<String>,
    style: Style,
}

/// What all events have in common.
struct Style {
    format: Format,
    host: String,
    source: String,
    sourcetype: String,
    index: String,
    tag: String,
    attributes: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Message<'a> {
    event: Event<'a>,
    time: String,
    host: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    source: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sourcetype: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    index: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Event<'a> {
    Raw(String),
    Object {
        line: Content<'a>,
        source: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        tag: &'a str,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        attrs: &'a BTreeMap<String, String>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(std::borrow::Cow<'a, str>),
    Json(&'a RawValue),
}

impl Splunk {
    pub(crate) fn open(options: &Options, facts: &ContainerFacts) -> Result<Self, OptionError> {
        let url = url(options)?;
        let token = required(options, "splunk-token")?;
        let authorization = header::HeaderValue::try_from(format!("Splunk {token}")).map_err(|_| {
            OptionError::value("splunk-token", "splunk: splunk-token has characters that no token has")
        })?;
        let switch = |key: &'static str, default: bool| match options.get(key) {
            Some(value) => skiff_go::parse_bool(value).map_err(|e| OptionError::value(key, e)),
            None => Ok(default),
        };
        let anybody = switch("splunk-insecureskipverify", false)?;
        let address = address(&url, options, anybody)?;
        let gzip = switch("splunk-gzip", false)?;
        let level = level(options)?;
        let acknowledged = switch("splunk-index-acknowledgment", false)?;
        // Nobody is asked at the start whether he is there: that would make it depend on him.
        switch("splunk-verify-connection", true)?;
        let text = |key: &str| options.get(key).cloned().unwrap_or_default();
        let style = Style {
            tag: match options.get("tag").map(String::as_str) {
                Some("") => String::new(),
                _ => facts.tag(options)?,
            },
            attributes: facts.attributes(options, str::to_owned)?,
            format: format(options)?,
            host: facts.hostname.clone(),
            source: text("splunk-source"),
            sourcetype: text("splunk-sourcetype"),
            index: text("splunk-index"),
        };
        Ok(Self {
            authority: url.authority.clone(),
            address: format!("{}://{}", url.scheme, url.authority),
            http: Http::new(address),
            authorization,
            gzip: gzip.then_some(level),
            channel: acknowledged.then(channel),
            style,
        })
    }

    pub(crate) async fn send(&mut self, lines: &[Line]) -> Result<(), SendError> {
        for lines in lines.chunks(AT_ONCE) {
            let body = self.style.body(lines);
            if body.is_empty() {
                continue;
            }
            let answer = self.http.ask(self.request(body)?).await?;
            self.judge(&answer)?;
        }
        Ok(())
    }

    fn request(&self, body: Vec<u8>) -> Result<Request<Full<Bytes>>, SendError> {
        let mut request = Request::post(PATH)
            .header(header::HOST, &self.authority)
            .header(header::AUTHORIZATION, self.authorization.clone());
        let mut body = body;
        if let Some(level) = self.gzip {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            // A vector takes all that is written to it.
            if let Ok(packed) = encoder.write_all(&body).and_then(|()| encoder.finish()) {
                body = packed;
                request = request.header(header::CONTENT_ENCODING, "gzip");
            }
        }
        if let Some(channel) = &self.channel {
            request = request.header("X-Splunk-Request-Channel", channel);
        }
        request.body(Full::from(body)).map_err(|e| self.protocol(e.to_string()))
    }

    /// Refused for good is only what is wrong with the events themselves: a token can be made valid, an index can be made.
    fn judge(&self, answer: &Answer) -> Result<(), SendError> {
        /// "Invalid data format", and what follows it.
        const WRONG_EVENTS: [i64; 4] = [6, 12, 13, 15];
        let code = || serde_json::from_slice::<serde_json::Value>(&answer.body).ok()?["code"].as_i64();
        match answer.status {
            StatusCode::OK => Ok(()),
            StatusCode::BAD_REQUEST if code().is_some_and(|code| WRONG_EVENTS.contains(&code)) => {
                Err(SendError::Refused { address: self.address.clone(), reason: answer.reason() })
            }
            _ => Err(self.protocol(answer.reason())),
        }
    }

    fn protocol(&self, reason: String) -> SendError {
        SendError::Protocol { address: self.address.clone(), reason }
    }
}

impl Style {
    /// Events behind each other. Empty if there is nothing to send.
    fn body(&self, lines: &[Line]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            let text = line.text();
            let event = match self.format {
                // Splunk takes no empty events.
                Format::Raw if text.trim().is_empty() => continue,
                Format::Raw => Event::Raw(self.prefix() + &text),
                Format::Inline => self.object(Content::Text(text.clone()), line),
                Format::Json => match serde_json::from_slice::<&RawValue>(&line.text) {
                    Ok(json) => self.object(Content::Json(json), line),
                    Err(_) => self.object(Content::Text(text.clone()), line),
                },
            };
            let time = format!("{}.{:06}", line.time.seconds, line.time.nanoseconds / 1000);
            let message = Message {
                event,
                time,
                host: &self.host,
                source: &self.source,
                sourcetype: &self.sourcetype,
                index: &self.index,
            };
            // Text and maps of text always become JSON.
            let _ = serde_json::to_writer(&mut out, &message);
        }
        out
    }

    fn object<'a>(&'a self, content: Content<'a>, line: &Line) -> Event<'a> {
        Event::Object { line: content, source: line.source(), tag: &self.tag, attrs: &self.attributes }
    }

    fn prefix(&self) -> String {
        let mut out = String::new();
        if !self.tag.is_empty() {
            out.push_str(&format!("{} ", self.tag));
        }
        for (key, value) in &self.attributes {
            out.push_str(&format!("{key}={value} "));
        }
        out
    }
}

fn required<'a>(options: &'a Options, key: &'static str) -> Result<&'a str, OptionError> {
    let missing = || OptionError::value(key, format!("splunk: {key} is expected"));
    options.get(key).map(String::as_str).ok_or_else(missing)
}

fn url(options: &Options) -> Result<Url, OptionError> {
    const KEY: &str = "splunk-url";
    let text = required(options, KEY)?;
    let fail = |words: String| Err(OptionError::value(KEY, words));
    let Ok(url) = Url::parse(text) else {
        return fail(format!("splunk: failed to parse {text} as url value in {KEY}"));
    };
    let known = matches!(url.scheme.as_str(), "http" | "https");
    if !known || !matches!(url.path.as_str(), "" | "/") || url.has_more {
        return fail(format!("splunk: expected format scheme://dns_name_or_ip:port for {KEY}"));
    }
    Ok(url)
}

fn address(url: &Url, options: &Options, anybody: bool) -> Result<Address, OptionError> {
    let secure = url.scheme == "https";
    let wrong = |port| OptionError::value("splunk-url", format!("invalid port {port:?}"));
    let port = url.http_port().map_err(wrong)?;
    let host = if url.host().is_empty() { "localhost" } else { url.host() }.to_owned();
    let authorities = match options.get("splunk-capath") {
        Some(path) => Some(tls::read("", Path::new(path))?),
        None => None,
    };
    if !secure {
        return Ok(Address::Tcp { host, port });
    }
    let name = options.get("splunk-caname").unwrap_or(&host);
    let trust = Trust { authorities: authorities.as_deref(), identity: None, anybody };
    let (name, config) = (tls::name("splunk-caname", name)?, tls::config("splunk-capath", trust)?);
    Ok(Address::Tls { host, port, config, name })
}

fn level(options: &Options) -> Result<Compression, OptionError> {
    const KEY: &str = "splunk-gzip-level";
    let Some(text) = options.get(KEY) else { return Ok(Compression::default()) };
    let level = skiff_go::parse_decimal(text)
        .map_err(|e| OptionError::value(KEY, e.replacen("strconv.Atoi", "strconv.ParseInt", 1)))?;
    match level {
        -1 => Ok(Compression::default()),
        level @ 0..=9 => Ok(Compression::new(level as u32)),
        _ => {
            let words = format!("not supported level '{text}' for {KEY} (supported values between -1 and 9)");
            Err(OptionError::value(KEY, words))
        }
    }
}

fn format(options: &Options) -> Result<Format, OptionError> {
    match options.get("splunk-format").map_or("inline", String::as_str) {
        "inline" => Ok(Format::Inline),
        "json" => Ok(Format::Json),
        "raw" => Ok(Format::Raw),
        other => {
            let words =
                format!("unknown format specified {other}, supported formats are inline, json and raw");
            Err(OptionError::value("splunk-format", words))
        }
    }
}

/// A random UUID.
fn channel() -> String {
    let mut b: [u8; 16] = rand::random();
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let hex = skiff_types::hex(&b);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests;
