//! `--mount` and `--volume`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{csv, size};
use crate::grammar::parse_bool;

/// Reads `type=bind,source=/a,target=/b,readonly`; gives the `Mount` of the API as JSON.
pub(crate) fn check(text: &str) -> Result<String, String> {
    let mut mount = Mount { kind: "volume".to_owned(), ..Mount::default() };
    for field in csv::fields(text)? {
        match field.split_once('=') {
            Some((key, value)) => mount.set(&key.to_lowercase(), value, &field)?,
            None => mount.set_bare(&field)?,
        }
    }
    mount.check()?;
    Ok(mount.into_json().to_string())
}

/// A path that starts with a dot is meant relative to here.
fn absolute(path: &str) -> String {
    match path.starts_with('.').then(|| std::path::absolute(Path::new(path))) {
        Some(Ok(absolute)) => clean(&absolute.to_string_lossy()),
        _ => path.to_owned(),
    }
}

/// Go's `path.Clean` of an absolute path.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[derive(Default)]
struct Mount {
    kind: String,
    source: String,
    target: String,
    read_only: bool,
    consistency: String,
    bind: Option<Map<String, Value>>,
    volume: Option<Map<String, Value>>,
    image: Option<Map<String, Value>>,
    tmpfs: Option<Map<String, Value>>,
}

/// The object at `key` of `map`, made if need be.
fn object<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    map.entry(key).or_insert_with(|| json!({})).as_object_mut()
}

impl Mount {
    fn bind(&mut self, key: &str, value: impl Into<Value>) {
        self.bind.get_or_insert_default().insert(key.to_owned(), value.into());
    }

    fn volume(&mut self, key: &str, value: impl Into<Value>) {
        self.volume.get_or_insert_default().insert(key.to_owned(), value.into());
    }

