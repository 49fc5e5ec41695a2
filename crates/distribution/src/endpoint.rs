//! Where a registry is: its own address, its mirrors, in which order they are asked and how far each is trusted.
//!
//! A registry is known by the name that references give it (`docker.io`, `reg.example:5000`). containerd's `hosts.toml` counts
//! before everything else; without one, Docker's own registry has the mirrors of the settings, and a registry that may be
//! insecure is asked with TLS first and without it then.

use std::{net::IpAddr, path::PathBuf};

use ipnet::IpNet;

use crate::{
    Config, Error, Result,
    certificates::{self, Trust},
    hosts_toml,
    url::{Origin, Scheme, Url, origin},
};

/// The name of Docker's own registry, and where it is.
pub(crate) const DOCKER: &str = "docker.io";
const DOCKER_HOST: &str = "registry-1.docker.io";

/// One address at which a registry's images can be had.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) origin: Origin,
    /// What stands before the name of a repository: `/v2`.
    pub(crate) base: String,
    /// It is another's address: it gets no credentials and no pushes, and if it fails the next one is asked.
    pub(crate) mirror: bool,
    /// The registry that a mirror of `hosts.toml` stands for; it is told so in each request (`ns`).
    pub(crate) stands_for: Option<String>,
    pub(crate) may: Capabilities,
    pub(crate) trust: Trust,
    /// Headers that every request to it carries.
    pub(crate) headers: Vec<(String, String)>,
    /// Other hosts that may be told our password for a token.
    pub(crate) realms: Vec<String>,
}

/// What an endpoint may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) pull: bool,
    pub(crate) resolve: bool,
    pub(crate) push: bool,
}

impl Capabilities {
    pub(crate) const ALL: Self = Self { pull: true, resolve: true, push: true };
    const MIRROR: Self = Self { pull: true, resolve: true, push: false };
}

impl Endpoint {
    fn new(origin: Origin, trust: Trust) -> Self {
        Self {
            origin,
            base: "/v2".to_owned(),
            mirror: false,
            stands_for: None,
            may: Capabilities::ALL,
            trust,
            headers: Vec::new(),
            realms: Vec::new(),
        }
    }

    /// An address below this endpoint's base.
    pub(crate) fn url(&self, path: &str) -> Url {
        Url { origin: self.origin.clone(), path: format!("{}{path}", self.base) }
    }
}

/// Where the registry of this name is, in the order of asking. Reads the files of its settings. Blocks.
///
/// # Errors
/// [`Error::Settings`] for a name that is no host, and files that cannot be used.
pub(crate) fn endpoints(config: &Config, registry: &str) -> Result<Vec<Endpoint>> {
    let host = if registry == DOCKER { DOCKER_HOST } else { registry };
    let own = origin(Scheme::Https, host)
        .ok_or_else(|| Error::Settings(format!("invalid registry endpoint: {registry:?} is no host")))?;
    let names: &[&str] = if registry == DOCKER { &[DOCKER, DOCKER_HOST] } else { &[registry] };
    if let Some((directory, hosts)) = hosts_toml::find(config, names)? {
        let endpoints = hosts.endpoints(&directory, registry, &own)?;
        return Ok(endpoints.into_iter().flat_map(|e| if_insecure(config, e)).collect());
    }
    let mut all = Vec::new();
    if registry == DOCKER {
        for mirror in &config.mirrors {
            let url: Url = mirror.parse().map_err(|e| Error::Settings(format!("invalid mirror: {e}")))?;
            let trust = trust(config, &[&url.origin.authority()])?;
            let mut endpoint = Endpoint::new(url.origin, trust);
            endpoint.base = format!("{}/v2", url.path.trim_end_matches('/'));
            endpoint.mirror = true;
            endpoint.may = Capabilities::MIRROR;
            all.extend(if_insecure(config, endpoint));
        }
    }
    all.extend(if_insecure(config, Endpoint::new(own, trust(config, names)?)));
    Ok(all)
}

/// The endpoint of an address that people gave: for signing in and searching.
pub(crate) fn single(config: &Config, host: &str) -> Result<Vec<Endpoint>> {
    let own = origin(Scheme::Https, host)
        .ok_or_else(|| Error::Settings(format!("invalid registry endpoint: {host:?} is no host")))?;
    Ok(if_insecure(config, Endpoint::new(own, trust(config, &[host])?)))
}

/// How far the server of an address is trusted. Blocks.
pub(crate) fn trusted(config: &Config, origin: &Origin) -> Result<Trust> {
    let mut trust = trust(config, &[&origin.authority()])?;
    trust.anybody = is_insecure(&config.insecure, origin);
    Ok(trust)
}

/// Certificates of the first directory that has the registry.
fn trust(config: &Config, names: &[&str]) -> Result<Trust> {
    match directory(config, names, |_| true) {
        Some(path) => certificates::in_directory(&path),
        None => Ok(Trust::default()),
    }
}

