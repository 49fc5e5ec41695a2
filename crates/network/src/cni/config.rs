//! A configuration: a list of plugins, found by its name or its file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::CniError;
use crate::NetworkRequest;

/// Where configurations are, by custom.
const DIR: &str = "/etc/cni/net.d";
/// Where plugins are: by custom, as Debian has it, as Fedora has it.
const PATH: &str = "/opt/cni/bin:/usr/lib/cni:/usr/libexec/cni";
/// What is spoken here.
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A configuration, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Its name, by which plugins keep apart what they do.
    pub(crate) name: String,
    /// The version of the specification that it is written for.
    pub(crate) version: String,
    /// The plugins in their order; there is at least one.
    pub(crate) plugins: Vec<PluginConfig>,
    /// Whether its plugins are not to be asked to check.
    pub(crate) no_check: bool,
    /// Where plugins are looked for.
    pub(crate) path: String,
    /// As it was read.
    pub(crate) text: String,
}

/// One plugin of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PluginConfig {
    /// The program.
    pub(crate) kind: String,
    /// What it is told.
    pub(crate) config: Map<String, Value>,
}

impl PluginConfig {
    /// Whether it wants to be told something of each container.
    pub(crate) fn has(&self, capability: &str) -> bool {
        self.config.get("capabilities").and_then(|c| c.get(capability)) == Some(&Value::Bool(true))
    }
}

/// Refuses what a CNI network cannot be asked for.
pub(crate) fn check_request(request: &NetworkRequest) -> Result<(), CniError> {
    match () {
        () if !request.pools.is_empty() => Err(CniError::Decided("a subnet")),
        () if request.internal => Err(CniError::Decided("--internal")),
        () if request.ipv6 || !request.ipv4 => Err(CniError::Decided("a family of addresses")),
        () if !request.addressing.is_own() => Err(CniError::Decided("an IPAM driver")),
        () => Ok(()),
    }
}

impl Config {
    /// The configuration that a new network of this name and these options asks for. Its plugins are there.
    pub(crate) fn find(options: &BTreeMap<String, String>, network: &str) -> Result<Self, CniError> {
        if let Some(other) = options.keys().find(|key| !matches!(key.as_str(), "conf" | "name" | "path")) {
            return Err(CniError::UnknownOption(other.clone()));
        }
        let path = options.get("path").map_or(PATH, String::as_str);
        let config = match options.get("conf") {
            Some(file) => {
                let bad = |reason: String| CniError::BadConfiguration { place: file.clone(), reason };
                let text = fs_err::read_to_string(file).map_err(|e| bad(e.to_string()))?;
                let config = Self::parse(&text, path).map_err(bad)?;
                match options.get("name").filter(|name| **name != config.name) {
                    Some(name) => {
                        return Err(CniError::NoConfiguration { name: name.clone(), dir: file.clone() });
                    }
                    None => config,
                }
            }
            None => Self::by_name(Path::new(DIR), options.get("name").map_or(network, String::as_str), path)?,
        };
        config.plugins.iter().try_for_each(|plugin| config.program(&plugin.kind).map(drop))?;
        Ok(config)
    }

    /// The first configuration of this name in the order of the files' names. Files that are none are passed over.
    fn by_name(dir: &Path, name: &str, path: &str) -> Result<Self, CniError> {
        let mut files: Vec<PathBuf> =
            fs_err::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        files.sort();
        let is_config = |file: &PathBuf| {
            file.extension().is_some_and(|ext| ext == "conflist" || ext == "conf" || ext == "json")
        };
        let mut all = files.iter().filter(|file| is_config(file)).filter_map(|file| {
            let text = fs_err::read_to_string(file).ok()?;
            Self::parse(&text, path)
                .inspect_err(|reason| tracing::warn!("{} is no CNI configuration: {reason}", file.display()))
                .ok()
        });
        let missing = || CniError::NoConfiguration { name: name.to_owned(), dir: dir.display().to_string() };
        all.find(|config| config.name == name).ok_or_else(missing)
    }

    /// A configuration that was kept with its network.
    pub(crate) fn kept(
        text: &str,
        options: &BTreeMap<String, String>,
        network: &str,
    ) -> Result<Self, CniError> {
        let bad = |reason| CniError::BadConfiguration {
            place: format!("what is kept of network {network}"),
            reason,
        };
        Self::parse(text, options.get("path").map_or(PATH, String::as_str)).map_err(bad)
    }

