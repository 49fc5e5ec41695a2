//! The log drivers there are, and which options each takes.
//!
//! [`check`] is what is refused when a container is created or the daemon configured, and nothing else: a wrong `max-size` is told
//! at the start, as Docker does ([`crate::FileLimits`], [`crate::Receiver::open`]).

use std::collections::BTreeMap;

use crate::{OptionError, remote};

/// `--log-opt`: names and values.
pub type Options = BTreeMap<String, String>;

/// A log driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Amazon CloudWatch Logs.
    Awslogs,
    /// Fluentd's forward protocol.
    Fluentd,
    /// Google Cloud Logging.
    Gcplogs,
    /// Graylog's format.
    Gelf,
    /// The host's journal.
    Journald,
    /// Files in Docker's format.
    JsonFile,
    /// Files of our own.
    Local,
    /// Nothing is kept.
    None,
    /// Splunk's HTTP event collector.
    Splunk,
    /// Syslog.
    Syslog,
}

/// Options that every driver takes for what it adds to each line.
const ATTRIBUTES: [&str; 5] = ["env", "env-regex", "labels", "labels-regex", "tag"];
const FILES: [&str; 3] = ["compress", "max-file", "max-size"];
/// Options that are the engine's and not the driver's.
const ENGINES: [&str; 6] =
    ["mode", "max-buffer-size", "cache-disabled", "cache-max-file", "cache-max-size", "cache-compress"];

impl Driver {
    /// All that write somewhere, in the order of their names.
    pub const ALL: [Self; 9] = [
        Self::Awslogs,
        Self::Fluentd,
        Self::Gcplogs,
        Self::Gelf,
        Self::Journald,
        Self::JsonFile,
        Self::Local,
        Self::Splunk,
        Self::Syslog,
    ];

    /// The driver of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(name: &str) -> Result<Self, OptionError> {
        let found = Self::ALL.into_iter().chain([Self::None]).find(|driver| driver.name() == name);
        found.ok_or_else(|| OptionError::NoSuchDriver(name.to_owned()))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Awslogs => "awslogs",
            Self::Fluentd => "fluentd",
            Self::Gcplogs => "gcplogs",
            Self::Gelf => "gelf",
            Self::Journald => "journald",
            Self::JsonFile => "json-file",
            Self::Local => "local",
            Self::None => "none",
            Self::Splunk => "splunk",
            Self::Syslog => "syslog",
        }
    }

    /// Whether lines go to somebody else, who may not be there.
    pub fn is_remote(self) -> bool {
        !matches!(self, Self::JsonFile | Self::Local | Self::None)
    }

    /// Its own options.
    fn known(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::None => (&[], &[]),
            Self::Local => (&FILES, &[]),
            Self::JsonFile => (&FILES, &ATTRIBUTES),
            Self::Journald => (&[], &ATTRIBUTES),
            Self::Awslogs => (&remote::awslogs::OPTIONS, &[]),
            Self::Gcplogs => (&remote::gcplogs::OPTIONS, &ATTRIBUTES[..4]),
            Self::Fluentd => (&remote::fluentd::OPTIONS, &ATTRIBUTES),
            Self::Gelf => (&remote::gelf::OPTIONS, &ATTRIBUTES),
            Self::Splunk => (&remote::splunk::OPTIONS, &ATTRIBUTES),
            Self::Syslog => (&remote::syslog::OPTIONS, &ATTRIBUTES),
        }
    }
}

/// Whether a container may have these options, or the daemon as its default.
///
/// # Errors
/// An unknown driver or option, a value that Docker refuses at this time.
pub fn check(name: &str, options: &Options) -> Result<(), OptionError> {
    if name == "none" {
        return Ok(());
    }
    engines_own(options)?;
    let driver = Driver::parse(name)?;
    if driver == Driver::Gelf {
        remote::gelf::address(options)?;
    }
    let (own, common) = driver.known();
    let known = |key: &str| own.contains(&key) || common.contains(&key) || ENGINES.contains(&key);
    if let Some(key) = options.keys().find(|key| !known(key)) {
        return Err(OptionError::Unknown { driver, key: key.clone() });
    }
    match driver {
        Driver::Awslogs => remote::awslogs::check(options),
        Driver::Fluentd => remote::fluentd::Config::read(options).map(drop),
        Driver::Gelf => remote::gelf::Config::read(options).map(drop),
        Driver::Syslog => remote::syslog::check(options),
        Driver::Gcplogs
        | Driver::Journald
        | Driver::JsonFile
        | Driver::Local
        | Driver::None
        | Driver::Splunk => Ok(()),
    }
}

fn engines_own(options: &Options) -> Result<(), OptionError> {
    let mode = options.get("mode").map_or("", String::as_str);
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(OptionError::value("mode", format!("logger: logging mode not supported: {mode}")));
    }
    if let Some(size) = options.get("max-buffer-size") {
        let option = "max-buffer-size";
        if mode != "non-blocking" {
            let text = "logger: max-buffer-size option is only supported with 'mode=non-blocking'";
            return Err(OptionError::value(option, text));
        }
        skiff_types::parse_size(size)
            .map_err(|e| OptionError::value(option, format!("error parsing option max-buffer-size: {e}")))?;
    }
    let wrong = |key: &'static str, value: &str| {
        Err(OptionError::value(key, format!("invalid value for option {key}: {value}")))
    };
    for key in ["cache-disabled", "cache-compress"] {
        match options.get(key) {
            Some(value) if !value.is_empty() && skiff_go::parse_bool(value).is_err() => {
                return wrong(key, value);
            }
            _ => {}
        }
    }
    // Docker takes these two as they are and then keeps nothing to read.
    if let Some(value) = options.get("cache-max-size").filter(|v| skiff_types::parse_size(v).is_err()) {
        return wrong("cache-max-size", value);
    }
    match options.get("cache-max-file") {
        Some(value) if !matches!(value.parse::<u32>(), Ok(1..)) => wrong("cache-max-file", value),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
