//! Blobs: given, received, mounted, removed.

use std::sync::Arc;

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::{Registry, blocking, unstoppable};
use crate::{
    Error,
    auth::Caller,
    content::{Object, Opened, Received, UploadId, Writing},
    digest::{Algorithm, Digest},
    http::reply::{Body, BodyError, Part, Source},
    name::{Name, Reference},
    range::Span,
};

impl Registry {
    /// The size of a blob that the repository may give.
    pub(crate) async fn blob(self: &Arc<Self>, name: &Name, digest: &Digest) -> Result<u64, Error> {
        self.fetch_blob(name, digest).await?;
        self.catalog.blob(name, digest)
    }

    /// Bytes of a blob.
    pub(crate) async fn open_blob(&self, digest: &Digest, span: Span) -> Result<Source, Error> {
        Ok(match self.content.read_part(digest, span).await? {
            Opened::File(file) => Source::File(Part { file, span }),
            Opened::Object(object) => Source::Stream(object_body(*object)),
        })
    }

    /// Where a client may read a blob itself.
    pub(crate) async fn blob_elsewhere(&self, digest: &Digest) -> Result<Option<String>, Error> {
        match self.content.bucket() {
            Some(bucket) => bucket.redirect(digest).await,
            None => Ok(None),
        }
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

    /// Gives up an upload that its project has no room for: nobody could go on with it.
    pub(crate) async fn give_up(self: &Arc<Self>, writing: Writing) -> Result<(), Error> {
        let this = self.clone();
        blocking(move || this.uploads.drop_received(&writing.finish())).await
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
        let (digest, size) = (received.digest.clone(), received.size);
        // Before it is sent to a bucket for nothing; others may take the room meanwhile.
        if let Err(error) = self.catalog.room(&name, &digest, size, &policy) {
            blocking(move || self.uploads.drop_received(&received)).await?;
            return Err(error);
        }
        let pin = self.content.pin(&digest).await;
        if self.catalog.knows(&digest) && self.content.size(&digest).await? == Some(size) {
            let (this, received) = (self.clone(), received.clone());
            blocking(move || this.uploads.drop_received(&received)).await?;
        } else {
            self.content.place(&pin, &received.path).await?;
        }
        let linked = self.catalog.link(&name, &digest, size, &policy);
        // From here on it counts as a blob.
        self.uploads.taken(&received);
        drop(pin);
        match linked {
            Ok(None) => Ok(()),
            Ok(Some(pending)) => self.catalog.durable(pending).await,
            Err(error) => {
                self.try_discard(&[digest]).await;
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
        self.tell_removed(caller, name, Some(&Reference::Digest(digest.clone())));
        unstoppable(async move { self.removed(removed).await }).await
    }
}

/// An object as a body, which is cut off if the store fails for too long.
fn object_body(object: Object) -> Body {
    let pieces = stream::try_unfold(object, |mut object| async move {
        let piece = object.next().await?;
        Ok::<_, BodyError>(piece.map(|piece| (Frame::data(piece), object)))
    });
    StreamBody::new(Box::pin(pieces)).boxed_unsync()
}
