//! A plain blocking HTTP/1.1 client over TCP, and requests that no honest client sends.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A client of one registry.
pub(crate) struct Client {
    address: String,
    /// Sent with each request.
    pub(crate) authorization: Option<String>,
    connection: Option<BufReader<TcpStream>>,
}

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of the error document.
    pub(crate) fn code(&self) -> String {
        self.json().ok().and_then(|v| v["errors"][0]["code"].as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The address to go on at, below this registry.
    pub(crate) fn location(&self) -> Result<String> {
        let location = self.header("location").context("no Location")?;
        Ok(match location.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
            None => location.to_owned(),
        })
    }

    pub(crate) fn expect(self, status: u16) -> Result<Self> {
        ensure!(
            self.status == status,
            "status {} instead of {status}: {} {:?}",
            self.status,
            self.text(),
            self.headers
        );
        Ok(self)
    }
}

impl Client {
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), authorization: None, connection: None }
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<Response> {
        self.request("GET", path, &[], b"")
    }

    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        // A body in chunks is given as it is sent.
        if !headers.iter().any(|(name, _)| *name == "Transfer-Encoding") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        if let Some(authorization) = &self.authorization {
            head.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => BufReader::new(self.connect()?),
        };
        connection.get_mut().write_all(head.as_bytes())?;
        // A server that refuses early may close: its answer counts.
        let sent = connection.get_mut().write_all(body);
        let response = read(&mut connection, method)?;
        if sent.is_ok() && response.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(response)
    }

    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(&self.address)
            .with_context(|| format!("cannot connect to {}", self.address))?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Reads one answer.
pub(crate) fn read(connection: &mut BufReader<TcpStream>, method: &str) -> Result<Response> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("no status in {line:?}"))?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut response = Response { status, headers, body: Vec::new() };
    if method == "HEAD" || status == 204 || status == 304 {
        return Ok(response);
    }
    if response.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            connection.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16)?;
            let mut piece = vec![0; size + 2];
            connection.read_exact(&mut piece)?;
            if size == 0 {
                return Ok(response);
            }
            response.body.extend_from_slice(&piece[..size]);
        }
    }
    let length = response.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    response.body = vec![0; length];
    connection.read_exact(&mut response.body)?;
    Ok(response)
}
