//! Several ranges of a large blob at a time: over a long way, one connection carries only so much.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use http::StatusCode;

use super::{Pace, cut_short};
use crate::{Repository, Result, exchange::Answer, media::Descriptor};

/// How many ranges are on their way.
const AT_ONCE: u64 = 4;
/// How many must be left, or it is not worth it.
const LEAST: u64 = 8;

/// The rest of a blob, in ranges that come at the same time and are given in order. A range that came is held until those before
/// it have come.
pub(super) struct Ranges<'a> {
    repository: &'a Repository<'a>,
    blob: Descriptor,
    /// Where the next range begins.
    begin: u64,
    coming: FuturesOrdered<BoxFuture<'a, Result<Range>>>,
}

/// What came of asking for a range.
pub(super) enum Range {
    /// All of it.
    Here(Bytes),
    /// The registry knows no ranges.
    Unknown,
}

impl<'a> Ranges<'a> {
    /// Whether that much is left that ranges are worth their requests.
    pub(super) fn are_worth(repository: &Repository<'_>, left: u64) -> bool {
        left >= LEAST * repository.session.exchange.config.limits.range
    }

    /// The blob from `position` on, where `answer` goes on: it gives the first range.
    pub(super) fn begin(
        repository: &'a Repository<'a>,
        blob: &Descriptor,
        position: u64,
        answer: Answer,
    ) -> Self {
        let mut ranges =
            Self { repository, blob: blob.clone(), begin: position, coming: FuturesOrdered::new() };
        ranges.ask(Some(answer));
        ranges
    }

    /// The next range; none when all of the blob has come.
    ///
    /// # Errors
    /// Those of asking: nothing more comes then.
    pub(super) async fn next(&mut self) -> Option<Result<Range>> {
        while (self.coming.len() as u64) < AT_ONCE && self.begin < self.blob.size {
            self.ask(None);
        }
        self.coming.next().await
    }

    fn ask(&mut self, answer: Option<Answer>) {
        let (repository, blob, begin) = (self.repository, self.blob.clone(), self.begin);
        let end = (begin + repository.session.exchange.config.limits.range).min(blob.size);
        self.begin = end;
        self.coming.push_back(Box::pin(range(repository, blob, begin..end, answer)));
    }
}

async fn range(
    repository: &Repository<'_>,
    blob: Descriptor,
    range: std::ops::Range<u64>,
    answer: Option<Answer>,
) -> Result<Range> {
    let wanted = (range.end - range.start) as usize;
    let is_range = answer.is_none();
    let mut answer = match answer {
        Some(answer) => answer,
        None => {
            let answer = repository.range_of(&blob, range.start, Some(range.end)).await?;
            match answer.status() {
                StatusCode::PARTIAL_CONTENT => answer,
                StatusCode::OK => return Ok(Range::Unknown),
                _ => return Err(answer.into_error().await),
            }
        }
    };
    let mut pace = Pace::default();
    let mut bytes = BytesMut::with_capacity(wanted);
    while bytes.len() < wanted {
        let Some(piece) = answer.chunk().await? else { return Err(cut_short(repository, &blob)) };
        pace.check(&repository.session.exchange.config.limits, &blob, piece.len())?;
        // What follows is another range's.
        let part = piece.len().min(wanted - bytes.len());
        bytes.extend_from_slice(&piece[..part]);
    }
    if is_range {
        // The end has been read then, and the connection can be used again.
        let _ = answer.chunk().await;
    }
    Ok(Range::Here(bytes.freeze()))
}
