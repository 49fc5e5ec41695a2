//! The launcher process itself.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags},
    pipe::{PipeFlags, pipe_with},
    process::{DumpableBehavior, Pid, Resource, Rlimit, Signal},
};
use skiff_sys::{
    clone::{CloneFlags, Cloned, clone3},
    exec, fd, memory, signal,
};

use super::StartAnswer;
use crate::{
    apply::{Stage, StageError},
    monitor::{
        self,
        protocol::UnixTime,
        wire::{self, Packet, WireError},
    },
};

/// Runs the launcher until its daemon goes away. Call it before anything else in a process whose `argv[0]` is
/// [`super::ARGV0`]: it needs a single thread, and what it has not touched no monitor has to carry.
pub fn main() -> ! {
    let code = match harden() {
        Ok(socket) => serve(socket),
        Err(_) => 1,
    };
    exec::exit_now(code)
}

/// Takes the socket from standard input, and cuts the process off from its daemon's session, files and privileges to
/// look at it.
fn harden() -> rustix::io::Result<OwnedFd> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Only for whoever looks at processes.
    let _ = rustix::thread::set_name(c"skiff-launcher");
    // Fails only for a process group leader, which has its session already.
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    // Nobody waits for monitors.
    signal::ignore(Signal::CHILD)?;
    // A monitor ends with its container, not at the wish of whoever ends a session or a service; and a limit on the
    // size of files is a full disk, not a death. What it starts gets every default back.
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::XFSZ] {
        signal::ignore(signal)?;
    }
    if let Some(limit) = std::env::args().nth(1).as_deref().and_then(open_files) {
        rustix::process::setrlimit(Resource::Nofile, limit)?;
    }
    // What the daemon's own parent left open is nothing to keep for the life of a container.
    fd::close_from(3)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(fd::adopt(0)?, 3)?;
    silence(0)?;
    silence(1)?;
    Ok(socket)
}

/// The limit on open files that containers are to have, as the launcher's argument: soft and hard, `-` for none.
pub(super) fn open_files_argument(limit: Rlimit) -> String {
    let text = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    format!("{}:{}", text(limit.current), text(limit.maximum))
}

fn open_files(argument: &str) -> Option<Rlimit> {
    let (current, maximum) = argument.split_once(':')?;
    let value = |text: &str| if text == "-" { Some(None) } else { text.parse().ok().map(Some) };
    Some(Rlimit { current: value(current)?, maximum: value(maximum)? })
}

/// Puts `/dev/null` at a standard descriptor, so that nothing opened later gets its number.
pub(crate) fn silence(number: i32) -> rustix::io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let null = rustix::io::fcntl_dupfd_cloexec(null, 3)?;
    fd::place_at(null.as_fd(), number)
}

/// Keeps one monitor waiting for its container: neither the fork nor what a new process must first do stands between a
/// request and its container.
fn serve(socket: OwnedFd) -> u8 {
    // Finds the kernel's clock, which no monitor has to look for then.
    let _ = UnixTime::now();
    let launcher = rustix::process::getpid();
    loop {
        let turn = match fork_spare() {
            Ok(Forked::Spare(tell)) => spare(launcher, socket, tell),
            Ok(Forked::Launcher(told)) => {
                let turn = wait(&told);
                rest(&socket);
                turn
            }
            // No memory or no process number: the next request is tried all the same, and told.
            Err(_) => match next(&socket) {
                (turn, None) => turn,
                (turn, Some(packet)) => match clone3(CloneFlags::empty(), None) {
                    Ok(Cloned::Child) => {
                        drop(socket);
                        let stock = monitor::process::get_ready();
                        monitor::process::main(packet, stock)
                    }
                    Ok(Cloned::Parent { .. }) => turn,
                    Err(errno) => {
                        refuse(&packet, StageError::new(Stage::Clone, errno, "the monitor"));
                        turn
                    }
                },
            },
        };
        match turn {
            Turn::Taken => {}
            Turn::Closed => return 0,
            Turn::Failed => return 1,
        }
    }
}

