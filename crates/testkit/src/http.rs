//! A plain blocking HTTP/1.1 client over a Unix socket: one connection, kept open. It knows nothing of the engine's own
//! client, so that neither can hide the other's mistakes, and adds next to nothing to what is measured.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// A client of one engine.
pub struct Client {
    socket: PathBuf,
    connection: Option<BufReader<UnixStream>>,
    /// Lines that every request has beside its own.
    headers: String,
}

/// An answer with its whole body.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without chunk framing.
    pub body: Vec<u8>,
}

/// The body of a request.
pub enum Body<'a> {
    /// No body.
    Empty,
    /// A JSON document.
    Json(&'a Value),
    /// Bytes with their content type.
    Bytes(&'a str, &'a [u8]),
}

impl Response {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as JSON; `null` when empty.
    pub fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `message` of an error body.
    pub fn message(&self) -> String {
        self.json().ok().and_then(|v| v["message"].as_str().map(str::to_owned)).unwrap_or_else(|| self.text())
    }

    /// Itself, if the status is below 400.
    pub fn ok(self) -> Result<Self> {
        ensure!(self.status < 400, "status {}: {}", self.status, self.message());
        Ok(self)
    }
}

impl Client {
    /// A client of the engine at `socket`; connects at the first request.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), connection: None, headers: String::new() }
    }

    /// The same with a header in every request.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// The engine's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET path`.
    pub fn get(&mut self, path: &str) -> Result<Response> {
        self.request("GET", path, &Body::Empty)
    }

    /// `POST path` with a JSON body, or with none for `null`.
    pub fn post(&mut self, path: &str, body: &Value) -> Result<Response> {
        match body {
            Value::Null => self.request("POST", path, &Body::Empty),
            body => self.request("POST", path, &Body::Json(body)),
        }
    }

    /// `DELETE path`.
    pub fn delete(&mut self, path: &str) -> Result<Response> {
        self.request("DELETE", path, &Body::Empty)
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When the engine cannot be reached or does not speak HTTP; an error status is an answer, not an error.
    pub fn request(&mut self, method: &str, path: &str, body: &Body<'_>) -> Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => BufReader::new(self.connect()?),
        };
        send(connection.get_mut(), method, path, body, &self.headers)?;
        let (status, headers) = read_head(&mut connection)?;
        let head = Response { status, headers, body: Vec::new() };
        let (body, reusable) = read_body(&mut connection, method, &head)?;
        if reusable {
            self.connection = Some(connection);
        }
        Ok(Response { body, ..head })
    }

    /// Sends a request that answers with a stream; the body is read by the caller, chunk framing removed.
    ///
    /// # Errors
    /// As [`Client::request`], and when the status is an error.
    pub fn stream(&self, method: &str, path: &str, body: &Body<'_>) -> Result<Box<dyn BufRead + Send>> {
        let mut connection = BufReader::with_capacity(1 << 18, self.connect()?);
        send(connection.get_mut(), method, path, body, &self.headers)?;
        let (status, headers) = read_head(&mut connection)?;
        let mut head = Response { status, headers, body: Vec::new() };
        if status >= 400 {
            head.body = read_body(&mut connection, method, &head)?.0;
            bail!("status {status}: {}", head.message());
        }
        Ok(match head.header("transfer-encoding") {
            Some("chunked") => Box::new(BufReader::with_capacity(1 << 18, Chunked::new(connection))),
            _ => Box::new(connection),
        })
    }

    /// Sends a request that upgrades the connection to a raw stream (attach, exec).
    ///
    /// # Errors
    /// As [`Client::request`], and when the status is neither 101 nor 200.
    pub fn hijack(&self, path: &str, body: &Body<'_>) -> Result<Hijacked> {
        let mut connection = BufReader::new(self.connect()?);
        send(connection.get_mut(), "POST", path, body, "Connection: Upgrade\r\nUpgrade: tcp\r\n")?;
        let (status, headers) = read_head(&mut connection)?;
        let mut head = Response { status, headers, body: Vec::new() };
        if status != 101 && status != 200 {
            head.body = read_body(&mut connection, "POST", &head)?.0;
            bail!("status {status}: {}", head.message());
        }
        Ok(Hijacked { stream: connection })
    }

    fn connect(&self) -> Result<UnixStream> {
        UnixStream::connect(&self.socket)
            .with_context(|| format!("cannot connect to {}", self.socket.display()))
    }
}

/// A connection that has left HTTP behind.
pub struct Hijacked {
    stream: BufReader<UnixStream>,
}

impl Hijacked {
    /// Sends bytes to the container's standard input.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    /// Ends the container's standard input; its output can still be read.
    pub fn close_stdin(&mut self) -> Result<()> {
        Ok(self.stream.get_ref().shutdown(Shutdown::Write)?)
    }

    /// Everything until the other side closes, as it comes.
    pub fn read_raw(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// What has come so far, without waiting for more.
    pub fn read_now(&mut self) -> Result<Vec<u8>> {
        self.stream.get_ref().set_nonblocking(true)?;
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return Err(error.into()),
            _ => self.stream.get_ref().set_nonblocking(false)?,
        }
        Ok(bytes)
    }

