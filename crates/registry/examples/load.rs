//! The same load on any registry: `load ADDRESS PID`. Prints figures; asserts nothing. PID is the registry's process,
//! whose memory is looked at while clients pull.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::with_capacity(1 << 16, stream)))
    }

    /// Status, `Location`, and how long the body was.
    fn ask(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<(u16, String, u64), Failure> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAccept: {MANIFEST}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let stream = self.0.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status: u16 = line.split(' ').nth(1).ok_or("no status")?.parse()?;
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

    fn blob(&mut self, name: &str, bytes: &[u8]) -> Result<String, Failure> {
        let digest = digest(bytes);
        let (_, location, _) =
            self.ask("POST", &format!("/v2/{name}/blobs/uploads/"), "application/octet-stream", b"")?;
        let joint = if location.contains('?') { '&' } else { '?' };
        let path = format!("{location}{joint}digest={digest}");
        let (status, ..) = self.ask("PUT", &path, "application/octet-stream", bytes)?;
        if status == 201 { Ok(digest) } else { Err(format!("PUT blob: {status}").into()) }
    }

    fn image(&mut self, name: &str, tag: &str, layer: &[u8]) -> Result<[String; 2], Failure> {
        let config_bytes = format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"x\":\"{name}{tag}\"}}");
        let config = self.blob(name, config_bytes.as_bytes())?;
        let layer_digest = self.blob(name, layer)?;
        self.tag(name, tag, &config, config_bytes.len(), &layer_digest, layer.len())?;
        Ok([config, layer_digest])
    }

    fn tag(
        &mut self,
        name: &str,
        tag: &str,
        config: &str,
        config_size: usize,
        layer: &str,
        size: usize,
    ) -> Result<(), Failure> {
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{config_size},"digest":"{config}"}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":{size},"digest":"{layer}"}}]}}"#
        );
        let (status, ..) =
            self.ask("PUT", &format!("/v2/{name}/manifests/{tag}"), MANIFEST, manifest.as_bytes())?;
        if status == 201 { Ok(()) } else { Err(format!("PUT manifest: {status}").into()) }
    }
}

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn noise(seed: u64, n: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(n + 8);
    while out.len() < n {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(n);
    out
}

/// Runs `work` in as many threads for a while; how often it was done in a second.
fn rate(
    clients: u64,
    seconds: u64,
    work: impl Fn(u64, &AtomicBool, &AtomicU64) -> Result<(), Failure> + Sync,
) -> f64 {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = Instant::now();
    thread::scope(|scope| {
        for n in 0..clients {
            let (work, stop, done) = (&work, &stop, &done);
            scope.spawn(move || {
                if let Err(error) = work(n, stop, done) {
                    let _ = writeln!(std::io::stderr(), "client {n}: {error}");
                }
            });
        }
        thread::sleep(Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

/// KiB of a line of `/proc/PID/smaps_rollup`.
fn memory(pid: &str) -> u64 {
    let text = fs_err::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Pss:"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let (address, pid) = (args.next().ok_or("an address")?, args.next().ok_or("a process")?);
    let many: usize = args.next().map_or(Ok(10_000), |n| n.parse())?;
    let address = address.as_str();
    let mut out = std::io::stdout();
    writeln!(out, "memory at rest: {} KiB", memory(&pid))?;
    let mut client = Client::new(address)?;

    let digests = client.image("load/small", "v1", &noise(1, 10_000))?;
    let pulls = rate(32, 8, |_, stop, done| {
        let mut client = Client::new(address)?;
        while !stop.load(Ordering::Relaxed) {
            client.ask("GET", "/v2/load/small/manifests/v1", "x/x", b"")?;
            for digest in &digests {
                client.ask("GET", &format!("/v2/load/small/blobs/{digest}"), "x/x", b"")?;
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    writeln!(out, "pulls of a small image, 32 clients: {pulls:.0}/s")?;

    let run = std::process::id();
    let pushes = rate(32, 8, |n, stop, done| {
        let mut client = Client::new(address)?;
        for i in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            client.image(
                &format!("load/push{n}"),
                &format!("r{run}-{i}"),
                &noise(n << 32 | i << 8 | 7, 10_000),
            )?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    writeln!(out, "pushes of a small image, 32 clients: {pushes:.1}/s")?;

    let large = noise(u64::from(run), 256 << 20);
    let start = Instant::now();
    let digest = client.blob("load/large", &large)?;
    writeln!(out, "push of 256 MiB: {:.0} MB/s", large.len() as f64 / 1e6 / start.elapsed().as_secs_f64())?;
    drop(large);
    let path = format!("/v2/load/large/blobs/{digest}");
    let start = Instant::now();
    let (_, _, bytes) = client.ask("GET", &path, "x/x", b"")?;
    writeln!(out, "pull of it, 1 client: {:.0} MB/s", bytes as f64 / 1e6 / start.elapsed().as_secs_f64())?;
    let pulled = AtomicU64::new(0);
    let start = Instant::now();
    let most = AtomicU64::new(0);
    thread::scope(|scope| {
        let (path, pulled, most, pid) = (&path, &pulled, &most, &pid);
        let clients: Vec<_> = (0..100)
            .map(|_| {
                scope.spawn(move || {
                    if let Ok((_, _, bytes)) =
                        Client::new(address).and_then(|mut c| c.ask("GET", path, "x/x", b""))
                    {
                        pulled.fetch_add(bytes, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        while clients.iter().any(|client| !client.is_finished()) {
            most.fetch_max(memory(pid), Ordering::Relaxed);
            thread::sleep(Duration::from_millis(50));
        }
    });
    let rate = pulled.load(Ordering::Relaxed) as f64 / 1e6 / start.elapsed().as_secs_f64();
    writeln!(out, "pull of it, 100 clients: {rate:.0} MB/s, memory {} KiB", most.load(Ordering::Relaxed))?;

    let config = client.blob("load/tags", b"{}")?;
    let layer = client.blob("load/tags", b"layer")?;
    let start = Instant::now();
    let share = many / 8;
    thread::scope(|scope| {
        for n in 0..8 {
            let (config, layer) = (&config, &layer);
            scope.spawn(move || -> Result<(), Failure> {
                let mut client = Client::new(address)?;
                for i in 0..share {
                    client.tag("load/tags", &format!("t{n}-{i}"), config, 2, layer, 5)?;
                    let name = format!("many/r{n}-{i}");
                    for digest in [config, layer] {
                        let path = format!("/v2/{name}/blobs/uploads/?mount={digest}&from=load/tags");
                        client.ask("POST", &path, "x/x", b"")?;
                    }
                    client.tag(&name, "v1", config, 2, layer, 5)?;
                }
                Ok(())
            });
        }
    });
    writeln!(out, "{many} tags and {many} repositories made in {:.1} s", start.elapsed().as_secs_f64())?;
    for path in
        ["/v2/load/tags/tags/list", &format!("/v2/_catalog?n={many}"), "/v2/_catalog?n=100&last=many/r4"]
    {
        let mut times: Vec<Duration> = Vec::new();
        let mut bytes = 0;
        for _ in 0..5 {
            let start = Instant::now();
            bytes = client.ask("GET", path, "x/x", b"")?.2;
            times.push(start.elapsed());
        }
        times.sort();
        writeln!(out, "{path}: {:.1} ms, {bytes} bytes", times[2].as_secs_f64() * 1e3)?;
    }
    writeln!(out, "memory after all: {} KiB", memory(&pid))?;
    Ok(())
}
