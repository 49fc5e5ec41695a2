//! Request bodies: small ones whole and bounded, blobs in pieces that are written while the next ones arrive.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::{task::JoinHandle, time::timeout};

use super::connection::PATIENCE;
use crate::{Error, content::Writing, service::Allowance};

/// Bytes that are written at once; two such lots are in memory for each upload.
const LOT: usize = 512 << 10;
/// Pieces of a lot: a client that drips bytes pins no more buffers than this.
const PIECES: usize = 64;

/// Bytes of a body that nobody wanted which are read all the same, so that the answer arrives and the connection
/// serves on: a client may send its body in a second packet, after the answer was made.
const UNWANTED: usize = 256 << 10;

/// The body of a request.
#[derive(Debug)]
pub(crate) struct Content {
    body: Option<Incoming>,
    /// More was left unread than will be read: the connection ends with the answer.
    abandoned: Arc<AtomicBool>,
}

impl Content {
    /// `abandoned` becomes true when the body is dropped with so much of it unread that the connection has to end.
    pub(super) fn new(body: Incoming, abandoned: Arc<AtomicBool>) -> Self {
        Self { body: Some(body), abandoned }
    }
}

impl Deref for Content {
    type Target = Incoming;

    fn deref(&self) -> &Incoming {
        self.body.as_ref().expect("only the drop takes it")
    }
}

impl DerefMut for Content {
    fn deref_mut(&mut self) -> &mut Incoming {
        self.body.as_mut().expect("only the drop takes it")
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        let Some(mut rest) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        if rest.size_hint().upper().is_none_or(|left| left > UNWANTED as u64) {
            self.abandoned.store(true, Ordering::Relaxed);
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let mut read = 0;
            while read <= UNWANTED
                && let Ok(Some(piece)) = piece(&mut rest).await
            {
                read += piece.len();
            }
            // If there is more, hyper closes the connection.
        });
    }
}

/// The next piece, or None at the end.
async fn piece(body: &mut Incoming) -> Result<Option<Bytes>, Error> {
    loop {
        match timeout(PATIENCE, body.frame()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Ok(Some(Err(_))) | Err(_) => return Err(Error::Cut),
        }
    }
}

/// A whole body of at most `limit` bytes; `None` if it is longer.
pub(crate) async fn whole(body: &mut Incoming, limit: usize) -> Result<Option<Bytes>, Error> {
    let mut all = BytesMut::new();
    while let Some(piece) = piece(body).await? {
        if all.len() + piece.len() > limit {
            return Ok(None);
        }
        all.extend_from_slice(&piece);
    }
    Ok(Some(all.freeze()))
}

/// Appends a body to an upload, as far as it is allowed and of at most `most` bytes. The upload comes back also when the
/// body fails, with what had arrived.
pub(crate) async fn append(
    body: &mut Incoming,
    writing: Writing,
    allowance: &Allowance,
    most: u64,
) -> (Option<Writing>, Result<(), Error>) {
    let share = writing.share();
    let mut at = Writer::Idle(Box::new(writing));
    let (mut failed, mut total) = (None, 0u64);
    loop {
        let (mut lot, mut bytes, mut ended) = (Vec::new(), 0, false);
        while bytes < LOT && lot.len() < PIECES {
            match piece(body).await {
                Ok(Some(piece)) => {
                    bytes += piece.len();
                    lot.push(piece);
                }
                Ok(None) => ended = true,
                Err(error) => (ended, failed) = (true, Some(error)),
            }
            if ended {
                break;
            }
        }
        total = total.saturating_add(bytes as u64);
        if total > most {
            let (writing, _) = at.idle().await;
            let reason = "the body is longer than its Content-Range".to_owned();
            return (writing, Err(Error::UploadInvalid { reason }));
        }
        if let Err(error) = allowance.take(&share, bytes as u64) {
            let (writing, _) = at.idle().await;
            return (writing, Err(error));
        }
        let (writing, written) = at.idle().await;
        let Some(writing) = writing else { return (None, written) };
        if let Err(error) = written {
            return (Some(writing), Err(error));
        }
        if lot.is_empty() {
            return (Some(writing), failed.map_or(Ok(()), Err));
        }
        at = Writer::busy(writing, lot);
        if ended {
            let (writing, written) = at.idle().await;
            return (writing, written.and(failed.map_or(Ok(()), Err)));
        }
    }
}

type Job = JoinHandle<(Writing, Result<(), Error>)>;

enum Writer {
    Idle(Box<Writing>),
    Busy(Job),
}

impl Writer {
    fn busy(mut writing: Writing, lot: Vec<Bytes>) -> Self {
        Self::Busy(tokio::task::spawn_blocking(move || {
            let written = writing.append(&lot);
            (writing, written)
        }))
    }

    async fn idle(self) -> (Option<Writing>, Result<(), Error>) {
        match self {
            Self::Idle(writing) => (Some(*writing), Ok(())),
            Self::Busy(job) => match job.await {
                Ok((writing, written)) => (Some(writing), written),
                Err(error) => (None, Err(Error::Internal { reason: error.to_string() })),
            },
        }
    }
}
