//! Sending blobs (distribution-spec, "Push"): what is there already is not sent, what is in another repository is mounted, the
//! rest goes in one request, or in several where that is cut short.

use std::path::PathBuf;

use http::{HeaderName, Method, StatusCode, header};
use http_body_util::BodyExt;
use skiff_types::Digest;

use crate::{
    Error, Repository, Result,
    auth::Scopes,
    exchange::{Answer, Body, Request},
    handover,
    media::Descriptor,
    outgoing::Pieces,
    url::Url,
};

const RANGE: HeaderName = header::RANGE;

/// What came of asking for a blob of another repository.
pub enum Mounted<'a> {
    /// It is here now.
    Yes,
    /// It has to be sent.
    No(Upload<'a>),
}

/// A blob that is being sent.
pub struct Upload<'a> {
    pub(crate) repository: &'a Repository<'a>,
    scopes: Scopes,
    pub(crate) url: Url,
    /// Where the registry takes files instead of bytes.
    pub(crate) socket: Option<PathBuf>,
}

impl<'a> Repository<'a> {
    /// Whether a blob is here, and how long it is.
    ///
    /// # Errors
    /// Those of asking; that it is not there is none.
    pub async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let request = Request::new(Method::HEAD, self.url(&format!("blobs/{digest}")));
        let answer = self.session.send(request, &Scopes::push(&self.path)).await?;
        match answer.status() {
            StatusCode::OK => {
                let size = answer.header(header::CONTENT_LENGTH).and_then(|n| n.parse().ok());
                Ok(Some(size.unwrap_or_default()))
            }
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied(answer).await),
            _ => Err(answer.into_error().await),
        }
    }

    /// The answer to `HEAD` has no words: a request with a body gets them.
    async fn denied(&self, answer: Answer) -> Error {
        let without_words = answer.into_error().await;
        match self.begin(None).await {
            Err(error) => error,
            Ok(upload) => {
                upload.cancel().await;
                without_words
            }
        }
    }

    /// Takes a blob over from another repository of the same registry, or begins to send it.
    ///
    /// # Errors
    /// Those of asking.
    pub async fn mount(&'a self, digest: &Digest, from: &str) -> Result<Mounted<'a>> {
        self.begin(Some((digest, from))).await.map(|begun| match begun.repository {
            None => Mounted::Yes,
            Some(repository) => {
                Mounted::No(Upload { repository, scopes: begun.scopes, url: begun.url, socket: None })
            }
        })
    }

    /// Begins to send a blob.
    ///
    /// # Errors
    /// Those of asking.
    pub async fn upload(&'a self) -> Result<Upload<'a>> {
        let begun = self.begin(None).await?;
        Ok(Upload { repository: self, scopes: begun.scopes, url: begun.url, socket: begun.socket })
    }

    async fn begin(&self, mount: Option<(&Digest, &str)>) -> Result<Begun<'_>> {
        let mut url = self.url("blobs/uploads/");
        let mut scopes = Scopes::push(&self.path);
        if let Some((digest, from)) = mount {
            url = url.with_query("mount", &digest.to_string()).with_query("from", from);
            scopes = scopes.and_pull(from);
        }
        let request = Request::new(Method::POST, url.clone()).header(handover::ASK, "1");
        let answer = self.session.send(request, &scopes).await?;
        match answer.status() {
            StatusCode::CREATED if mount.is_some() => {
                answer.discard().await;
                Ok(Begun { repository: None, scopes, url, socket: None })
            }
            StatusCode::ACCEPTED => {
                let (url, socket) = (location(&answer, &url)?, handover::offered(&answer));
                answer.discard().await;
                Ok(Begun { repository: Some(self), scopes: Scopes::push(&self.path), url, socket })
            }
            _ => Err(answer.into_error().await),
        }
    }

    /// Sends a small blob that is in memory, unless it is there.
    ///
    /// # Errors
    /// Those of asking.
    pub async fn put_small(&'a self, blob: &Descriptor, bytes: bytes::Bytes) -> Result<()> {
        if self.blob_size(&blob.digest).await? == Some(blob.size) {
            return Ok(());
        }
        let upload = self.upload().await?;
        let url = upload.url.clone().with_query("digest", &blob.digest.to_string());
        let mut request = Request::new(Method::PUT, url);
        request.body = Body::Bytes(bytes, "application/octet-stream");
        let answer = self.session.send(request, &upload.scopes).await?;
        upload.ended(answer).await
    }
}

