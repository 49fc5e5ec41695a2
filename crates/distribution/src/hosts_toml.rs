//! containerd's `hosts.toml`: which hosts stand for a registry (containerd, docs/hosts.md).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{
    Config, Error, Result,
    certificates::{self, Trust},
    endpoint::{Capabilities, Endpoint, directory},
    url::{Origin, Url},
};

const FILE: &str = "hosts.toml";

/// The file.
#[derive(Debug, Deserialize)]
pub(crate) struct Hosts {
    /// The registry's real address.
    server: Option<String>,
    /// Hosts that may be told our password for a token; a key of ours.
    #[serde(default)]
    auth_realms: Vec<String>,
    #[serde(flatten)]
    of_server: Host,
    /// Kept in the file's order.
    #[serde(default)]
    host: InOrder,
}

/// What is said of one host.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Host {
    capabilities: Option<Vec<String>>,
    ca: OneOrMany<String>,
    client: Option<toml::Value>,
    skip_verify: bool,
    override_path: bool,
    header: std::collections::BTreeMap<String, OneOrMany<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// A table whose keys stay in the order in which they are written.
#[derive(Debug, Default)]
struct InOrder(Vec<(String, Host)>);

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = InOrder;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a table of hosts")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<InOrder, A::Error> {
                let mut hosts = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    hosts.push(entry);
                }
                Ok(InOrder(hosts))
            }
        }
        d.deserialize_map(Visitor)
    }
}

/// The file of a registry, or that of the directory `_default`, and its directory.
pub(crate) fn find(config: &Config, names: &[&str]) -> Result<Option<(PathBuf, Hosts)>> {
    let has_file = |path: &PathBuf| path.join(FILE).is_file();
    let found = directory(config, names, has_file).or_else(|| directory(config, &["_default"], has_file));
    let Some(directory) = found else { return Ok(None) };
    let path = directory.join(FILE);
    let text = fs_err::read_to_string(&path).map_err(|e| Error::Settings(e.to_string()))?;
    let hosts = toml::from_str(&text).map_err(|e| wrong(&path, e.message()))?;
    Ok(Some((directory, hosts)))
}

fn wrong(path: &Path, why: &str) -> Error {
    Error::Settings(format!("{}: {why}", path.display()))
}

impl Hosts {
    /// The hosts in the file's order, the registry itself last. `own` is its address unless the file has another.
    pub(crate) fn endpoints(self, directory: &Path, registry: &str, own: &Origin) -> Result<Vec<Endpoint>> {
        let mut all = Vec::new();
        for (address, host) in self.host.0 {
            let url = address_of(directory, &address)?;
            let mirror = url.origin != *own;
            all.push(host.endpoint(directory, url, mirror)?);
        }
        let server = match &self.server {
            Some(server) => address_of(directory, server)?,
            None => Url { origin: own.clone(), path: "/".to_owned() },
        };
        if !all.iter().any(|e: &Endpoint| e.origin == server.origin && !e.mirror) {
            all.push(self.of_server.endpoint(directory, server, false)?);
        }
        for endpoint in &mut all {
            endpoint.realms.clone_from(&self.auth_realms);
            endpoint.stands_for = Some(registry.to_owned()).filter(|_| endpoint.mirror);
        }
        Ok(all)
    }
}

fn address_of(directory: &Path, address: &str) -> Result<Url> {
    let whole = if address.contains("://") { address.to_owned() } else { format!("https://{address}") };
    whole.parse().map_err(|e: crate::url::ParseUrlError| wrong(&directory.join(FILE), &e.to_string()))
}

