//! A client of registries that costs little itself: plain HTTP/1.1 on one connection.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, ensure};
use skiff_testkit::registry::digest;

pub(super) struct Client(BufReader<TcpStream>);

impl Client {
    pub(super) fn new(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::with_capacity(1 << 16, stream)))
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
        let stream = self.0.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status: u16 = line.split(' ').nth(1).context("no status")?.parse()?;
        let (mut location, mut length, mut chunked) = (String::new(), 0u64, false);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
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
        let mut buffer = vec![0; 1 << 18];
        loop {
            if chunked {
                let mut size = String::new();
                self.0.read_line(&mut size)?;
                length = u64::from_str_radix(size.trim(), 16)?;
            }
            let mut left = length;
            while left > 0 {
                let want = buffer.len().min(usize::try_from(left)?);
                self.0.read_exact(&mut buffer[..want])?;
                left -= want as u64;
            }
            total += length;
            if chunked {
                self.0.read_line(&mut String::new())?;
            }
            if !chunked || length == 0 {
                return Ok((status, location, total));
            }
        }
    }

    /// Asks for something that is there; how many bytes it has.
    pub(super) fn get(&mut self, path: &str) -> Result<u64> {
        let (status, _, bytes) = self.ask("GET", path, OCTETS, b"")?;
        ensure!(status == 200, "GET {path}: {status}");
        Ok(bytes)
    }

    /// Pushes a blob that has this digest.
    pub(super) fn blob(&mut self, name: &str, bytes: &[u8], digest: &str) -> Result<()> {
        let (_, location, _) = self.ask("POST", &format!("/v2/{name}/blobs/uploads/"), OCTETS, b"")?;
        let joint = if location.contains('?') { '&' } else { '?' };
        let (status, ..) = self.ask("PUT", &format!("{location}{joint}digest={digest}"), OCTETS, bytes)?;
        ensure!(status == 201, "PUT blob: {status}");
        Ok(())
    }

    /// Pushes an image of one layer.
    pub(super) fn image(&mut self, name: &str, tag: &str, layer: &[u8]) -> Result<Image> {
        let config = configuration(name, tag);
        let image = Image::new(config.as_bytes(), layer);
        self.blob(name, config.as_bytes(), &image.config.0)?;
        self.blob(name, layer, &image.layer.0)?;
        self.tag(name, tag, &image)?;
        Ok(image)
    }

    /// Pushes the manifest of an image whose blobs are there.
    pub(super) fn tag(&mut self, name: &str, tag: &str, image: &Image) -> Result<()> {
        let Image { config: (config, config_size), layer: (layer, size) } = image;
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{config_size},"digest":"{config}"}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":{size},"digest":"{layer}"}}]}}"#
        );
        let path = format!("/v2/{name}/manifests/{tag}");
        let (status, ..) = self.ask("PUT", &path, MANIFEST, manifest.as_bytes())?;
        ensure!(status == 201, "PUT manifest: {status}");
        Ok(())
    }
}

/// Digests and sizes of an image's two blobs.
pub(super) struct Image {
    pub(super) config: (String, usize),
    pub(super) layer: (String, usize),
}

impl Image {
    fn new(config: &[u8], layer: &[u8]) -> Self {
        Self { config: (digest(config), config.len()), layer: (digest(layer), layer.len()) }
    }

    /// The image that [`Client::image`] pushes of the same.
    pub(super) fn of(name: &str, tag: &str, layer: &[u8]) -> Self {
        Self::new(configuration(name, tag).as_bytes(), layer)
    }
}

fn configuration(name: &str, tag: &str) -> String {
    format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"x\":\"{name}{tag}\"}}")
}

const OCTETS: &str = "application/octet-stream";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
