//! One request to a plugin, one answer: HTTP/1.1 over a socket, a connection for each.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

/// What plugins of version 1.2 expect to be asked for.
const ACCEPT: &str = "application/vnd.docker.plugins.v1.2+json";
/// How long a plugin may take to answer: it may have to make a file system.
const ANSWER: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(5);
/// No answer is longer.
const MAX_BODY: u64 = 16 << 20;
const MAX_HEAD: u64 = 64 << 10;

/// Where a plugin listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
}

impl Address {
    /// Reads `unix:///path`, `tcp://host:port` or `http://host:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("tcp" | "http", host)) if host.contains(':') => {
                Ok(Self::Tcp(host.trim_end_matches('/').to_owned()))
            }
            Some(("https", host)) if host.contains(':') => {
                Ok(Self::Tcp(host.trim_end_matches('/').to_owned()))
            }
            _ => Err(format!("invalid address {text:?}")),
        }
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
pub(crate) enum CallError {
    /// Nobody listens (yet): nothing was sent.
    Connect(io::Error),
    /// It failed afterwards.
    Exchange(io::Error),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(e) => write!(f, "cannot connect: {e}"),
            Self::Exchange(e) => e.fmt(f),
        }
    }
}

/// Posts a body.
pub(crate) fn post(address: &Address, method: &str, body: &[u8]) -> Result<Answer, CallError> {
    match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).map_err(CallError::Connect)?;
            stream.set_read_timeout(Some(ANSWER)).map_err(CallError::Connect)?;
            stream.set_write_timeout(Some(ANSWER)).map_err(CallError::Connect)?;
            exchange(stream, "plugin", method, body).map_err(CallError::Exchange)
        }
        Address::Tcp(host) => {
            let stream = connect(host).map_err(CallError::Connect)?;
            stream.set_read_timeout(Some(ANSWER)).map_err(CallError::Connect)?;
            stream.set_write_timeout(Some(ANSWER)).map_err(CallError::Connect)?;
            exchange(stream, host, method, body).map_err(CallError::Exchange)
        }
    }
}

fn connect(host: &str) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn exchange(mut stream: impl Read + Write, host: &str, method: &str, body: &[u8]) -> io::Result<Answer> {
    let head = format!(
        "POST /{method} HTTP/1.1\r\nHost: {host}\r\nAccept: {ACCEPT}\r\nContent-Type: {ACCEPT}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    stream.flush()?;
    read_answer(BufReader::new(stream))
}

fn read_answer(mut from: impl BufRead) -> io::Result<Answer> {
    let broken = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("malformed answer: {why}"));
    let mut head = from.by_ref().take(MAX_HEAD);
    let mut line = String::new();
    let mut next = |line: &mut String| -> io::Result<()> {
        line.clear();
        match head.read_line(line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    };
    next(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.trim().parse().ok());
    let status = status.filter(|_| line.starts_with("HTTP/1.")).ok_or_else(|| broken("no status"))?;
    let (mut length, mut chunked) = (None, false);
    loop {
        next(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                length = Some(value.trim().parse::<u64>().map_err(|_| broken("content length"))?);
            }
            "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
            _ => {}
        }
    }
    let mut body = Vec::new();
    match length {
        _ if chunked => read_chunks(from, &mut body)?,
        Some(length) if length > MAX_BODY => return Err(broken("too long")),
        Some(length) => {
            from.take(length).read_to_end(&mut body)?;
            if (body.len() as u64) < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        None => {
            from.take(MAX_BODY).read_to_end(&mut body)?;
        }
    }
    Ok(Answer { status, body })
}

fn read_chunks(mut from: impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "malformed answer: chunk");
    loop {
        let mut line = String::new();
        from.by_ref().take(MAX_HEAD).read_line(&mut line)?;
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).map_err(|_| broken())?;
        if size == 0 {
            return Ok(());
        }
        if body.len() as u64 + size > MAX_BODY || from.by_ref().take(size).read_to_end(body)? as u64 != size {
            return Err(broken());
        }
        line.clear();
        from.by_ref().take(2).read_line(&mut line)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<(u16, String)> {
        let answer = read_answer(text.as_bytes())?;
        Ok((answer.status, String::from_utf8(answer.body).unwrap()))
    }

    #[test]
    fn answers_are_read_however_their_length_is_told() {
        let good = [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}rest",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\n\n{}",
        ];
        for text in good {
            assert_eq!(read(text).unwrap(), (200, "{}".to_owned()), "{text}");
        }
        for text in [
            "",
            "hello\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        ] {
            read(text).unwrap_err();
        }
    }
}
