//! An object that is being read. What breaks on the way is asked for again from there on.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{StatusCode, header};
use skiff_distribution::Answer;

use super::{
    Bucket,
    client::{Failure, length},
};
use crate::{Error, digest::Digest, range::Span};

/// Failures one after the other, without a byte in between, until it is given up; and the first pause after one.
const MOST_FAILURES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes of an object on their way.
pub(crate) struct Object {
    bucket: Arc<Bucket>,
    digest: Digest,
    /// What is still to come.
    left: Span,
    answer: Option<Answer>,
    failures: u32,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({}, {:?})", self.digest, self.left)
    }
}

impl Object {
    /// Asks for the span. It is answered when this returns.
    pub(super) async fn open(bucket: Arc<Bucket>, digest: Digest, span: Span) -> Result<Self, Error> {
        let mut object = Self { bucket, digest, left: span, answer: None, failures: 0 };
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
                    self.failures = 0;
                    self.left.from += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Ok(Some(_)) => Failure::Silent("it sends more than it was asked for".into()),
                Ok(None) => Failure::Silent("it ends the object early".into()),
                Err(failure @ (Failure::Missing | Failure::Refused { .. })) => {
                    return Err(failure.of(&self.digest));
                }
                Err(failure) => failure,
            };
            self.answer = None;
            self.failures += 1;
            if self.failures == MOST_FAILURES {
                return Err(failure.into());
            }
            tokio::time::sleep(PAUSE * 2u32.pow(self.failures)).await;
        }
        // Read to its end, the connection can be used again.
        if let Some(answer) = self.answer.take() {
            answer.discard().await;
        }
        Ok(None)
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.answer.is_none() {
            self.answer = Some(self.ask().await?);
        }
        match &mut self.answer {
            Some(answer) => Ok(answer.chunk().await?),
            None => Ok(None),
        }
    }
}
