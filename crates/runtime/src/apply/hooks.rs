//! Runs hooks: the container's state on standard input, an end by the timeout, output kept for the error.

use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use oci_spec::runtime::{ContainerState, State};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags};

use super::{Stage, StageError};
use crate::plan::{Hook, Plan};

/// How much of a failed hook's output goes into the error.
const OUTPUT_MAX: usize = 1024;

/// The state of the container of that plan, as the specification defines it.
pub fn state(plan: &Plan, status: ContainerState, pid: Option<i32>) -> State {
    let mut state = State::default();
    state.set_version(plan.oci_version.clone()).set_id(plan.id.clone()).set_status(status);
    state.set_pid(pid).set_bundle(plan.bundle.clone());
    state.set_annotations(Some(plan.annotations.iter().cloned().collect()));
    state
}

/// Where and with what a hook runs, besides what it says itself.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its working directory.
    pub directory: &'a Path,
    /// The environment of a hook that names none; this process's own if there is none here either.
    pub env: Option<&'a [String]>,
}

/// Runs hooks one after the other; the first that fails ends it.
///
/// # Errors
/// Which hook failed, and what it said.
pub fn run(kind: &str, hooks: &[Hook], state: &State, place: Place<'_>) -> Result<(), StageError> {
    if hooks.is_empty() {
        return Ok(());
    }
    let state =
        serde_json::to_vec(state).map_err(|error| StageError::refused(Stage::Hook, error.to_string()))?;
    for (index, hook) in hooks.iter().enumerate() {
        one(hook, &state, place).map_err(|reason| {
            StageError::refused(
                Stage::Hook,
                format!("error running {kind} hook #{index}: {}: {reason}", hook.path),
            )
        })?;
    }
    Ok(())
}

fn one(hook: &Hook, state: &[u8], place: Place<'_>) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let output =
        rustix::fs::memfd_create(c"hook output", MemfdFlags::CLOEXEC).map_err(|errno| text(errno.into()))?;
    let stdio = || output.try_clone().map(Stdio::from).map_err(text);
    let mut command = Command::new(&hook.path);
    if let Some((name, args)) = hook.args.split_first() {
        command.arg0(name).args(args);
    }
    command.current_dir(place.directory);
    if let Some(env) = hook.env.as_deref().or(place.env) {
        command.env_clear().envs(env.iter().filter_map(|variable| variable.split_once('=')));
    }
    let mut child = command.stdin(Stdio::piped()).stdout(stdio()?).stderr(stdio()?).spawn().map_err(text)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook that does not read its input is within its rights.
        let _ = stdin.write_all(state);
    }
    if !ended_in_time(child.id(), hook.timeout)? {
        // Killing and reaping can only fail if it has ended meanwhile.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("hook ran past specified timeout of {}.0s", hook.timeout.unwrap_or(0)));
    }
    let status = child.wait().map_err(text)?;
    if status.success() { Ok(()) } else { Err(format!("{}{}", describe(status), shown(&output))) }
}

fn ended_in_time(pid: u32, timeout: Option<u64>) -> Result<bool, String> {
    let Some(seconds) = timeout else { return Ok(true) };
    let pid = Pid::from_raw(pid as i32).ok_or("no process id")?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| errno.to_string())?;
    let limit = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX), tv_nsec: 0 };
    let mut waiting = [PollFd::new(&pidfd, PollFlags::IN)];
    // Signals only interrupt what nobody sends signals to.
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut waiting, Some(&limit)));
    Ok(ready.map_err(|errno| errno.to_string())? > 0)
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended abnormally".to_owned(),
    }
}

fn shown(output: &OwnedFd) -> String {
    let mut buffer = [0; OUTPUT_MAX];
    let length = rustix::io::pread(output.as_fd(), &mut buffer, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&buffer[..length]);
    if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) }
}
