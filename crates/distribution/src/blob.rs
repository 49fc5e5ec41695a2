//! Reading a large blob: in pieces, with an end that is known beforehand, going on where it stopped.

mod ranges;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{StatusCode, header};
use skiff_types::Digest;

use self::ranges::{Range, Ranges};
use crate::{
    Error, Limits, Repository, Result,
    auth::Scopes,
    error::RequestError,
    exchange::{Answer, Request},
    media::Descriptor,
    url::Url,
};

/// How much must have come of an answer before its speed is known, in bytes.
const MEASURED: u64 = 1 << 20;
/// The most that is given at once of a range, in bytes: who reads may hold several pieces.
const PIECE: usize = 256 << 10;

const SECOND: Duration = Duration::from_secs(1);
/// By how much longer than a connection that broke somebody is waited for who is not there.
const ABSENCE: u32 = 4;

/// A blob on its way here. Its digest is for the reader to verify; its length is what the descriptor says, or it fails.
pub struct BlobReader<'a> {
    repository: &'a Repository<'a>,
    blob: Descriptor,
    /// How much has been read.
    position: u64,
    answer: Option<Answer>,
    /// What came of the answer, and how long that was waited for: what is there already is not waited for.
    speed: (u64, Duration),
    /// What is read instead of the answer, once that has shown to be slow.
    ranges: Option<Ranges<'a>>,
    /// The registry has no ranges, or not so many at a time.
    alone: bool,
    /// What came and was not given yet: the rest of a range, or of a piece whose beginning was known already.
    kept: Option<Bytes>,
    /// Failures since [`Limits::pace_bytes`] were read without one, and what has been read since the last.
    failures: u32,
    since_failure: u64,
    pace: Pace,
    /// Told each second of a pause how many are left.
    pausing: Box<dyn FnMut(u64) + Send + 'a>,
}

/// A time window, and how much came in it.
struct Pace {
    begun: Instant,
    bytes: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { begun: Instant::now(), bytes: 0 }
    }
}

impl Pace {
    /// A registry that sends a byte now and then would keep us for ever.
    fn check(&mut self, limits: &Limits, blob: &Descriptor, read: usize) -> Result<()> {
        self.bytes += read as u64;
        if self.begun.elapsed() < limits.pace {
            return Ok(());
        }
        let bytes = self.bytes;
        if bytes < limits.pace_bytes {
            return Err(Error::Untrue(format!(
                "the registry sends {} too slowly: {bytes} bytes in {:?}",
                blob.digest, limits.pace
            )));
        }
        *self = Self::default();
        Ok(())
    }
}

fn cut_short(repository: &Repository<'_>, blob: &Descriptor) -> Error {
    let url = repository.url(&format!("blobs/{}", blob.digest)).to_string();
    let source = RequestError::Broken("unexpected EOF".to_owned());
    Error::Request { method: "Get", url, source }
}

impl<'a> Repository<'a> {
    /// Reads a blob from `position` on. Nothing is sent before the first piece is asked for.
    pub fn blob(&'a self, blob: &Descriptor, position: u64) -> BlobReader<'a> {
        BlobReader {
            repository: self,
            blob: blob.clone(),
            position,
            answer: None,
            speed: Default::default(),
            ranges: None,
            alone: false,
            kept: None,
            failures: 0,
            since_failure: 0,
            pace: Pace::default(),
            pausing: Box::new(|_| {}),
        }
    }
}

/// A request for a part of what it is for.
fn ranged(request: Request, begin: u64, end: Option<u64>) -> Request {
    match end {
        None if begin == 0 => request,
        None => request.header(header::RANGE, &format!("bytes={begin}-")),
        Some(end) => request.header(header::RANGE, &format!("bytes={begin}-{}", end - 1)),
    }
}

impl Repository<'_> {
    /// Asks for a blob from `begin` on, up to `end` if there is one. An answer that is a part begins there.
    async fn range_of(&self, blob: &Descriptor, begin: u64, end: Option<u64>) -> Result<Answer> {
        let request = ranged(Request::get(self.url(&format!("blobs/{}", blob.digest))), begin, end);
        let answer = self.session.send(request, &Scopes::pull(&self.path)).await?;
        let range = answer.header(header::CONTENT_RANGE).unwrap_or_default();
        let begins = range.strip_prefix("bytes ").and_then(|r| r.split('-').next()?.parse::<u64>().ok());
        if answer.status() == StatusCode::PARTIAL_CONTENT && begins != Some(begin) {
            return Err(Error::Untrue(format!(
                "the registry sends {range:?} of {} instead of the rest",
                blob.digest
            )));
        }
        Ok(answer)
    }

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

impl<'a> BlobReader<'a> {
    /// The same, telling how many seconds are left until it asks again.
    #[must_use]
    pub fn on_pause(self, tell: impl FnMut(u64) + Send + 'a) -> Self {
        Self { pausing: Box::new(tell), ..self }
    }

