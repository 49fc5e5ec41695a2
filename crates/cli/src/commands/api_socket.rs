//! `--use-api-socket`: the container may use the engine as its user does. It gets the engine's socket and a configuration with what
//! the user is to registries.

use std::path::Path;

use serde_json::{Value, json};
use skiff_archive::tar::{END, Entry, EntryKind, Timestamp, encode, padding};
use skiff_client::{Body, Client, Query};

use crate::{failure::Failure, session::Session};

/// Where programs look for the engine.
const SOCKET: &str = "/var/run/docker.sock";
/// Where the configuration is put.
const DIRECTORY: &str = "run/secrets/docker";
const VARIABLE: &str = "DOCKER_CONFIG";

/// A configuration that goes into a container.
pub(super) struct Configuration(Vec<u8>);

/// Adds the socket to a request, and says where the configuration will be. There is none for a user who is nobody to all
/// registries, or who says where it is.
pub(super) fn add(session: &Session, body: &mut Value) -> Result<Option<Configuration>, Failure> {
    let host = session.host();
    // The engine's own: it may have another path here.
    let source = host.strip_prefix("unix://").unwrap_or(SOCKET);
    let mount = json!({ "Type": "bind", "Source": source, "Target": SOCKET, "BindOptions": {} });
    push(&mut body["HostConfig"]["Mounts"], mount);
    let name = |variable: &Value| variable.as_str()?.split_once('=').map(|(name, _)| name.to_owned());
    let is_named = |variable: &Value| name(variable).is_some_and(|name| name == VARIABLE);
    if body["Env"].as_array().is_some_and(|variables| variables.iter().any(is_named)) {
        return Ok(None);
    }
    let auths = session
        .credentials()
        .all()
        .map_err(|e| Failure::new(format!("resolving credentials failed: {}", e.message)))?;
    if auths.is_empty() {
        return Ok(None);
    }
    push(&mut body["Env"], format!("{VARIABLE}=/{DIRECTORY}").into());
    Ok(Some(Configuration(json!({ "auths": auths }).to_string().into_bytes())))
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = Value::Array(vec![item]),
    }
}

impl Configuration {
    /// Puts it into a container that was made.
    pub(super) async fn put(self, client: &Client, container: &str) -> Result<(), Failure> {
        let archive = self.archive(Path::new(DIRECTORY));
        let body = Body::Stream(Box::new(std::io::Cursor::new(archive)));
        let put = client.container_extract(container, Query::new().with("path", "/"), body).await;
        put.map_err(|e| Failure::new(format!("injecting docker config.json into container failed: {e}")))
    }

    fn archive(&self, directory: &Path) -> Vec<u8> {
        let mtime = Timestamp { secs: jiff::Timestamp::now().as_second(), nanos: 0 };
        let mut out = Vec::new();
        let mut above: Vec<&Path> = directory.ancestors().filter(|path| *path != Path::new("")).collect();
        above.reverse();
        for path in above {
            let path = format!("{}/", path.display()).into_bytes();
            encode(
                &Entry { path, kind: EntryKind::Directory, mode: 0o755, mtime, ..Entry::default() },
                &mut out,
            );
        }
        let path = directory.join("config.json").display().to_string().into_bytes();
        let size = self.0.len() as u64;
        encode(&Entry { path, mode: 0o600, mtime, size, ..Entry::default() }, &mut out);
        out.extend_from_slice(&self.0);
        out.resize(out.len() + padding(size), 0);
        out.extend_from_slice(&END);
        out
    }
}
