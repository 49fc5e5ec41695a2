//! A process of the container that the monitor started: its init, or an exec, with its streams and attached clients.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, WaitId, WaitIdOptions},
};

use super::{
    attachment::{Attachment, Received},
    input::Input,
    log::LogFile,
    output::{Output, Read},
    protocol::{Exit, Stdin, Streams, Target, UnixTime, WindowSize},
    reactor::{EventFlags, Reactor, Token, Watch},
    stdio::{Ends, Terminal},
    stream::Stream,
};

/// How long output is waited for once the process has ended: somebody else may hold its pipe open for ever. Docker's.
const LINGER: Duration = Duration::from_secs(2);

/// A client that vanishes may have been cut off by the death of its daemon. If its daemon is still there after this time, it was
/// the client's own wish.
const ORPHANED: Duration = Duration::from_secs(1);

/// How often one stream is read before others get their turn.
const ROUNDS: usize = 4;

/// One process.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) number: u32,
    pub(crate) target: Target,
    pub(crate) pid: Pid,
    pidfd: Watch,
    terminal: Option<Terminal>,
    stdout: Output,
    stderr: Output,
    input: Input,
    attachments: Vec<Attachment>,
    next_attachment: u32,
    /// How and when it ended.
    pub(crate) exit: Option<(Exit, UnixTime)>,
    linger_until: Option<Instant>,
    orphaned: Option<Orphaned>,
    reactor: Reactor,
}

/// A client that fed the process has vanished without a word.
#[derive(Debug)]
struct Orphaned {
    decide_at: Instant,
    /// Daemons that connected before have numbers below this.
    daemons_before: u32,
}

