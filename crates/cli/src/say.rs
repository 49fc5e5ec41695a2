//! Words for people and scripts: standard output and standard error, without buffers and without panics when nobody
//! reads any more.

use std::io::Write;

/// A line on standard output.
pub(crate) fn line(text: &str) {
    let mut bytes = Vec::with_capacity(text.len() + 1);
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'\n');
    print(&bytes);
}

/// The exit code of a program that SIGPIPE ends, as a shell shows it.
const BROKEN_PIPE: i32 = 128 + 13;

/// Bytes on standard output. A reader that has gone ends the program quietly, as the signal would.
pub(crate) fn print(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
        crate::streams::terminal::restore();
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(BROKEN_PIPE);
        }
        self::error(&format!("write /dev/stdout: {error}"));
        std::process::exit(1);
    }
}

/// A line on standard error.
pub(crate) fn error(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
