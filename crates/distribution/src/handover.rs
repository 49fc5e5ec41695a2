//! Blobs that a registry of this machine takes and gives as files (crate `handover`): which upload or blob it is about was
//! settled over HTTP, as everywhere else.

use std::{
    fs::File,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use http::{HeaderName, Method, StatusCode};
use skiff_types::Digest;

use crate::{
    Repository, Result, Upload,
    auth::Scopes,
    exchange::{Answer, Request},
    media::Descriptor,
};

pub(crate) const ASK: HeaderName = HeaderName::from_static(skiff_handover::HEADER);
const TICKET: HeaderName = HeaderName::from_static(skiff_handover::TICKET);

/// The socket that an answer names.
pub(crate) fn offered(answer: &Answer) -> Option<PathBuf> {
    answer.header(ASK).map(PathBuf::from)
}

impl Upload<'_> {
    /// Whether [`hand_over`](Self::hand_over) may do it.
    pub fn takes_files(&self) -> bool {
        self.socket.is_some()
    }

    /// Gives the registry a file as the whole content of this upload, which is finished then. If it was not taken, the
    /// upload goes on as if nothing had been tried.
    pub async fn hand_over(&self, file: File, digest: &Digest) -> bool {
        let Some((socket, id)) = self.socket.clone().zip(self.id()) else { return false };
        let (path, digest) = (self.repository.path.clone(), digest.to_string());
        let given = move || skiff_handover::give(&socket, &path, &id, &digest, file.as_fd());
        match tokio::task::spawn_blocking(given).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a layer is sent, because its file was not taken");
                false
            }
            Err(_) => false,
        }
    }

    /// The upload's id: the end of its address.
    fn id(&self) -> Option<String> {
        let path = self.url.path.split('?').next()?;
        let id = Path::new(path).file_name()?.to_str()?;
        Some(id.to_owned())
    }
}

impl Repository<'_> {
    /// The file of a blob, if the registry is on this machine and gives it. Nothing of it is verified.
    ///
    /// # Errors
    /// Those of asking.
    pub async fn blob_file(&self, blob: &Descriptor) -> Result<Option<File>> {
        let request =
            Request::new(Method::HEAD, self.url(&format!("blobs/{}", blob.digest))).header(ASK, "1");
        let answer = self.session.send(request, &Scopes::pull(&self.path)).await?;
        let ticket = answer.header(TICKET).map(str::to_owned);
        let offer = offered(&answer).zip(ticket).filter(|_| answer.status() == StatusCode::OK);
        answer.discard().await;
        let Some((socket, ticket)) = offer else { return Ok(None) };
        let taken = tokio::task::spawn_blocking(move || skiff_handover::take(&socket, &ticket)).await;
        Ok(match taken {
            Ok(Ok(file)) => Some(file),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a layer is fetched, because its file was not given");
                None
            }
            Err(_) => None,
        })
    }
}