    /// Everything until the other side closes, taken apart into standard output and standard error.
    pub fn read_frames(&mut self) -> Result<(Vec<u8>, Vec<u8>)> {
        frames(&mut self.stream)
    }

    /// Reads until `needle` has come, and returns all that came.
    pub fn read_until(&mut self, needle: &[u8]) -> Result<Vec<u8>> {
        let mut seen = Vec::new();
        while !seen.windows(needle.len()).any(|w| w == needle) {
            let mut buffer = [0; 4096];
            let n = self.stream.read(&mut buffer)?;
            ensure!(n > 0, "the stream ended before {:?}", String::from_utf8_lossy(needle));
            seen.extend_from_slice(&buffer[..n]);
        }
        Ok(seen)
    }
}

/// Takes a multiplexed stream (8-byte headers) apart into standard output and standard error.
pub fn frames(stream: &mut dyn Read) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut header = [0; 8];
    loop {
        match stream.read(&mut header[..1])? {
            0 => return Ok((out, err)),
            _ => stream.read_exact(&mut header[1..])?,
        }
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let target = match header[0] {
            1 => &mut out,
            2 => &mut err,
            other => bail!("frame of unknown stream {other}"),
        };
        let copied = std::io::copy(&mut stream.take(length.into()), target)?;
        ensure!(copied == u64::from(length), "frame cut short");
    }
}

fn send(stream: &mut UnixStream, method: &str, path: &str, body: &Body<'_>, extra: &str) -> Result<()> {
    let json;
    let (kind, bytes): (&str, &[u8]) = match body {
        Body::Empty => ("", &[]),
        Body::Json(value) => {
            json = serde_json::to_vec(value)?;
            ("application/json", &json)
        }
        Body::Bytes(kind, bytes) => (kind, bytes),
    };
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: docker\r\n{extra}");
    if !kind.is_empty() {
        head += &format!("Content-Type: {kind}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", bytes.len());
    let mut head = head.into_bytes();
    if bytes.len() < 1 << 16 {
        head.extend_from_slice(bytes);
        stream.write_all(&head)?;
    } else {
        stream.write_all(&head)?;
        stream.write_all(bytes)?;
    }
    Ok(())
}

fn read_line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    ensure!(stream.read_line(&mut line)? > 0, "the engine closed the connection");
    Ok(line.trim_end().to_owned())
}

fn read_head(stream: &mut impl BufRead) -> Result<(u16, Vec<(String, String)>)> {
    let line = read_line(stream)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.with_context(|| format!("not a status line: {line:?}"))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        let Some((name, value)) = line.split_once(':') else { return Ok((status, headers)) };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// The body, and whether the connection can serve another request.
fn read_body(stream: &mut impl BufRead, method: &str, head: &Response) -> Result<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    let reusable = head.header("connection") != Some("close");
    if method == "HEAD" || matches!(head.status, 204 | 304) {
        return Ok((body, reusable));
    }
    if head.header("transfer-encoding") == Some("chunked") {
        Chunked::new(stream).read_to_end(&mut body)?;
        return Ok((body, reusable));
    }
    match head.header("content-length") {
        Some(length) => {
            body.resize(length.parse()?, 0);
            stream.read_exact(&mut body)?;
            Ok((body, reusable))
        }
        None => {
            stream.read_to_end(&mut body)?;
            Ok((body, false))
        }
    }
}

/// Removes chunk framing.
struct Chunked<R> {
    inner: R,
    left: u64,
    ended: bool,
}

impl<R: BufRead> Chunked<R> {
    fn new(inner: R) -> Self {
        Self { inner, left: 0, ended: false }
    }
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bad = |text: String| std::io::Error::new(std::io::ErrorKind::InvalidData, text);
        if self.left == 0 && !self.ended {
            let line = read_line(&mut self.inner).map_err(|e| bad(e.to_string()))?;
            self.left = u64::from_str_radix(&line, 16).map_err(|_| bad(format!("chunk size {line:?}")))?;
            if self.left == 0 {
                self.ended = true;
                read_line(&mut self.inner).map_err(|e| bad(e.to_string()))?;
            }
        }
        if self.ended {
            return Ok(0);
        }
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.inner.read(&mut buffer[..want])?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= n as u64;
        if self.left == 0 {
            let mut end = [0; 2];
            self.inner.read_exact(&mut end)?;
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_framing_is_removed() {
        let mut text = String::new();
        Chunked::new(&b"3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n"[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc0123456789");
    }

    #[test]
    fn a_cut_chunk_is_an_error() {
        assert!(Chunked::new(&b"5\r\nabc"[..]).read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn frames_are_taken_apart() {
        let stream = b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01!";
        assert_eq!(frames(&mut &stream[..]).unwrap(), (b"hi".to_vec(), b"!".to_vec()));
        assert!(frames(&mut &stream[..9]).is_err());
    }
}
