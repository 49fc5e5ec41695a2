//! Blobs: given, received, mounted, removed.

use std::{fs::File, sync::Arc};

use super::{Registry, blocking, unstoppable};
use crate::{
    Error,
    auth::Caller,
    content::{Received, UploadId, Writing},
    digest::{Algorithm, Digest},
    name::Name,
};

impl Registry {
    /// The size of a blob that the repository may give.
    pub(crate) async fn blob(self: &Arc<Self>, name: &Name, digest: &Digest) -> Result<u64, Error> {
        self.fetch_blob(name, digest).await?;
        self.catalog.blob(name, digest)
    }

    /// The file of a blob. Opening reads a directory entry: quick, and most often in memory.
    pub(crate) async fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        self.content.file(digest)
    }

    /// Begins an upload.
    pub(crate) async fn begin_upload(
        self: &Arc<Self>,
        name: &Name,
        algorithm: Algorithm,
    ) -> Result<UploadId, Error> {
        self.writable()?;
        let (this, name) = (self.clone(), name.clone());
        blocking(move || this.uploads.begin(&name, algorithm)).await?
    }

    /// The right to write to an upload.
    pub(crate) async fn open_upload(
        self: &Arc<Self>,
        name: &Name,
        id: &UploadId,
        algorithm: Option<Algorithm>,
    ) -> Result<Writing, Error> {
        self.writable()?;
        let (this, name, id) = (self.clone(), name.clone(), id.clone());
        blocking(move || this.uploads.write(&name, &id, algorithm)).await?
    }

    /// Ends an upload: its bytes become a blob of the repository, if they have the digest that the client says.
    pub(crate) async fn finish_upload(
        self: Arc<Self>,
        name: Name,
        writing: Writing,
        expected: Digest,
    ) -> Result<(), Error> {
        unstoppable(async move {
            let received = writing.finish();
            if received.digest != expected {
                let reason = format!("the content has {}", received.digest);
                blocking(move || self.uploads.drop_received(&received)).await?;
                return Err(Error::DigestInvalid { reason });
            }
            self.adopt(name, received).await
        })
        .await
    }

    /// Puts a verified file in its place, if none is there, and lets the repository give it.
    pub(crate) async fn adopt(self: Arc<Self>, name: Name, received: Received) -> Result<(), Error> {
        let policy = self.accounts.policy(name.project());
        self.catalog.room(&name, 0, &policy)?;
        let (digest, size) = (received.digest.clone(), received.size);
        let pin = self.content.pin(&digest).await;
        let this = self.clone();
        let (pin, placed) = blocking(move || {
            let there = this.catalog.knows(pin.digest())
                && this
                    .content
                    .file(pin.digest())
                    .and_then(|f| f.metadata().map_err(crate::error::at(&received.path)))
                    .is_ok_and(|metadata| metadata.len() == size);
            let placed = if there {
                this.uploads.drop_received(&received);
                Ok(())
            } else {
                this.uploads.taken(&received);
                this.content.place(&pin, &received.path)
            };
            (pin, placed)
        })
        .await?;
        placed?;
        let linked = self.catalog.link(&name, &digest, size, &policy);
        drop(pin);
        match linked {
            Ok(None) => Ok(()),
            Ok(Some(pending)) => self.catalog.durable(pending).await,
            Err(error) => {
                let this = self.clone();
                blocking(move || this.content.discard(&digest, || this.catalog.knows(&digest))).await?;
                Err(error)
            }
        }
    }

    /// Lets a repository give a blob of another one. Whether that one has it.
    pub(crate) async fn mount(
        self: Arc<Self>,
        from: &Name,
        to: &Name,
        digest: &Digest,
    ) -> Result<bool, Error> {
        self.writable()?;
        let policy = self.accounts.policy(to.project());
        match self.catalog.mount(from, to, digest, &policy)? {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(pending)) => self.catalog.durable(pending).await.map(|()| true),
        }
    }

    /// Stops a repository from giving a blob.
    pub(crate) async fn delete_blob(
        self: Arc<Self>,
        caller: &Caller,
        name: &Name,
        digest: &Digest,
    ) -> Result<(), Error> {
        self.deletable()?;
        let removed = self.catalog.unlink(name, digest)?;
        self.note(caller, "remove", format_args!("{name}@{digest} (blob)"));
        unstoppable(async move { self.removed(removed).await }).await
    }
}
