//! Errors, to standard error and to the file that `--log` names, in the forms of runc: containerd reads the JSON one.

use std::io::Write as _;

use serde_json::json;

use super::args::{Global, LogFormat};

/// Tells an error.
pub(super) fn error(global: &Global, message: &str) {
    show("error", message);
    keep(global, "error", message);
}

/// Tells of something that did not stop the command.
pub(super) fn warning(global: &Global, message: &str) {
    aside(global, "warning", message);
}

/// Tells what is being done, to whoever asked for it.
pub(super) fn debug(global: &Global, message: impl FnOnce() -> String) {
    if global.debug {
        aside(global, "debug", &message());
    }
}

/// What is not the command's failure does not go to standard error if there is a log.
fn aside(global: &Global, level: &str, message: &str) {
    if global.log.is_none() {
        show(level, message);
    }
    keep(global, level, message);
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn text(level: &str, message: &str) -> String {
    format!("time={:?} level={level} msg={message:?}", now())
}

#[allow(clippy::print_stderr, reason = "this is a command line")]
fn show(level: &str, message: &str) {
    eprintln!("{}", text(level, message));
}

fn keep(global: &Global, level: &str, message: &str) {
    let Some(path) = &global.log else { return };
    let line = match global.log_format {
        LogFormat::Text => text(level, message),
        LogFormat::Json => json!({"level": level, "msg": message, "time": now()}).to_string(),
    };
    // What cannot be logged has been told on standard error, if it is an error.
    let _ = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
}
