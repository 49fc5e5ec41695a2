//! A registry in memory, for tests: as much of the distribution-spec as clients use, and a hook to lie with. It keeps a record of
//! what it was asked.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Docker's manifest.
pub const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The OCI's manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The OCI's index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Answers a request itself, and says so, or leaves it to the registry.
pub type Hook = dyn Fn(&Asked, &mut TcpStream) -> std::io::Result<bool> + Send + Sync;

/// A running registry; it ends with the process.
pub struct Registry {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    state: Mutex<State>,
    hook: Mutex<Option<Arc<Hook>>>,
    /// The value of `Authorization` without which nothing is answered, and the challenge.
    guard: Option<(String, String)>,
}

#[derive(Default)]
struct State {
    /// By repository and digest.
    blobs: BTreeMap<(String, String), Vec<u8>>,
    /// By repository and tag or digest: media type and bytes.
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    uploads: BTreeMap<String, Vec<u8>>,
    asked: Vec<Asked>,
}

/// `sha256:…` of the bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>())
}

/// The bytes, compressed.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("written to memory")
}

impl Registry {
    /// Serves at a listener. With a guard, requests need that `Authorization`, and others get that challenge.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(listener: TcpListener, guard: Option<(&str, &str)>) -> Result<Self> {
        let address = listener.local_addr()?;
        let guard = guard.map(|(value, challenge)| (value.to_owned(), challenge.to_owned()));
        let shared = Arc::new(Shared { state: Mutex::default(), hook: Mutex::new(None), guard });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Ok(Self { shared, address })
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on requests go through this first.
    pub fn hook(
        &self,
        hook: impl Fn(&Asked, &mut TcpStream) -> std::io::Result<bool> + Send + Sync + 'static,
    ) {
        *self.shared.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    /// Everything that was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.state().asked)
    }

    /// Stores a blob; its digest.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.shared.state().blobs.insert((repository.to_owned(), digest.clone()), bytes.to_vec());
        digest
    }

    /// Stores a manifest under a tag and its digest; the digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        let mut state = self.shared.state();
        for name in [tag, &digest] {
            let entry = (media_type.to_owned(), bytes.to_vec());
            state.manifests.insert((repository.to_owned(), name.to_owned()), entry);
        }
        digest
    }

    /// Stores an image of these tars as layers, for this platform; its manifest.
    pub fn put_image(&self, repository: &str, tag: &str, layers: &[Vec<u8>], architecture: &str) -> Value {
        let diff_ids: Vec<String> = layers.iter().map(|l| digest(l)).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": { "Cmd": ["/x"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let describe = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": self.put_blob(repository, bytes), "size": bytes.len() });
        let layers: Vec<Value> = layers.iter().map(|tar| describe(LAYER, &gzip(tar))).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": describe(CONFIG, &config), "layers": layers,
        });
        self.put_manifest(repository, tag, MANIFEST, manifest.to_string().as_bytes());
        manifest
    }

    /// A manifest as it is stored.
    pub fn manifest(&self, repository: &str, tag: &str) -> Option<Vec<u8>> {
        self.shared
            .state()
            .manifests
            .get(&(repository.to_owned(), tag.to_owned()))
            .map(|(_, bytes)| bytes.clone())
    }

    /// A blob as it is stored.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        self.shared.state().blobs.get(&(repository.to_owned(), digest.to_owned())).cloned()
    }
}

