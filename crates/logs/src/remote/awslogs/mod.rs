//! Amazon CloudWatch Logs.
//!
//! The stream is made when its absence is told, and the group too if that is wanted, so nothing depends on Amazon when a container
//! starts. Events that the service finds too old or too new are counted as lost; the others of their request are kept there.
//!
//! Source: CloudWatch Logs API reference (PutLogEvents, CreateLogStream, CreateLogGroup).

mod credentials;
mod events;
mod sign;

use std::{borrow::Cow, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;

use self::{
    credentials::{Credentials, credentials},
    events::{Event, Grouping},
    sign::{Scope, Signed},
};
use super::{
    Line, Rejected, SendError,
    endpoint::{Endpoint, Environment, environment},
    tls::{self, Trust},
};
use crate::{ContainerFacts, OptionError, Options};

const REGION: &str = "awslogs-region";
const ENDPOINT: &str = "awslogs-endpoint";
const GROUP: &str = "awslogs-group";
const STREAM: &str = "awslogs-stream";
const CREATE_GROUP: &str = "awslogs-create-group";
const CREATE_STREAM: &str = "awslogs-create-stream";
const DATETIME: &str = "awslogs-datetime-format";
const PATTERN: &str = "awslogs-multiline-pattern";
const CREDENTIALS: &str = "awslogs-credentials-endpoint";
const INTERVAL: &str = "awslogs-force-flush-interval-seconds";
const BUFFERED: &str = "awslogs-max-buffered-events";
const FORMAT: &str = "awslogs-format";

pub(crate) const OPTIONS: [&str; 13] = [
    REGION,
    ENDPOINT,
    GROUP,
    STREAM,
    CREATE_GROUP,
    CREATE_STREAM,
    DATETIME,
    PATTERN,
    CREDENTIALS,
    INTERVAL,
    BUFFERED,
    FORMAT,
    "tag",
];

const SERVICE: &str = "logs";

/// A stream of CloudWatch Logs.
pub(crate) struct Awslogs {
    group: String,
    stream: String,
    create_group: bool,
    create_stream: bool,
    /// Metrics in the events, which the service takes out.
    metrics: bool,
    grouping: Grouping,
    /// Lines of an event that may go on.
    held: Vec<Line>,
    /// When they go all the same.
    due: Option<Instant>,
    interval: Duration,
    region: Option<String>,
    /// Where the option says that the service is.
    address: Option<String>,
    endpoint: Option<Endpoint>,
    credentials: Credentials,
    trust: Arc<ClientConfig>,
}

/// What is refused when a container is created.
pub(crate) fn check(options: &Options) -> Result<(), OptionError> {
    let given = |key: &str| options.get(key).filter(|value| !value.is_empty());
    if given(GROUP).is_none() {
        return Err(OptionError::value(GROUP, format!("must specify a value for log opt '{GROUP}'")));
    }
    for key in [CREATE_GROUP, CREATE_STREAM] {
        switch(options, key, true)?;
    }
    for key in [INTERVAL, BUFFERED] {
        positive(options, key)?;
    }
    let several = [DATETIME, PATTERN].map(|key| options.contains_key(key));
    let fail = |option, words: String| Err(OptionError::value(option, words));
    if several == [true, true] {
        return fail(
            PATTERN,
            format!("you cannot configure log opt '{DATETIME}' and '{PATTERN}' at the same time"),
        );
    }
    match given(FORMAT).map(String::as_str) {
        None => Ok(()),
        Some("json/emf") if several == [false, false] => Ok(()),
        Some("json/emf") => fail(
            FORMAT,
            format!(
                "you cannot configure log opt '{DATETIME}' or '{PATTERN}' when log opt '{FORMAT}' is set to 'json/emf'"
            ),
        ),
        Some(other) => fail(FORMAT, format!("unsupported log format '{other}'")),
    }
}

fn switch(options: &Options, key: &'static str, default: bool) -> Result<bool, OptionError> {
    match options.get(key).filter(|value| !value.is_empty()) {
        None => Ok(default),
        Some(value) => skiff_go::parse_bool(value).map_err(|e| {
            OptionError::value(key, format!("must specify valid value for log opt '{key}': {e}"))
        }),
    }
}

fn positive(options: &Options, key: &'static str) -> Result<Option<u64>, OptionError> {
    let Some(text) = options.get(key).filter(|value| !value.is_empty()) else { return Ok(None) };
    let number = skiff_go::parse_decimal(text).ok().and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let words = || format!("must specify a positive integer for log opt '{key}': {text}");
    number.map(Some).ok_or_else(|| OptionError::value(key, words()))
}

impl Awslogs {
    pub(crate) fn open(options: &Options, facts: &ContainerFacts) -> Result<Self, OptionError> {
        Self::open_in(environment(), options, facts)
    }

    /// With another environment than the daemon's.
    pub(super) fn open_in(
        environment: Environment,
        options: &Options,
        facts: &ContainerFacts,
    ) -> Result<Self, OptionError> {
        const FULL_ID: &str = "{{.FullID}}";
        check(options)?;
        let text = |key: &str| options.get(key).filter(|value| !value.is_empty()).cloned();
        let mut named = options.clone();
        named.entry("tag".to_owned()).or_insert_with(|| FULL_ID.to_owned());
        let tag = facts.tag(&named)?;
        let begins = match (options.get(DATETIME), options.get(PATTERN)) {
            (Some(format), _) => Some(events::pattern(DATETIME, &events::pattern_of_times(format))?),
            (None, Some(text)) => Some(events::pattern(PATTERN, text)?),
            (None, None) => None,
        };
        let trust = tls::config(ENDPOINT, Trust::default())?;
        if let Some(address) = text(ENDPOINT) {
            Endpoint::of(ENDPOINT, &address, &trust)?;
        }
        Ok(Self {
            group: text(GROUP).unwrap_or_default(),
            stream: text(STREAM).unwrap_or(tag),
            create_group: switch(options, CREATE_GROUP, false)?,
            create_stream: switch(options, CREATE_STREAM, true)?,
            metrics: text(FORMAT).is_some(),
            grouping: Grouping::new(begins),
            held: Vec::new(),
            due: None,
            interval: Duration::from_secs(positive(options, INTERVAL)?.unwrap_or(5)),
            region: text(REGION),
            address: text(ENDPOINT),
            endpoint: None,
            credentials: credentials(text(CREDENTIALS), environment, trust.clone()),
            trust,
        })
    }

    /// Sends what is complete, and keeps what may go on.
    pub(crate) async fn send(&mut self, lines: &[Line]) -> Result<Option<Rejected>, SendError> {
        let all = match self.held.as_slice() {
            [] => Cow::Borrowed(lines),
            held => Cow::Owned([held, lines].concat()),
        };
        let complete = self.grouping.complete(&all);
        let rejected = self.put_all(&all[..complete]).await?;
        if complete > 0 || self.held.is_empty() {
            self.due = Some(Instant::now() + self.interval);
        }
        self.held = all[complete..].to_vec();
        Ok(rejected)
    }

    /// Sends what is held.
    pub(crate) async fn flush(&mut self) -> Result<Option<Rejected>, SendError> {
        let lines = self.held.clone();
        let rejected = self.put_all(&lines).await?;
        self.held.clear();
        Ok(rejected)
    }

    /// Lines that are held.
    pub(crate) fn held(&self) -> &[Line] {
        &self.held
    }

    /// When they are to be sent.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.held.is_empty())
    }

    async fn put_all(&mut self, lines: &[Line]) -> Result<Option<Rejected>, SendError> {
        let events = self.grouping.events(lines);
        let mut rejected: Option<Rejected> = None;
        for events in events::requests(&events) {
            if let Some(more) = self.put(events).await? {
                let all = rejected.get_or_insert(Rejected { lines: 0, reason: more.reason });
                all.lines += more.lines;
            }
        }
        Ok(rejected)
    }

    async fn put(&mut self, events: &[Event]) -> Result<Option<Rejected>, SendError> {
        let body = json!({ "logGroupName": self.group, "logStreamName": self.stream, "logEvents": events });
        let answer = match self.call("PutLogEvents", &body).await? {
            Err(failure) if failure.is("ResourceNotFoundException") => {
                self.create(&failure).await?;
                self.call("PutLogEvents", &body).await?
            }
            // The answer to the first try did not arrive.
            Err(failure) if failure.is("DataAlreadyAcceptedException") => return Ok(None),
            answer => answer,
        };
        let answer = answer.map_err(Failure::into_error)?;
        Ok(answer.rejected_log_events_info.and_then(|info| info.count(events)))
    }

    /// Makes the stream, and if that is wanted the group, of which one is missing.
    async fn create(&mut self, missing: &Failure) -> Result<(), SendError> {
        if !self.create_stream && !self.create_group {
            return Err(missing.clone().into_error());
        }
        let stream = json!({ "logGroupName": self.group, "logStreamName": self.stream });
        let mut made = self.call("CreateLogStream", &stream).await?;
        if self.create_group && made.as_ref().is_err_and(|failure| failure.is("ResourceNotFoundException")) {
            let group = self.call("CreateLogGroup", &json!({ "logGroupName": self.group })).await?;
            if let Err(failure) = group.or_else(Failure::unless_there) {
                return Err(failure.into_error());
            }
            made = self.call("CreateLogStream", &stream).await?;
        }
        made.or_else(Failure::unless_there).map(drop).map_err(Failure::into_error)
    }

    /// One call of the service. What it refuses is told apart from what does not reach it.
    async fn call(
        &mut self,
        action: &'static str,
        body: &serde_json::Value,
    ) -> Result<Result<Done, Failure>, SendError> {
        let region = match &self.region {
            Some(region) => region.clone(),
            None => {
                let found = self.credentials.region().await?;
                self.region.insert(found).clone()
            }
        };
        let keys = self.credentials.keys().await?;
        let mut endpoint = match self.endpoint.take() {
            Some(endpoint) => endpoint,
            None => self.find(&region)?,
        };
        let body = body.to_string().into_bytes();
        let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let target = format!("Logs_20140328.{action}");
        let mut headers = vec![
            ("content-type", "application/x-amz-json-1.1"),
            ("host", endpoint.authority()),
            ("x-amz-date", &time),
        ];
        headers.extend(keys.token.as_deref().map(|token| ("x-amz-security-token", token)));
        headers.push(("x-amz-target", &target));
        headers.extend(self.metrics.then_some(("x-amzn-logs-format", "json/emf")));
        let path = endpoint.path("/");
        let request = Signed { method: "POST", path: &path, query: "", headers: &headers, body: &body };
        let scope = Scope { region: &region, service: SERVICE, time: &time };
        let authorization = sign::authorization(&keys, &scope, &request);
        let mut headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.retain(|(name, _)| name != "host");
        headers.push(("authorization".to_owned(), authorization));
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let asked = endpoint.ask("POST", "/", &headers, body).await;
        let outcome = asked.map(|answer| match answer.status.is_success() {
            true if answer.body.is_empty() => Ok(Done::default()),
            true => Ok(serde_json::from_slice(&answer.body).unwrap_or_default()),
            false => Err(Failure::read(action, &answer.body, endpoint.protocol(answer.reason()))),
        });
        self.endpoint = Some(endpoint);
        if let Ok(Err(failure)) = &outcome
            && EXPIRED.iter().any(|kind| failure.is(kind))
        {
            self.credentials.forget(&keys);
        }
        outcome
    }

    fn find(&self, region: &str) -> Result<Endpoint, SendError> {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let usual = || format!("https://{SERVICE}.{region}.{domain}");
        let address = self.address.clone().unwrap_or_else(usual);
        Endpoint::new(&address, &self.trust).map_err(|reason| SendError::Protocol { address, reason })
    }
}

