//! What the program is asked for while the container runs, and what comes of it.

use std::{ffi::OsStr, os::fd::OwnedFd, path::PathBuf, time::Instant};

use rustix::process::Pid;

use super::{ASKED, Console, Foreign, io, process, program::Program, reap_strangers, refused, streams};
use crate::{
    apply::StageError,
    monitor::{
        child::Child,
        process::streams as stream_failure,
        protocol::{Event, ExecRequest, RequestError, Streams, Target},
        reactor::{EventFlags, Token, Watch},
        server::Server,
        stdio,
    },
};

/// A program that runs for a request.
pub(super) struct Running {
    number: u32,
    program: Program,
    _watch: Watch,
    pub(super) deadline: Instant,
    then: Then,
}

/// What its end means.
enum Then {
    /// The request of a client is answered.
    Answer { client: u32, sequence: u32 },
    /// A process of the container has begun.
    Exec(Box<Starting>),
}

/// A process that the program is starting.
struct Starting {
    request: ExecRequest,
    attach: Option<(Streams, OwnedFd)>,
    prepared: stdio::Prepared,
    console: Option<Console>,
    pid_file: PathBuf,
    process_file: PathBuf,
}

impl Server {
    /// Asks the program for something that is answered when it has ended; at once if it cannot even be asked.
    pub(in crate::monitor) fn ask_foreign(
        &mut self,
        (client, sequence): (u32, u32),
        options: &[&OsStr],
        rest: &[&str],
    ) {
        let Some(foreign) = &mut self.foreign else { return };
        let then = Then::Answer { client, sequence };
        match foreign.ask(options, rest) {
            Ok(program) => self.watch_foreign(program, then),
            Err(error) => self.done(then, Err(error)),
        }
    }

    /// Has the program send a signal to process 1.
    pub(in crate::monitor) fn signal_foreign(&mut self, from: (u32, u32), signal: i32) {
        self.ask_foreign(from, &["kill".as_ref()], &[&signal.to_string()]);
    }

    /// Has the program change limits: a file of OCI's `LinuxResources`.
    pub(in crate::monitor) fn update_foreign(&mut self, from: (u32, u32), resources: &[u8]) {
        let Some(foreign) = &mut self.foreign else { return };
        let file = foreign.file("resources");
        match fs_err::write(&file, resources) {
            Ok(()) => {
                self.ask_foreign(from, &["update".as_ref(), "--resources".as_ref(), file.as_ref()], &[])
            }
            Err(e) => {
                let (client, sequence) = from;
                self.done(Then::Answer { client, sequence }, Err(io(&file)(e)));
            }
        }
    }

    /// Has the program start a process.
    pub(in crate::monitor) fn exec_foreign(
        &mut self,
        request: ExecRequest,
        attach: Option<(Streams, OwnedFd)>,
    ) {
        let id = request.id;
        let Some(foreign) = &mut self.foreign else { return };
        match foreign.exec(request, attach) {
            Ok((program, starting)) => self.watch_foreign(program, Then::Exec(Box::new(starting))),
            Err(error) => self.tell_all(&Event::ExecFailed { id, error }),
        }
    }

    fn watch_foreign(&mut self, program: Program, then: Then) {
        let Some(foreign) = &mut self.foreign else { return };
        foreign.next += 1;
        let number = foreign.next;
        match program.pidfd.try_clone() {
            Ok(pidfd) => {
                let mut watch = Watch::new(&self.reactor, pidfd, Token::Program(number));
                watch.want(Some(EventFlags::IN));
                let deadline = Instant::now() + ASKED;
                foreign.running.push(Running { number, program, _watch: watch, deadline, then });
            }
            Err(_) => {
                let error = program.give_up();
                self.done(then, Err(error));
            }
        }
    }