    /// Reads a list of plugins, or the configuration of a single one.
    pub(super) fn parse(text: &str, path: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let Value::Object(mut whole) = value else { return Err("it is not a JSON object".to_owned()) };
        let text_of =
            |whole: &Map<String, Value>, key: &str| whole.get(key).and_then(Value::as_str).map(str::to_owned);
        let name = text_of(&whole, "name").filter(|name| !name.is_empty()).ok_or("it has no name")?;
        let version = text_of(&whole, "cniVersion").unwrap_or_else(|| "0.1.0".to_owned());
        if !VERSIONS.contains(&version.as_str()) {
            return Err(format!("its cniVersion is {version}; spoken here are {}", VERSIONS.join(", ")));
        }
        let no_check = match whole.get("disableCheck") {
            Some(Value::Bool(disabled)) => *disabled,
            Some(Value::String(text)) => text == "true",
            _ => false,
        };
        let list = match whole.remove("plugins") {
            Some(Value::Array(list)) => list,
            Some(_) => return Err("its plugins are not a list".to_owned()),
            None => vec![Value::Object(whole)],
        };
        let plugin = |value: Value| match value {
            Value::Object(config) => {
                let kind = text_of(&config, "type").filter(|kind| !kind.is_empty() && !kind.contains('/'));
                Ok(PluginConfig { kind: kind.ok_or("a plugin has no type")?, config })
            }
            _ => Err("a plugin is not a JSON object".to_owned()),
        };
        let plugins: Vec<PluginConfig> = list.into_iter().map(plugin).collect::<Result<_, String>>()?;
        if plugins.is_empty() {
            return Err("it has no plugins".to_owned());
        }
        Ok(Self { name, version, plugins, no_check, path: path.to_owned(), text: text.to_owned() })
    }

    /// Whether a plugin publishes ports.
    pub(crate) fn publishes(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin.has("portMappings"))
    }

    /// Whether plugins can be asked to check.
    pub(crate) fn checks(&self) -> bool {
        !self.no_check && !self.version.starts_with("0.3.")
    }

    /// The program of a plugin.
    pub(super) fn program(&self, kind: &str) -> Result<PathBuf, CniError> {
        let places = self.path.split(':').filter(|dir| dir.starts_with('/'));
        let mut programs = places.map(|dir| Path::new(dir).join(kind));
        let missing = || CniError::NoPlugin { plugin: kind.to_owned(), path: self.path.replace(':', ", ") };
        programs.find(|program| program.is_file()).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"cniVersion":"1.0.0","name":"net","plugins":[
        {"type":"bridge","ipam":{"type":"host-local"}},{"type":"portmap","capabilities":{"portMappings":true,"mac":false}}]}"#;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, PATH)
    }

    #[test]
    fn a_list_and_a_single_plugin_are_configurations() {
        let list = parse(LIST).unwrap();
        assert_eq!((list.name.as_str(), list.plugins.len()), ("net", 2));
        assert!(list.publishes() && list.checks() && !list.plugins[1].has("mac"));
        let one = parse(r#"{"cniVersion":"0.3.1","name":"x","type":"ptp","disableCheck":true}"#).unwrap();
        assert_eq!(one.plugins[0].kind, "ptp");
        assert!(!one.publishes() && !one.checks());
    }

    #[test]
    fn what_is_no_configuration_is_told_why() {
        for (text, why) in [
            ("", "EOF while parsing"),
            ("[]", "it is not a JSON object"),
            (r#"{"cniVersion":"1.0.0"}"#, "it has no name"),
            (r#"{"name":"x","type":"ptp"}"#, "its cniVersion is 0.1.0"),
            (r#"{"cniVersion":"2.0.0","name":"x"}"#, "its cniVersion is 2.0.0"),
            (r#"{"cniVersion":"1.0.0","name":"x","plugins":[]}"#, "it has no plugins"),
            (r#"{"cniVersion":"1.0.0","name":"x","plugins":{}}"#, "its plugins are not a list"),
            (r#"{"cniVersion":"1.0.0","name":"x","type":"../x"}"#, "a plugin has no type"),
        ] {
            assert!(parse(text).unwrap_err().starts_with(why), "{text}");
        }
    }

    #[test]
    fn a_configuration_is_found_by_its_name_or_its_file() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("10-bad.conf"), "{").unwrap();
        fs_err::write(dir.path().join("20-net.conflist"), LIST).unwrap();
        fs_err::write(dir.path().join("30-net.txt"), LIST.replace("net", "text")).unwrap();
        assert_eq!(Config::by_name(dir.path(), "net", PATH).unwrap().name, "net");
        assert!(matches!(Config::by_name(dir.path(), "text", PATH), Err(CniError::NoConfiguration { .. })));

        let file = dir.path().join("20-net.conflist").display().to_string();
        let options =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let plugins = dir.path().display().to_string();
        let missing = Config::find(&options(&[("conf", &file), ("path", &plugins)]), "any").unwrap_err();
        assert_eq!(missing.to_string(), format!("the CNI plugin \"bridge\" is not in {plugins}"));
        for program in ["bridge", "portmap"] {
            fs_err::write(dir.path().join(program), "").unwrap();
        }
        Config::find(&options(&[("conf", &file), ("path", &plugins)]), "any").unwrap();
        assert!(matches!(Config::find(&options(&[("x", "y")]), "net"), Err(CniError::UnknownOption(_))));
    }
}
