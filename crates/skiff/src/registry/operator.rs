//! The way to a running registry on this machine: its operator's socket. Whoever may use the registry's directory is an
//! administrator, as with a database on its own host.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

/// Asks the registry in this directory.
pub(super) struct Operator {
    socket: PathBuf,
}

impl Operator {
    pub(super) fn new(root: &Path) -> Self {
        Self { socket: root.join("operator.sock") }
    }

    /// Whether a registry runs there.
    pub(super) fn answers(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }

    /// One request to the administrators' API. What it answers is JSON, or nothing.
    pub(super) fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let place = |error: std::io::Error| format!("{}: {error}", self.socket.display());
        let mut stream = UnixStream::connect(&self.socket).map_err(|error| {
            format!("no registry runs here ({}: {error}); --root names its directory", self.socket.display())
        })?;
        stream.set_read_timeout(Some(Duration::from_secs(600))).map_err(place)?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).map_err(place)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(place)?;
        parse(&String::from_utf8_lossy(&answer))
    }
}

fn parse(answer: &str) -> Result<Value, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the registry did not answer")?;
    let status: u16 =
        head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("the registry did not answer")?;
    let value: Value =
        if body.is_empty() { Value::Null } else { serde_json::from_str(body).map_err(|e| e.to_string())? };
    if status < 400 {
        return Ok(value);
    }
    Err(value["errors"][0]["message"].as_str().unwrap_or("the registry refuses").to_owned())
}
