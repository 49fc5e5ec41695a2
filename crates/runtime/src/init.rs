//! The init of `--init`: process 1 of a container that starts the program, passes signals on to it, and reaps whatever
//! is left to it.
//!
//! It is our own binary, bind-mounted read-only at `/sbin/docker-init`; it must do without `/proc`, threads and any file
//! of the image.

use std::{
    ffi::OsString,
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, ExitCode},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, Signal, WaitOptions},
};
use skiff_sys::signal;

/// The name under which the binary takes this role.
pub const NAME: &str = "docker-init";

/// Runs the program and its arguments, which may stand behind `--`. Answers its exit code, or 128 and the number of the
/// signal that ended it; 127 if it is not found, 126 if it cannot be executed.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter().skip_while(|arg| arg == "--");
    let Some(program) = args.next() else { return ExitCode::from(1) };
    match run(Command::new(program).args(args)) {
        Ok(code) => ExitCode::from(code),
        Err(e) if e.kind() == io::ErrorKind::NotFound => ExitCode::from(127),
        Err(_) => ExitCode::from(126),
    }
}

fn run(command: &mut Command) -> io::Result<u8> {
    // From now on signals wait for us, however early they come.
    let signals = signal::receive_all()?;
    let child = signal::default_in_child(command.process_group(0)).spawn()?;
    let child = Pid::from_child(&child);
    // The terminal's keys are for the program. There may be no terminal.
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), child);
    loop {
        let mut readable = [PollFd::new(&signals, PollFlags::IN)];
        match poll(&mut readable, None).and_then(|_| signal::next(&signals)) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(e) => return Err(e.into()),
            Ok(number) if number == Signal::CHILD.as_raw() => {
                if let Some(code) = reap(child)? {
                    return Ok(code);
                }
            }
            Ok(number) => {
                if let Some(signal) = signal::from_number(number) {
                    // It may just have ended: then there is nobody to tell.
                    let _ = rustix::process::kill_process(child, signal);
                }
            }
        }
    }
}

/// Reaps everybody who has ended; the program's code if it was among them.
fn reap(child: Pid) -> io::Result<Option<u8>> {
    let mut ended = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => {
                let status = std::process::ExitStatus::from_raw(status.as_raw());
                let signal = status.signal().map(|signal| 128 + signal);
                ended = Some(status.code().or(signal).unwrap_or(1) as u8);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(ended),
            Err(e) => return Err(e.into()),
        }
    }
}
