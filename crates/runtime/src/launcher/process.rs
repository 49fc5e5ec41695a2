//! The launcher process itself.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    process::{DumpableBehavior, Signal},
};
use skiff_sys::{
    clone::{CloneFlags, Cloned, clone3},
    exec, fd, signal,
};

use super::StartAnswer;
use crate::{
    apply::{Stage, StageError},
    monitor::{
        self,
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
    // What the daemon's own parent left open is nothing to keep for the life of a container.
    fd::close_from(3)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(fd::adopt(0)?, 3)?;
    silence(0)?;
    silence(1)?;
    Ok(socket)
}

/// Puts `/dev/null` at a standard descriptor, so that nothing opened later gets its number.
pub(crate) fn silence(number: i32) -> rustix::io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let null = rustix::io::fcntl_dupfd_cloexec(null, 3)?;
    fd::place_at(null.as_fd(), number)
}

fn serve(socket: OwnedFd) -> u8 {
    loop {
        let packet = match Packet::receive(socket.as_fd()) {
            Ok(packet) => packet,
            Err(WireError::Closed) => return 0,
            Err(WireError::Malformed(_)) => continue,
            Err(_) => return 1,
        };
        match clone3(CloneFlags::empty(), None) {
            Ok(Cloned::Child) => {
                // A monitor that held this would hide the launcher's death from the daemon.
                drop(socket);
                monitor::process::main(packet)
            }
            Ok(Cloned::Parent { .. }) => {}
            Err(errno) => refuse(&packet, StageError::new(Stage::Clone, errno, "the monitor")),
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
