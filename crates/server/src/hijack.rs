//! Attached streams: bytes between a client's connection and a container, untouched, until either side ends.
//!
//! The container's side is a socket to its monitor, which frames standard output and error itself. End of file from
//! the client is passed on as end of standard input and nothing more; end of file from the container ends it all.

use std::{borrow::Cow, io, os::fd::AsFd, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rustix::event::{PollFd, PollFlags, poll};
use skiff_api::stream;
use skiff_engine::{Attached, LogStream, Reader};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
    sync::mpsc,
    time::Instant,
};

use crate::{
    connection::Socket,
    websocket::{self, Opcode},
};

/// What to do with a connection after its request.
pub(crate) struct Hijack {
    /// The whole head of the answer.
    pub(crate) head: Vec<u8>,
    /// What the connection is joined to; made after the head has been sent.
    pub(crate) open: BoxFuture<'static, Opened>,
    /// Whether the client's bytes go to the container.
    pub(crate) stdin: bool,
    /// Called if the client left by the detach keys.
    pub(crate) on_detach: Box<dyn FnOnce() + Send>,
    /// Awaited before the end of the output is shown to the client; dropped when the client has taken the output.
    pub(crate) settle: BoxFuture<'static, Option<Reader>>,
    /// How bytes travel between us and the client.
    pub(crate) transport: Transport,
}

/// The container's side of an attached connection.
#[derive(Default)]
pub(crate) struct Opened {
    /// Sent first: why there is nothing else.
    pub(crate) refusal: Vec<u8>,
    /// Sent next: the log so far.
    pub(crate) backlog: Option<LogStream>,
    /// The container; none if only the log is wanted.
    pub(crate) stream: Option<UnixStream>,
    /// A sequence of the client that ends the connection; empty for none.
    pub(crate) detach_keys: Vec<u8>,
}

impl From<Attached> for Opened {
    fn from(attached: Attached) -> Self {
        // Keys are typed on terminals only.
        let detach_keys = if attached.tty { attached.detach_keys } else { Vec::new() };
        Self { refusal: Vec::new(), backlog: attached.backlog, stream: attached.stream, detach_keys }
    }
}

/// How bytes travel between us and the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// As they are.
    Plain,
    /// In WebSocket messages of this kind, without Docker's frames if `framed` says that the container sends such.
    WebSocket { kind: Opcode, framed: bool },
}

/// The head of the answer as Docker writes it.
pub(crate) fn head(upgrade: bool, content_type: &str) -> String {
    match upgrade {
        true => format!(
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        ),
        false => format!("HTTP/1.1 200 OK\r\nContent-Type: {}\r\n\r\n", skiff_api::stream::RAW),
    }
}

/// How often an attached client that has closed its standard input is looked at: it may be gone altogether.
const HANG_UP_CHECK: Duration = Duration::from_secs(1);

/// For so long at least the head travels alone where nobody sees whether the client has read it.
const HEAD_GAP: Duration = Duration::from_millis(1);

/// For so long a client may take to read what it was sent before it counts as having read it, and how often that is looked at.
const READ_WITHIN: Duration = Duration::from_millis(50);
const READ_CHECK: Duration = Duration::from_millis(1);

/// Bytes read from a container at once.
const OUTPUT_BUFFER: usize = 64 << 10;
const INPUT_BUFFER: usize = 16 << 10;

enum InputEnd {
    /// No more input, but the client may still listen.
    Closed,
    /// The client is gone, or speaks nonsense.
    Left,
    Detached,
}

