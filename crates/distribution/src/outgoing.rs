//! Bodies of requests, and whether they move: who sends something large over a slow line is not silent.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::{sync::mpsc, time::Instant};

use crate::connect::OutgoingBody;

/// The most that is given to the connection at once, in bytes.
const SLICE: usize = 64 << 10;

/// How far a body is that the connection takes.
#[derive(Clone)]
pub(crate) struct Moved(Arc<Mutex<Far>>);

#[derive(Clone, Copy)]
struct Far {
    /// When it last took something.
    at: Instant,
    /// It has all of it.
    all: bool,
}

impl Default for Moved {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Far { at: Instant::now(), all: false })))
    }
}

impl Moved {
    fn far(&self) -> Far {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, far: Far) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = far;
    }

    /// The body, watched.
    pub(crate) fn watch(&self, body: OutgoingBody) -> OutgoingBody {
        self.set(Far { all: body.is_end_stream(), ..self.far() });
        Watched { body, moved: self.clone() }.boxed()
    }

    /// Waits until it is done, or until nothing has moved for so long: `silence`, or `storing` once the connection has all.
    pub(crate) async fn or_silence<T>(
        &self,
        silence: Duration,
        storing: Duration,
        done: impl Future<Output = T>,
    ) -> Option<T> {
        let end = || {
            let far = self.far();
            far.at + if far.all { storing } else { silence }
        };
        let mut done = std::pin::pin!(done);
        loop {
            let until = end();
            match tokio::time::timeout_at(until, &mut done).await {
                Ok(done) => return Some(done),
                Err(_) if end() > until => {}
                Err(_) => return None,
            }
        }
    }
}

/// A body that tells when it moves.
struct Watched {
    body: OutgoingBody,
    moved: Moved,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            let all = matches!(polled, Poll::Ready(None)) || self.body.is_end_stream();
            self.moved.set(Far { at: Instant::now(), all });
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes that are in memory, in pieces: so it is seen how far they are.
pub(crate) struct Slices(pub(crate) Bytes);

impl Body for Slices {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let most = self.0.len().min(SLICE);
        let piece = self.0.split_to(most);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

/// Marks an error of what we send, so that it is not taken for one of the connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct OwnBody(pub(crate) String);

/// Pieces of a body of ours, as they are made.
pub(crate) struct Pieces(pub(crate) mpsc::Receiver<io::Result<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let own = |e: io::Error| io::Error::new(e.kind(), OwnBody(e.to_string()));
        self.0.poll_recv(cx).map(|piece| piece.map(|p| p.map(Frame::data).map_err(own)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_moves_is_not_silent() {
        let (hour, moved) = (Duration::from_secs(3600), Moved::default());
        let set = |at| moved.set(Far { at, all: false });
        // A piece of a body puts the end off.
        let before = Instant::now() - 2 * hour;
        set(before);
        let mut body = moved.watch(Slices(Bytes::from(vec![0; SLICE + 1])).boxed());
        body.frame().await.unwrap().unwrap();
        assert!(moved.far().at > before + hour && !moved.far().all);
        body.frame().await.unwrap().unwrap();
        assert!(moved.far().all);
        // Who waited for the old end goes on to the new one.
        let late = async {
            tokio::task::yield_now().await;
            set(Instant::now());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        set(Instant::now() - hour + Duration::from_millis(500));
        assert_eq!(moved.or_silence(hour, hour, late).await, Some(()));
        set(before);
        assert_eq!(moved.or_silence(hour, 9 * hour, std::future::pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn what_is_stored_may_take_longer() {
        let (hour, moved) = (Duration::from_secs(3600), Moved::default());
        let storing = async { tokio::time::sleep(Duration::from_millis(20)).await };
        moved.set(Far { at: Instant::now() - 2 * hour, all: true });
        assert_eq!(moved.or_silence(hour, 3 * hour, storing).await, Some(()));
        assert_eq!(moved.or_silence(3 * hour, hour, std::future::pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn bytes_in_slices_are_the_same_bytes() {
        let bytes = Bytes::from((0..200_000u32).map(|n| n as u8).collect::<Vec<_>>());
        let body = Slices(bytes.clone());
        assert_eq!(body.size_hint().exact(), Some(200_000));
        assert_eq!(body.collect().await.unwrap().to_bytes(), bytes);
    }
}