/// How the wait for a request ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There is one, or who waited for it was killed.
    Taken,
    /// The daemon is gone.
    Closed,
    /// The socket cannot be read.
    Failed,
}

impl Turn {
    const ALL: [Self; 3] = [Self::Taken, Self::Closed, Self::Failed];
}

enum Forked {
    /// This is the spare monitor, which tells here how its wait ended.
    Spare(OwnedFd),
    /// This is the launcher, which is told here.
    Launcher(OwnedFd),
}

fn fork_spare() -> rustix::io::Result<Forked> {
    let (told, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok(match clone3(CloneFlags::empty(), None)? {
        Cloned::Child => Forked::Spare(tell),
        Cloned::Parent { .. } => Forked::Launcher(told),
    })
}

fn wait(told: &OwnedFd) -> Turn {
    const IDLE: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
    if let Ok(0) = rustix::event::poll(&mut [PollFd::new(told, PollFlags::IN)], Some(&IDLE)) {
        memory::trim_heap();
        memory::unmap_idle_code();
    }
    let mut byte = [Turn::Taken as u8];
    // The end without a word is that of a spare that was killed.
    let _ = rustix::io::retry_on_intr(|| rustix::io::read(told, &mut byte));
    Turn::ALL.into_iter().find(|turn| *turn as u8 == byte[0]).unwrap_or(Turn::Failed)
}

/// Lets the container come up before the next spare is made, unless somebody waits for one already.
fn rest(socket: &OwnedFd) {
    const REST: Timespec = Timespec { tv_sec: 0, tv_nsec: 3_000_000 };
    let mut request = [PollFd::new(socket, PollFlags::IN)];
    // A failure only means a shorter rest.
    let _ = rustix::event::poll(&mut request, Some(&REST));
}

/// Waits for a request in the place of the launcher, and becomes its container's monitor.
fn spare(launcher: Pid, socket: OwnedFd, tell: OwnedFd) -> ! {
    // It holds the socket: if it outlived the launcher, the daemon would not see that one's death.
    let dies = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if dies.is_err() || rustix::process::getppid() != Some(launcher) {
        exec::exit_now(1);
    }
    let stock = monitor::process::get_ready();
    let (turn, packet) = next(&socket);
    drop(socket);
    if packet.is_some() {
        // A monitor ends with its container only. To ask for no signal cannot fail.
        let _ = rustix::process::set_parent_process_death_signal(None);
    }
    // If the launcher has died meanwhile nobody is left who wants to know.
    let _ = rustix::io::write(&tell, &[turn as u8]);
    drop(tell);
    match packet {
        Some(packet) => monitor::process::main(packet, stock),
        None => exec::exit_now(0),
    }
}

/// The next request.
fn next(socket: &OwnedFd) -> (Turn, Option<Packet>) {
    loop {
        match Packet::receive(socket.as_fd()) {
            Ok(packet) => return (Turn::Taken, Some(packet)),
            Err(WireError::Malformed(_)) => {}
            Err(WireError::Closed) => return (Turn::Closed, None),
            Err(_) => return (Turn::Failed, None),
        }
    }
}

/// Answers in the place of a monitor that does not exist.
fn refuse(packet: &Packet, error: StageError) {
    if let Some(answer) = packet.fds.first() {
        // If the daemon has gone too, nobody is left who wants to know.
        let _ = wire::send(answer.as_fd(), &StartAnswer { monitor_pid: 0, result: Err(error) }, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_open_files_reads_back() {
        for limit in
            [Rlimit { current: Some(1024), maximum: Some(4096) }, Rlimit { current: None, maximum: None }]
        {
            assert_eq!(open_files(&open_files_argument(limit)), Some(limit));
        }
        assert_eq!(open_files("1024"), None);
    }
}
