//! The monitor's main loop and the container's state.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::{net::SocketFlags, process::Pid};
use skiff_types::ContainerId;

use super::{
    cgroup::Watched,
    child::Child,
    client::Client,
    foreign::Foreign,
    log::LogFile,
    process::After,
    protocol::{Event, ExecState, Exit, Hello, KEPT_EXECS, LogHealth, Target, UnixTime, VERSION},
    reactor::{EventFlags, Reactor, Token, Watch},
    record::ExitRecord,
    stdio::Ends,
};
use crate::launcher::StartMessage;

/// How long nothing must happen until buffers are given back.
const IDLE: Duration = Duration::from_millis(100);
/// One read from a pipe. Pipes hold 64 KiB unless enlarged.
const BUFFER: usize = 64 << 10;

/// Everything a monitor knows. The first child is the container's init.
pub(crate) struct Server {
    pub(super) reactor: Reactor,
    pub(super) container: ContainerId,
    pub(super) run_dir: PathBuf,
    pub(super) listener: Watch,
    pub(super) clients: Vec<Client>,
    pub(super) next_client: u32,
    pub(super) children: Vec<Child>,
    pub(super) next_child: u32,
    pub(super) started_at: UnixTime,
    pub(super) log: Option<LogFile>,
    pub(super) reported: LogHealth,
    pub(super) cgroup: Watched,
    pub(super) ended_execs: VecDeque<ExecState>,
    pub(super) record: Option<ExitRecord>,
    /// The mount of the root file system, held until this process ends: an overlay that is let go flushes the whole file
    /// system below it, which whoever waits for the container's end need not wait for. A daemon may ask for it.
    pub(super) root: Option<OwnedFd>,
    /// The container's mount namespace, held until its end is told: to take it apart takes several grace periods of RCU, for
    /// which the dying process 1 would have everybody wait.
    pub(super) mounts: Option<OwnedFd>,
    /// What is to be run when it has ended.
    pub(super) after: Option<Box<After>>,
    /// The runtime that made the container, if that was not this process.
    pub(super) foreign: Option<Foreign>,
    /// Empty between bursts.
    pub(super) buffer: Vec<u8>,
}

/// What a start has brought up, whoever carried it out.
pub(super) struct Born {
    pub(super) reactor: Reactor,
    pub(super) log: Option<LogFile>,
    pub(super) listener: OwnedFd,
    /// Clients attached before the first byte, as the message lists them.
    pub(super) attached: Vec<OwnedFd>,
    pub(super) init: (Pid, OwnedFd),
    pub(super) ends: Ends,
    pub(super) cgroup: Watched,
    pub(super) root: Option<OwnedFd>,
    pub(super) after: Option<Box<After>>,
    pub(super) foreign: Option<Foreign>,
}

impl Server {
    /// The server of a container that has just been started.
    pub(super) fn new(message: StartMessage, born: Born) -> Self {
        let Born { reactor, log, listener, attached, init, ends, cgroup, root, after, foreign } = born;
        let started_at = UnixTime::now();
        let mut init = Child::new(&reactor, 0, Target::Init, init, ends, message.stdio.stdin);
        for (streams, socket) in message.attach.into_iter().zip(attached) {
            init.attach(socket, streams);
        }
        Self {
            listener: Watch::new(&reactor, listener, Token::Listener),
            container: message.id,
            run_dir: message.run_dir,
            clients: Vec::new(),
            next_client: 0,
            children: vec![init],
            next_child: 1,
            started_at,
            log,
            reported: LogHealth::default(),
            cgroup,
            ended_execs: VecDeque::new(),
            record: None,
            root,
            mounts: None,
            after,
            foreign,
            buffer: Vec::new(),
            reactor,
        }
    }

    /// Runs until the container has ended and everybody has been told.
    pub(crate) fn run(&mut self) {
        self.listener.want(Some(EventFlags::IN));
        while !self.is_over() {
            let Ok(events) = self.reactor.wait(self.timeout()) else { return };
            if events.is_empty() && !self.buffer.is_empty() {
                self.shrink();
            }
            for (token, flags) in events {
                self.dispatch(token, flags);
            }
            self.settle();
        }
    }

