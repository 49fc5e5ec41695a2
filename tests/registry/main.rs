//! What any registry must do (OCI distribution-spec 1.1), seen from outside: the same tests run against ours and, with
//! `SKIFF_TEST_REGISTRY=127.0.0.1:5000`, against another one, which keeps them honest. What only ours does is skipped
//! there, by name.

mod accounts;
mod browser;
mod cache;
mod client;
mod collect;
mod content;
mod engine;
mod hostile;
mod lists;
mod pages;
mod pull;
mod push;
mod reach;
mod replicate;
mod s3;
mod survive;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use client::{Client, Response};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry to test.
struct Test {
    client: Client,
    server: Option<Server>,
}

/// One of ours, ended with the test.
struct Server {
    address: String,
    dir: tempfile::TempDir,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    process: Child,
}

impl Server {
    fn start(args: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("skiff-registry-").tempdir()?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut all = vec!["registry", "serve", "--addr", &address, "--root"];
        let root = dir.path().join("data").display().to_string();
        all.push(&root);
        all.extend(args);
        let args: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: Vec<_> = environment.iter().map(own).collect();
        let process = spawn(&args, &environment, dir.path())?;
        let mut server = Self { address, dir, args, environment, process };
        server.wait()?;
        Ok(server)
    }

    fn wait(&mut self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            if std::net::TcpStream::connect(&self.address).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("the registry ended with {status}:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("the registry does not answer:\n{}", self.log())
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log(&self) -> String {
        fs_err::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Ends it as a power cut would, kernel aside.
    fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    fn start_again(&mut self) -> Result<()> {
        self.process = spawn(&self.args, &self.environment, self.dir.path())?;
        self.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
        if thread::panicking() {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "{}", self.log());
        }
    }
}

fn spawn(args: &[String], environment: &[(String, String)], dir: &Path) -> Result<Child> {
    let log = fs_err::OpenOptions::new().create(true).append(true).open(dir.join("log"))?.into_parts().0;
    let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
    command.args(args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    alone(&mut command);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    Ok(command.spawn()?)
}

/// Without what the caller's environment says to registries, and with nobody's files.
fn alone(command: &mut Command) {
    let of_registries = |name: &str| name.starts_with("REGISTRY_") || name.starts_with("AWS_");
    for (name, _) in std::env::vars().filter(|(name, _)| of_registries(name)) {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent");
}

/// A port for this process alone, also while it is between two servers: below those that the kernel gives to anybody, and locked against
/// tests that run at the same time.
fn free_port() -> Result<u16> {
    use std::os::{linux::net::SocketAddrExt, unix::net};
    const FIRST: u16 = 20_000;
    const PORTS: u16 = 12_000;
    // The locks go with the process.
    static LOCKS: std::sync::Mutex<Vec<net::UnixDatagram>> = std::sync::Mutex::new(Vec::new());
    let begin = u16::try_from(std::process::id() % u32::from(PORTS))?;
    for port in (begin..PORTS).chain(0..begin).map(|n| FIRST + n) {
        let name = net::SocketAddr::from_abstract_name(format!("skiff-test-port-{port}"))?;
        let Ok(lock) = net::UnixDatagram::bind_addr(&name) else { continue };
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            LOCKS.lock().expect("no panic").push(lock);
            return Ok(port);
        }
    }
    bail!("no port is free")
}

impl Test {
    /// The registry that the environment names, or one of ours.
    fn any() -> Result<Self> {
        match std::env::var("SKIFF_TEST_REGISTRY") {
            Ok(address) => Ok(Self { client: Client::new(&address), server: None }),
            Err(_) => Self::ours(&["--auth", "none"]),
        }
    }

    /// One of ours.
    fn ours(args: &[&str]) -> Result<Self> {
        Self::ours_in(args, &[])
    }

    /// The same, in this environment.
    fn ours_in(args: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let server = Server::start(args, environment)?;
        Ok(Self { client: Client::new(&server.address), server: Some(server) })
    }

    /// Whether this is ours, for what the other registry does not do.
    fn is_ours(&self) -> bool {
        self.server.is_some()
    }

    fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("a registry of ours")
    }

    /// A repository that no other test uses.
    fn name(&self, stem: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("test/{stem}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Pushes a blob: `POST`, then `PUT` with everything.
    fn push_blob(&mut self, name: &str, bytes: &[u8]) -> Result<String> {
        let digest = digest(bytes);
        let begun =
            self.client.request("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"")?.expect(202)?;
        let location = with_digest(&begun.location()?, &digest);
        self.client.request("PUT", &location, &OCTETS, bytes)?.expect(201)?;
        Ok(digest)
    }

    /// Pushes an image of one layer; answers its manifest.
    fn push_image(&mut self, name: &str, reference: &str, layer: &[u8]) -> Result<Vec<u8>> {
        let config = self.push_blob(name, b"{}")?;
        let layer_digest = self.push_blob(name, layer)?;
        let manifest = image(&config, &layer_digest, layer.len(), None).to_string().into_bytes();
        self.put_manifest(name, reference, OCI, &manifest)?.expect(201)?;
        Ok(manifest)
    }

    fn put_manifest(&mut self, name: &str, reference: &str, kind: &str, bytes: &[u8]) -> Result<Response> {
        self.client.request(
            "PUT",
            &format!("/v2/{name}/manifests/{reference}"),
            &[("Content-Type", kind)],
            bytes,
        )
    }
}

const OCTETS: [(&str, &str); 1] = [("Content-Type", "application/octet-stream")];

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn with_digest(location: &str, digest: &str) -> String {
    format!("{location}{}digest={digest}", if location.contains('?') { '&' } else { '?' })
}

/// An image manifest of one layer.
fn image(config: &str, layer: &str, size: usize, subject: Option<Value>) -> Value {
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2 },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": size }],
    });
    if let Some(subject) = subject {
        manifest["subject"] = subject;
    }
    manifest
}

/// Bytes that do not repeat soon.
fn noise(n: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ n as u64;
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

#[test]
fn the_base_says_what_speaks_here() -> Result<()> {
    let mut test = Test::any()?;
    let base = test.client.get("/v2/")?.expect(200)?;
    assert_eq!(base.header("docker-distribution-api-version"), Some("registry/2.0"));
    let _ = base.json()?.as_object().context("an object")?;
    Ok(())
}
