//! Who the user is to registries: what the environment says, `auths` of `config.json`, or a helper program that keeps the secrets
//! (`credsStore`, `credHelpers`).

mod environment;
mod file;
mod helper;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use serde::Serialize;

use crate::{config::Config, failure::Failure, say};

pub(crate) use environment::VARIABLE;

/// By which name Docker's own registry is kept.
pub(crate) const DOCKER: &str = "https://index.docker.io/v1/";

/// Credentials of one registry.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Credentials {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) password: String,
    #[serde(rename = "serveraddress", skip_serializing_if = "String::is_empty")]
    pub(crate) server: String,
    /// A refresh token instead of the password.
    #[serde(rename = "identitytoken", skip_serializing_if = "String::is_empty")]
    pub(crate) identity_token: String,
    #[serde(rename = "registrytoken", skip_serializing_if = "String::is_empty")]
    pub(crate) registry_token: String,
}

impl Credentials {
    /// As the `X-Registry-Auth` header carries them.
    pub(crate) fn header(&self) -> String {
        header(self)
    }
}

/// Credentials as headers carry them.
///
/// # Panics
/// Never: texts are JSON.
pub(crate) fn header(credentials: &impl Serialize) -> String {
    URL_SAFE.encode(serde_json::to_vec(credentials).expect("texts are JSON"))
}

/// Where credentials are kept.
pub(crate) struct Store<'a> {
    config: &'a Config,
    directory: &'a Path,
    /// Of the environment.
    given: BTreeMap<String, Credentials>,
}

impl<'a> Store<'a> {
    pub(crate) fn new(config: &'a Config, directory: &'a Path) -> Self {
        Self { config, directory, given: BTreeMap::new() }
    }

    /// The same below what the environment says. What cannot be read there counts as nothing, with a warning.
    pub(crate) fn with_environment(mut self, text: &str) -> Self {
        match environment::read(text) {
            _ if text.is_empty() => {}
            Ok(given) => self.given = given,
            Err(why) => say::error(&format!("Failed to create credential store from {VARIABLE}:  {why}")),
        }
        self
    }

    /// The helper that keeps a registry's credentials, if one does.
    fn helper(&self, server: &str) -> Option<&str> {
        let own =
            self.config.cred_helpers.get(&hostname(server)).or_else(|| self.config.cred_helpers.get(server));
        own.map(String::as_str).or(Some(self.config.creds_store.as_str())).filter(|name| !name.is_empty())
    }

    /// What is known of a registry: nothing is all empty.
    pub(crate) fn get(&self, server: &str) -> Result<Credentials, Failure> {
        if let Some(given) = self.given.get(server) {
            return Ok(given.clone());
        }
        let mut found = match self.helper(server) {
            Some(helper) => helper::get(helper, server)?,
            None => {
                self.config.auths.iter().find(|(key, _)| same(key, server)).map(|(_, entry)| entry.read())
            }
        }
        .unwrap_or_default();
        found.server = server.to_owned();
        Ok(found)
    }

    /// Who the user is to all registries, as `auths` has it.
    pub(crate) fn all(&self) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
        let mut servers: BTreeSet<String> = self.config.auths.keys().cloned().collect();
        servers.extend(self.config.cred_helpers.keys().cloned());
        servers.extend(self.given.keys().cloned());
        if !self.config.creds_store.is_empty() {
            servers.extend(helper::list(&self.config.creds_store)?);
        }
        let mut out = serde_json::Map::new();
        for server in servers {
            let entry = file::Entry::of(&self.get(&server)?);
            if entry.as_object().is_some_and(|entry| !entry.is_empty()) {
                out.insert(server, entry);
            }
        }
        Ok(out)
    }

    /// Keeps credentials; where they lie unencrypted for the first time, the warning is to be shown.
    pub(crate) fn put(&self, credentials: &Credentials) -> Result<Option<String>, Failure> {
        if let Some(helper) = self.helper(&credentials.server) {
            helper::store(helper, credentials)?;
            // That there is an account is kept here.
            file::edit(self.directory, |auths| {
                auths.insert(credentials.server.clone(), serde_json::json!({}));
            })?;
            return Ok(None);
        }
        let known = self.config.auths.keys().any(|key| same(key, &credentials.server));
        file::edit(self.directory, |auths| {
            auths.insert(credentials.server.clone(), file::Entry::of(credentials));
        })?;
        let path = self.directory.join("config.json");
        Ok((!known).then(|| {
            format!(
                "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this \
                 warning. See\nhttps://docs.docker.com/go/credential-store/\n",
                path.display()
            )
        }))
    }

    /// Forgets a registry under all names by which it may have been kept.
    pub(crate) fn remove(&self, server: &str) -> Result<(), Failure> {
        if let Some(helper) = self.helper(server) {
            helper::erase(helper, server)?;
        }
        if !self.config.auths.keys().any(|key| same(key, server)) {
            return Ok(());
        }
        file::edit(self.directory, |auths| auths.retain(|key, _| !same(key, server)))
    }
}