/// Writes an answer with its length.
///
/// # Errors
/// Those of the connection.
pub fn answer(
    stream: &mut TcpStream,
    status: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status}\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) -> Result<()> {
        let mut out = stream.try_clone()?;
        let mut input = BufReader::new(stream);
        while let Some(asked) = read(&mut input)? {
            self.state().asked.push(asked.clone());
            let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(hook) = hook
                && hook(&asked, &mut out)?
            {
                continue;
            }
            if let Some((value, challenge)) = &self.guard
                && asked.header("authorization") != Some(value)
            {
                let body = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[]}]}"#;
                let headers =
                    [("WWW-Authenticate", challenge.as_str()), ("Content-Type", "application/json")];
                respond(&mut out, &asked, "401 Unauthorized", &headers, body)?;
                continue;
            }
            self.answer(&asked, &mut out)?;
        }
        Ok(())
    }

    fn answer(&self, asked: &Asked, out: &mut TcpStream) -> Result<()> {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        // Who takes it for a proxy writes the whole address (RFC 9112, section 3.2.2).
        let path = match path.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => path,
        };
        let rest = path.strip_prefix("/v2/").unwrap_or_default();
        if rest.is_empty() {
            return respond(out, asked, "200 OK", &[], b"{}");
        }
        if let Some((repository, reference)) = rest.split_once("/manifests/") {
            return self.manifests(asked, out, repository, reference);
        }
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            let state = self.state();
            let tags: Vec<&String> = state
                .manifests
                .keys()
                .filter(|(r, tag)| r == repository && !tag.contains(':'))
                .map(|(_, tag)| tag)
                .collect();
            let body = json!({ "name": repository, "tags": tags }).to_string();
            return respond(out, asked, "200 OK", &[("Content-Type", "application/json")], body.as_bytes());
        }
        if let Some((repository, id)) = rest.split_once("/blobs/uploads/") {
            return self.uploads(asked, out, repository, id, query);
        }
        match rest.split_once("/blobs/") {
            Some((repository, digest)) => self.blobs(asked, out, repository, digest),
            None => respond(out, asked, "404 Not Found", &[], b""),
        }
    }

    fn manifests(&self, asked: &Asked, out: &mut TcpStream, repository: &str, reference: &str) -> Result<()> {
        if asked.method == "PUT" {
            let media_type = asked.header("content-type").unwrap_or_default().to_owned();
            let digest = digest(&asked.body);
            let mut state = self.state();
            for name in [reference, &digest] {
                let entry = (media_type.clone(), asked.body.clone());
                state.manifests.insert((repository.to_owned(), name.to_owned()), entry);
            }
            return respond(out, asked, "201 Created", &[("Docker-Content-Digest", &digest)], b"");
        }
        let found = self.state().manifests.get(&(repository.to_owned(), reference.to_owned())).cloned();
        let Some((media_type, bytes)) = found else {
            let body =
                br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#;
            return respond(out, asked, "404 Not Found", &[("Content-Type", "application/json")], body);
        };
        let headers = [("Content-Type", media_type.as_str()), ("Docker-Content-Digest", &digest(&bytes))];
        respond(out, asked, "200 OK", &headers, &bytes)
    }

    fn blobs(&self, asked: &Asked, out: &mut TcpStream, repository: &str, digest: &str) -> Result<()> {
        let found = self.state().blobs.get(&(repository.to_owned(), digest.to_owned())).cloned();
        let Some(bytes) = found else {
            let body =
                br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry","detail":{}}]}"#;
            return respond(out, asked, "404 Not Found", &[("Content-Type", "application/json")], body);
        };
        let from = asked
            .header("range")
            .and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match from {
            Some(from) if from < bytes.len() => {
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                respond(out, asked, "206 Partial Content", &[("Content-Range", &range)], &bytes[from..])
            }
            _ => respond(out, asked, "200 OK", &[("Docker-Content-Digest", digest)], &bytes),
        }
    }

    fn uploads(
        &self,
        asked: &Asked,
        out: &mut TcpStream,
        repository: &str,
        id: &str,
        query: &str,
    ) -> Result<()> {
        let parameter = |name: &str| {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            pair.map(|value| value.replace("%3A", ":").replace("%2F", "/"))
        };
        let mut state = self.state();
        match asked.method.as_str() {
            "POST" => {
                if let (Some(digest), Some(from)) = (parameter("mount"), parameter("from"))
                    && let Some(bytes) = state.blobs.get(&(from, digest.clone())).cloned()
                {
                    state.blobs.insert((repository.to_owned(), digest.clone()), bytes);
                    drop(state);
                    return respond(out, asked, "201 Created", &[("Docker-Content-Digest", &digest)], b"");
                }
                let id = format!("u{}", state.uploads.len());
                state.uploads.insert(id.clone(), Vec::new());
                drop(state);
                let location = format!("/v2/{repository}/blobs/uploads/{id}?state=1");
                respond(out, asked, "202 Accepted", &[("Location", &location)], b"")
            }
            "PATCH" | "PUT" | "GET" => {
                let Some(upload) = state.uploads.get_mut(id) else {
                    drop(state);
                    return respond(out, asked, "404 Not Found", &[], b"");
                };
                upload.extend_from_slice(&asked.body);
                let (bytes, location) =
                    (upload.clone(), format!("/v2/{repository}/blobs/uploads/{id}?state=2"));
                if asked.method == "PUT" {
                    let wanted = parameter("digest").context("no digest")?;
                    let good = digest(&bytes) == wanted;
                    if good {
                        state.blobs.insert((repository.to_owned(), wanted.clone()), bytes);
                    }
                    drop(state);
                    let status = if good { "201 Created" } else { "400 Bad Request" };
                    return respond(out, asked, status, &[("Docker-Content-Digest", &wanted)], b"");
                }
                drop(state);
                let range = format!("0-{}", bytes.len().saturating_sub(1));
                let status = if asked.method == "GET" { "204 No Content" } else { "202 Accepted" };
                respond(out, asked, status, &[("Location", &location), ("Range", &range)], b"")
            }
            _ => {
                state.uploads.remove(id);
                drop(state);
                respond(out, asked, "204 No Content", &[], b"")
            }
        }
    }
}

fn respond(
    out: &mut TcpStream,
    asked: &Asked,
    status: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<()> {
    let length = body.len().to_string();
    let mut headers = headers.to_vec();
    headers.push(("Content-Length", &length));
    let body = if asked.method == "HEAD" { b"" } else { body };
    Ok(answer(out, status, &headers, body)?)
}

/// Reads a request; none when the client has gone.
fn read(input: &mut BufReader<TcpStream>) -> Result<Option<Asked>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().context("no method")?.to_owned();
    let path = words.next().context("no path")?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked { method, path, headers, body: Vec::new() };
    if asked.header("transfer-encoding").is_some_and(|t| t.contains("chunked")) {
        loop {
            let mut size = String::new();
            input.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).context("no size of a chunk")?;
            input.by_ref().take(size).read_to_end(&mut asked.body)?;
            input.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = asked.header("content-length").and_then(|n| n.parse().ok()) {
        input.by_ref().take(length).read_to_end(&mut asked.body)?;
    }
    Ok(Some(asked))
}
