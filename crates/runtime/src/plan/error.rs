//! Why a specification cannot be turned into a plan.

use skiff_types::ErrorKind;

/// A specification that is wrong, or asks for what Skiff or this kernel cannot do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A required part of the specification is missing.
    #[error("{field} is missing")]
    Missing {
        /// The field, in the configuration's own words (`process.args`).
        field: &'static str,
    },
    /// A part of the specification has a value it cannot have.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field, in the configuration's own words.
        field: &'static str,
        /// The value and what is wrong with it.
        reason: String,
    },
    /// A part of the specification is right but cannot be had here.
    #[error("{field} is not supported: {reason}")]
    Unsupported {
        /// The field, in the configuration's own words.
        field: &'static str,
        /// What is missing, in the kernel or in Skiff.
        reason: String,
    },
}

impl PlanError {
    /// Which sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing { .. } | Self::Invalid { .. } => ErrorKind::InvalidArgument,
            Self::Unsupported { .. } => ErrorKind::NotImplemented,
        }
    }

    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { field, reason: reason.into() }
    }

    pub(crate) fn unsupported(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Unsupported { field, reason: reason.into() }
    }
}