/// Entries of `auths`, by the registry's name.
pub(crate) type Auths = BTreeMap<String, file::Entry>;

/// `https://host/v1/` and `host` are the same registry.
fn same(a: &str, b: &str) -> bool {
    a == b || hostname(a) == hostname(b)
}

/// The host of an address as people write it.
pub(crate) fn hostname(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_owned()
}

/// By which name the registry of an image is kept.
pub(crate) fn server_of(image: &str) -> String {
    let first = image.split('/').next().unwrap_or_default();
    let registry = image.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    match first {
        "docker.io" | "index.docker.io" => DOCKER.to_owned(),
        host if registry => host.to_owned(),
        _ => DOCKER.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Config {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn registries_are_found_by_any_of_their_names() {
        for (image, server) in [
            ("busybox", DOCKER),
            ("a/b", DOCKER),
            ("docker.io/a/b", DOCKER),
            ("localhost/a", "localhost"),
            ("reg:5000/a/b:1", "reg:5000"),
        ] {
            assert_eq!(server_of(image), server, "{image}");
        }
        let config =
            config(r#"{"auths":{"https://reg:5000/v1/":{"auth":"dTpwOnE="},"b":{"identitytoken":"t"}}}"#);
        let store = Store::new(&config, Path::new("/nonexistent"));
        let found = store.get("reg:5000").unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("u", "p:q"));
        assert_eq!(store.get("b").unwrap().identity_token, "t");
        assert!(store.get("c").unwrap().username.is_empty());
        assert_eq!(Credentials::default().header(), "e30=");
    }

    #[test]
    fn what_is_kept_leaves_the_rest_of_the_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs_err::write(&path, r#"{"psFormat":"x","auths":{"a":{"auth":"YTpi"}}}"#).unwrap();
        let (read, _) = Config::load(directory.path());
        let store = Store::new(&read, directory.path());
        let new = Credentials {
            username: "u".into(),
            password: "p".into(),
            server: "b:1".into(),
            ..Default::default()
        };
        assert!(store.put(&new).unwrap().unwrap().contains("stored unencrypted"));
        let (read, _) = Config::load(directory.path());
        let store = Store::new(&read, directory.path());
        assert_eq!(store.get("b:1").unwrap().password, "p");
        assert_eq!(store.put(&new).unwrap(), None);
        store.remove("https://a/v1/").unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\n\t\"auths\": {\n\t\t\"b:1\": {\n\t\t\t\"auth\": \"dTpw\"\n\t\t}\n\t},\n\t\"psFormat\": \"x\"\n}"
        );
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_helper_keeps_the_secrets() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("kept");
        let program = directory.path().join("docker-credential-fake");
        let script = format!(
            "#!/bin/sh\ncase $1 in\nstore) cat > {0};;\nget) cat >/dev/null; if [ -f {0} ]; then cat {0}; else echo credentials not found in native keychain; exit 1; fi;;\nerase) rm -f {0};;\nesac\n",
            kept.display()
        );
        fs_err::write(&program, script).unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let name = program.to_str().unwrap().to_owned();
        let none = helper::get(&name, "reg").unwrap();
        assert!(none.is_none());
        let user = Credentials {
            username: "u".into(),
            password: "p".into(),
            server: "reg".into(),
            ..Default::default()
        };
        helper::store(&name, &user).unwrap();
        let found = helper::get(&name, "reg").unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("u", "p"));
        let token = Credentials {
            username: "u".into(),
            identity_token: "t".into(),
            server: "reg".into(),
            ..Default::default()
        };
        helper::store(&name, &token).unwrap();
        assert_eq!(helper::get(&name, "reg").unwrap().unwrap().identity_token, "t");
        helper::erase(&name, "reg").unwrap();
        assert!(helper::get(&name, "reg").unwrap().is_none());
    }
}
