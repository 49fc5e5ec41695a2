//! The registry in the place of docker's, in an image: the command line that people know from there.

use std::{os::unix::process::CommandExt, path::Path, process::ExitCode};

use skiff_registry::{AuthMode, configure};

use super::{fail, gc, say, serve};

const USAGE: &str = "Usage:
  registry [command]

Available Commands:
  serve           `serve` stores and distributes images
  garbage-collect `garbage-collect` deletes what no image refers to
  help            Help about any command

Flags:
  -v, --version   show the version and exit

This is skiff's registry. Its other commands are those of `skiff registry --help`.
";

/// Runs a command of docker's registry, or any other program, as the entry point of its image does. A registry that is
/// not told how to tell clients apart lets everybody in, as docker's does.
pub(crate) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["help" | "--help" | "-h", ..] => say(USAGE),
        ["-v" | "--version", ..] => say(concat!("registry skiff ", env!("CARGO_PKG_VERSION"), "\n")),
        ["serve", ..] => serve::main(arguments.into_iter().skip(1), AuthMode::None),
        [file, ..] if file.ends_with(".yml") || file.ends_with(".yaml") => {
            serve::main(arguments.into_iter(), AuthMode::None)
        }
        ["garbage-collect", file] if !file.starts_with('-') => collect(Path::new(file)),
        ["garbage-collect", ..] => fail(
            "Usage:  registry garbage-collect CONFIG.yml\n\nThe options of docker's registry are not supported.",
        ),
        [option, ..] if option.starts_with('-') => fail(&format!("Error: unknown flag: {option}\n\n{USAGE}")),
        [program, rest @ ..] => {
            let error = std::process::Command::new(program).args(rest).exec();
            let _ = fail(&format!("{program}: {error}"));
            ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 })
        }
    }
}

/// Collects garbage of the registry with this configuration, which may be stopped.
fn collect(file: &Path) -> ExitCode {
    match configure(Some(file), std::env::vars(), &[], AuthMode::None) {
        Ok(config) => gc::collect_anyway(config.settings),
        Err(reason) => fail(&format!("registry garbage-collect: {reason}")),
    }
}
