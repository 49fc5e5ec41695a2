//! `--device`.

use serde_json::{Value, json};

/// Whether these are letters out of `rwm`, each once.
fn is_mode(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| "rwm".contains(c) && text.matches(c).count() == 1)
}

/// What `--device` asks for.
pub(crate) enum Device {
    /// A device node, as the request holds it.
    Node(Value),
    /// A name of the container device interface: `vendor/class=name`.
    Named(String),
}

/// Reads `host[:container][:mode]`.
pub(crate) fn parse(text: &str) -> Result<Device, String> {
    if is_qualified(text) {
        return Ok(Device::Named(text.to_owned()));
    }
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, mode) = match parts[..] {
        ["", ..] => return Err(format!("bad format for path: {text}")),
        [host] => (host, host, "rwm"),
        [host, mode] if is_mode(mode) => (host, host, mode),
        [host, inside] => (host, inside, "rwm"),
        [_, _, mode] if !is_mode(mode) => return Err(format!("bad mode specified: {mode}")),
        [host, inside, mode] => (host, inside, mode),
        _ => return Err(format!("bad format for path: {text}")),
    };
    if !inside.starts_with('/') {
        return Err(format!("{inside} is not an absolute path"));
    }
    Ok(Device::Node(json!({ "PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": mode })))
}

/// `vendor.com/class=name`.
fn is_qualified(text: &str) -> bool {
    let word = |w: &str, extra: &str| {
        w.starts_with(|c: char| c.is_ascii_alphanumeric())
            && w.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
    };
    text.split_once('=')
        .and_then(|(kind, name)| kind.split_once('/').map(|(vendor, class)| (vendor, class, name)))
        .is_some_and(|(vendor, class, name)| word(vendor, "_-.") && word(class, "_-") && word(name, "_-.:"))
}