    /// The next piece; none when all of it is there. What breaks on the way is asked for again from there on, and so is a registry
    /// that is not there: it was a moment ago.
    ///
    /// # Errors
    /// Those of asking, when they do not pass; [`Error::Untrue`] if the registry sends more or less than the descriptor
    /// says; a registry that is too slow.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let limits = self.repository.session.exchange.config.limits;
        loop {
            if self.position == self.blob.size && self.answer.is_none() && self.ranges.is_none() {
                return Ok(None);
            }
            let mut pause = limits.pause;
            match self.piece().await {
                Ok(Some(piece)) => {
                    self.position += piece.len() as u64;
                    self.since_failure += piece.len() as u64;
                    // A byte of each connection is no progress.
                    if self.since_failure >= limits.pace_bytes {
                        self.failures = 0;
                    }
                    if self.position > self.blob.size {
                        return Err(self.wrong_length("more"));
                    }
                    self.pace.check(&limits, &self.blob, piece.len())?;
                    self.take_ranges(&limits);
                    return Ok(Some(piece));
                }
                Ok(None) if self.position == self.blob.size => {
                    self.answer = None;
                    return Ok(None);
                }
                // Cut short.
                Ok(None) => self.failed(cut_short(self.repository, &self.blob), limits.attempts)?,
                Err(error) if error.is_passing() => self.failed(error, limits.attempts)?,
                Err(error) if error.is_absence() => {
                    pause *= ABSENCE;
                    self.failed(error, limits.attempts)?;
                }
                Err(error) => return Err(error),
            }
            self.rest(pause * 2u32.pow(self.failures.saturating_sub(1).min(6))).await;
        }
    }

    async fn rest(&mut self, pause: Duration) {
        let mut left = pause;
        while left >= SECOND {
            (self.pausing)(left.as_secs());
            tokio::time::sleep(SECOND).await;
            left -= SECOND;
        }
        tokio::time::sleep(left).await;
    }

    fn failed(&mut self, error: Error, most: u32) -> Result<()> {
        self.answer = None;
        // What did not go well several at a time goes on one by one.
        self.alone |= self.ranges.take().is_some();
        self.failures += 1;
        self.since_failure = 0;
        match self.failures < most {
            true => Ok(()),
            false => Err(error),
        }
    }

    /// Goes on in ranges if one connection has shown to be slow and much is left.
    fn take_ranges(&mut self, limits: &Limits) {
        let (bytes, waited) = self.speed;
        let slow = (bytes as f64) < waited.as_secs_f64() * limits.fast as f64;
        let left = self.blob.size - self.position;
        if self.alone || bytes < MEASURED.min(limits.range) || !slow || !self.blob.urls.is_empty() {
            return;
        }
        if let Some(answer) = self.answer.take_if(|_| Ranges::are_worth(self.repository, left)) {
            self.ranges = Some(Ranges::begin(self.repository, &self.blob, self.position, answer));
        }
    }

    fn wrong_length(&self, how: &str) -> Error {
        let Descriptor { digest, size, .. } = &self.blob;
        Error::Untrue(format!(
            "the registry sends {how} of {digest} than the {size} bytes that the manifest says"
        ))
    }

    /// A piece of what came and was not given yet.
    fn take_kept(&mut self) -> Option<Bytes> {
        let kept = self.kept.as_mut()?;
        let piece = kept.split_to(kept.len().min(PIECE));
        self.kept.take_if(|kept| kept.is_empty());
        Some(piece)
    }

    async fn piece(&mut self) -> Result<Option<Bytes>> {
        if let Some(piece) = self.take_kept() {
            return Ok(Some(piece));
        }
        if let Some(ranges) = &mut self.ranges {
            match ranges.next().await.transpose()? {
                Some(Range::Here(bytes)) => {
                    self.kept = Some(bytes);
                    return Ok(self.take_kept());
                }
                None => {
                    self.ranges = None;
                    return Ok(None);
                }
                Some(Range::Unknown) => {
                    self.ranges = None;
                    self.alone = true;
                }
            }
        }
        if self.answer.is_none() {
            self.answer = Some(self.ask().await?);
            self.speed = Default::default();
            if let Some(piece) = self.take_kept() {
                return Ok(Some(piece));
            }
        }
        let Some(answer) = &mut self.answer else { return Ok(None) };
        let begun = Instant::now();
        let piece = answer.chunk().await?;
        self.speed.0 += piece.as_ref().map_or(0, |p| p.len() as u64);
        self.speed.1 += begun.elapsed();
        Ok(piece)
    }

    /// Asks for what is missing. A registry that knows no ranges sends all, and what is known already is skipped.
    async fn ask(&mut self) -> Result<Answer> {
        let (size, position) = (self.blob.size, self.position);
        self.kept = None;
        let mut answer = self.repository.range_of(&self.blob, position, None).await?;
        if answer.status() == StatusCode::NOT_FOUND
            && !self.blob.urls.is_empty()
            && let Some(found) = self.elsewhere().await?
        {
            answer = found;
        }
        let limits = self.repository.session.exchange.config.limits;
        self.pace = Pace::default();
        let length = answer.header(header::CONTENT_LENGTH).and_then(|n| n.parse::<u64>().ok());
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
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
                    let piece = answer.chunk().await?;
                    self.pace.check(&limits, &self.blob, piece.as_ref().map_or(0, Bytes::len))?;
                    match piece {
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
    /// `self` is mutable because ranges on their way are not for two threads at a time.
    async fn elsewhere(&mut self) -> Result<Option<Answer>> {
        for url in &self.blob.urls {
            let Ok(url) = url.parse::<Url>() else { continue };
            let request = ranged(Request::get(url), self.position, None);
            let answer = self.repository.session.exchange.send(request, &Default::default()).await?;
            if answer.status().is_success() {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }
}