    fn set_bare(&mut self, field: &str) -> Result<(), String> {
        match field.to_lowercase().as_str() {
            "readonly" | "ro" => self.read_only = true,
            "volume-nocopy" => self.volume("NoCopy", true),
            "bind-nonrecursive" => self.bind("NonRecursive", true),
            _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str, field: &str) -> Result<(), String> {
        let invalid = || format!("invalid value for {key}: {value}");
        match key {
            "type" => self.kind = value.to_lowercase(),
            "source" | "src" => self.source = absolute(value),
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "readonly" | "ro" => self.read_only = parse_bool(value).map_err(|_| invalid())?,
            "consistency" => self.consistency = value.to_lowercase(),
            "bind-propagation" => self.bind("Propagation", value.to_lowercase()),
            "bind-nonrecursive" => self.bind("NonRecursive", parse_bool(value).map_err(|_| invalid())?),
            "bind-recursive" => match value {
                "enabled" => {}
                "disabled" => self.bind("NonRecursive", true),
                "writable" => self.bind("ReadOnlyNonRecursive", true),
                "readonly" => self.bind("ReadOnlyForceRecursive", true),
                _ => {
                    return Err(format!(
                        "{} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")",
                        invalid()
                    ));
                }
            },
            "volume-subpath" => self.volume("Subpath", value),
            "volume-nocopy" => self.volume("NoCopy", parse_bool(value).map_err(|_| invalid())?),
            "volume-label" => insert_pair(object(self.volume.get_or_insert_default(), "Labels"), value),
            "volume-driver" => {
                if let Some(driver) = object(self.volume.get_or_insert_default(), "DriverConfig") {
                    driver.insert("Name".to_owned(), value.into());
                }
            }
            "volume-opt" => {
                let driver = object(self.volume.get_or_insert_default(), "DriverConfig");
                insert_pair(driver.and_then(|d| object(d, "Options")), value);
            }
            "image-subpath" => {
                self.image.get_or_insert_default().insert("Subpath".to_owned(), value.into());
            }
            "tmpfs-size" => {
                let bytes = size::parse(value).map_err(|_| invalid())?;
                self.tmpfs.get_or_insert_default().insert("SizeBytes".to_owned(), bytes.into());
            }
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(value, 8).map_err(|_| invalid())?;
                self.tmpfs.get_or_insert_default().insert("Mode".to_owned(), mode.into());
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if self.kind.is_empty() {
            return Err("type is required".to_owned());
        }
        if self.target.is_empty() {
            return Err("target is required".to_owned());
        }
        let families =
            [("volume", &self.volume), ("image", &self.image), ("bind", &self.bind), ("tmpfs", &self.tmpfs)];
        for (family, options) in families {
            if options.is_some() && self.kind != family {
                return Err(format!("cannot mix '{family}-*' options with mount type '{}'", self.kind));
            }
        }
        let Some(bind) = &self.bind else { return Ok(()) };
        if bind.contains_key("ReadOnlyNonRecursive") && !self.read_only {
            return Err(
                "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction"
                    .to_owned(),
            );
        }
        if bind.contains_key("ReadOnlyForceRecursive") {
            if !self.read_only {
                return Err(
                    "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction"
                        .to_owned(),
                );
            }
            if bind.get("Propagation") != Some(&json!("rprivate")) {
                return Err(
                    "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified \
                            in conjunction"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    fn into_json(self) -> Value {
        let mut mount = Map::new();
        let texts = [
            ("Type", self.kind),
            ("Source", self.source),
            ("Target", self.target),
            ("Consistency", self.consistency),
        ];
        for (key, text) in texts {
            if !text.is_empty() {
                mount.insert(key.to_owned(), text.into());
            }
        }
        if self.read_only {
            mount.insert("ReadOnly".to_owned(), true.into());
        }
        let families = [
            ("BindOptions", self.bind),
            ("VolumeOptions", self.volume),
            ("ImageOptions", self.image),
            ("TmpfsOptions", self.tmpfs),
        ];
        for (key, options) in families {
            if let Some(options) = options {
                mount.insert(key.to_owned(), options.into());
            }
        }
        mount.into()
    }
}

fn insert_pair(into: Option<&mut Map<String, Value>>, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if let Some(map) = into.filter(|_| !key.is_empty()) {
        map.insert(key.to_owned(), value.into());
    }
}

/// What `--volume` means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Volume {
    /// A path in the container with a volume of its own.
    Anonymous(String),
    /// A bind or a named volume, as the request holds it.
    Bind(String),
}

/// Reads `source:target[:options]` or `target`.
pub(crate) fn parse_volume(text: &str) -> Result<Volume, String> {
    if text.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    if text.len() <= 2 {
        return Ok(Volume::Anonymous(text.to_owned()));
    }
    let parts: Vec<&str> = text.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(format!("invalid spec: {text}: empty section between colons"));
    }
    match parts[..] {
        [target] => Ok(Volume::Anonymous(target.to_owned())),
        [_, _] | [_, _, _] => {
            let (host, rest) = text.split_once(':').unwrap_or((text, ""));
            Ok(Volume::Bind(format!("{}:{rest}", absolute(host))))
        }
        // A letter alone is taken for a drive: the engine refuses it.
        [drive, _, _, _] if drive.len() == 1 && drive.as_bytes()[0].is_ascii_alphabetic() => {
            Ok(Volume::Bind(text.to_owned()))
        }
        _ => Err(format!("invalid spec: {text}: too many colons")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_becomes_the_api_s() {
        let mount = |text| serde_json::from_str::<Value>(&check(text).unwrap()).unwrap();
        assert_eq!(
            mount("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave"),
            json!({ "Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true,
                    "BindOptions": { "Propagation": "rslave" } })
        );
        assert_eq!(
            mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770"),
            json!({ "Type": "tmpfs", "Target": "/t", "TmpfsOptions": { "SizeBytes": 1 << 20, "Mode": 0o1770 } })
        );
        assert_eq!(
            mount("src=data,target=/d,volume-opt=a=b,volume-label=k=v,volume-nocopy"),
            json!({ "Type": "volume", "Source": "data", "Target": "/d", "VolumeOptions":
                    { "DriverConfig": { "Options": { "a": "b" } }, "Labels": { "k": "v" }, "NoCopy": true } })
        );
    }

    #[test]
    fn a_volume_is_a_bind_as_soon_as_it_has_a_source() {
        assert_eq!(parse_volume("/data"), Ok(Volume::Anonymous("/data".into())));
        assert_eq!(parse_volume("/a:/b:ro"), Ok(Volume::Bind("/a:/b:ro".into())));
        assert_eq!(parse_volume("name:/b"), Ok(Volume::Bind("name:/b".into())));
        let here = std::env::current_dir().unwrap();
        assert_eq!(parse_volume("./x/../y:/b"), Ok(Volume::Bind(format!("{}/y:/b", here.to_string_lossy()))));
        assert_eq!(parse_volume("/a::/b"), Err("invalid spec: /a::/b: empty section between colons".into()));
    }
}
