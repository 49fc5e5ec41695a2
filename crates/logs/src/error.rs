//! What can be wrong with the options of a log driver, in Docker's words (recorded from Docker 28.5.2).

use std::{io, path::PathBuf};

use skiff_types::ErrorKind;

use crate::Driver;

/// Options that do not go.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// There is no such driver.
    #[error("error looking up logging plugin {0}: plugin {0:?} not found")]
    NoSuchDriver(String),
    /// The driver has no such option.
    #[error("{}", unknown(*driver, key))]
    Unknown {
        /// The driver.
        driver: Driver,
        /// The option.
        key: String,
    },
    /// A value that the option cannot have, alone or beside others. Docker has other words for each.
    #[error("{text}")]
    Value {
        /// The option.
        option: &'static str,
        /// Docker's words.
        text: String,
    },
    /// A file that an option names.
    #[error("{what}open {}: {}", path.display(), go_text(source))]
    File {
        /// What it should be, and a colon; may be empty.
        what: String,
        /// Where it should be.
        path: PathBuf,
        /// Why it is not to be had.
        source: io::Error,
    },
}

impl OptionError {
    pub(crate) fn value(option: &'static str, text: impl Into<String>) -> Self {
        Self::Value { option, text: text.into() }
    }

    /// What sort of failure this is, when it is met at the start of a container. At its creation all are invalid arguments.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::InvalidArgument
            }
            Self::NoSuchDriver(_) | Self::Unknown { .. } | Self::Value { .. } | Self::File { .. } => {
                ErrorKind::Internal
            }
        }
    }
}

fn unknown(driver: Driver, key: &str) -> String {
    match driver {
        Driver::Local => format!("unknown log opt '{key}' for log driver local"),
        Driver::Gelf => format!("unknown log opt {key:?} for gelf log driver"),
        Driver::Gcplogs => format!("{key:?} is not a valid option for the gcplogs driver"),
        other => format!("unknown log opt '{key}' for {} log driver", other.name()),
    }
}

/// The kernel's words without Rust's number behind them.
pub(crate) fn go_text(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}
