//! `config.json`: what a user has settled once for all.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// The parts of `config.json` that this program uses.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Config {
    /// Headers of every request.
    #[serde(rename = "HttpHeaders")]
    pub(crate) http_headers: BTreeMap<String, String>,
    /// `--format` of `ps`.
    pub(crate) ps_format: String,
    /// `--format` of `images`.
    pub(crate) images_format: String,
    /// `--format` of `network ls`.
    pub(crate) networks_format: String,
    /// `--format` of `stats`.
    pub(crate) stats_format: String,
    /// `--format` of `volume ls`.
    pub(crate) volumes_format: String,
    /// `--detach-keys`.
    pub(crate) detach_keys: String,
    /// The context to use.
    pub(crate) current_context: String,
    /// Proxies for containers, by daemon host or `default`.
    pub(crate) proxies: BTreeMap<String, Proxies>,
    /// Credentials of registries.
    pub(crate) auths: crate::credentials::Auths,
    /// The program that keeps them instead.
    pub(crate) creds_store: String,
    /// Programs that keep those of single registries.
    pub(crate) cred_helpers: BTreeMap<String, String>,
}

/// Proxies that containers are told about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Proxies {
    http_proxy: String,
    https_proxy: String,
    no_proxy: String,
    ftp_proxy: String,
    all_proxy: String,
}

/// The directory of `config.json`: `--config`, `DOCKER_CONFIG` or `~/.docker`.
pub(crate) fn directory(option: Option<&str>) -> PathBuf {
    if let Some(path) = option {
        return path.into();
    }
    match std::env::var_os("DOCKER_CONFIG").filter(|v| !v.is_empty()) {
        Some(path) => path.into(),
        None => std::env::home_dir().unwrap_or_else(|| "/".into()).join(".docker"),
    }
}

impl Config {
    /// Reads it; a file that cannot be read is a warning, as it is for docker, and counts as empty.
    pub(crate) fn load(directory: &Path) -> (Self, Option<String>) {
        let path = directory.join("config.json");
        let text = match fs_err::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Default::default(),
            Err(error) => {
                return (Self::default(), Some(format!("WARNING: Error loading config file: {error}")));
            }
        };
        match serde_json::from_slice(&text) {
            Ok(config) => (config, None),
            Err(error) => {
                let warning = format!("WARNING: Error loading config file: {}: {error}", path.display());
                (Self::default(), Some(warning))
            }
        }
    }

    /// Variables about proxies for a container of the engine at `host`, both in upper and lower case, except those
    /// that are `given`.
    pub(crate) fn proxy_variables(&self, host: &str, given: &[String]) -> Vec<String> {
        let Some(proxies) = self.proxies.get(host).or_else(|| self.proxies.get("default")) else {
            return Vec::new();
        };
        let pairs = [
            ("ALL_PROXY", &proxies.all_proxy),
            ("FTP_PROXY", &proxies.ftp_proxy),
            ("HTTPS_PROXY", &proxies.https_proxy),
            ("HTTP_PROXY", &proxies.http_proxy),
            ("NO_PROXY", &proxies.no_proxy),
        ];
        let named = |name: &str| given.iter().any(|g| g.split('=').next() == Some(name));
        pairs
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .flat_map(|(name, value)| [(name.to_owned(), value), (name.to_lowercase(), value)])
            .filter(|(name, _)| !named(name))
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_reach_containers_unless_given() {
        let config: Config = serde_json::from_str(
            r#"{"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "x"}}, "auths": {"a": {}}}"#,
        )
        .unwrap();
        assert_eq!(
            config.proxy_variables("unix:///x", &["http_proxy=mine".to_owned()]),
            ["HTTP_PROXY=http://p:1", "NO_PROXY=x", "no_proxy=x"]
        );
    }
}
