//! The image configuration (OCI image-spec, config.md, with Docker's additions) as it is read.
//!
//! The bytes of a configuration are what an image id hashes, so they are stored as they came; these types only read
//! them. Fields nobody here knows are kept in `other`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use skiff_types::Digest;

/// What an image is: how its containers run by default, which layers it has, where it came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// The CPU architecture by Go's name: `amd64`.
    #[serde(deserialize_with = "null_is_default")]
    pub architecture: String,
    /// Who made it.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// What was said when it was made.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// How containers run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ContainerConfig>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The engine's version that made it.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub docker_version: String,
    /// How each layer came to be, lowest first.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// The operating system by Go's name: `linux`.
    #[serde(deserialize_with = "null_is_default")]
    pub os: String,
    /// The operating system's features that the image needs.
    #[serde(rename = "os.features", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The operating system's version.
    #[serde(
        rename = "os.version",
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// The layers.
    pub rootfs: RootFs,
    /// The CPU's variant: `v8`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The keys that this module knows, by the object that has them.
const KEYS: &[&str] = &[
    "architecture",
    "author",
    "comment",
    "config",
    "created",
    "docker_version",
    "history",
    "os",
    "os.features",
    "os.version",
    "rootfs",
    "variant",
];
const ROOTFS_KEYS: &[&str] = &["type", "diff_ids"];
const HISTORY_KEYS: &[&str] = &["created", "created_by", "author", "comment", "empty_layer"];
const CONFIG_KEYS: &[&str] = &[
    "Hostname",
    "Domainname",
    "User",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "ExposedPorts",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Env",
    "Cmd",
    "Healthcheck",
    "ArgsEscaped",
    "Image",
    "Volumes",
    "WorkingDir",
    "Entrypoint",
    "NetworkDisabled",
    "MacAddress",
    "OnBuild",
    "Labels",
    "StopSignal",
    "StopTimeout",
    "Shell",
];
const HEALTHCHECK_KEYS: &[&str] = &["Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"];

impl ImageConfig {
    /// Reads a configuration as Go's decoder does: keys may be in any case, and of two alike the last counts.
    ///
    /// # Errors
    /// It is no JSON, or not of these types.
    pub fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let mut value: Value = serde_json::from_slice(bytes)?;
        spell(Some(&mut value), KEYS);
        spell(value.get_mut("rootfs"), ROOTFS_KEYS);
        spell(value.get_mut("config"), CONFIG_KEYS);
        spell(value.get_mut("config").and_then(|config| config.get_mut("Healthcheck")), HEALTHCHECK_KEYS);
        let steps = value.get_mut("history").and_then(Value::as_array_mut);
        steps.into_iter().flatten().for_each(|step| spell(Some(step), HISTORY_KEYS));
        serde_json::from_value(value)
    }
}

/// Gives keys that are known in another case the case in which they are known.
fn spell(object: Option<&mut Value>, known: &[&str]) {
    let Some(object) = object.and_then(Value::as_object_mut) else { return };
    for name in known {
        if object.contains_key(*name) {
            continue;
        }
        let other = object.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        if let Some(value) = other.and_then(|key| object.remove(&key)) {
            object.insert((*name).to_owned(), value);
        }
    }
}

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    /// The digests of the layers' uncompressed tars, lowest first.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// A step in the making of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The command.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// By whom.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// What was said.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// The step made no layer.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// How containers of an image run unless told otherwise. The order of the fields is the order Docker writes them in;
/// an image made here has the id Docker would give it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// Unused in images.
    #[serde(deserialize_with = "null_is_default")]
    pub hostname: String,
    /// Unused in images.
    #[serde(deserialize_with = "null_is_default")]
    pub domainname: String,
    /// `user[:group]`, by name or number.
    #[serde(deserialize_with = "null_is_default")]
    pub user: String,
    /// Unused in images.
    #[serde(deserialize_with = "null_is_default")]
    pub attach_stdin: bool,
    /// Unused in images.
    #[serde(deserialize_with = "null_is_default")]
    pub attach_stdout: bool,
    /// Unused in images.
    #[serde(deserialize_with = "null_is_default")]
    pub attach_stderr: bool,
    /// Ports with protocol (`80/tcp`) that programs listen at.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub exposed_ports: Option<BTreeMap<String, Empty>>,
    /// Unused in images.
    #[serde(deserialize_with = "null_is_default")]
    pub tty: bool,
    /// Unused in images.
    #[serde(deserialize_with = "null_is_default")]
    pub open_stdin: bool,
    /// Unused in images.
    #[serde(deserialize_with = "null_is_default")]
    pub stdin_once: bool,
    /// `NAME=value`.
    #[serde(deserialize_with = "optional_list")]
    pub env: Option<Vec<String>>,
    /// The command, or the entry point's arguments.
    #[serde(deserialize_with = "optional_list")]
    pub cmd: Option<Vec<String>>,
    /// How to ask whether the container is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The command is already escaped (Windows).
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// Unused in images.
    #[serde(deserialize_with = "null_is_default")]
    pub image: String,
    /// Paths that get a volume.
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// Where the command starts.
    #[serde(deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// The program.
    #[serde(deserialize_with = "optional_list")]
    pub entrypoint: Option<Vec<String>>,
    /// There is no network.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub network_disabled: bool,
    /// Unused in images.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
    /// Instructions for builds from this image.
    #[serde(deserialize_with = "optional_list")]
    pub on_build: Option<Vec<String>>,
    /// Labels.
    #[serde(deserialize_with = "optional_map")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The signal that stops the container.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Seconds to wait after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// The shell of commands in shell form.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The value `{}` in Go's sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<Object>")]
