//! What can go wrong, in the codes of the distribution specification.

use std::{io, path::PathBuf};

use skiff_types::ErrorKind;

use crate::{digest::Digest, name::Name};

/// A request that was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The repository does not have this blob.
    #[error("blob unknown to registry")]
    BlobUnknown {
        /// The blob.
        digest: Digest,
    },
    /// No such upload, or of another repository.
    #[error("blob upload unknown to registry")]
    UploadUnknown,
    /// The upload cannot go on like this.
    #[error("blob upload invalid: {reason}")]
    UploadInvalid {
        /// Why.
        reason: String,
    },
    /// A chunk that does not begin where the last one ended.
    #[error("invalid content range: the upload holds {held} bytes")]
    RangeInvalid {
        /// Where the next chunk begins.
        held: u64,
        /// Where to go on.
        location: String,
    },
    /// Not a digest, or not the content's.
    #[error("provided digest did not match uploaded content: {reason}")]
    DigestInvalid {
        /// Why.
        reason: String,
    },
    /// A manifest names content that the repository does not have.
    #[error("manifest references content unknown to the repository")]
    ManifestBlobUnknown {
        /// What is missing.
        digests: Vec<Digest>,
    },
    /// Not a manifest.
    #[error("manifest invalid: {reason}")]
    ManifestInvalid {
        /// Why.
        reason: String,
    },
    /// A manifest of more than 4 MiB.
    #[error("manifest invalid: it is longer than {limit} bytes")]
    ManifestTooLarge {
        /// The longest.
        limit: usize,
    },
    /// The repository has no such manifest.
    #[error("manifest unknown")]
    ManifestUnknown {
        /// The repository.
        name: Name,
        /// What was asked for.
        reference: String,
    },
    /// Not a repository name.
    #[error("invalid repository name")]
    NameInvalid {
        /// As it was sent.
        name: String,
    },
    /// No such repository.
    #[error("repository name not known to registry")]
    NameUnknown {
        /// The repository.
        name: Name,
    },
    /// Not a tag.
    #[error("manifest tag did not match URI: {tag:?} is not a tag")]
    TagInvalid {
        /// As it was sent.
        tag: String,
    },
    /// `n` is not a number.
    #[error("invalid number of results requested")]
    PageInvalid,
    /// Something about the request's form.
    #[error("{reason}")]
    Invalid {
        /// What.
        reason: String,
    },
    /// Who asks has not said who they are, or wrongly.
    #[error("authentication required")]
    Unauthorized {
        /// The `WWW-Authenticate` header.
        challenge: String,
    },
    /// Who asks may not.
    #[error("requested access to the resource is denied: {reason}")]
    Denied {
        /// Why.
        reason: String,
    },
    /// The tag cannot be moved or removed.
    #[error("tag {tag} is immutable")]
    TagImmutable {
        /// The tag.
        tag: String,
    },
    /// The project's quota would be exceeded.
    #[error("quota of project {project} exceeded: {used} of {quota} bytes are used")]
    QuotaExceeded {
        /// The project.
        project: String,
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        quota: u64,
    },
    /// This registry does not do that.
    #[error("the operation is unsupported: {reason}")]
    Unsupported {
        /// Why.
        reason: String,
    },
    /// No such thing (accounts, projects, pages).
    #[error("no such {what}: {name}")]
    NotFound {
        /// The sort of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It exists already, or is in use.
    #[error("{reason}")]
    Conflict {
        /// What stands in the way.
        reason: String,
    },
    /// Too many attempts.
    #[error("too many requests: {reason}")]
    TooMany {
        /// Of what.
        reason: &'static str,
    },
    /// The registry behind a cache does not answer as it should.
    #[error("{host}: {reason}")]
    Upstream {
        /// The registry.
        host: String,
        /// What happened.
        reason: String,
    },
    /// The object store that holds the content does not do what it should; nothing is lost by that.
    #[error("the registry's storage is not available: {reason}")]
    Storage {
        /// What happened.
        reason: String,
    },
    /// The client left before its body was whole.
    #[error("the request's body ended early")]
    Cut,
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store refused.
    #[error(transparent)]
    Commit(#[from] skiff_state::CommitError),
    /// A fault of the registry.
    #[error("internal error: {reason}")]
    Internal {
        /// What.
        reason: String,
    },
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BlobUnknown { .. }
            | Self::UploadUnknown
            | Self::ManifestBlobUnknown { .. }
            | Self::ManifestUnknown { .. }
            | Self::NameUnknown { .. }
            | Self::NotFound { .. } => ErrorKind::NotFound,
            Self::UploadInvalid { .. }
            | Self::RangeInvalid { .. }
            | Self::DigestInvalid { .. }
            | Self::ManifestInvalid { .. }
            | Self::ManifestTooLarge { .. }
            | Self::NameInvalid { .. }
            | Self::TagInvalid { .. }
            | Self::PageInvalid
            | Self::Invalid { .. } => ErrorKind::InvalidArgument,
            Self::Unauthorized { .. } => ErrorKind::Unauthorized,
            Self::Denied { .. } | Self::TagImmutable { .. } | Self::QuotaExceeded { .. } => {
                ErrorKind::Forbidden
            }
            Self::Conflict { .. } => ErrorKind::Conflict,
            Self::Unsupported { .. } => ErrorKind::NotImplemented,
            Self::TooMany { .. } | Self::Upstream { .. } | Self::Storage { .. } => ErrorKind::Unavailable,
            Self::Cut => ErrorKind::Cancelled,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::OutOfSpace,
                _ => ErrorKind::Internal,
            },
            Self::Commit(error) => error.kind(),
            Self::Internal { .. } => ErrorKind::Internal,
        }
    }

    /// What a client is told. Where the registry's files are is for the log.
    pub(crate) fn told(&self) -> String {
        match (self, self.kind()) {
            (Self::Io { .. } | Self::Commit(_), ErrorKind::OutOfSpace) => {
                "the registry has no room left".to_owned()
            }
            (Self::Io { .. } | Self::Commit(_), _) => {
                "internal error: the registry cannot use its files, and its log says why".to_owned()
            }
            _ => self.to_string(),
        }
    }

    /// The code of the specification, or docker's own where the specification has none.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BlobUnknown { .. } => "BLOB_UNKNOWN",
            Self::UploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::UploadInvalid { .. } | Self::Cut => "BLOB_UPLOAD_INVALID",
            Self::RangeInvalid { .. } => "RANGE_INVALID",
            Self::DigestInvalid { .. } => "DIGEST_INVALID",
            Self::ManifestBlobUnknown { .. } => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid { .. } => "MANIFEST_INVALID",
            Self::ManifestTooLarge { .. } => "SIZE_INVALID",
            Self::ManifestUnknown { .. } => "MANIFEST_UNKNOWN",
            Self::NameInvalid { .. } => "NAME_INVALID",
            Self::NameUnknown { .. } => "NAME_UNKNOWN",
            Self::TagInvalid { .. } => "TAG_INVALID",
            Self::PageInvalid => "PAGINATION_NUMBER_INVALID",
            Self::Unauthorized { .. } => "UNAUTHORIZED",
            Self::Denied { .. } | Self::TagImmutable { .. } | Self::QuotaExceeded { .. } => "DENIED",
            Self::Unsupported { .. } => "UNSUPPORTED",
            Self::NotFound { .. } => "NOT_FOUND",
            Self::Conflict { .. } => "CONFLICT",
            Self::TooMany { .. } => "TOOMANYREQUESTS",
            Self::Upstream { .. } | Self::Storage { .. } => "UNAVAILABLE",
            Self::Invalid { .. } => "INVALID",
            Self::Io { .. } | Self::Commit(_) | Self::Internal { .. } => "UNKNOWN",
        }
    }
}

/// Names the file of an error of the operating system.
pub(crate) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_where_the_files_are() {
        for (number, words) in [(28, "no room"), (5, "its log says why")] {
            let error = at("/srv/registry/uploads/x")(io::Error::from_raw_os_error(number));
            assert!(error.to_string().contains("/srv/registry"), "{error}");
            assert!(!error.told().contains('/') && error.told().contains(words), "{}", error.told());
        }
        assert_eq!(Error::PageInvalid.told(), Error::PageInvalid.to_string());
    }
}
