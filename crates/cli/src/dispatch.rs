//! From the words of the command line to a command's function.

#[cfg(test)]
mod tests;

use std::{ffi::OsString, process::ExitCode};

use crate::{
    commands, completion,
    failure::{Failure, Outcome},
    grammar::{self, Command, Flag, Matches, Node, Parsed, quote},
    say,
    session::Session,
    streams::terminal,
    table::{GLOBAL, ROOT, UNSUPPORTED},
};

/// Runs the command line; `args` begin with the name under which the program was called.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut words: Vec<String> = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let program = match words.first().and_then(|name| name.rsplit('/').next()) {
        Some("docker") => "docker",
        _ => "skiff",
    };
    if !words.is_empty() {
        words.remove(0);
    }
    let code = match run(program, &words) {
        Ok(()) => 0,
        Err(failure) => {
            if !failure.message.is_empty() {
                say::error(&failure.message);
            }
            failure.code
        }
    };
    // A thread may still be reading standard input: end without waiting for it.
    terminal::restore();
    std::process::exit(i32::from(code))
}

const LOG_LEVELS: [&str; 8] = ["trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"];

fn run(program: &'static str, words: &[String]) -> Outcome {
    let globals: Vec<&'static Flag> = GLOBAL.iter().collect();
    let usage = format!("{program} [OPTIONS] COMMAND [ARG...]");
    let Parsed { matches, args, help, notes } =
        grammar::parse(globals, false, words).map_err(|e| wrong_option(&e.0, program, &usage))?;
    notes.iter().for_each(|note| say::error(note));
    if let [_, second, ..] = matches.all("host").as_slice() {
        let error =
            format!("invalid argument {} for \"-H, --host\" flag: specify only one -H", quote(second));
        return Err(wrong_option(&error, program, &usage));
    }
    let level = matches.text("log-level");
    if !LOG_LEVELS.contains(&level) {
        return Err(format!("Unable to parse logging level: {level}").into());
    }
    if matches.on("version") {
        commands::version::print_short(program);
        return Ok(());
    }
    let Some((name, rest)) = args.split_first() else {
        let text = root_help(program, &matches);
        if help {
            say::print(text.as_bytes());
        } else {
            say::error(text.trim_end());
        }
        return Ok(());
    };
    if help || name == "help" {
        return show_help(program, &matches, if name == "help" { rest } else { &args });
    }
    match name.as_str() {
        "completion" => return completion::print_script(program, rest.first().map(String::as_str)),
        "__complete" => return completion::complete(program, &matches, rest),
        _ => {}
    }
    let session = Session::new(program, &matches)?;
    let mut path = program.to_owned();
    let mut group = &ROOT;
    let mut rest = args.as_slice();
    loop {
        let Some((name, tail)) = rest.split_first() else {
            say::error(grammar::group_help(group, &path).trim_end());
            return Ok(());
        };
        if name.starts_with('-') {
            let parsed =
                grammar::parse(Vec::new(), false, rest).map_err(|e| wrong_option(&e.0, &path, &path))?;
            parsed.notes.iter().for_each(|note| say::line(note));
            if parsed.help || parsed.args.is_empty() {
                say::print(grammar::group_help(group, &path).as_bytes());
                return Ok(());
            }
        }
        let Some(entry) = group.find(name) else { return Err(unknown(program, &path, name)) };
        path = format!("{path} {name}");
        rest = tail;
        match entry.node {
            Node::Group(below) => group = below,
            Node::Command(command) => return run_command(&session, command, &path, rest),
        }
    }
}

fn run_command(session: &Session, command: &'static Command, path: &str, words: &[String]) -> Outcome {
    let flags = command.all_flags().collect();
    let Parsed { matches, args, help, notes } = grammar::parse(flags, command.interspersed, words)
        .map_err(|e| wrong_option(&e.0, path, &command.use_line(path)))?;
    notes.iter().for_each(|note| say::line(note));
    if help {
        say::print(grammar::command_help(command, path, terminal::help_columns()).as_bytes());
        return Ok(());
    }
    command.check_args(path, args.len())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(commands::run(command.verb, session, &matches, &args));
    // Tasks that still forward signals or follow the terminal end with the process.
    runtime.shutdown_background();
    outcome
}

fn wrong_option(error: &str, path: &str, usage: &str) -> Failure {
    Failure::new(format!("{error}\n\nUsage:  {usage}\n\nRun '{path} --help' for more information")).code(125)
}

fn unknown(program: &str, path: &str, name: &str) -> Failure {
    let full = match path.split_once(' ') {
        Some((_, above)) => format!("{above} {name}"),
        None => name.to_owned(),
    };
    if UNSUPPORTED.contains(&full.as_str()) {
        return Failure::new(format!("{program}: '{full}' is not supported by this version of skiff"));
    }
    let usage = if path == program { String::new() } else { format!("Usage:  {path}\n\n") };
    Failure::new(format!(
        "{program}: unknown command: {path} {name}\n\n{usage}Run '{path} --help' for more information"
    ))
}

/// `help run`, `run --help` before the command.
fn show_help(program: &str, globals: &Matches, words: &[String]) -> Outcome {
    let mut path = program.to_owned();
    let mut node = Node::Group(&ROOT);
    for word in words {
        let found = match node {
            Node::Group(group) => group.find(word),
            Node::Command(_) => None,
        };
        let entry = found.ok_or_else(|| format!("unknown help topic: {}", words.join(" ")))?;
        path = format!("{path} {word}");
        node = entry.node;
    }
    let text = match node {
        Node::Group(_) if words.is_empty() => root_help(program, globals),
        Node::Group(group) => grammar::group_help(group, &path),
        Node::Command(command) => grammar::command_help(command, &path, terminal::help_columns()),
    };
    say::print(text.as_bytes());
    Ok(())
}

fn root_help(program: &str, globals: &Matches) -> String {
    let directory = crate::config::directory(globals.some("config"));
    let at = |file: &str| directory.join(file).to_string_lossy().into_owned();
    let defaults = [
        ("config", directory.to_string_lossy().into_owned()),
        ("tlscacert", at("ca.pem")),
        ("tlscert", at("cert.pem")),
        ("tlskey", at("key.pem")),
    ];
    let flags: Vec<&Flag> = GLOBAL.iter().collect();
    grammar::root_help(&ROOT, &flags, program, &defaults, terminal::help_columns())
}
