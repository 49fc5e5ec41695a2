//! Everything that can go wrong, in Docker's words.
//!
//! The text of an error is part of the API: the command line derives exit codes from it and people search for it. So
//! all of it stands here, once. What only we can meet has a text of our own.

use std::fmt;

use skiff_types::ErrorKind;

/// A failed request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No container has this name or id.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// More than one id begins like this.
    #[error("multiple IDs found with provided prefix: {0}")]
    AmbiguousId(String),
    /// No image has this name or id.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// No exec has this id.
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    /// No network has this name or id.
    #[error("network {0} not found")]
    NoSuchNetwork(String),
    /// No volume has this name.
    #[error("{}: no such volume", if .0.is_empty() { "get".to_owned() } else { format!("get {}", .0) })]
    NoSuchVolume(String),
    /// Containers have the volume.
    #[error("remove {name}: volume is in use - [{}]", users.join(", "))]
    VolumeInUse {
        /// The volume.
        name: String,
        /// Ids of the containers.
        users: Vec<String>,
    },
    /// Another container has the name.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameInUse {
        /// The name.
        name: String,
        /// Who has it.
        id: String,
    },
    /// Not a name.
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    InvalidName(String),
    /// The container must run for this.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// A filter that the request does not know.
    #[error("invalid filter '{0}'")]
    InvalidFilter(String),
    /// A filter's value that means nothing.
    #[error("invalid filter '{key}=[{}]'", values.join(" "))]
    InvalidFilterValue {
        /// The filter.
        key: String,
        /// Its values.
        values: Vec<String>,
    },
    /// The request is wrong; the text says how.
    #[error("{0}")]
    Invalid(String),
    /// The object's state forbids it; the text says why.
    #[error("{0}")]
    Conflict(String),
    /// It may not be done at all; the text says why.
    #[error("{0}")]
    Forbidden(String),
    /// Something named in the request is not there.
    #[error("{0}")]
    NotFound(String),
    /// A container could not be started. Its text is kept as `State.Error`, its code as `State.ExitCode`.
    #[error("{text}")]
    NotStarted {
        /// What is told.
        text: String,
        /// 126: cannot be executed; 127: not found; 128: anything else.
        exit_code: i32,
    },
    /// A registry does not know who asks; the text is its own.
    #[error("{0}")]
    Unauthorized(String),
    /// The object already is as asked.
    #[error("not modified")]
    NotModified,
    /// Skiff or this kernel cannot do it.
    #[error("{0}")]
    NotImplemented(String),
    /// Another error, with words before it.
    #[error("{label}: {source}")]
    Labelled {
        /// The words.
        label: String,
        /// The error.
        source: Box<Error>,
    },
    /// The disk is full.
    #[error("{0}")]
    OutOfSpace(String),
    /// The host, the kernel or the engine failed; the text says at what.
    #[error("{0}")]
    Internal(String),
}

/// What Docker's users read before the words of a runtime.
pub(crate) const CREATE: &str =
    "failed to create task for container: failed to create shim task: OCI runtime create failed: ";

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NoSuchContainer(_)
            | Error::NoSuchImage(_)
            | Error::NoSuchExec(_)
            | Error::NoSuchNetwork(_)
            | Error::NoSuchVolume(_)
            | Error::NotFound(_) => ErrorKind::NotFound,
            Error::NameInUse { .. }
            | Error::VolumeInUse { .. }
            | Error::NotRunning(_)
            | Error::Conflict(_) => ErrorKind::Conflict,
            Error::Forbidden(_) => ErrorKind::Forbidden,
            Error::AmbiguousId(_)
            | Error::InvalidName(_)
            | Error::InvalidFilter(_)
            | Error::InvalidFilterValue { .. }
            | Error::Invalid(_) => ErrorKind::InvalidArgument,
            Error::Unauthorized(_) => ErrorKind::Unauthorized,
            Error::NotModified => ErrorKind::NotModified,
            Error::NotImplemented(_) => ErrorKind::NotImplemented,
            Error::NotStarted { exit_code: 126 | 127, .. } => ErrorKind::InvalidArgument,
            Error::NotStarted { .. } | Error::Internal(_) => ErrorKind::Internal,
            Error::Labelled { source, .. } => source.kind(),
            Error::OutOfSpace(_) => ErrorKind::OutOfSpace,
        }
    }

    /// A container could not be created by the runtime.
    pub(crate) fn create_failed(why: impl fmt::Display, exit_code: i32) -> Self {
        Self::NotStarted { text: format!("{CREATE}runc create failed: {why}"), exit_code }
    }

    /// The same error, with words before it.
    pub(crate) fn labelled(self, label: impl Into<String>) -> Self {
        Self::Labelled { label: label.into(), source: Box::new(self) }
    }
}

/// What every service answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn of_kind(kind: ErrorKind, text: String) -> Self {
        match kind {
            ErrorKind::InvalidArgument => Self::Invalid(text),
            ErrorKind::NotFound => Self::NotFound(text),
            ErrorKind::Conflict => Self::Conflict(text),
            ErrorKind::Forbidden => Self::Forbidden(text),
            ErrorKind::NotModified => Self::NotModified,
            ErrorKind::NotImplemented => Self::NotImplemented(text),
            ErrorKind::OutOfSpace => Self::OutOfSpace(text),
            ErrorKind::Unauthorized => Self::Unauthorized(text),
            ErrorKind::Unavailable | ErrorKind::Cancelled | ErrorKind::Internal => Self::Internal(text),
        }
    }
}

macro_rules! from_subsystem {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::of_kind(error.kind(), chain(&error))
            }
        }
    )*};
}

from_subsystem!(
    skiff_images::Error,
    skiff_distribution::Error,
    skiff_snapshots::Error,
    skiff_network::NetworkError,
    skiff_state::CommitError,
    skiff_volumes::Error
);

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let text = in_gos_words(error.to_string());
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::OutOfSpace(text),
            _ => Self::Internal(text),
        }
    }
}

/// `No space left on device (os error 28)` as Docker's users know it: `no space left on device`.
fn in_gos_words(text: String) -> String {
    let Some((_, after)) = text.split_once(" (os error ") else { return text };
    let Some(errno) = after.split(')').next().and_then(|n| n.parse().ok()) else { return text };
    let rusts = std::io::Error::from_raw_os_error(errno).to_string();
    text.replace(&rusts, &skiff_runtime::apply::errno_text(errno))
}

/// An error and what caused it, where the text does not already say so.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    in_gos_words(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_errors_are_told_in_gos_words() {
        let full = std::io::Error::from_raw_os_error(28);
        let named = std::io::Error::new(full.kind(), format!("failed to write `/x`: {full}"));
        let error = Error::from(named);
        assert_eq!(error.to_string(), "failed to write `/x`: no space left on device");
        assert_eq!(error.kind(), ErrorKind::OutOfSpace);
        assert_eq!(in_gos_words("nothing (os error x)".into()), "nothing (os error x)");
    }
}