    /// A program has ended.
    pub(in crate::monitor) fn foreign_ended(&mut self, number: u32) {
        let Some(foreign) = &mut self.foreign else { return };
        let Some(at) = foreign.running.iter().position(|running| running.number == number) else { return };
        let Running { program, then, .. } = foreign.running.swap_remove(at);
        self.done(then, program.outcome());
        self.reap_strangers();
    }

    /// Gives up what takes too long.
    pub(in crate::monitor) fn hurry_foreign(&mut self, now: Instant) {
        let Some(foreign) = &mut self.foreign else { return };
        if let Some(at) = foreign.running.iter().position(|running| running.deadline <= now) {
            let Running { program, then, .. } = foreign.running.swap_remove(at);
            let error = program.give_up();
            // The others are late in the next round.
            self.done(then, Err(error));
        }
    }

    /// Reaps adopted children that nobody waits for. Nothing tells of their ends: it is done when one ends that is known.
    pub(in crate::monitor) fn reap_strangers(&self) {
        let Some(foreign) = &self.foreign else { return };
        let running: Vec<Pid> = foreign.running.iter().map(|running| running.program.pid).collect();
        let children = &self.children;
        reap_strangers(|pid| running.contains(&pid) || children.iter().any(|child| child.pid == pid));
    }

    fn done(&mut self, then: Then, outcome: Result<(), StageError>) {
        match then {
            Then::Answer { client, sequence } => {
                let ended = self.children[0].exit.is_some();
                let result = outcome.map_err(|error| match ended {
                    true => RequestError::NoSuchProcess,
                    false => RequestError::Runtime(error.detail),
                });
                if let Some(client) = self.clients.iter_mut().find(|c| c.number == client) {
                    client.tell(&Event::Answer { sequence, result }, &[]);
                }
            }
            Then::Exec(starting) => {
                let id = starting.request.id;
                let event = match outcome.and_then(|()| self.begin_exec(*starting)) {
                    Ok(pid) => Event::ExecStarted { id, pid },
                    Err(error) => Event::ExecFailed { id, error },
                };
                self.tell_all(&event);
            }
        }
    }

    fn begin_exec(&mut self, starting: Starting) -> Result<i32, StageError> {
        let Starting { request, attach, prepared, console, pid_file, process_file } = starting;
        // Nobody needs it any more.
        let _ = fs_err::remove_file(process_file);
        let process = process(&pid_file)?;
        let master = console.map(Console::receive).transpose()?;
        let ends = prepared.into_ours(master).map_err(stream_failure)?;
        let number = self.next_child;
        self.next_child += 1;
        let target = Target::Exec(request.id);
        let mut child = Child::new(&self.reactor, number, target, process, ends, request.stdio.stdin);
        if let Some((streams, socket)) = attach {
            child.attach(socket, streams);
        }
        let pid = child.pid.as_raw_nonzero().get();
        self.children.push(child);
        Ok(pid)
    }
}

impl Foreign {
    fn exec(
        &mut self,
        request: ExecRequest,
        attach: Option<(Streams, OwnedFd)>,
    ) -> Result<(Program, Starting), StageError> {
        let process: String = request.plan.decode().map_err(|e| refused(e.to_string()))?;
        let process_file = self.file("process");
        fs_err::write(&process_file, process).map_err(io(&process_file))?;
        let prepared = stdio::Prepared::new(request.stdio).map_err(stream_failure)?;
        let console = request.stdio.terminal.map(|_| Console::listen(&self.bundle)).transpose()?;
        let pid_file = self.file("pid");
        let mut options: Vec<&OsStr> = vec!["exec".as_ref(), "--detach".as_ref()];
        options.extend(["--process".as_ref(), process_file.as_os_str()]);
        options.extend(["--pid-file".as_ref(), pid_file.as_os_str()]);
        if let Some(console) = &console {
            options.extend(["--console-socket".as_ref(), console.path.as_os_str()]);
        }
        let program = self.run((&options, &[]), streams(&prepared), || Ok(()), false)?;
        Ok((program, Starting { request, attach, prepared, console, pid_file, process_file }))
    }
}
