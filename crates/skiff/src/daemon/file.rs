//! `daemon.json`: the same settings under their keys.

use std::{collections::BTreeMap, io, path::Path};

use serde_json::{Map, Value as Json};
use skiff_api::decode;
use skiff_engine::{OWN_RUNTIMES, Runtime, model::Ulimit};

use super::{
    options::{Kind, OPTIONS, by_key},
    settings::{Settings, Value, address, size},
};

/// Where the file is if nobody says.
pub(super) const DEFAULT_PATH: &str = "/etc/docker/daemon.json";

/// Reads the file that the flags name, or the usual one if it exists, and lays it under the flags.
///
/// # Errors
/// What dockerd refuses, in its words.
pub(super) fn merge(flags: &Settings) -> Result<Settings, String> {
    let named = flags.text("config-file");
    let path = Path::new(named.unwrap_or(DEFAULT_PATH));
    let context = |reason: String| {
        format!("unable to configure the Docker daemon with file {}: {reason}", path.display())
    };
    let text = match fs_err::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => return Ok(flags.clone()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(context(format!("open {}: no such file or directory", path.display())));
        }
        Err(error) => return Err(context(error.to_string())),
    };
    read(&text, flags).map_err(context)
}

fn read(text: &[u8], flags: &Settings) -> Result<Settings, String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Ok(flags.clone());
    }
    let entries = match decode::value(text) {
        Ok(Json::Object(entries)) => entries,
        Ok(other) => {
            return Err(format!(
                "invalid JSON: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                kind_name(&other)
            ));
        }
        Err(decode::DecodeError::Syntax(reason)) if reason == "unexpected EOF" => {
            return Err("invalid JSON: unexpected end of JSON input".to_owned());
        }
        Err(error) => return Err(format!("invalid JSON: {error}")),
    };
    check_keys(&entries, flags)?;
    let mut settings = flags.clone();
    for (key, json) in entries {
        let option = by_key(&key).expect("the keys are checked");
        settings.0.insert(option.id(), value(option.kind, &key, json)?);
    }
    Ok(settings)
}

/// Keys must be known, and must not say again what a flag says.
fn check_keys(entries: &Map<String, Json>, flags: &Settings) -> Result<(), String> {
    let unknown: Vec<_> = entries.keys().filter(|key| by_key(key).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(format!(
            "the following directives don't match any configuration option: {}",
            unknown.join(", ")
        ));
    }
    let conflicts: Vec<_> = OPTIONS
        .iter()
        .filter(|option| !option.key.is_empty() && flags.contains(option.id()))
        .filter_map(|option| entries.get(option.key).map(|json| (option, json)))
        .map(|(option, json)| {
            let flag = flags.0.get(option.id()).map(shown_flag).unwrap_or_default();
            format!("{}: (from flag: {flag}, from file: {})", option.key, shown_json(json))
        })
        .collect();
    match conflicts.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "the following directives are specified both as a flag and in the configuration file: {}",
            conflicts.join(", ")
        )),
    }
}