/// Runs an attached connection to its end. `ahead` is what the client sent behind its request.
pub(crate) async fn run(hijack: Hijack, mut client: Socket, ahead: Bytes) {
    let Hijack { head, open, stdin, on_detach, settle, transport } = hijack;
    let mut outgoing = Outgoing::new(transport);
    if client.write_all(&head).await.is_err() || client.flush().await.is_err() {
        return;
    }
    let sent = Instant::now();
    let Opened { refusal, backlog, stream, detach_keys } = open.await;
    let_head_be_read(&client, sent).await;
    if send_first(&mut client, &refusal, backlog, &mut outgoing).await.is_err() {
        return;
    }
    // Answers to a WebSocket's pings, which the input sees and the output sends.
    let (pongs, mut pong_requests) = mpsc::channel(1);
    let mut incoming = Incoming::new(transport, pongs);
    let Some(container) = stream else {
        let _ = client.shutdown().await;
        return;
    };
    let Ok(watched) = client.as_fd().try_clone_to_owned() else { return };
    let (mut client_in, mut client_out) = tokio::io::split(client);
    let (mut container_out, mut container_in) = container.into_split();
    let input = async {
        let end = copy_input(
            &ahead,
            &mut client_in,
            stdin.then_some(&mut container_in),
            &detach_keys,
            &mut incoming,
        )
        .await;
        if stdin && matches!(end, InputEnd::Closed) {
            let _ = container_in.shutdown().await;
        }
        end
    };
    let reader = {
        let mut output = std::pin::pin!(copy_output(
            &mut container_out,
            &mut client_out,
            &mut outgoing,
            &mut pong_requests
        ));
        let end = tokio::select! {
            _ = &mut output => None,
            end = input => Some(end),
        };
        match end {
            None => settle.await,
            Some(InputEnd::Left) => None,
            Some(InputEnd::Detached) => {
                on_detach();
                None
            }
            Some(InputEnd::Closed) => tokio::select! {
                _ = &mut output => settle.await,
                () = hung_up(&watched) => None,
            },
        }
    };
    let _ = client_out.write_all(outgoing.farewell()).await;
    let _ = client_out.shutdown().await;
    if reader.is_some() {
        let _ = tokio::time::timeout(READ_WITHIN, taken(&watched)).await;
    }
}

/// The head travels alone: docker-py reads it through a buffer and what follows past that buffer, and loses what came with it. As a rule
/// it was read while a program was started.
async fn let_head_be_read(client: &Socket, sent: Instant) {
    match client {
        // Who never reads it does not see the rest either.
        Socket::Unix(client) => drop(tokio::time::timeout(READ_WITHIN, taken(client)).await),
        Socket::Tcp(_) | Socket::Tls(_) => tokio::time::sleep_until(sent + HEAD_GAP).await,
    }
}

/// Waits until the other side has taken everything.
async fn taken(socket: impl AsFd) {
    while skiff_sys::socket::untaken(&socket).is_ok_and(|bytes| bytes > 0) {
        tokio::time::sleep(READ_CHECK).await;
    }
}

async fn send_first(
    client: &mut Socket,
    refusal: &[u8],
    backlog: Option<LogStream>,
    outgoing: &mut Outgoing,
) -> io::Result<()> {
    client.write_all(refusal).await?;
    if let Some(mut backlog) = backlog {
        while let Some(lines) = backlog.next().await {
            client.write_all(outgoing.wrap(&lines.map_err(io::Error::other)?)?).await?;
        }
    }
    client.flush().await
}

async fn copy_output(
    container: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
    outgoing: &mut Outgoing,
    pong_requests: &mut mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let mut buffer = vec![0; OUTPUT_BUFFER];
    loop {
        tokio::select! {
            read = container.read(&mut buffer) => match read? {
                0 => return Ok(()),
                n => client.write_all(outgoing.wrap(&buffer[..n])?).await?,
            },
            Some(pong) = pong_requests.recv() => client.write_all(&pong).await?,
        }
        client.flush().await?;
    }
}

