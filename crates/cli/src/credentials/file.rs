//! `auths` of `config.json`.

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Credentials;
use crate::failure::{Failure, Outcome};

/// What is kept of a registry.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
    /// User and password in base64.
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

/// Secrets are not for logs.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
}

impl Entry {
    pub(super) fn read(&self) -> Credentials {
        let decoded = STANDARD.decode(&self.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (username, password) = match pair {
            Some((user, password)) => (user, password.trim_end_matches('\0')),
            None => (self.username.as_str(), self.password.as_str()),
        };
        Credentials {
            username: username.to_owned(),
            password: password.to_owned(),
            server: String::new(),
            identity_token: self.identitytoken.clone(),
            registry_token: self.registrytoken.clone(),
        }
    }

    /// What is written.
    pub(super) fn of(credentials: &Credentials) -> Value {
        let mut entry = Map::new();
        let pair = format!("{}:{}", credentials.username, credentials.password);
        if pair != ":" {
            entry.insert("auth".to_owned(), STANDARD.encode(pair).into());
        }
        for (name, token) in
            [("identitytoken", &credentials.identity_token), ("registrytoken", &credentials.registry_token)]
        {
            if !token.is_empty() {
                entry.insert(name.to_owned(), token.clone().into());
            }
        }
        Value::Object(entry)
    }
}

/// Changes `auths` in the file, which is replaced as a whole; whatever else is in it stays.
pub(super) fn edit(directory: &Path, change: impl FnOnce(&mut Map<String, Value>)) -> Outcome {
    let failed = |e: &dyn std::fmt::Display| Failure::new(format!("error saving credentials: {e}"));
    fs_err::create_dir_all(directory).map_err(|e| failed(&e))?;
    let path = directory.join("config.json");
    // Through a link to where it leads: dotfiles are often kept elsewhere.
    let path = fs_err::canonicalize(&path).unwrap_or(path);
    let mut config: Map<String, Value> = match fs_err::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|e| failed(&format!("{}: {e}", path.display())))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Map::new(),
        Err(e) => return Err(failed(&e)),
    };
    let auths = config.entry("auths").or_insert_with(|| Value::Object(Map::new()));
    if !auths.is_object() {
        *auths = Value::Object(Map::new());
    }
    if let Some(auths) = auths.as_object_mut() {
        change(auths);
    }
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    config
        .serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))
        .map_err(|e| failed(&e))?;
    let temporary = path.with_extension(format!("json{}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(&text))
        .and_then(|()| fs_err::rename(&temporary, &path));
    written.map_err(|e| {
        let _ = fs_err::remove_file(&temporary);
        failed(&e)
    })
}
