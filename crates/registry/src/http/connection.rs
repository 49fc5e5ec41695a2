//! One connection: requests one after the other until the client leaves.
//!
//! A large file goes from the page cache to a plain TCP socket without being copied: the service parks its answer,
//! hyper is taken apart once everything before it is flushed, the head is written and the kernel sends the file; then
//! hyper serves the same socket on. A client that neither sends nor takes anything for a minute is dropped; where hyper
//! writes, [`super::patience`] looks after that.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::{Request, Response, header};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::SendFlags;
use tokio::{
    io::Interest,
    net::TcpStream,
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::debug;

use super::{
    io::{Rewind, Socket},
    receive::Content,
    reply::{Answer, Body, Part},
    route::{self, Peer},
};
use crate::Registry;

/// A client that does nothing for so long is gone.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a request's head, and of a piece of its body.
const BUFFER: usize = 128 << 10;
/// Bytes that one call may send, so that one client does not hold a thread.
const TURN: u64 = 1 << 20;
/// Smaller answers are copied: taking hyper apart costs more.
const WORTHWHILE: u64 = 64 << 10;

/// A file to be sent, and the head that goes before it.
struct Parked {
    head: Response<()>,
    part: Part,
    close: bool,
    /// Flushes seen when it was parked.
    after: u64,
}

/// Answers the requests of one connection; returns when it is closed, and once `ending` is true after the request under
/// way. Dropping the future closes it.
pub(crate) async fn serve(
    registry: Arc<Registry>,
    socket: Socket,
    peer: Peer,
    ending: watch::Receiver<bool>,
) {
    let plain = matches!(socket, Socket::Tcp(_));
    let mut io = Rewind::new(socket);
    loop {
        let flushes = io.flushes();
        let (park, mut parked) = mpsc::unbounded_channel::<Parked>();
        let service = service_fn(|request: Request<Incoming>| {
            let abandoned = Arc::new(AtomicBool::new(false));
            let request = request.map(|body| Content::new(body, abandoned.clone()));
            let (registry, peer, park, flushes) =
                (registry.clone(), peer.clone(), park.clone(), flushes.clone());
            async move {
                let close = !keeps_alive(&request) || !request.body().is_end_stream();
                match route::answer(&registry, &peer, request).await {
                    Answer::Whole(mut response) => {
                        if abandoned.load(Ordering::Relaxed) {
                            let close = header::HeaderValue::from_static("close");
                            response.headers_mut().insert(header::CONNECTION, close);
                        }
                        Ok::<_, Infallible>(response)
                    }
                    Answer::File(head, part) if plain && part.span.len() > WORTHWHILE => {
                        let after = flushes.load(Ordering::Relaxed);
                        let _ = park.send(Parked { head, part, close, after });
                        // `serve` drops this future with hyper's half of the connection.
                        std::future::pending().await
                    }
                    Answer::File(head, part) => Ok(copied(head, part)),
                }
            }
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(io), service);
        let mut waiting: Option<Parked> = None;
        let mut end = ending.clone();
        let mut end = pin!(async move { drop(end.wait_for(|ending| *ending).await) });
        let mut last = false;
        let next = poll_fn(|cx| {
            if !last && end.as_mut().poll(cx).is_ready() {
                last = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Err(result));
            }
            if waiting.is_none()
                && let Poll::Ready(Some(file)) = parked.poll_recv(cx)
            {
                waiting = Some(file);
            }
            match waiting.take_if(|file| flushes.load(Ordering::Relaxed) > file.after) {
                Some(file) => Poll::Ready(Ok(file)),
                None => Poll::Pending,
            }
        });
        let file = match next.await {
            Ok(file) => file,
            Err(result) => {
                if let Err(error) = result {
                    debug!(%error, "connection ended");
                }
                return;
            }
        };
        let parts = connection.into_parts();
        io = parts.io.into_inner();
        io.unread(parts.read_buf);
        let Socket::Tcp(stream) = &io.socket else { return };
        match send(stream.get_ref(), &file).await {
            Ok(()) if !file.close && !*ending.borrow() => {}
            Ok(()) => return,
            Err(error) => return debug!(%error, "connection ended in a file"),
        }
    }
}

fn keeps_alive<B>(request: &Request<B>) -> bool {
    let close = request.headers().get(header::CONNECTION).and_then(|value| value.to_str().ok());
    request.version() == http::Version::HTTP_11
        && !close.is_some_and(|value| value.to_ascii_lowercase().contains("close"))
}

async fn send(stream: &TcpStream, file: &Parked) -> io::Result<()> {
    let head = head(file);
    let mut sent = 0;
    while sent < head.len() {
        let more = || Ok(rustix::net::send(stream, &head[sent..], SendFlags::MORE | SendFlags::NOSIGNAL)?);
        sent += timeout(PATIENCE, stream.async_io(Interest::WRITABLE, more)).await??;
    }
    let Part { file, span } = &file.part;
    let _ = rustix::fs::fadvise(file, span.from, None, rustix::fs::Advice::Sequential);
    let mut offset = span.from;
    while offset < span.to {
        let turn = (span.to - offset).min(TURN) as usize;
        let mut at = offset;
        let some = || {
            at = offset;
            Ok(rustix::fs::sendfile(stream, file, Some(&mut at), turn)?)
        };
        match timeout(PATIENCE, stream.async_io(Interest::WRITABLE, some)).await?? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => offset += n as u64,
        }
    }
    Ok(())
}

fn head(file: &Parked) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let status = file.head.status();
    head.extend_from_slice(
        format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or("")).as_bytes(),
    );
    for (name, value) in file.head.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    let now = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    head.extend_from_slice(format!("date: {now}\r\n").as_bytes());
    if file.close {
        head.extend_from_slice(b"connection: close\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The file through hyper: for TLS, and for small ones.
fn copied(head: Response<()>, part: Part) -> Response<Body> {
    let (parts, ()) = head.into_parts();
    Response::from_parts(parts, part.into_body())
}