/// Ends when the client has no more to say, the container does not listen any more, or the detach keys were seen.
async fn copy_input(
    ahead: &[u8],
    client: &mut (impl AsyncRead + Unpin),
    mut container: Option<&mut (impl AsyncWrite + Unpin)>,
    detach_keys: &[u8],
    incoming: &mut Incoming,
) -> InputEnd {
    let mut keys = DetachKeys::new(detach_keys);
    let mut buffer = vec![0; INPUT_BUFFER];
    let mut piece = ahead;
    let mut passed = Vec::new();
    loop {
        passed.clear();
        let Ok((data, closed)) = incoming.unwrap(piece).await else { return InputEnd::Left };
        let detached = keys.filter(&data, &mut passed);
        if let Some(container) = &mut container
            && container.write_all(&passed).await.is_err()
        {
            return InputEnd::Closed;
        }
        if detached {
            return InputEnd::Detached;
        }
        if closed {
            return InputEnd::Left;
        }
        piece = match client.read(&mut buffer).await {
            Ok(n @ 1..) => &buffer[..n],
            Ok(0) | Err(_) => return InputEnd::Closed,
        };
    }
}

/// Bytes on their way to the client.
struct Outgoing {
    transport: Transport,
    frames: stream::Decoder,
    out: Vec<u8>,
}

impl Outgoing {
    fn new(transport: Transport) -> Self {
        Self { transport, frames: stream::Decoder::new(), out: Vec::new() }
    }

    fn wrap<'a>(&'a mut self, mut bytes: &'a [u8]) -> io::Result<&'a [u8]> {
        let Transport::WebSocket { kind, framed } = self.transport else { return Ok(bytes) };
        self.out.clear();
        if !framed {
            websocket::encode(kind, bytes, &mut self.out);
            return Ok(&self.out);
        }
        while let Some((_, piece)) = self.frames.next(&mut bytes).map_err(io::Error::other)? {
            websocket::encode(kind, piece, &mut self.out);
        }
        Ok(&self.out)
    }

    /// What is sent last.
    fn farewell(&mut self) -> &[u8] {
        self.out.clear();
        if matches!(self.transport, Transport::WebSocket { .. }) {
            websocket::encode(Opcode::Close, &[], &mut self.out);
        }
        &self.out
    }
}

/// Bytes on their way from the client.
struct Incoming {
    messages: Option<websocket::Decoder>,
    pongs: mpsc::Sender<Vec<u8>>,
}

impl Incoming {
    fn new(transport: Transport, pongs: mpsc::Sender<Vec<u8>>) -> Self {
        let messages = matches!(transport, Transport::WebSocket { .. }).then(websocket::Decoder::default);
        Self { messages, pongs }
    }

    /// The client's data, and whether it says that it leaves.
    async fn unwrap<'a>(&mut self, bytes: &'a [u8]) -> Result<(Cow<'a, [u8]>, bool), websocket::FrameError> {
        let Some(messages) = &mut self.messages else { return Ok((Cow::Borrowed(bytes), false)) };
        let (mut data, mut closed) = (Vec::new(), false);
        for signal in messages.decode(bytes, &mut data)? {
            match signal {
                websocket::Signal::Close => closed = true,
                websocket::Signal::Ping(payload) => {
                    let mut pong = Vec::new();
                    websocket::encode(Opcode::Pong, &payload, &mut pong);
                    let _ = self.pongs.send(pong).await;
                }
            }
        }
        Ok((Cow::Owned(data), closed))
    }
}

/// Waits until the other end of the socket is closed in both directions, which reading cannot tell from half.
async fn hung_up(socket: impl AsFd) {
    let mut ticks = tokio::time::interval(HANG_UP_CHECK);
    loop {
        ticks.tick().await;
        let mut fds = [PollFd::new(&socket, PollFlags::empty())];
        let ready = poll(&mut fds, Some(&rustix::time::Timespec::default()));
        if ready.is_ok_and(|n| n > 0) && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
            return;
        }
    }
}

/// Looks for the detach sequence in what a client types. Keys that may begin it are held back until it is clear.
struct DetachKeys<'a> {
    keys: &'a [u8],
    matched: usize,
}

impl<'a> DetachKeys<'a> {
    fn new(keys: &'a [u8]) -> Self {
        Self { keys, matched: 0 }
    }

    /// Appends to `out` what is not part of the sequence; true once the sequence is complete.
    fn filter(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            out.extend_from_slice(input);
            return false;
        }
        for &byte in input {
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return true;
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(byte == self.keys[0] && self.keys.len() > 1);
            if self.matched == 0 {
                out.push(byte);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
