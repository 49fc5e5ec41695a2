//! Errors of registries in Docker's words.

use skiff_distribution::{Error as RegistryError, RequestError};
use skiff_images::Reference;
use skiff_types::ErrorKind;

use crate::Error;

/// An error of a pull of this name.
pub(super) fn pull(error: RegistryError, reference: &Reference) -> Error {
    let name = reference.familiar_name();
    match error.code() {
        "DENIED" => Error::NotFound(format!(
            "pull access denied for {name}, repository does not exist or may require 'docker login': {error}"
        )),
        "MANIFEST_UNKNOWN" => {
            Error::NotFound(format!("manifest for {} not found: {error}", reference.familiar()))
        }
        "NAME_UNKNOWN" => Error::NotFound(format!("repository {name} not found: {error}")),
        _ => error.into(),
    }
}

/// An error of a push. It does not say at which address, as Docker's does not.
pub(super) fn push(error: RegistryError) -> Error {
    match error {
        RegistryError::Request {
            source: source @ (RequestError::NoCredentials | RequestError::Token { .. }),
            ..
        } => Error::Internal(source.to_string()),
        error => error.into(),
    }
}

/// An error of receiving a layer.
pub(super) fn layer(error: skiff_images::Error) -> Error {
    match error {
        skiff_images::Error::Digest { expected, .. } => {
            Error::Internal(format!("filesystem layer verification failed for digest {expected}"))
        }
        error @ (skiff_images::Error::Snapshot(_)
        | skiff_images::Error::Io(_)
        | skiff_images::Error::Archive(_)) => match error.kind() {
            ErrorKind::OutOfSpace => error.into(),
            _ => Error::Internal(format!("failed to register layer: {}", Error::from(error))),
        },
        error => error.into(),
    }
}

/// The same error once more, for another pull that waited for the same layer.
pub(super) fn copied(error: &Error) -> Error {
    Error::of_kind(error.kind(), error.to_string())
}
