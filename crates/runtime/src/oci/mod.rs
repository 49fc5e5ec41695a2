//! `skiff runtime`: the command line of an OCI runtime, compatible with runc's in flags and output, for whoever brings
//! container management of his own (containerd, CRI-O, Docker).
//!
//! A container's state lives in a directory below `--root`: [`record`] writes and reads it. Nothing runs between two
//! commands but the container itself.

mod args;
mod bundle;
mod console;
mod create;
mod delete;
mod error;
mod events;
mod exec;
mod features;
mod foreground;
mod kill;
mod list;
mod log;
mod protect;
mod ps;
mod record;
mod template;
mod update;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

pub use error::OciError;

use args::{Command, CommandLine, Global};

/// Runs the command that the arguments name; the first argument is the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(args) {
        Ok(line) => line,
        Err(error) => {
            // Help and version go to standard output with success; if that is closed, there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match run(&line) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            log::error(&line.global, &format!("{} failed: {error}", name(&line.command)));
            // As runc: a failed exec is told apart from the exit codes of what it would have run.
            ExitCode::from(if matches!(line.command, Command::Exec(_)) { 255 } else { 1 })
        }
    }
}

fn run(line: &CommandLine) -> Result<u8, OciError> {
    let global = &line.global;
    refuse_unsupported(global)?;
    match &line.command {
        Command::Create(create) => {
            protect::ensure()?;
            create::create(global, create).map(|()| 0)
        }
        Command::Run(run) => {
            protect::ensure()?;
            create::run(global, run)
        }
        Command::Exec(exec) => {
            protect::ensure()?;
            exec::exec(global, exec)
        }
        Command::Start { id } => create::start(global, id).map(|()| 0),
        Command::State { id } => list::state(global, id).map(|()| 0),
        Command::Kill(kill) => kill::kill(global, kill).map(|()| 0),
        Command::Delete { force, id } => delete::delete(global, id, *force).map(|()| 0),
        Command::Ps { format, id, options } => ps::ps(global, id, *format, options).map(|()| 0),
        Command::Pause { id } => update::pause(global, id).map(|()| 0),
        Command::Resume { id } => update::resume(global, id).map(|()| 0),
        Command::Update(update) => update::update(global, update).map(|()| 0),
        Command::Events { interval, stats, id } => events::events(global, id, interval, *stats).map(|()| 0),
        Command::Features => features::features().map(|()| 0),
        Command::List { format, quiet } => list::list(global, *format, *quiet).map(|()| 0),
        Command::Checkpoint { .. } | Command::Restore { .. } => {
            let reason = "checkpoint and restore are not supported: this runtime runs no other program, and CRIU is one";
            Err(OciError::Argument(reason.to_owned()))
        }
        Command::Spec { bundle, rootless } => template::spec(bundle, *rootless).map(|()| 0),
    }
}

fn refuse_unsupported(global: &Global) -> Result<(), OciError> {
    if global.systemd_cgroup {
        let reason = "--systemd-cgroup is not supported: this runtime writes to cgroups itself";
        return Err(OciError::Argument(reason.to_owned()));
    }
    Ok(())
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Create(_) => "create",
        Command::Run(_) => "run",
        Command::Start { .. } => "start",
        Command::State { .. } => "state",
        Command::Kill(_) => "kill",
        Command::Delete { .. } => "delete",
        Command::Exec(_) => "exec",
        Command::Ps { .. } => "ps",
        Command::Pause { .. } => "pause",
        Command::Resume { .. } => "resume",
        Command::Update(_) => "update",
        Command::Events { .. } => "events",
        Command::Features => "features",
        Command::List { .. } => "list",
        Command::Spec { .. } => "spec",
        Command::Checkpoint { .. } => "checkpoint",
        Command::Restore { .. } => "restore",
    }
}

/// Prints a line to standard output, where the commands' answers go.
#[allow(clippy::print_stdout, reason = "this is a command line")]
fn print(line: &str) {
    println!("{line}");
}

/// Prints as JSON on one line.
fn print_json(value: &impl serde::Serialize) -> Result<(), OciError> {
    let source = |source| OciError::Json { path: "standard output".into(), source };
    serde_json::to_string(value).map(|text| print(&text)).map_err(source)
}