impl Host {
    fn endpoint(self, directory: &Path, url: Url, mirror: bool) -> Result<Endpoint> {
        let path = url.path.trim_end_matches('/');
        let base = match (self.override_path, path.ends_with("/v2")) {
            (true, _) | (false, true) => path.to_owned(),
            (false, false) => format!("{path}/v2"),
        };
        let may = match &self.capabilities {
            None if mirror => Capabilities { push: false, ..Capabilities::ALL },
            None => Capabilities::ALL,
            Some(list) => {
                let has = |name: &str| list.iter().any(|c| c == name);
                Capabilities { pull: has("pull"), resolve: has("resolve"), push: has("push") && !mirror }
            }
        };
        let mut trust = Trust { anybody: self.skip_verify, ..Trust::default() };
        for file in self.ca.into_vec() {
            trust.authorities.extend(certificates::read(&directory.join(file))?);
        }
        for (certificate, key) in pairs(directory, self.client)? {
            trust.identities.push(certificates::identity(&certificate, &key)?);
        }
        let headers = self
            .header
            .into_iter()
            .flat_map(|(name, values)| values.into_vec().into_iter().map(move |value| (name.clone(), value)));
        let headers = headers.collect();
        Ok(Endpoint {
            origin: url.origin,
            base,
            mirror,
            stands_for: None,
            may,
            trust,
            headers,
            realms: Vec::new(),
        })
    }
}

/// `client`: a file with both, files with both, or pairs of certificate and key.
fn pairs(directory: &Path, client: Option<toml::Value>) -> Result<Vec<(PathBuf, PathBuf)>> {
    use toml::Value::{Array, String};
    let bad = || wrong(&directory.join(FILE), "client must be a file, files, or pairs of files");
    let file = |name: &str| directory.join(name);
    match client {
        None => Ok(Vec::new()),
        Some(String(both)) => Ok(vec![(file(&both), file(&both))]),
        Some(Array(list)) => list
            .into_iter()
            .map(|item| match item {
                String(both) => Ok((file(&both), file(&both))),
                Array(pair) => match pair.as_slice() {
                    [String(certificate), String(key)] if key.is_empty() => {
                        Ok((file(certificate), file(certificate)))
                    }
                    [String(certificate), String(key)] => Ok((file(certificate), file(key))),
                    _ => Err(bad()),
                },
                _ => Err(bad()),
            })
            .collect(),
        Some(_) => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::url::{Scheme, origin};

    const GOOD: &str = r#"
server = "https://registry.example"
capabilities = ["pull", "resolve", "push"]
[host."https://mirror.example/v2/x"]
capabilities = ["pull"]
skip_verify = true
override_path = true
[host."http://plain.example:5000".header]
x-a = ["1", "2"]
"#;

    fn endpoints(text: &str) -> Result<Vec<Endpoint>> {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { certificates: vec![dir.path().to_owned()], ..Config::default() };
        fs_err::create_dir(dir.path().join("registry.example")).unwrap();
        fs_err::write(dir.path().join("registry.example").join(FILE), text).unwrap();
        let (directory, hosts) = find(&config, &["registry.example"])?.unwrap();
        let own = origin(Scheme::Https, "registry.example").unwrap();
        hosts.endpoints(&directory, "registry.example", &own)
    }

    proptest! {
        /// Whatever is done to a good file, it is read or refused with the name of a file, and the registry itself is asked in the end.
        #[test]
        fn damage_is_answered(at in 0usize..GOOD.len(), bytes in "[ -~\n]{0,8}", cut in 0usize..8) {
            let mut text = GOOD.as_bytes().to_vec();
            let end = (at + cut).min(text.len());
            text.splice(at..end, bytes.into_bytes());
            match endpoints(&String::from_utf8(text).unwrap()) {
                Ok(endpoints) => prop_assert!(!endpoints.is_empty()),
                Err(error) => prop_assert!(error.to_string().contains("registry.example"), "{error}"),
            }
        }
    }

    #[test]
    fn hosts_are_asked_in_the_files_order_and_the_registry_last() {
        let found: Vec<_> = endpoints(GOOD).unwrap().into_iter().map(|e| (e.origin.host, e.mirror)).collect();
        let expected = [("mirror.example", true), ("plain.example", true), ("registry.example", false)];
        assert_eq!(found, expected.map(|(host, mirror)| (host.to_owned(), mirror)));
    }
}
