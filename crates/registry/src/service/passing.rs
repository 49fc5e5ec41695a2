//! Blobs of a cache that are passed on while they come: who asks first does not wait until all of it is here.
//!
//! Readers read the file that is being written, as far as it has come. The last byte is held back until the whole is verified:
//! nobody has a complete blob that is not what its digest says.

use std::{fs::File, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch;

use super::Registry;
use crate::{
    Error,
    digest::Digest,
    http::reply::{Body, BodyError},
    name::Name,
};

/// Bytes that are read at once.
const PIECE: u64 = 256 << 10;

/// How far a blob has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Progress {
    /// So many bytes are in the file.
    Coming(u64),
    /// All of it, verified.
    Whole,
}

/// A blob on its way here.
#[derive(Clone, Debug)]
pub(crate) struct Passing {
    /// The repository that it is fetched for: others may not have it.
    pub(super) name: Name,
    pub(super) file: Arc<File>,
    /// Bytes of the whole.
    pub(crate) size: u64,
    /// Its sender is gone when the blob has failed.
    pub(super) progress: watch::Receiver<Progress>,
}

impl Registry {
    /// A blob that is being fetched for this repository, from now on if it was not; none if it is here or this is no cache.
    pub(crate) async fn passing(
        self: &Arc<Self>,
        name: &Name,
        digest: &Digest,
    ) -> Result<Option<Passing>, Error> {
        let Some(proxy) = self.proxy.clone().filter(|_| self.catalog.blob(name, digest).is_err()) else {
            return Ok(None);
        };
        let fetch = proxy.fetch(digest);
        let mut passing = fetch.passing.subscribe();
        let (this, of, wanted) = (self.clone(), name.clone(), digest.clone());
        let mut whole = tokio::spawn(async move { this.fetch_blob(&of, &wanted).await });
        tokio::select! {
            passing = passing.wait_for(|p| p.as_ref().is_some_and(|p| p.name == *name)) => {
                Ok(passing.ok().and_then(|passing| passing.clone()))
            }
            ended = &mut whole => {
                ended.map_err(|error| Error::Internal { reason: error.to_string() })?.map(|()| None)
            }
        }
    }
}

impl Passing {
    /// The blob as a body, which is cut off if it fails.
    pub(crate) fn into_body(self) -> Body {
        let pieces = stream::try_unfold((self, 0), |(mut passing, at)| async move {
            if at == passing.size {
                return Ok::<_, BodyError>(None);
            }
            let until = loop {
                let until = match *passing.progress.borrow_and_update() {
                    Progress::Coming(bytes) => bytes.min(passing.size - 1),
                    Progress::Whole => passing.size,
                };
                if until > at {
                    break until;
                }
                passing.progress.changed().await?;
            };
            let (file, length) = (passing.file.clone(), (until - at).min(PIECE));
            let piece = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; length as usize];
                file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
            });
            let piece = piece.await??;
            Ok(Some((Frame::data(piece), (passing, at + length))))
        });
        StreamBody::new(Box::pin(pieces)).boxed_unsync()
    }
}