/// What is said of keys that were good once.
const EXPIRED: [&str; 3] =
    ["ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"];

/// A good answer.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    rejected_log_events_info: Option<Unwanted>,
}

/// Events that were not kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unwanted {
    /// From this one on.
    too_new_log_event_start_index: Option<usize>,
    /// Before this one.
    too_old_log_event_end_index: Option<usize>,
    /// Before this one.
    expired_log_event_end_index: Option<usize>,
}

impl Unwanted {
    fn count(&self, events: &[Event]) -> Option<Rejected> {
        let old = self.too_old_log_event_end_index.max(self.expired_log_event_end_index).unwrap_or(0);
        let new = self.too_new_log_event_start_index.unwrap_or(events.len());
        let gone = events.iter().enumerate().filter(|(at, _)| *at < old || *at >= new);
        let lines = gone.map(|(_, event)| event.lines).sum();
        let reason = match (old > 0, new < events.len()) {
            (true, false) => "too old for CloudWatch Logs",
            (false, true) => "too new for CloudWatch Logs",
            _ => "too old or too new for CloudWatch Logs",
        };
        (lines > 0).then(|| Rejected { lines, reason: reason.to_owned() })
    }
}

/// What the service says to a request that it does not take.
#[derive(Clone, Debug)]
struct Failure {
    kind: String,
    action: &'static str,
    address: String,
    reason: String,
}

impl Failure {
    fn read(action: &'static str, body: &[u8], otherwise: SendError) -> Self {
        let (address, text) = match otherwise {
            SendError::Protocol { address, reason } => (address, reason),
            other => (String::new(), other.to_string()),
        };
        let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let word = |key: &str| said[key].as_str().unwrap_or_default();
        let kind = word("__type").rsplit('#').next().unwrap_or_default().to_owned();
        let message = if word("message").is_empty() { word("Message") } else { word("message") };
        let reason = match kind.is_empty() {
            true => text,
            false => format!("{kind}: {message}"),
        };
        Self { kind, action, address, reason }
    }

    fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }

    /// Somebody was faster.
    fn unless_there(self) -> Result<Done, Self> {
        if self.is("ResourceAlreadyExistsException") { Ok(Done::default()) } else { Err(self) }
    }

    fn into_error(self) -> SendError {
        SendError::Protocol { address: self.address, reason: format!("{}: {}", self.action, self.reason) }
    }
}

#[cfg(test)]
mod tests;
