//! A layer's blob that goes from one registry to another as it is, through this machine's memory only.

use std::{io, sync::Arc};

use bytes::Bytes;
use skiff_distribution::{Descriptor, Purpose, Session};
use skiff_images::KnownBlob;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{PushRequest, Registries, parse};
use crate::{Error, Result};

/// A blob in another registry.
#[derive(Clone)]
pub(super) struct Source {
    session: Arc<Session>,
    path: String,
    blob: Descriptor,
}

impl Registries {
    /// Where a blob may be had: the first of these repositories that has it.
    ///
    /// # Errors
    /// None has it, or none can be reached: why the last could not give it.
    pub(super) async fn source(
        &self,
        request: &PushRequest,
        blob: &Descriptor,
        known: &[KnownBlob],
    ) -> Result<Source> {
        let mut last = Error::NotFound(format!("no registry is known that has {}", blob.digest));
        for known in known.iter().filter(|known| known.digest == blob.digest) {
            let from = parse(&known.repository)?;
            // A password is for the registry that it was given for.
            let credentials = request.sources.get(from.domain()).cloned().unwrap_or_default();
            for candidate in self.client.candidates(from.domain(), Purpose::Pull).await? {
                let asked = async {
                    let session = self.client.open(&candidate, &credentials).await?;
                    let found = session.repository(from.path()).has_blob(&blob.digest).await?;
                    Ok::<_, skiff_distribution::Error>((session, found))
                };
                match asked.await {
                    Ok((session, true)) => {
                        let (session, path) = (Arc::new(session), from.path().to_owned());
                        return Ok(Source { session, path, blob: blob.clone() });
                    }
                    Ok((_, false)) => {
                        last = Error::NotFound(format!("{} does not have it", from.familiar_name()))
                    }
                    Err(error) => last = error.into(),
                }
            }
        }
        Err(last)
    }
}

impl Source {
    /// How many bytes it has.
    pub(super) fn size(&self) -> u64 {
        self.blob.size
    }

    /// Sends the blob from `offset` on into `pieces`, and tells how far it is.
    pub(super) fn read(
        self,
        offset: u64,
        pieces: mpsc::Sender<io::Result<Bytes>>,
        mut tell: impl FnMut(u64) + Send + 'static,
    ) -> JoinHandle<io::Result<Descriptor>> {
        tokio::spawn(async move {
            let repository = self.session.repository(&self.path);
            let mut reader = repository.blob(&self.blob, offset);
            let mut sent = offset;
            loop {
                match reader.next().await {
                    Ok(Some(piece)) => {
                        sent += piece.len() as u64;
                        tell(sent);
                        pieces.send(Ok(piece)).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
                    }
                    // The registry that gets it verifies its digest.
                    Ok(None) => return Ok(self.blob.clone()),
                    Err(error) => {
                        let text = error.to_string();
                        // The one that waits for pieces has gone, or fails with this.
                        let _ = pieces.send(Err(io::Error::other(text.clone()))).await;
                        return Err(io::Error::other(text));
                    }
                }
            }
        })
    }
}