    fn is_over(&self) -> bool {
        self.record.is_some() && self.children.iter().all(Child::is_alone)
    }

    fn timeout(&self) -> Option<Duration> {
        let deadline = self.children.iter().filter_map(|c| c.deadline(self.has_log(c))).min();
        let deadline = deadline.into_iter().chain(self.foreign.as_ref().and_then(Foreign::deadline)).min();
        let until = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if self.buffer.is_empty() { until } else { Some(until.map_or(IDLE, |t| t.min(IDLE))) }
    }

    fn has_log(&self, child: &Child) -> bool {
        child.target == Target::Init && self.log.is_some()
    }

    fn dispatch(&mut self, token: Token, flags: EventFlags) {
        let position = |number: u32| self.children.iter().position(|c| c.number == number);
        match token {
            Token::Listener => self.accept(),
            Token::Client(number) => {
                self.catch_up(number, flags);
                self.serve(number);
            }
            Token::Oom => self.oom(),
            Token::Program(number) => self.foreign_ended(number),
            Token::Exit(number) => {
                if let Some(at) = position(number) {
                    self.child_ended(at);
                }
            }
            Token::Output(number, stream) => {
                if let Some(at) = position(number) {
                    self.ready_buffer();
                    let log = if at == 0 { &mut self.log } else { &mut None };
                    self.children[at].output_ready(stream, &mut self.buffer, log);
                }
            }
            Token::Input(number) => {
                if let Some(at) = position(number) {
                    self.children[at].input_ready();
                }
            }
            Token::Attached(number, attachment) => {
                if let Some(at) = position(number) {
                    self.ready_buffer();
                    let daemons = self.next_client;
                    self.children[at].attachment_ready(attachment, flags, &mut self.buffer, daemons);
                }
            }
        }
    }

    fn ready_buffer(&mut self) {
        if self.buffer.is_empty() {
            // Zeroed by the kernel where it is touched, and most containers touch little.
            self.buffer = vec![0; BUFFER];
        }
    }

    fn shrink(&mut self) {
        self.buffer = Vec::new();
        self.children.iter_mut().for_each(Child::shrink);
        if let Some(log) = &mut self.log {
            log.shrink();
        }
        skiff_sys::memory::trim_heap();
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        if let Ok(socket) = rustix::net::accept_with(self.listener.as_fd(), flags) {
            let mut client = self.new_client(socket);
            client.tell(&Event::Hello(self.hello()), &[self.children[0].pidfd()]);
            self.clients.push(client);
        }
    }

    /// Tells a daemon that has missed events how things stand.
    fn catch_up(&mut self, number: u32, flags: EventFlags) {
        let Some(at) = self.clients.iter().position(|c| c.number == number) else { return };
        if self.clients[at].catches_up(flags) {
            let hello = Event::Hello(self.hello());
            self.clients[at].tell(&hello, &[self.children[0].pidfd()]);
        }
    }

    /// A connection that needs no `Hello`.
    pub(super) fn new_client(&mut self, socket: OwnedFd) -> Client {
        self.next_client += 1;
        Client::new(&self.reactor, self.next_client - 1, socket)
    }

    fn hello(&self) -> Hello {
        let running = self.children.iter().filter_map(|child| match child.target {
            Target::Exec(id) => Some(ExecState { id, pid: child.pid.as_raw_nonzero().get(), exit: None }),
            Target::Init => None,
        });
        let running = running.filter(|exec| !self.ended_execs.iter().any(|ended| ended.id == exec.id));
        Hello {
            version: VERSION,
            container: self.container,
            monitor_pid: rustix::process::getpid().as_raw_nonzero().get(),
            pid: self.children[0].pid.as_raw_nonzero().get(),
            started_at: self.started_at,
            exit: self.record,
            execs: self.ended_execs.iter().cloned().chain(running).collect(),
            oom_kills: self.cgroup.oom_kills(),
            log: self.log_health(),
        }
    }

