//! Failures as HTTP tells them: a status and `{"message": …}`.

use http::StatusCode;
use skiff_api::decode::DecodeError;
use skiff_types::ErrorKind;

/// A request that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

/// What a route answers.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// Docker answers 500 to numbers that it cannot read.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    pub(crate) fn page_not_found() -> Self {
        Self::new(ErrorKind::NotFound, "page not found")
    }

    /// A part of the API that does not exist yet.
    pub(crate) fn unsupported(what: &str) -> Self {
        Self::new(ErrorKind::NotImplemented, format!("{what} is not supported by this version of Skiff"))
    }

    pub(crate) fn status(&self) -> StatusCode {
        status(self.kind)
    }
}

/// The status of each kind of failure.
pub(crate) fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::NotModified => StatusCode::NOT_MODIFIED,
        ErrorKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::OutOfSpace | ErrorKind::Internal | ErrorKind::Cancelled => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

impl From<skiff_engine::Error> for Failure {
    fn from(error: skiff_engine::Error) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::invalid(match error {
            DecodeError::Trailing => error.to_string(),
            DecodeError::Empty => "invalid JSON: got EOF while reading request body".to_owned(),
            error => format!("invalid JSON: {error}"),
        })
    }
}