impl Child {
    pub(crate) fn new(
        reactor: &Reactor,
        number: u32,
        target: Target,
        (pid, pidfd): (Pid, OwnedFd),
        ends: Ends,
        stdin: Stdin,
    ) -> Self {
        let terminal = ends.terminal.is_some();
        let output = |fd, stream| Output::new(reactor, Token::Output(number, stream), fd, terminal);
        let mut pidfd = Watch::new(reactor, pidfd, Token::Exit(number));
        pidfd.want(Some(EventFlags::IN));
        Self {
            number,
            target,
            pid,
            pidfd,
            stdout: output(Some(ends.stdout), Stream::Stdout),
            stderr: output(ends.stderr, Stream::Stderr),
            input: Input::new(reactor, Token::Input(number), ends.stdin, stdin, terminal),
            terminal: ends.terminal,
            attachments: Vec::new(),
            next_attachment: 0,
            exit: None,
            linger_until: None,
            orphaned: None,
            reactor: reactor.clone(),
        }
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Connects a client.
    pub(crate) fn attach(&mut self, socket: OwnedFd, streams: Streams) {
        let number = self.next_attachment;
        self.next_attachment += 1;
        let token = Token::Attached(self.number, number);
        let raw = self.terminal.is_some();
        let mut new = Attachment::new(&self.reactor, token, number, socket, streams, raw);
        new.pause_input(self.input.is_full());
        self.attachments.push(new);
    }

    /// Sets the size of its terminal.
    ///
    /// # Errors
    /// `ENOTTY` when it has none.
    pub(crate) fn resize(&self, size: WindowSize) -> Result<(), Errno> {
        self.terminal.as_ref().map_or(Err(Errno::NOTTY), |terminal| terminal.resize(size))
    }

    /// The end of its input was asked for.
    pub(crate) fn end_input(&mut self) {
        self.input.end();
    }

    /// Something can be read from `stream`.
    pub(crate) fn output_ready(&mut self, stream: Stream, buffer: &mut [u8], log: &mut Option<LogFile>) {
        let output = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        for _ in 0..ROUNDS {
            match output.read(buffer) {
                Read::Bytes(len) => {
                    let data = &buffer[..len];
                    if let Some(log) = log {
                        let now = UnixTime::now();
                        output.splitter.push(data, |message| log.push(message, stream, now));
                    }
                    for attachment in &mut self.attachments {
                        attachment.send(stream, data);
                    }
                    if len < buffer.len() || self.attachments.iter().any(|a| a.holds_back(stream)) {
                        break;
                    }
                }
                Read::Nothing => break,
                Read::End => {
                    if let Some(log) = log {
                        output.splitter.finish(|message| log.push(message, stream, UnixTime::now()));
                    }
                    break;
                }
            }
        }
        self.balance();
    }

    /// The process takes input again.
    pub(crate) fn input_ready(&mut self) {
        self.input.flush();
        self.balance();
    }

    /// Something happened to an attached client. `daemons` is the number that the next daemon to connect will get.
    pub(crate) fn attachment_ready(
        &mut self,
        number: u32,
        flags: EventFlags,
        buffer: &mut [u8],
        daemons: u32,
    ) {
        let Some(attachment) = self.attachments.iter_mut().find(|a| a.number == number) else { return };
        if flags.contains(EventFlags::OUT) {
            attachment.writable();
        }
        let gone = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        match attachment.receive(buffer) {
            Received::Bytes(len) => {
                self.input.write(&buffer[..len]);
            }
            received @ (Received::HalfClosed | Received::Reset) if gone || received == Received::Reset => {
                attachment.die();
                if self.input.closes_with_client() {
                    let decide_at = Instant::now() + ORPHANED;
                    self.orphaned = Some(Orphaned { decide_at, daemons_before: daemons });
                }
            }
            Received::HalfClosed if self.input.closes_with_client() => self.input.end(),
            Received::HalfClosed | Received::Reset => attachment.close(),
            Received::Nothing if gone && !attachment.has_input() => attachment.die(),
            Received::Nothing => {}
        }
        self.balance();
    }

    /// It has ended, if that is so: reaps it.
    pub(crate) fn reap(&mut self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status =
            rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options));
        let exit = match status {
            Ok(None) => return,
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, signal) => Exit::Signal(signal.unwrap_or(0)),
            },
            // It is our child and nobody else waits for it.
            Err(_) => Exit::Code(255),
        };
        self.exit = Some((exit, UnixTime::now()));
        self.linger_until = Some(Instant::now() + LINGER);
        self.pidfd.want(None);
        self.input.close_now();
        if let Some(terminal) = &mut self.terminal {
            terminal.release();
        }
        self.balance();
    }

    /// Whether it has ended and its output is read to the end.
    pub(crate) fn is_finished(&self) -> bool {
        self.exit.is_some() && self.stdout.has_ended() && self.stderr.has_ended()
    }

    /// Whether it has ended so long ago that nothing more is waited for.
    pub(crate) fn has_lingered(&self) -> bool {
        self.linger_until.is_some_and(|at| at <= Instant::now())
    }

    /// Lets attached clients go when they have got everything.
    pub(crate) fn close_attachments(&mut self) {
        for attachment in &mut self.attachments {
            attachment.close();
        }
        self.drop_finished_attachments();
    }

    /// Whether nobody is attached.
    pub(crate) fn is_alone(&self) -> bool {
        self.attachments.is_empty()
    }

    /// Drops who is done.
    pub(crate) fn drop_finished_attachments(&mut self) {
        let before = self.attachments.len();
        self.attachments.retain(|a| !a.is_over());
        if self.attachments.len() != before {
            self.balance();
        }
    }

    /// The next moment at which [`Self::tick`] has something to do.
    pub(crate) fn deadline(&self, log: bool) -> Option<Instant> {
        let orphaned = self.orphaned.as_ref().map(|o| o.decide_at);
        let linger = self.linger_until.filter(|&at| at > Instant::now() || !self.is_finished());
        let patience = self
            .attachments
            .iter()
            .filter(|_| log || self.exit.is_some())
            .filter_map(Attachment::deadline)
            .min();
        [orphaned, linger, patience].into_iter().flatten().min()
    }

    /// Does what is due: gives up what was waited for too long. `log` says whether it has a log that must go on.
    pub(crate) fn tick(&mut self, now: Instant, log: bool, daemon_before: impl Fn(u32) -> bool) {
        if self.linger_until.is_some_and(|at| at <= now) {
            self.stdout.abandon();
            self.stderr.abandon();
        }
        if let Some(orphaned) = self.orphaned.take_if(|o| o.decide_at <= now)
            && daemon_before(orphaned.daemons_before)
        {
            self.input.end();
        }
        if log || self.exit.is_some() {
            for attachment in &mut self.attachments {
                if attachment.deadline().is_some_and(|at| at <= now) {
                    attachment.die();
                }
            }
        }
    }

    /// Lets go of memory between bursts.
    pub(crate) fn shrink(&mut self) {
        self.stdout.splitter.shrink();
        self.stderr.splitter.shrink();
    }

    /// Holds back who writes faster than it is read, in both directions. What a dead process left behind is read
    /// in any case: it is no more than a pipe can hold.
    fn balance(&mut self) {
        let ended = self.exit.is_some();
        for (stream, output) in [(Stream::Stdout, &mut self.stdout), (Stream::Stderr, &mut self.stderr)] {
            output.hold(!ended && self.attachments.iter().any(|a| a.holds_back(stream)));
        }
        let full = self.input.is_full();
        for attachment in &mut self.attachments {
            attachment.pause_input(full);
        }
    }
}

#[cfg(test)]
mod tests;