    fn log_health(&self) -> LogHealth {
        self.log.as_ref().map_or(self.reported, LogFile::health)
    }

    pub(super) fn tell_all(&mut self, event: &Event) {
        for client in &mut self.clients {
            client.tell(event, &[]);
        }
    }

    fn oom(&mut self) {
        if let Some(count) = self.cgroup.note_oom() {
            self.tell_all(&Event::OomKill { count });
        }
    }

    fn child_ended(&mut self, at: usize) {
        self.children[at].reap();
        self.reap_strangers();
        if at == 0 && self.children[0].exit.is_some() {
            // In a pid namespace of its own all is over already; where it shares one, this is the only hold on the rest.
            self.cgroup.kill_all();
        }
    }

    /// After each round: nothing waits that need not.
    fn settle(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
        self.report_log();
        let now = Instant::now();
        for at in 0..self.children.len() {
            let log = self.has_log(&self.children[at]);
            let clients = &self.clients;
            let child = &mut self.children[at];
            child.tick(now, log, |before| clients.iter().any(|c| c.number < before && !c.is_gone()));
            child.drop_finished_attachments();
            if child.is_finished() {
                self.finish(at);
            }
        }
        self.hurry_foreign(now);
        self.children.retain(|c| c.target == Target::Init || !(c.is_finished() && c.is_alone()));
        self.clients.retain(|c| !c.is_gone());
    }

    fn report_log(&mut self) {
        let health = self.log_health();
        // Once when it begins and once when it is over: a container may write a million lines a second to a full disk.
        if health.errno != self.reported.errno {
            self.reported = health;
            self.tell_all(&Event::LogTrouble(health));
        }
    }

    /// A child has ended and its output is complete.
    fn finish(&mut self, at: usize) {
        let Some((exit, when)) = self.children[at].exit else { return };
        match self.children[at].target {
            Target::Exec(id) => {
                if self.ended_execs.iter().any(|ended| ended.id == id) {
                    return;
                }
                let pid = self.children[at].pid.as_raw_nonzero().get();
                self.children[at].close_attachments();
                if self.ended_execs.len() == KEPT_EXECS {
                    self.ended_execs.pop_front();
                }
                self.ended_execs.push_back(ExecState { id, pid, exit: Some((exit, when)) });
                self.tell_all(&Event::ExecExited { id, exit, at: when });
            }
            Target::Init if self.record.is_none() && self.execs_are_over() => self.end(exit, when),
            Target::Init => {}
        }
    }

    /// Whether the execs have ended with the init, as they do at once, or not even SIGKILL ends them.
    fn execs_are_over(&self) -> bool {
        self.children[1..].iter().all(Child::is_finished) || self.children[0].has_lingered()
    }

    /// The container is over: completes the log, cleans up, writes the record, and only then says so.
    fn end(&mut self, exit: Exit, exited_at: UnixTime) {
        if let Some(log) = &mut self.log {
            log.close();
        }
        let log = self.log_health();
        self.report_log();
        self.log = None;
        self.oom();
        let oom_killed = self.cgroup.oom_kills() > 0;
        if let Some(foreign) = &mut self.foreign {
            foreign.delete();
        }
        let pid = self.children[0].pid.as_raw_nonzero().get();
        let record = ExitRecord { pid, exit, started_at: self.started_at, exited_at, oom_killed, log };
        // Without room even for this the daemon sees the connection end, and no record: killed.
        let _ = record.store(&self.run_dir);
        if let Some(after) = self.after.take() {
            after.run();
        }
        self.record = Some(record);
        self.tell_all(&Event::Exited(record));
        // A daemon that knows removes the cgroup itself, before it starts the container again.
        if self.clients.iter().all(Client::is_gone) {
            self.cgroup.remove();
        }
        self.children[0].close_attachments();
        self.mounts = None;
    }
}
