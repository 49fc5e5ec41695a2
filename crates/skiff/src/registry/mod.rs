//! The registry: `skiff registry …`.

mod accounts;
mod gc;
mod htpasswd;
mod operator;
mod packed;
mod serve;

use std::{io::Write, process::ExitCode};

pub(crate) use packed::main as packed;
use skiff_registry::AuthMode;

const USAGE: &str = "Usage:  skiff registry COMMAND

A registry for images

Commands:
  gc          Remove content that no image refers to
  htpasswd    Make a password file, as Apache's htpasswd does
  project     Projects and their members
  robot       Accounts for programs
  serve       Run the registry
  user        Accounts for people

Run 'skiff registry COMMAND --help' for more information on a command.
";

/// Runs the command that the arguments after `registry` name.
pub(crate) fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    match arguments.next().as_deref() {
        Some("serve") => serve::main(arguments, AuthMode::Accounts),
        Some("gc") => gc::main(arguments),
        Some("htpasswd") => htpasswd::main(arguments),
        Some(kind @ ("user" | "project" | "robot")) => accounts::main(kind, arguments),
        None | Some("--help" | "-h" | "help") => say(USAGE),
        Some(other) => fail(&format!("skiff registry: unknown command: {other}\n\n{USAGE}")),
    }
}

/// Runs `htpasswd`, which Apache's and docker's registry image have as a program of its own.
pub(crate) fn htpasswd(arguments: impl Iterator<Item = String>) -> ExitCode {
    htpasswd::main(arguments)
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(reason: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}", reason.trim_end());
    ExitCode::FAILURE
}
