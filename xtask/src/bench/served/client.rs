//! A client of registries that costs little itself: plain HTTP/1.1 on one connection.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, ensure};
use rustix::net::{RecvFlags, recv};
use skiff_testkit::registry::digest;

pub(super) struct Client {
    stream: BufReader<TcpStream>,
    /// What would come, if it were not thrown away.
    buffer: Vec<u8>,
}

impl Client {
    pub(super) fn new(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(1 << 16, stream), buffer: vec![0; 1 << 18] })
    }

    /// Status, `Location`, and how long the body was.
    pub(super) fn ask(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<(u16, String, u64)> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAccept: {MANIFEST}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status: u16 = line.split(' ').nth(1).context("no status")?.parse()?;
        let (mut location, mut length, mut chunked) = (String::new(), 0u64, false);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "location" => {
                    location = value
                        .split_once("://")
                        .map_or(value, |(_, rest)| &rest[rest.find('/').unwrap_or(0)..])
                        .to_owned()
                }
                "content-length" => length = value.parse()?,
                "transfer-encoding" => chunked = true,
                _ => {}
            }
        }
        if method == "HEAD" || status == 204 {
            return Ok((status, location, 0));
        }
        let mut total = 0;
        loop {
            if chunked {
                let mut size = String::new();
                self.stream.read_line(&mut size)?;
                length = u64::from_str_radix(size.trim(), 16)?;
            }
            self.throw_away(length)?;
            total += length;
            if chunked {
                self.stream.read_line(&mut String::new())?;
            }
            if !chunked || length == 0 {
                return Ok((status, location, total));
            }
        }
    }

    /// Takes so many bytes off the connection; the kernel does not copy those that are not here yet (`MSG_TRUNC` of tcp(7)).
    fn throw_away(&mut self, count: u64) -> Result<()> {
        let here = self.stream.buffer().len().min(usize::try_from(count)?);
        self.stream.consume(here);
        let mut left = count - here as u64;
        while left > 0 {
            let want = self.buffer.len().min(usize::try_from(left)?);
            let (_, taken) = recv(self.stream.get_ref(), &mut self.buffer[..want], RecvFlags::TRUNC)?;
            ensure!(taken > 0, "the registry closed the connection");
            left -= taken as u64;
        }
        Ok(())
    }

    /// Asks for something that is there; how many bytes it has.
    pub(super) fn get(&mut self, path: &str) -> Result<u64> {
        let (status, _, bytes) = self.ask("GET", path, OCTETS, b"")?;
        ensure!(status == 200, "GET {path}: {status}");
        Ok(bytes)
    }

    /// Pushes a blob.
    pub(super) fn blob(&mut self, name: &str, blob: &Blob) -> Result<()> {
        let (_, location, _) = self.ask("POST", &format!("/v2/{name}/blobs/uploads/"), OCTETS, b"")?;
        let joint = if location.contains('?') { '&' } else { '?' };
        let path = format!("{location}{joint}digest={}", blob.digest);
        let (status, ..) = self.ask("PUT", &path, OCTETS, &blob.bytes)?;
        ensure!(status == 201, "PUT blob: {status}");
        Ok(())
    }

    /// Pushes an image.
    pub(super) fn image(&mut self, name: &str, tag: &str, image: &Image) -> Result<()> {
        self.blob(name, &image.config)?;
        self.blob(name, &image.layer)?;
        self.tag(name, tag, image)
    }

    /// Pushes the manifest of an image whose blobs are there.
    pub(super) fn tag(&mut self, name: &str, tag: &str, image: &Image) -> Result<()> {
        let path = format!("/v2/{name}/manifests/{tag}");
        let (status, ..) = self.ask("PUT", &path, MANIFEST, image.manifest.as_bytes())?;
        ensure!(status == 201, "PUT manifest: {status}");
        Ok(())
    }
}

/// Bytes with their digest.
pub(super) struct Blob {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: String,
}

impl Blob {
    pub(super) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { digest: digest(&bytes), bytes }
    }
}

/// An image of one layer.
pub(super) struct Image {
    pub(super) config: Blob,
    pub(super) layer: Blob,
    manifest: String,
}

impl Image {
    pub(super) fn new(layer: impl Into<Vec<u8>>) -> Self {
        let layer = Blob::new(layer);
        let config = Blob::new(format!(r#"{{"architecture":"amd64","os":"linux","x":"{}"}}"#, layer.digest));
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{},"digest":"{}"}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":{},"digest":"{}"}}]}}"#,
            config.bytes.len(),
            config.digest,
            layer.bytes.len(),
            layer.digest
        );
        Self { config, layer, manifest }
    }
}

const OCTETS: &str = "application/octet-stream";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