struct Begun<'a> {
    /// None if nothing is left to do.
    repository: Option<&'a Repository<'a>>,
    scopes: Scopes,
    url: Url,
    socket: Option<PathBuf>,
}

/// Where the upload goes on.
fn location(answer: &Answer, base: &Url) -> Result<Url> {
    let text = answer
        .header(header::LOCATION)
        .ok_or_else(|| Error::Untrue("the registry does not say where to send the blob".to_owned()))?;
    base.follow(text).map_err(|why| Error::Untrue(format!("where the registry wants the blob: {why}")))
}

impl Upload<'_> {
    /// Sends bytes that follow what has been sent. After an error, [`offset`](Self::offset) tells how many arrived.
    ///
    /// # Errors
    /// Those of asking, and [`Error::Body`] for pieces that are errors.
    pub async fn send(
        &mut self,
        pieces: tokio::sync::mpsc::Receiver<std::io::Result<bytes::Bytes>>,
    ) -> Result<()> {
        let mut request = Request::new(Method::PATCH, self.url.clone());
        request.body = Body::Stream(Pieces(pieces).boxed());
        let answer = self.repository.session.send(request, &self.scopes).await?;
        if !answer.status().is_success() {
            return Err(answer.into_error().await);
        }
        self.url = location(&answer, &self.url)?;
        answer.discard().await;
        Ok(())
    }

    /// How many bytes the registry has.
    ///
    /// # Errors
    /// Those of asking; [`Error::Untrue`] if it does not say.
    pub async fn offset(&mut self) -> Result<u64> {
        let answer = self.repository.session.send(Request::get(self.url.clone()), &self.scopes).await?;
        if !answer.status().is_success() {
            return Err(answer.into_error().await);
        }
        if let Ok(url) = location(&answer, &self.url) {
            self.url = url;
        }
        let range = answer.header(RANGE).unwrap_or_default().trim_start_matches("bytes=").to_owned();
        answer.discard().await;
        match range.split_once('-').and_then(|(_, end)| end.parse::<u64>().ok()) {
            // `0-0` is what a registry says that has nothing, and one that has a byte.
            Some(0) => Ok(0),
            Some(end) => Ok(end + 1),
            None => Err(Error::Untrue("the registry does not say how much of the blob it has".to_owned())),
        }
    }

    /// All was sent; the registry verifies the digest.
    ///
    /// # Errors
    /// Those of asking.
    pub async fn finish(self, digest: &Digest) -> Result<()> {
        let url = self.url.clone().with_query("digest", &digest.to_string());
        let answer = self.repository.session.send(Request::new(Method::PUT, url), &self.scopes).await?;
        self.ended(answer).await
    }

    async fn ended(&self, answer: Answer) -> Result<()> {
        match answer.status().is_success() {
            true => {
                answer.discard().await;
                Ok(())
            }
            false => Err(answer.into_error().await),
        }
    }

    /// Gives it up; the registry may forget what was sent.
    pub async fn cancel(self) {
        let request = Request::new(Method::DELETE, self.url.clone());
        // It forgets it by itself some day.
        if let Ok(answer) = self.repository.session.send(request, &self.scopes).await {
            answer.discard().await;
        }
    }
}

impl Begun<'_> {
    async fn cancel(self) {
        if let Some(repository) = self.repository {
            Upload { repository, scopes: self.scopes, url: self.url, socket: None }.cancel().await;
        }
    }
}
