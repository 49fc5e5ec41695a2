//! Reading a large blob: in pieces, with an end that is known beforehand, going on where it stopped.

use std::time::Instant;

use bytes::Bytes;
use http::{StatusCode, header};
use skiff_types::Digest;

use crate::{
    Error, Repository, Result,
    auth::Scopes,
    error::RequestError,
    exchange::{Answer, Request},
    media::Descriptor,
    url::Url,
};

/// A blob on its way here. Its digest is for the reader to verify; its length is what the descriptor says, or it fails.
pub struct BlobReader<'a> {
    repository: &'a Repository<'a>,
    blob: Descriptor,
    /// How much has been read.
    position: u64,
    answer: Option<Answer>,
    /// The end of a piece whose beginning was known already.
    kept: Option<Bytes>,
    /// Failures since anything was read last.
    failures: u32,
    /// The time window of the pace, and what came in it.
    window: (Instant, u64),
}

impl<'a> Repository<'a> {
    /// Reads a blob from `position` on. Nothing is sent before the first piece is asked for.
    pub fn blob(&'a self, blob: &Descriptor, position: u64) -> BlobReader<'a> {
        BlobReader {
            repository: self,
            blob: blob.clone(),
            position,
            answer: None,
            kept: None,
            failures: 0,
            window: (Instant::now(), 0),
        }
    }
}

impl Repository<'_> {
    /// A blob whole, verified. All of it is in memory: its size is for the caller to limit.
    ///
    /// # Errors
    /// Those of [`BlobReader::next`], [`Error::Digest`].
    pub async fn whole_blob(&self, blob: &Descriptor) -> Result<Bytes> {
        let mut reader = self.blob(blob, 0);
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await? {
            bytes.extend_from_slice(&piece);
        }
        match Digest::of(&bytes) == blob.digest {
            true => Ok(bytes.into()),
            false => Err(Error::Digest { what: "blob", expected: blob.digest.to_string() }),
        }
    }
}

impl BlobReader<'_> {
    /// The next piece; none when all of it is there. What breaks on the way is asked for again from there on.
    ///
    /// # Errors
    /// Those of asking, when they do not pass; [`Error::Untrue`] if the registry sends more or less than the descriptor
    /// says; a registry that is too slow.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let limits = self.repository.session.exchange.config.limits;
        loop {
            if self.position == self.blob.size && self.answer.is_none() {
                return Ok(None);
            }
            match self.piece().await {
                Ok(Some(piece)) => {
                    self.failures = 0;
                    self.position += piece.len() as u64;
                    if self.position > self.blob.size {
                        return Err(self.wrong_length("more"));
                    }
                    self.check_pace(piece.len())?;
                    return Ok(Some(piece));
                }
                Ok(None) if self.position == self.blob.size => {
                    self.answer = None;
                    return Ok(None);
                }
                // Cut short.
                Ok(None) => self.failed(self.cut_short(), limits.attempts)?,
                Err(error) if error.is_passing() => self.failed(error, limits.attempts)?,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(limits.pause * 2u32.pow(self.failures.saturating_sub(1).min(6))).await;
            self.window = (Instant::now(), 0);
        }
    }

    fn failed(&mut self, error: Error, most: u32) -> Result<()> {
        self.answer = None;
        self.failures += 1;
        match self.failures < most {
            true => Ok(()),
            false => Err(error),
        }
    }

    /// A registry that sends a byte now and then would keep us for ever.
    fn check_pace(&mut self, read: usize) -> Result<()> {
        let limits = self.repository.session.exchange.config.limits;
        let (begun, bytes) = &mut self.window;
        *bytes += read as u64;
        if begun.elapsed() < limits.pace {
            return Ok(());
        }
        if *bytes < limits.pace_bytes {
            return Err(Error::Untrue(format!(
                "the registry sends {} too slowly: {bytes} bytes in {:?}",
                self.blob.digest, limits.pace
            )));
        }
        self.window = (Instant::now(), 0);
        Ok(())
    }

    fn cut_short(&self) -> Error {
        let url = self.repository.url(&format!("blobs/{}", self.blob.digest)).to_string();
        let source = RequestError::Broken("unexpected EOF".to_owned());
        Error::Request { method: "Get", url, source }
    }

    fn wrong_length(&self, how: &str) -> Error {
        let Descriptor { digest, size, .. } = &self.blob;
        Error::Untrue(format!(
            "the registry sends {how} of {digest} than the {size} bytes that the manifest says"
        ))
    }

    async fn piece(&mut self) -> Result<Option<Bytes>> {
        if self.answer.is_none() {
            self.answer = Some(self.ask().await?);
        }
        if let Some(kept) = self.kept.take() {
            return Ok(Some(kept));
        }
        match &mut self.answer {
            Some(answer) => answer.chunk().await,
            None => Ok(None),
        }
    }

    /// Asks for what is missing. A registry that knows no ranges sends all, and what is known already is skipped.
    async fn ask(&mut self) -> Result<Answer> {
        let (digest, size, position) = (self.blob.digest, self.blob.size, self.position);
        self.kept = None;
        let mut request = Request::get(self.repository.url(&format!("blobs/{digest}")));
        if position > 0 {
            request = request.header(header::RANGE, &format!("bytes={position}-"));
        }
        let scopes = Scopes::pull(&self.repository.path);
        let again = request.again();
        let mut answer = self.repository.session.send(request, &scopes).await?;
        if answer.status() == StatusCode::NOT_FOUND
            && !self.blob.urls.is_empty()
            && let Some(again) = again
            && let Some(found) = self.elsewhere(again).await?
        {
            answer = found;
        }
        let length = answer.header(header::CONTENT_LENGTH).and_then(|n| n.parse::<u64>().ok());
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = answer.header(header::CONTENT_RANGE).unwrap_or_default();
                let begins =
                    range.strip_prefix("bytes ").and_then(|r| r.split('-').next()?.parse::<u64>().ok());
                if begins != Some(position) {
                    return Err(Error::Untrue(format!(
                        "the registry sends {range:?} of {digest} instead of the rest"
                    )));
                }
                if length.is_some_and(|n| n > size - position) {
                    return Err(self.wrong_length("more"));
                }
                Ok(answer)
            }
            StatusCode::OK => {
                match length {
                    Some(n) if n > size => return Err(self.wrong_length("more")),
                    Some(n) if n < size => return Err(self.wrong_length("less")),
                    _ => {}
                }
                let mut skip = position;
                while skip > 0 {
                    match answer.chunk().await? {
                        Some(piece) if piece.len() as u64 <= skip => skip -= piece.len() as u64,
                        Some(piece) => {
                            self.kept = Some(piece.slice(skip as usize..));
                            skip = 0;
                        }
                        None => return Err(self.wrong_length("less")),
                    }
                }
                Ok(answer)
            }
            _ => Err(answer.into_error().await),
        }
    }

    /// A layer that registries do not pass on, where its maker has it. Nobody there is told who we are.
    async fn elsewhere(&self, request: Request) -> Result<Option<Answer>> {
        for url in &self.blob.urls {
            let Ok(url) = url.parse::<Url>() else { continue };
            let Some(mut request) = request.again() else { return Ok(None) };
            request.url = url;
            request.headers.remove(header::AUTHORIZATION);
            let answer = self.repository.session.exchange.send(request, &Default::default()).await?;
            if answer.status().is_success() {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }
}
