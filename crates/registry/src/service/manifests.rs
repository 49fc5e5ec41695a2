//! Manifests: given, stored, removed.

use std::sync::Arc;

use bytes::Bytes;

use super::{Registry, unstoppable};
use crate::{
    Error,
    auth::Caller,
    catalog::{Found, NewManifest},
    digest::{Algorithm, Digest},
    manifest::{MediaType, describe},
    name::{Name, Reference},
};

/// A manifest that was stored.
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) media_type: MediaType,
    pub(crate) size: u64,
    pub(crate) subject: Option<Digest>,
}

impl Registry {
    /// A manifest by tag or digest; its bytes only if they are wanted.
    pub(crate) async fn get_manifest(
        self: Arc<Self>,
        name: &Name,
        reference: &Reference,
        wanted: bool,
    ) -> Result<(Found, Bytes), Error> {
        self.refresh(name, reference).await?;
        let found = self.catalog.manifest(name, reference)?;
        if !wanted {
            return Ok((found, Bytes::new()));
        }
        let bytes = self.manifest_bytes(&found.digest).await?;
        Ok((found, bytes))
    }

    /// The bytes of a manifest that the catalog knows.
    pub(crate) async fn manifest_bytes(self: &Arc<Self>, digest: &Digest) -> Result<Bytes, Error> {
        if let Some(bytes) = self.manifests.get(digest) {
            return Ok(bytes);
        }
        let bytes = self.content.read(digest).await?;
        self.manifests.put(digest, &bytes);
        Ok(bytes)
    }

    /// Stores a manifest whose content is there.
    pub(crate) async fn put_manifest(
        self: Arc<Self>,
        caller: Caller,
        name: Name,
        reference: Reference,
        bytes: Bytes,
        content_type: Option<String>,
    ) -> Result<Stored, Error> {
        self.writable()?;
        unstoppable(async move {
            let kind = content_type.as_deref();
            let stored = self.store_manifest(&caller.name, &name, &reference, bytes, kind, false).await?;
            match &reference {
                Reference::Tag(tag) => {
                    self.note(&caller, "push", format_args!("{name}:{tag} {}", stored.digest));
                }
                Reference::Digest(digest) => self.note(&caller, "push", format_args!("{name}@{digest}")),
            }
            self.tell_pushed(&caller, &name, &reference, &stored);
            // Without a tag, what has a subject may go with that one's; anything else waits for its index.
            if matches!(reference, Reference::Tag(_)) || stored.subject.is_some() {
                self.replicator.wake();
            }
            Ok(stored)
        })
        .await
    }

    /// The same for a cache, whose content comes when somebody asks for it (`sparse`).
    pub(crate) async fn store_manifest(
        self: &Arc<Self>,
        by: &str,
        name: &Name,
        reference: &Reference,
        bytes: Bytes,
        content_type: Option<&str>,
        sparse: bool,
    ) -> Result<Stored, Error> {
        let described = describe(&bytes, content_type)?;
        let digest = match reference {
            Reference::Tag(_) => Digest::of(Algorithm::Sha256, &bytes),
            Reference::Digest(said) => {
                let digest = Digest::of(said.algorithm(), &bytes);
                if digest != *said {
                    return Err(Error::DigestInvalid { reason: format!("the manifest has {digest}") });
                }
                digest
            }
        };
        let pin = self.content.pin(&digest).await;
        if !self.catalog.knows(&digest) || self.content.size(&digest).await?.is_none() {
            self.content.write(&pin, &bytes).await?;
        }
        let (media_type, subject) = (described.media_type, described.subject.clone());
        let size = bytes.len() as u64;
        let new = NewManifest { name, reference, digest: digest.clone(), size, described, by, sparse };
        let put = self.catalog.put_manifest(new, &self.accounts.policy(name.project()));
        drop(pin);
        match put {
            Ok(put) => {
                if let Some(pending) = put.pending {
                    self.catalog.durable(pending).await?;
                }
                self.manifests.put(&digest, &bytes);
                Ok(Stored { digest, media_type, size, subject })
            }
            Err(error) => {
                self.try_discard(&[digest]).await;
                Err(error)
            }
        }
    }

    /// Removes a tag, or a manifest with its tags.
    pub(crate) async fn delete_manifest(
        self: Arc<Self>,
        caller: &Caller,
        name: &Name,
        reference: &Reference,
    ) -> Result<(), Error> {
        self.deletable()?;
        let policy = self.accounts.policy(name.project());
        let removed = match reference {
            Reference::Tag(tag) => self.catalog.remove_tag(name, tag, &policy)?,
            Reference::Digest(digest) => self.catalog.remove_manifest(name, digest, &policy)?,
        };
        match reference {
            Reference::Tag(tag) => self.note(caller, "remove", format_args!("{name}:{tag}")),
            Reference::Digest(digest) => self.note(caller, "remove", format_args!("{name}@{digest}")),
        }
        self.tell_removed(caller, name, Some(reference));
        unstoppable(async move { self.removed(removed).await }).await
    }

    /// Removes a repository with everything in it.
    pub(crate) async fn delete_repository(
        self: Arc<Self>,
        caller: &Caller,
        name: &Name,
    ) -> Result<(), Error> {
        self.deletable()?;
        let removed = self.catalog.remove_repository(name, &self.accounts.policy(name.project()))?;
        self.note(caller, "remove", format_args!("{name} (repository)"));
        self.tell_removed(caller, name, None);
        unstoppable(async move { self.removed(removed).await }).await
    }
}