/// The directory of a registry's settings. containerd writes `host_port_` where a colon cannot be.
pub(crate) fn directory(config: &Config, names: &[&str], has: impl Fn(&PathBuf) -> bool) -> Option<PathBuf> {
    let spellings = |name: &&str| {
        let other = name.rsplit_once(':').map(|(host, port)| format!("{host}_{port}_"));
        std::iter::once((*name).to_owned()).chain(other).collect::<Vec<_>>()
    };
    let spellings: Vec<String> = names.iter().flat_map(spellings).collect();
    let below = |root: &PathBuf| spellings.iter().map(|name| root.join(name)).collect::<Vec<_>>();
    config.certificates.iter().flat_map(below).find(|path| path.is_dir() && has(path))
}

/// An endpoint that may be insecure takes any certificate, and is asked in the clear if there is no TLS.
fn if_insecure(config: &Config, mut endpoint: Endpoint) -> Vec<Endpoint> {
    if endpoint.origin.scheme == Scheme::Http || !is_insecure(&config.insecure, &endpoint.origin) {
        return vec![endpoint];
    }
    endpoint.trust.anybody = true;
    let mut clear = endpoint.clone();
    clear.origin.scheme = Scheme::Http;
    if clear.origin.port == 443 {
        clear.origin.port = 80;
    }
    vec![endpoint, clear]
}

fn is_insecure(listed: &[String], origin: &Origin) -> bool {
    let address = match origin.host.as_str() {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        host => host.parse::<IpAddr>().ok(),
    };
    let listed = listed.iter().any(|entry| {
        let entry = entry.split_once("://").map_or(entry.as_str(), |(_, host)| host).trim_end_matches('/');
        match entry.parse::<IpNet>() {
            Ok(range) => address.is_some_and(|a| range.contains(&a)),
            Err(_) => {
                entry.eq_ignore_ascii_case(&origin.authority())
                    || entry.eq_ignore_ascii_case(&origin.address())
            }
        }
    });
    listed || address.is_some_and(|a| a.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(config: &Config, registry: &str) -> Vec<String> {
        let endpoints = endpoints(config, registry).unwrap();
        endpoints
            .iter()
            .map(|e| {
                format!(
                    "{}{}{}",
                    e.url("/"),
                    [" strict", ""][usize::from(e.trust.anybody)],
                    ["", " mirror"][usize::from(e.mirror)]
                )
            })
            .collect()
    }

    fn config() -> Config {
        Config { certificates: Vec::new(), ..Config::default() }
    }

    #[test]
    fn registries_are_strict_unless_they_are_near_or_listed() {
        let mut config = config();
        assert_eq!(shown(&config, "reg:5000"), ["https://reg:5000/v2/ strict"]);
        assert_eq!(
            shown(&config, "127.1.2.3:5000"),
            ["https://127.1.2.3:5000/v2/", "http://127.1.2.3:5000/v2/"]
        );
        assert_eq!(shown(&config, "localhost"), ["https://localhost/v2/", "http://localhost/v2/"]);
        assert_eq!(shown(&config, "[::1]:5000"), ["https://[::1]:5000/v2/", "http://[::1]:5000/v2/"]);
        config.insecure = vec!["reg:5000".into(), "10.0.0.0/8".into()];
        assert_eq!(shown(&config, "reg:5000"), ["https://reg:5000/v2/", "http://reg:5000/v2/"]);
        assert_eq!(shown(&config, "reg"), ["https://reg/v2/ strict"]);
        assert_eq!(shown(&config, "10.1.1.1:80"), ["https://10.1.1.1:80/v2/", "http://10.1.1.1/v2/"]);
        assert!(endpoints(&config, "a b").is_err());
    }

    #[test]
    fn mirrors_come_before_dockers_own_registry_and_no_other() {
        let config = Config { mirrors: vec!["http://m:1/sub/".into()], ..config() };
        assert_eq!(
            shown(&config, "docker.io"),
            ["http://m:1/sub/v2/ strict mirror", "https://registry-1.docker.io/v2/ strict"]
        );
        assert_eq!(shown(&config, "quay.io"), ["https://quay.io/v2/ strict"]);
    }

    #[test]
    fn hosts_toml_says_who_is_asked() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("reg:5000");
        fs_err::create_dir(&directory).unwrap();
        let text = r#"
            server = "https://real.example"
            auth_realms = ["auth.example"]
            [host."http://mirror:5001"]
              capabilities = ["pull"]
              [host."http://mirror:5001".header]
                x-one = "1"
            [host."https://cache.example/base"]
              override_path = true
              skip_verify = true
        "#;
        fs_err::write(directory.join("hosts.toml"), text).unwrap();
        let config = Config { certificates: vec![root.path().to_owned()], ..Config::default() };
        assert_eq!(
            shown(&config, "reg:5000"),
            [
                "http://mirror:5001/v2/ strict mirror",
                "https://cache.example/base/ mirror",
                "https://real.example/v2/ strict"
            ]
        );
        let endpoints = endpoints(&config, "reg:5000").unwrap();
        assert_eq!(endpoints[0].may, Capabilities { pull: true, resolve: false, push: false });
        assert_eq!(endpoints[0].headers, [("x-one".to_owned(), "1".to_owned())]);
        assert_eq!(endpoints[2].realms, ["auth.example"]);
        fs_err::write(directory.join("hosts.toml"), "server = 1").unwrap();
        assert!(super::endpoints(&config, "reg:5000").unwrap_err().to_string().contains("hosts.toml"));
    }
}
