//! One attached client: a stream socket whose other end the daemon connected to an HTTP connection.
//!
//! A client that does not read holds the process back, as a pipe would: `skiff run image command | less` must lose
//! nothing. But a container with a log must go on some time: a client that takes nothing for [`PATIENCE`] is cut off.
//! Up to then the process waits when the socket's buffer and [`ENOUGH`] of queue are full.

use std::{
    collections::VecDeque,
    io::IoSlice,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{io::Errno, net::SendFlags};

use super::{
    protocol::Streams,
    reactor::{EventFlags, Reactor, Token, Watch},
    stream::Stream,
};

/// How much may wait for a client before the process is held back.
const ENOUGH: usize = 64 << 10;
/// How long a client may take nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// An attached client.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) number: u32,
    watch: Watch,
    streams: Streams,
    /// Without frames, as a terminal's.
    raw: bool,
    queue: VecDeque<u8>,
    /// Since when the queue is not empty and nothing was taken.
    waiting_since: Option<Instant>,
    input: InputState,
    /// Gone as soon as the queue is empty.
    closing: bool,
    dead: bool,
}

/// What may still come from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InputState {
    /// Bytes.
    Open,
    /// Bytes, which the process cannot take at the moment.
    Paused,
    /// Nothing that matters.
    Ended,
}

/// What reading from a client gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes in the buffer.
    Bytes(usize),
    /// It sends no more, but may want to read.
    HalfClosed,
    /// It has gone, and what it wanted to read is lost.
    Reset,
    /// Nothing at the moment.
    Nothing,
}

impl Attachment {
    pub(crate) fn new(
        reactor: &Reactor,
        token: Token,
        number: u32,
        fd: OwnedFd,
        streams: Streams,
        raw: bool,
    ) -> Self {
        // Whoever made the socket may have left it blocking; sends ask for MSG_DONTWAIT themselves.
        let watch = Watch::new(reactor, fd, token);
        let input = if streams.stdin { InputState::Open } else { InputState::Ended };
        let mut new = Self {
            number,
            watch,
            streams,
            raw,
            queue: VecDeque::new(),
            waiting_since: None,
            input,
            closing: false,
            dead: false,
        };
        new.watch_again();
        new
    }

    /// Gives it output of the process.
    pub(crate) fn send(&mut self, stream: Stream, data: &[u8]) {
        if !self.wants(stream) || self.closing || self.dead || data.is_empty() {
            return;
        }
        let frame = stream.frame_header(data.len());
        let header: &[u8] = if self.raw { &[] } else { &frame };
        let sent = if self.queue.is_empty() { self.send_now(header, data) } else { 0 };
        if self.dead || !self.wants(stream) {
            return;
        }
        let (header_sent, data_sent) = (sent.min(header.len()), sent.saturating_sub(header.len()));
        self.queue.extend(&header[header_sent..]);
        self.queue.extend(&data[data_sent..]);
        self.note_progress(sent > 0);
        self.watch_again();
    }

    fn send_now(&mut self, header: &[u8], data: &[u8]) -> usize {
        let parts = [IoSlice::new(header), IoSlice::new(data)];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let done = rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(self.watch.as_fd(), &parts, &mut Default::default(), flags)
        });
        match done {
            Ok(sent) => sent,
            Err(Errno::AGAIN) => 0,
            Err(_) => {
                self.stop_output();
                0
            }
        }
    }

    /// It reads no more. What it has sent before counts all the same.
    fn stop_output(&mut self) {
        self.streams = Streams { stdout: false, stderr: false, ..self.streams };
        self.queue = VecDeque::new();
        self.waiting_since = None;
        if self.input == InputState::Ended {
            self.die();
        }
    }

    /// The socket takes bytes again.
    pub(crate) fn writable(&mut self) {
        let mut queue = std::mem::take(&mut self.queue);
        let (front, back) = queue.as_slices();
        let sent = self.send_now(front, back);
        queue.drain(..sent);
        // An empty one gives its memory back.
        if (self.wants(Stream::Stdout) || self.wants(Stream::Stderr)) && !queue.is_empty() {
            self.queue = queue;
        }
        self.note_progress(sent > 0);
        self.watch_again();
    }

    /// Reads what it sends, if the process may have it.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        if self.input != InputState::Open || self.dead {
            return Received::Nothing;
        }
        let flags = rustix::net::RecvFlags::DONTWAIT;
        match rustix::io::retry_on_intr(|| rustix::net::recv(self.watch.as_fd(), &mut *buffer, flags)) {
            Ok((0, _)) => {
                self.input = InputState::Ended;
                self.watch_again();
                Received::HalfClosed
            }
            Ok((len, _)) => Received::Bytes(len),
            Err(Errno::AGAIN) => Received::Nothing,
            Err(_) => {
                self.input = InputState::Ended;
                Received::Reset
            }
        }
    }

    /// Whether something that it sent may still be unread.
    pub(crate) fn has_input(&self) -> bool {
        self.input != InputState::Ended
    }

    /// Stops or resumes reading what it sends.
    pub(crate) fn pause_input(&mut self, pause: bool) {
        self.input = match (self.input, pause) {
            (InputState::Open, true) => InputState::Paused,
            (InputState::Paused, false) => InputState::Open,
            (state, _) => state,
        };
        self.watch_again();
    }

    /// Whether the process must wait before it may write more to `stream`.
    pub(crate) fn holds_back(&self, stream: Stream) -> bool {
        self.wants(stream) && self.queue.len() >= ENOUGH
    }

    fn wants(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.streams.stdout,
            Stream::Stderr => self.streams.stderr,
        }
    }

    /// Ends it when all is sent.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        self.input = InputState::Ended;
        self.watch_again();
    }

    /// Ends it now.
    pub(crate) fn die(&mut self) {
        self.dead = true;
        self.queue = VecDeque::new();
        self.watch.want(None);
    }

    /// Whether it can be dropped.
    pub(crate) fn is_over(&self) -> bool {
        self.dead || (self.closing && self.queue.is_empty())
    }

    /// When it will have been waited for too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since + PATIENCE)
    }

    fn note_progress(&mut self, progress: bool) {
        if self.queue.is_empty() {
            self.waiting_since = None;
        } else if progress || self.waiting_since.is_none() {
            self.waiting_since = Some(Instant::now());
        }
    }

    fn watch_again(&mut self) {
        if self.dead {
            return;
        }
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN | EventFlags::RDHUP, self.input == InputState::Open);
        flags.set(EventFlags::OUT, !self.queue.is_empty());
        // A peer that has gone is reported for ever: not while what it sent is still to be read.
        let off = self.input == InputState::Paused && self.queue.is_empty();
        self.watch.want((!off).then_some(flags));
    }
}

#[cfg(test)]
mod tests;