pub struct Empty {}

#[derive(Deserialize)]
struct Object {}

impl From<Option<Object>> for Empty {
    fn from(_: Option<Object>) -> Self {
        Self {}
    }
}

/// A health check; times in nanoseconds, 0 for the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between checks.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// For one check.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// While failures do not count.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between checks while starting.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row until the container is unhealthy.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

fn is_none_or_empty<K, V>(map: &Option<BTreeMap<K, V>>) -> bool {
    map.as_ref().is_none_or(BTreeMap::is_empty)
}

/// Go's decoder leaves a field alone when the value is `null`.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// An element of Go's lists and maps, which `null` leaves at zero as well.
struct Element<T>(T);

impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for Element<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        null_is_default(d).map(Self)
    }
}

fn optional_list<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    d: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let list = Option::<Vec<Element<T>>>::deserialize(d)?;
    Ok(list.map(|list| list.into_iter().map(|Element(value)| value).collect()))
}

fn list<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    optional_list(d).map(Option::unwrap_or_default)
}

fn optional_map<'de, D: Deserializer<'de>>(d: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let map = Option::<BTreeMap<String, Element<String>>>::deserialize(d)?;
    Ok(map.map(|map| map.into_iter().map(|(key, Element(value))| (key, value)).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: &Value) -> ImageConfig {
        ImageConfig::parse(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn null_is_what_go_makes_of_it() {
        let config = parse(&json!({
            "os": null, "history": [null, { "created_by": null, "empty_layer": null }],
            "rootfs": { "type": "layers", "diff_ids": null },
            "config": {
                "ExposedPorts": { "80/tcp": null }, "Volumes": { "/d": null, "/e": {} },
                "Labels": { "a": null, "b": "c" }, "Env": [null, "A=b"], "Cmd": null, "StopTimeout": null,
                "Healthcheck": { "Test": ["NONE", null], "Interval": null },
            },
        }));
        assert_eq!(config.history, [History::default(), History::default()]);
        let config = config.config.unwrap();
        assert_eq!(config.exposed_ports.unwrap().into_keys().collect::<Vec<_>>(), ["80/tcp"]);
        assert_eq!(config.volumes.unwrap().into_keys().collect::<Vec<_>>(), ["/d", "/e"]);
        let labels: Vec<_> = config.labels.unwrap().into_iter().collect();
        assert_eq!(labels, [("a".to_owned(), String::new()), ("b".to_owned(), "c".to_owned())]);
        assert_eq!((config.env.unwrap(), config.cmd), (vec![String::new(), "A=b".to_owned()], None));
        let check = config.healthcheck.unwrap();
        assert_eq!((check.test, check.interval), (vec!["NONE".to_owned(), String::new()], 0));
        assert!(ImageConfig::parse(br#"{"config":{"Volumes":{"/d":1}}}"#).is_err());
    }

    #[test]
    fn keys_are_known_in_any_case_and_the_last_counts() {
        let config = parse(&json!({
            "OS": "linux", "Config": { "cmd": ["a"], "ENV": ["A=b"], "Entrypoint": ["b"], "entrypoint": ["c"] },
        }));
        assert_eq!(config.os, "linux");
        let inner = config.config.unwrap();
        assert_eq!(inner.cmd.unwrap(), ["a"]);
        assert_eq!(
            (inner.env.unwrap(), inner.entrypoint.unwrap()),
            (vec!["A=b".to_owned()], vec!["b".to_owned()])
        );
        let twice = ImageConfig::parse(br#"{"os":"a","os":"b"}"#).unwrap();
        assert_eq!(twice.os, "b");
    }

    #[test]
    fn every_key_that_is_listed_is_a_fields() {
        let nulls = |keys: &[&str]| -> Map<String, Value> {
            keys.iter().map(|key| ((*key).to_owned(), Value::Null)).collect()
        };
        let mut whole = nulls(KEYS);
        whole.remove("rootfs");
        whole.insert("config".to_owned(), nulls(CONFIG_KEYS).into());
        let config = parse(&whole.into());
        assert_eq!((config.other, config.config.unwrap().other), (Map::new(), Map::new()));
    }
}
