//! One run of the runtime's program.

use std::{
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions},
};
use serde::Deserialize;
use skiff_sys::{
    clone::{CloneFlags, Cloned, clone3},
    exec::exit_now,
    signal,
};

use super::refused;
use crate::apply::{Stage, StageError};

/// What the program finds at 0, 1 and 2.
#[derive(Clone, Copy)]
pub(super) enum Streams<'a> {
    /// `/dev/null`.
    None,
    /// These, which become the container's.
    Given([BorrowedFd<'a>; 3]),
}

/// A program that runs. Its errors are in a log of its own, a line of JSON each, as runc writes it.
pub(super) struct Program {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    log: PathBuf,
}

/// A line of the log.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
}

impl Program {
    /// Starts it, in a mount namespace of its own if there is something to `enter` there. It dies with this process.
    pub(super) fn spawn(
        mut command: Command,
        log: PathBuf,
        streams: Streams<'_>,
        namespace: bool,
        enter: impl FnOnce() -> Result<(), StageError>,
    ) -> Result<Self, StageError> {
        let failed = |errno| StageError::new(Stage::Clone, errno, "the runtime's program");
        if let Streams::Given(fds) = streams {
            let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(Stdio::from);
            let [stdin, stdout, stderr] = fds.map(copy);
            let streams = |e: std::io::Error| refused(e.to_string());
            command.stdin(stdin.map_err(streams)?);
            command.stdout(stdout.map_err(streams)?);
            command.stderr(stderr.map_err(streams)?);
        } else {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        }
        signal::default_in_child(&mut command);
        let flags = if namespace { CloneFlags::NEWNS } else { CloneFlags::empty() };
        match clone3(flags, None).map_err(failed)? {
            Cloned::Parent { pid, pidfd } => Ok(Self { pid, pidfd, log }),
            Cloned::Child => {
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                let error = match enter() {
                    Ok(()) => {
                        let error = command.exec();
                        format!("{}: {error}", command.get_program().to_string_lossy())
                    }
                    Err(error) => error.to_string(),
                };
                let line = serde_json::json!({ "level": "error", "msg": error }).to_string();
                // Told by the exit status alone then.
                let _ = fs_err::write(&log, line);
                exit_now(127)
            }
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What it said, or that it did not end in time: it is killed then.
    pub(super) fn wait(self, limit: Duration) -> Result<(), StageError> {
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: 0 };
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        match rustix::io::retry_on_intr(|| rustix::event::poll(&mut ended, Some(&limit))) {
            Ok(0) => Err(self.give_up()),
            _ => self.outcome(),
        }
    }

    /// Kills it.
    pub(super) fn give_up(self) -> StageError {
        // It may have ended meanwhile.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = self.outcome();
        refused("the runtime did not answer in time")
    }

    /// How it went, once it has ended.
    ///
    /// # Errors
    /// What it said.
    pub(super) fn outcome(self) -> Result<(), StageError> {
        let options = WaitIdOptions::EXITED;
        let status =
            rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options));
        let log = fs_err::read_to_string(&self.log).unwrap_or_default();
        let _ = fs_err::remove_file(&self.log);
        let status = match status {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(0), _) => return Ok(()),
                (Some(code), _) => format!("exit status {code}"),
                (None, signal) => format!("killed by signal {}", signal.unwrap_or(0)),
            },
            Ok(None) => Errno::CHILD.to_string(),
            Err(errno) => errno.to_string(),
        };
        Err(refused(last_error(&log).unwrap_or(status)))
    }
}

/// The last error in a log.
fn last_error(log: &str) -> Option<String> {
    let lines = log.lines().rev().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.filter(|line| matches!(line.level.as_str(), "error" | "fatal")).map(|line| line.msg).next()
}

#[cfg(test)]
mod tests {
    use super::last_error;

    #[test]
    fn the_last_error_of_a_log_is_told() {
        let log = r#"{"level":"error","msg":"first"}
            {"level":"error","msg":"runc create failed: no","time":"2026"}
            {"level":"warning","msg":"by the way"}
            garbage"#;
        assert_eq!(last_error(log).as_deref(), Some("runc create failed: no"));
        assert_eq!(last_error("garbage"), None);
    }
}
