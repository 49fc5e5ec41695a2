//! Errors, to standard error and to the file that `--log` names, in the forms of runc: containerd reads the JSON one.

use std::io::Write as _;

use serde_json::json;

use super::args::{Global, LogFormat};

/// Tells an error.
pub(super) fn error(global: &Global, message: &str) {
    write(global, "error", message);
}

/// Tells of something that did not stop the command.
pub(super) fn warning(global: &Global, message: &str) {
    write(global, "warning", message);
}

#[allow(clippy::print_stderr, reason = "this is a command line")]
fn write(global: &Global, level: &str, message: &str) {
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let text = || format!("time={time:?} level={level} msg={message:?}");
    eprintln!("{}", text());
    let Some(path) = &global.log else { return };
    let line = match global.log_format {
        LogFormat::Text => text(),
        LogFormat::Json => json!({"level": level, "msg": message, "time": time}).to_string(),
    };
    // What cannot be logged has been told on standard error.
    let _ = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
}