fn kind_name(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn value(kind: Kind, key: &str, json: Json) -> Result<Value, String> {
    let wrong = |json: &Json, path: &str, wanted: &str| {
        format!(
            "invalid JSON: json: cannot unmarshal {} into Go struct field Config.{path} of type {wanted}",
            kind_name(json)
        )
    };
    let text = |json: Json, path: &str| match json {
        Json::String(text) => Ok(text),
        Json::Null => Ok(String::new()),
        other => Err(wrong(&other, path, "string")),
    };
    let ip = |text: String| match text.is_empty() || address(&text).is_ok() {
        true => Ok(text),
        false => Err(format!("invalid JSON: invalid IP address: {text}")),
    };
    Ok(match kind {
        Kind::Bool(default) => match json {
            Json::Bool(value) => Value::Bool(value),
            Json::Null => Value::Bool(default),
            other => return Err(wrong(&other, key, "bool")),
        },
        Kind::Int => match json.as_i64() {
            Some(number) => Value::Int(number),
            None if json.is_null() => Value::Int(0),
            None => return Err(wrong(&json, key, "int")),
        },
        Kind::Text => Value::Text(text(json, key)?),
        Kind::Size => match json {
            Json::String(text) => Value::Int(size(&text)?),
            other => return Err(format!("invalid JSON: invalid size: \"{other}\"")),
        },
        Kind::Ip => Value::Text(ip(text(json, key)?)?),
        Kind::List | Kind::IpList => {
            let items = match json {
                Json::Array(items) => items,
                Json::Null => Vec::new(),
                other => return Err(wrong(&other, key, "[]string")),
            };
            let item = |item| {
                let item = text(item, key)?;
                if kind == Kind::IpList { ip(item) } else { Ok(item) }
            };
            Value::List(items.into_iter().map(item).collect::<Result<_, String>>()?)
        }
        Kind::Map => {
            let entries = match json {
                Json::Object(entries) => entries,
                Json::Null => Map::new(),
                other => return Err(wrong(&other, key, "map[string]string")),
            };
            let entry = |(name, json): (String, Json)| {
                let value = text(json, &format!("{key}.{name}"))?;
                Ok((name, value))
            };
            Value::Map(entries.into_iter().map(entry).collect::<Result<BTreeMap<_, _>, String>>()?)
        }
        Kind::Ulimits => Value::Ulimits(ulimits(json)?),
        Kind::Pools => Value::Pools(pools(json)?),
        Kind::Runtimes => {
            let entries = match json {
                Json::Object(entries) => entries,
                Json::Null => Map::new(),
                other => return Err(wrong(&other, key, "map[string]system.Runtime")),
            };
            let entry = |(name, json): (String, Json)| match json {
                Json::Object(_) => Ok((name.clone(), runtime(&name, json)?)),
                other => Err(wrong(&other, &format!("{key}.{name}"), "system.Runtime")),
            };
            Value::Runtimes(entries.into_iter().map(entry).collect::<Result<_, String>>()?)
        }
        Kind::Any => Value::Any,
    })
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct FileUlimit {
    name: String,
    hard: i64,
    soft: i64,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct FilePool {
    base: String,
    size: u8,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct FileRuntime {
    path: String,
    #[serde(rename = "runtimeArgs")]
    args: Vec<String>,
    #[serde(rename = "runtimeType")]
    kind: String,
    options: Map<String, Json>,
}

/// A program by its path, or by the options of Docker's own runtime. Other types are programs of containerd's.
fn runtime(name: &str, json: Json) -> Result<Runtime, String> {
    let FileRuntime { path, args, kind, options } =
        decode::from_value(json).map_err(|e| format!("invalid JSON: {e}"))?;
    let wrong = |text: &str| Err(format!("runtime {name}: {text}"));
    if OWN_RUNTIMES.contains(&name) {
        return Err(format!("runtime name '{name}' is reserved"));
    }
    match (path.as_str(), kind.as_str()) {
        ("", "") => wrong("either a runtimeType or a path must be configured"),
        ("", _) if !args.is_empty() => wrong("args cannot be used with a runtimeType runtime"),
        ("", "io.containerd.runc.v2") => match options.get("BinaryName").and_then(Json::as_str) {
            Some(path) if options.len() == 1 => Ok(Runtime::Program { path: path.into(), args }),
            None if options.is_empty() => Ok(Runtime::Own),
            _ => wrong(
                "of the options of io.containerd.runc.v2, only BinaryName is supported by this version of Skiff",
            ),
        },
        ("", kind) => wrong(&format!(
            "the runtimeType {kind:?} is not supported by this version of Skiff: it runs programs with the command line of an OCI runtime, by their path"
        )),
        (_, kind) if !kind.is_empty() => {
            wrong("cannot configure both path and runtimeType for the same runtime")
        }
        _ if !options.is_empty() => wrong("options cannot be used with a path runtime"),
        (path, _) => Ok(Runtime::Program { path: path.into(), args }),
    }
}

fn ulimits(json: Json) -> Result<Vec<Ulimit>, String> {
    let limits: BTreeMap<String, FileUlimit> =
        decode::from_value(json).map_err(|e| format!("invalid JSON: {e}"))?;
    let limit = |(key, limit): (String, FileUlimit)| Ulimit {
        name: if limit.name.is_empty() { key } else { limit.name },
        soft: limit.soft,
        hard: limit.hard,
    };
    Ok(limits.into_iter().map(limit).collect())
}

fn pools(json: Json) -> Result<Vec<(String, u8)>, String> {
    let pools: Vec<FilePool> = decode::from_value(json).map_err(|e| format!("invalid JSON: {e}"))?;
    pools
        .into_iter()
        .map(|pool| match pool.base.contains('/') {
            true => Ok((pool.base, pool.size)),
            false => Err(format!(
                "invalid JSON: invalid base pool {:?}: invalid CIDR address: {}",
                pool.base, pool.base
            )),
        })
        .collect()
}

/// A flag's value as Go prints it.
fn shown_flag(value: &Value) -> String {
    let pairs = |map: &BTreeMap<String, String>| {
        map.iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>().join(" ")
    };
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::List(list) => format!("[{}]", list.join(" ")),
        Value::Map(map) => format!("map[{}]", pairs(map)),
        Value::Ulimits(limits) => {
            let limit = |l: &Ulimit| format!("{}={}:{}", l.name, l.soft, l.hard);
            format!("[{}]", limits.iter().map(limit).collect::<Vec<_>>().join(" "))
        }
        Value::Pools(pools) => {
            pools.iter().map(|(base, size)| format!("{base} {size}")).collect::<Vec<_>>().join(" ")
        }
        Value::Runtimes(runtimes) => {
            let one = |(name, runtime): (&String, &Runtime)| match runtime {
                Runtime::Own => name.clone(),
                Runtime::Program { path, .. } => format!("{name}={}", path.display()),
            };
            format!("[{}]", runtimes.iter().map(one).collect::<Vec<_>>().join(" "))
        }
        Value::Any => String::new(),
    }
}

/// A JSON value as Go prints it.
fn shown_json(json: &Json) -> String {
    match json {
        Json::Null => "<nil>".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Number(value) => value.to_string(),
        Json::String(value) => value.clone(),
        Json::Array(items) => format!("[{}]", items.iter().map(shown_json).collect::<Vec<_>>().join(" ")),
        Json::Object(entries) => {
            let entry = |(key, value)| format!("{key}:{}", shown_json(value));
            format!("map[{}]", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::flags;

    fn merged(json: &str, line: &str) -> Result<Settings, String> {
        let flags = flags::parse(line.split_whitespace().map(str::to_owned))?;
        read(json.as_bytes(), &flags)
    }

    #[test]
    fn the_file_adds_to_the_flags() {
        let settings = merged(
            r#"{"labels":["a=b"],"log-opts":{"max-size":"1m"},"default-shm-size":"64M","icc":false,
                "default-ulimits":{"nofile":{"Name":"nofile","Hard":6,"Soft":5}},
                "default-address-pools":[{"base":"10.0.0.0/8","size":24}]}"#,
            "--debug",
        )
        .unwrap();
        assert_eq!((settings.flag("debug"), settings.flag("icc")), (Some(true), Some(false)));
        assert_eq!(settings.list("labels"), ["a=b"]);
        assert_eq!(settings.map("log-opts")["max-size"], "1m");
        assert_eq!(settings.int("default-shm-size"), Some(64 << 20));
        assert_eq!(settings.0["default-address-pools"], Value::Pools(vec![("10.0.0.0/8".into(), 24)]));
        assert!(merged("", "--debug").is_ok() && merged("\u{feff}{}", "").is_ok());
    }

    /// Recorded from dockerd 28.5.2.
    #[test]
    fn a_bad_file_is_refused_in_dockerds_words() {
        for (json, line, message) in [
            (
                r#"{"foo":1,"bar":2}"#,
                "",
                "the following directives don't match any configuration option: bar, foo",
            ),
            ("{", "", "invalid JSON: unexpected end of JSON input"),
            (
                "[]",
                "",
                "invalid JSON: json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
            (
                r#"{"debug":"x"}"#,
                "",
                "invalid JSON: json: cannot unmarshal string into Go struct field Config.debug of type bool",
            ),
            (
                r#"{"mtu":"x"}"#,
                "",
                "invalid JSON: json: cannot unmarshal string into Go struct field Config.mtu of type int",
            ),
            (
                r#"{"bip":5}"#,
                "",
                "invalid JSON: json: cannot unmarshal number into Go struct field Config.bip of type string",
            ),
            (
                r#"{"log-opts":{"a":1}}"#,
                "",
                "invalid JSON: json: cannot unmarshal number into Go struct field Config.log-opts.a of type string",
            ),
            (r#"{"dns":["x"]}"#, "", "invalid JSON: invalid IP address: x"),
            (r#"{"ip":"x"}"#, "", "invalid JSON: invalid IP address: x"),
            (r#"{"default-shm-size":64}"#, "", "invalid JSON: invalid size: \"64\""),
            (r#"{"Debug":true}"#, "", "the following directives don't match any configuration option: Debug"),
            (
                r#"{"debug":true}"#,
                "--debug",
                "the following directives are specified both as a flag and in the configuration file: debug: (from flag: true, from file: true)",
            ),
            (
                r#"{"labels":["a=b"]}"#,
                "--label c=d",
                "the following directives are specified both as a flag and in the configuration file: labels: (from flag: [c=d], from file: [a=b])",
            ),
            (
                r#"{"log-opts":{"max-size":"10m"}}"#,
                "--log-opt max-file=3",
                "the following directives are specified both as a flag and in the configuration file: log-opts: (from flag: map[max-file:3], from file: map[max-size:10m])",
            ),
            (
                r#"{"default-address-pools":[{"base":"10.0.0.0/8","size":24}]}"#,
                "--default-address-pool base=10.0.0.0/8,size=24",
                "the following directives are specified both as a flag and in the configuration file: default-address-pools: (from flag: 10.0.0.0/8 24, from file: [map[base:10.0.0.0/8 size:24]])",
            ),
        ] {
            assert_eq!(merged(json, line).unwrap_err(), message, "{json}");
        }
    }
}
