//! An object that is being read. What breaks on the way is asked for again from there on.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{StatusCode, header};
use skiff_distribution::Answer;

use super::{
    Bucket,
    client::{Failure, length},
};
use crate::{Error, digest::Digest, range::Span};

/// Failures one after the other, with less than a [`PACE`] in between, until it is given up; and the first pause after one.
const MOST_FAILURES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes that must come while the store is waited for as long as it may be silent, twice.
const PACE: u64 = 64 << 10;

/// Bytes of an object on their way.
pub(crate) struct Object {
    bucket: Arc<Bucket>,
    digest: Digest,
    /// What is still to come.
    left: Span,
    answer: Option<Answer>,
    failures: u32,
    /// When the first of those was.
    failing: Option<Instant>,
    /// What came since there was a [`PACE`], and how long the store was waited for meanwhile.
    came: u64,
    waited: Duration,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({}, {:?})", self.digest, self.left)
    }
}

impl Object {
    /// Asks for the span. It is answered when this returns.
    pub(super) async fn open(bucket: Arc<Bucket>, digest: Digest, span: Span) -> Result<Self, Error> {
        let mut object = Self {
            bucket,
            digest,
            left: span,
            answer: None,
            failures: 0,
            failing: None,
            came: 0,
            waited: Duration::ZERO,
        };
        if span.len() > 0 {
            let asked = object.ask().await;
            object.answer = Some(asked.map_err(|failure| failure.of(&object.digest))?);
        }
        Ok(object)
    }

    async fn ask(&self) -> Result<Answer, Failure> {
        let Span { from, to } = self.left;
        let answer = self.bucket.get_part(&self.digest, self.left).await?;
        let begins = format!("bytes {from}-{}/", to - 1);
        let range = answer.header(header::CONTENT_RANGE).unwrap_or_default();
        // Some send all without saying that it is a part.
        let whole = answer.status() == StatusCode::OK && from == 0;
        if length(&answer) == Some(self.left.len()) && (whole || range.starts_with(&begins)) {
            return Ok(answer);
        }
        Err(Failure::Silent(format!("it answers {range:?} instead of bytes {from} to {to}")))
    }

    /// The next piece; none when all of it was there.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.left.len() > 0 {
            let failure = match self.piece().await {
                Ok(Some(piece)) if piece.len() as u64 <= self.left.len() => {
                    self.left.from += piece.len() as u64;
                    self.count(piece.len() as u64);
                    return Ok(Some(piece));
                }
                Ok(Some(_)) => Failure::Silent("it sends more than it was asked for".into()),
                Ok(None) => Failure::Silent("it ends the object early".into()),
                Err(failure @ (Failure::Missing | Failure::Refused { .. } | Failure::Keys(_))) => {
                    return Err(failure.of(&self.digest));
                }
                Err(failure) => failure,
            };
            self.failed(failure).await?;
        }
        // Read to its end, the connection can be used again.
        if let Some(answer) = self.answer.take() {
            answer.discard().await;
        }
        Ok(None)
    }

    /// Bytes came.
    fn count(&mut self, bytes: u64) {
        self.came += bytes;
        if self.came >= PACE {
            (self.came, self.waited) = (0, Duration::ZERO);
            (self.failures, self.failing) = (0, None);
        }
    }

    /// Waits before it is tried again, unless that is no use.
    async fn failed(&mut self, failure: Failure) -> Result<(), Error> {
        (self.answer, self.waited) = (None, Duration::ZERO);
        self.failures += 1;
        let since = *self.failing.get_or_insert_with(Instant::now);
        if self.failures == MOST_FAILURES || since.elapsed() > self.bucket.timeout() * 2 {
            return Err(failure.into());
        }
        tokio::time::sleep(PAUSE * 2u32.pow(self.failures)).await;
        Ok(())
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.answer.is_none() {
            self.answer = Some(self.ask().await?);
        }
        let Some(answer) = &mut self.answer else { return Ok(None) };
        let begun = Instant::now();
        let piece = answer.chunk().await?;
        // The time that the reader takes is not the store's.
        self.waited += begun.elapsed();
        if self.waited > self.bucket.timeout() * 2 && self.came < PACE {
            return Err(Failure::Silent("it sends too slowly".into()));
        }
        Ok(piece)
    }
}
