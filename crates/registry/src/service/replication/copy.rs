//! One tag on its way to another registry: blobs first, then manifests from the inside out, then the tag, then what refers to
//! them (signatures, attestations). What is there already is asked for and not sent.

use std::{io, sync::Arc};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use skiff_distribution::{Credentials, Error, Purpose, Repository, Secret, Session};
use tokio::sync::mpsc;

use super::{
    Registry,
    referrers::{Referrers, state},
};
use crate::{
    accounts::records::Replication,
    catalog::ManifestRecord,
    digest::Digest,
    http::reply::Body,
    name::{Name, Tag},
    range::Span,
};

/// How many pieces of a blob wait to be sent.
const PIECES: usize = 4;
/// How deep indexes may be within indexes.
const DEEPEST: usize = 4;

/// Why a tag could not be sent.
pub(super) struct Failure {
    pub(super) reason: String,
    /// Others would fare no better: the target is away, or it does not know us.
    pub(super) of_the_target: bool,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { reason, of_the_target: false }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let of_the_target = match &error {
            Error::Registry { status, .. } | Error::Status(status) => {
                let general = [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(status);
                general || !status.is_client_error()
            }
            Error::Untrue(_) | Error::Digest { .. } | Error::Body(_) => false,
            _ => true,
        };
        Self { reason: error.to_string(), of_the_target }
    }
}

/// The digest as the client of registries has it.
fn theirs(digest: &Digest) -> Result<skiff_types::Digest, String> {
    digest.to_string().parse().map_err(|_| format!("{digest} cannot be sent: only sha256 can"))
}

impl Registry {
    /// Makes a tag of a target what it is here. Answers the state that the target then has.
    pub(super) async fn copy(
        self: &Arc<Self>,
        to: &Replication,
        name: &Name,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<Digest, Failure> {
        let session = self.open_target(to).await?;
        let repository = session.repository(&to.path(name));
        let there = repository.resolve(tag.as_str()).await?;
        if there.is_none_or(|found| found.digest.to_string() != digest.to_string()) {
            self.copy_manifest(&repository, name, digest, Some(tag), DEEPEST).await?;
        }
        let referrers = self.referring(name, digest);
        for referrer in &referrers {
            if repository.resolve(&referrer.to_string()).await?.is_none() {
                self.copy_manifest(&repository, name, referrer, None, DEEPEST).await?;
            }
        }
        Ok(state(digest, referrers))
    }

    async fn open_target(&self, to: &Replication) -> Result<Session, Failure> {
        let credentials = Credentials {
            username: to.user.clone(),
            password: Secret::new(to.password.clone()),
            ..Credentials::default()
        };
        let client = &self.replicator.client;
        let candidates = client.candidates(&to.registry, Purpose::Push).await?;
        let mut last = Error::Settings(format!("no endpoints found for {}", to.registry));
        for candidate in candidates {
            match client.open(&candidate, &credentials).await {
                Ok(session) => return Ok(session),
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    fn record(&self, name: &Name, digest: &Digest) -> Result<ManifestRecord, String> {
        let contents = self.catalog.read();
        let manifest = contents.repositories.get(name).and_then(|r| r.manifests.get(digest));
        manifest.map(|m| m.record.clone()).ok_or_else(|| format!("{name}@{digest} is gone"))
    }

    fn referring(&self, name: &Name, digest: &Digest) -> Vec<Digest> {
        let contents = self.catalog.read();
        contents.repositories.get(name).map_or_else(Vec::new, |r| Referrers::new(r).of(digest))
    }

    async fn copy_manifest(
        self: &Arc<Self>,
        repository: &Repository<'_>,
        name: &Name,
        digest: &Digest,
        tag: Option<&Tag>,
        depth: usize,
    ) -> Result<(), Failure> {
        let record = self.record(name, digest)?;
        let depth = depth.checked_sub(1).ok_or_else(|| "its indexes are too deep".to_owned())?;
        for child in &record.manifests {
            Box::pin(self.copy_manifest(repository, name, child, None, depth)).await?;
        }
        for blob in &record.blobs {
            self.copy_blob(repository, blob).await?;
        }
        let bytes = self.manifest_bytes(digest).await.map_err(|e| e.to_string())?;
        let reference = tag.map_or_else(|| digest.to_string(), Tag::to_string);
        Ok(repository.put_manifest(&reference, record.media_type.as_str(), bytes).await?)
    }

    async fn copy_blob(
        self: &Arc<Self>,
        repository: &Repository<'_>,
        digest: &Digest,
    ) -> Result<(), Failure> {
        let id = theirs(digest)?;
        if repository.blob_size(&id).await?.is_some() {
            return Ok(());
        }
        let mut upload = repository.upload().await?;
        let size = self.catalog.read().blobs.get(digest).map(|blob| blob.size);
        let size = size.ok_or_else(|| format!("{digest} is gone"))?;
        let source = self.open_blob(digest, Span { from: 0, to: size }).await.map_err(|e| e.to_string())?;
        let (sender, pieces) = mpsc::channel(PIECES);
        let reading = tokio::spawn(pass(source.into_body(), sender));
        upload.send(pieces).await?;
        reading.await.map_err(|e| e.to_string())?;
        Ok(upload.finish(&id).await?)
    }
}

/// Passes a body on until its end or until nobody takes it.
async fn pass(mut body: Body, sender: mpsc::Sender<io::Result<Bytes>>) {
    while let Some(frame) = body.frame().await {
        let piece = match frame {
            Ok(frame) => frame.into_data().map_err(|_| io::ErrorKind::InvalidData.into()),
            Err(error) => Err(io::Error::other(error)),
        };
        let failed = piece.is_err();
        if sender.send(piece).await.is_err() || failed {
            return;
        }
    }
}
