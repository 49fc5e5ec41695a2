//! What was set, by whom, and reading values as the command line writes them.

use std::{collections::BTreeMap, net::IpAddr};

use skiff_engine::{OWN_RUNTIMES, Runtime, model::Ulimit};

use super::options::{Kind, OptionSpec};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
    Ulimits(Vec<Ulimit>),
    Pools(Vec<(String, u8)>),
    Runtimes(BTreeMap<String, Runtime>),
    /// Something that nothing reads.
    Any,
}

/// Everything that was set, by the settings' names.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings(pub(super) BTreeMap<&'static str, Value>);

impl Settings {
    pub(super) fn contains(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    pub(super) fn flag(&self, id: &str) -> Option<bool> {
        match self.0.get(id) {
            Some(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn int(&self, id: &str) -> Option<i64> {
        match self.0.get(id) {
            Some(Value::Int(value)) => Some(*value),
            _ => None,
        }
    }

    /// Text that is not empty.
    pub(super) fn text(&self, id: &str) -> Option<&str> {
        match self.0.get(id) {
            Some(Value::Text(value)) if !value.is_empty() => Some(value),
            _ => None,
        }
    }

    pub(super) fn list(&self, id: &str) -> &[String] {
        match self.0.get(id) {
            Some(Value::List(value)) => value,
            _ => &[],
        }
    }

    pub(super) fn map(&self, id: &str) -> BTreeMap<String, String> {
        match self.0.get(id) {
            Some(Value::Map(value)) => value.clone(),
            _ => BTreeMap::new(),
        }
    }

    /// Sets one flag, or adds to it if it may come several times.
    ///
    /// # Errors
    /// A value that the setting's kind refuses, in pflag's words.
    pub(super) fn add(&mut self, option: &OptionSpec, id: &'static str, text: &str) -> Result<(), String> {
        let value = read(option.kind, text)?;
        match (self.0.get_mut(id), value) {
            (Some(Value::List(old)), Value::List(new)) => old.extend(new),
            (Some(Value::Map(old)), Value::Map(new)) => old.extend(new),
            (Some(Value::Ulimits(old)), Value::Ulimits(new)) => old.extend(new),
            (Some(Value::Pools(old)), Value::Pools(new)) => old.extend(new),
            (Some(Value::Runtimes(old)), Value::Runtimes(new)) => {
                if let Some(name) = new.keys().find(|name| old.contains_key(*name)) {
                    return Err(format!("runtime '{name}' was already defined"));
                }
                old.extend(new);
            }
            (_, value) => drop(self.0.insert(id, value)),
        }
        Ok(())
    }
}

fn read(kind: Kind, text: &str) -> Result<Value, String> {
    Ok(match kind {
        Kind::Bool(_) => Value::Bool(boolean(text)?),
        Kind::Int => Value::Int(
            text.parse().map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))?,
        ),
        Kind::Text => Value::Text(text.to_owned()),
        Kind::Size => Value::Int(size(text)?),
        Kind::Ip => {
            address(text).map_err(|_| format!("failed to parse IP: {text:?}"))?;
            Value::Text(text.to_owned())
        }
        Kind::List => Value::List(vec![text.to_owned()]),
        Kind::IpList => {
            let list: Vec<_> = text.split(',').map(|a| a.trim().to_owned()).collect();
            for one in &list {
                address(one).map_err(|_| format!("invalid string being converted to IP address: {one}"))?;
            }
            Value::List(list)
        }
        Kind::Map => {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            Value::Map(BTreeMap::from([(name.to_owned(), value.to_owned())]))
        }
        Kind::Ulimits => Value::Ulimits(vec![ulimit(text)?]),
        Kind::Pools => Value::Pools(vec![pool(text)?]),
        Kind::Runtimes => Value::Runtimes(BTreeMap::from([runtime(text)?])),
        Kind::Any => Value::Any,
    })
}

fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

pub(super) fn size(text: &str) -> Result<i64, String> {
    skiff_types::parse_size(text).map_err(|e| e.to_string())
}

pub(super) fn address(text: &str) -> Result<IpAddr, std::net::AddrParseError> {
    text.parse()
}

/// `name=path`.
fn runtime(text: &str) -> Result<(String, Runtime), String> {
    let (name, path) = text.split_once('=').unwrap_or_default();
    let (name, path) = (name.trim().to_lowercase(), path.trim());
    if name.is_empty() || path.is_empty() {
        return Err(format!("invalid runtime argument: {text}"));
    }
    if OWN_RUNTIMES.contains(&name.as_str()) {
        return Err(format!("runtime name '{name}' is reserved"));
    }
    Ok((name, Runtime::Program { path: path.into(), args: Vec::new() }))
}

/// `nofile=1024:2048` or `nofile=1024`.
fn ulimit(text: &str) -> Result<Ulimit, String> {
    let bad = || format!("invalid ulimit argument: {text}");
    let (name, values) = text.split_once('=').ok_or_else(bad)?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| text.parse::<i64>().map_err(|_| bad());
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// `base=10.0.0.0/8,size=24`.
fn pool(text: &str) -> Result<(String, u8), String> {
    let (mut base, mut size) = (None, None);
    for field in text.split(',') {
        let pair = field
            .split_once('=')
            .ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
        match pair {
            ("base", value) if value.contains('/') => base = Some(value.to_owned()),
            ("base", value) => return Err(format!("invalid CIDR address: {value}")),
            ("size", value) => {
                size = Some(
                    value
                        .parse()
                        .map_err(|_| format!("invalid size value: \"{value}\" (must be integer)"))?,
                );
            }
            (key, _) => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    match (base, size) {
        (Some(base), Some(size)) => Ok((base, size)),
        _ => Err(format!("invalid field '{text}' must have base and size")),
    }
}
