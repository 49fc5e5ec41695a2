//! The smaller checks, each in docker's words.

use std::net::IpAddr;

use serde_json::json;

use super::{csv, size};
use crate::grammar::quote;

/// A filter: `name=value`, the name in lower case.
pub(crate) fn filter(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let (name, value) = text.split_once('=').ok_or("bad format of filter (expected name=value)")?;
    Ok(format!("{}={}", name.trim().to_lowercase(), value.trim()))
}

/// `stdin`, `stdout` or `stderr`, in any case.
pub(crate) fn attach(text: &str) -> Result<String, String> {
    let lower = text.to_lowercase();
    match lower.as_str() {
        "stdin" | "stdout" | "stderr" => Ok(lower),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// A label: a key without white space, and perhaps a value.
pub(crate) fn label(text: &str) -> Result<String, String> {
    let key = text.split('=').next().unwrap_or_default().trim_start_matches([' ', '\t']);
    if key.is_empty() {
        return Err(format!("invalid label '{text}': empty name"));
    }
    if key.contains([' ', '\t']) {
        return Err(format!("label '{key}' contains whitespaces"));
    }
    Ok(text.to_owned())
}

/// An address, as Go writes it.
pub(crate) fn ip_address(text: &str) -> Result<String, String> {
    match text.trim().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_canonical().to_string()),
        Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
    }
}

/// A domain to search, or `.` for none.
pub(crate) fn dns_search(text: &str) -> Result<String, String> {
    let text = text.trim_matches(' ');
    if text == "." {
        return Ok(text.to_owned());
    }
    let bad = || format!("{text} is not a valid domain");
    if !text.contains(|c: char| c.is_ascii_alphabetic()) {
        return Err(bad());
    }

    let domain = text.trim_end();
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if domain.len() < 255 && domain.split('.').all(label) { Ok(domain.to_owned()) } else { Err(bad()) }
}

/// A rule of the device list: `c 1:* rwm`.
pub(crate) fn device_rule(text: &str) -> Result<String, String> {
    let number = |n: &str| n == "*" || (!n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()));
    let fits = (|| {
        let mut words = text.split(' ');
        let (kind, numbers, mode) = (words.next()?, words.next()?, words.next()?);
        let (major, minor) = numbers.split_once(':')?;
        let known = matches!(kind, "a" | "b" | "c");
        let modes = (1..=3).contains(&mode.len()) && mode.bytes().all(|c| b"rwm".contains(&c));
        (known && number(major) && number(minor) && modes && words.next().is_none()).then_some(())
    })();
    fits.map(|()| text.to_owned()).ok_or_else(|| format!("invalid device cgroup format '{text}'"))
}

/// `host:ip` or `host=ip`, made `host:ip`.
pub(crate) fn extra_host(text: &str) -> Result<String, String> {
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let Some((host, address)) = split.filter(|(host, _)| !host.is_empty() && !host.contains(':')) else {
        return Err(format!("bad format for add-host: {}", quote(text)));
    };
    if address == "host-gateway" {
        return Ok(format!("{host}:{address}"));
    }
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).filter(|a| !a.is_empty());
    let address = bare.unwrap_or(address);
    ip_address(address).map_err(|_| format!("invalid IP address in add-host: {}", quote(address)))?;
    Ok(format!("{host}:{address}"))
}

/// `container` or `container:alias`.
pub(crate) fn link(text: &str) -> Result<String, String> {
    match text.matches(':').count() {
        _ if text.is_empty() => Err("empty string specified for links".to_owned()),
        0 | 1 => Ok(text.to_owned()),
        _ => Err(format!("bad format for links: {text}")),
    }
}

/// `/dev/x:value`.
fn device_value(text: &str) -> Result<(&str, &str), String> {
    let (path, value) = text
        .split_once(':')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}

/// `/dev/x:weight`, as JSON.
pub(crate) fn weight_device(text: &str) -> Result<String, String> {
    let (path, weight) = device_value(text)?;
    match weight.parse::<u16>() {
        Ok(weight @ (0 | 10..=1000)) => Ok(json!({ "Path": path, "Weight": weight }).to_string()),
        _ => Err(format!("invalid weight for device: {text}")),
    }
}

/// `/dev/x:bytes`, as JSON.
pub(crate) fn bps_device(text: &str) -> Result<String, String> {
    let (path, rate) = device_value(text)?;
    let rate = size::parse(rate).map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a \
             positive integer. Unit is optional and can be kb, mb, or gb"
        )
    })?;
    Ok(json!({ "Path": path, "Rate": rate }).to_string())
}

/// `/dev/x:operations`, as JSON.
pub(crate) fn iops_device(text: &str) -> Result<String, String> {
    let (path, rate) = device_value(text)?;
    let rate: u64 = rate.parse().map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive \
             integer"
        )
    })?;
    Ok(json!({ "Path": path, "Rate": rate }).to_string())
}

/// A kernel parameter of a namespace, and its value.
pub(crate) fn sysctl(text: &str) -> Result<String, String> {
    const NAMED: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    match text.split_once('=') {
        Some((key, _))
            if NAMED.contains(&key) || key.starts_with("net.") || key.starts_with("fs.mqueue.") =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!("sysctl '{text}' is not allowed")),
    }
}

/// `name=soft[:hard]`, as JSON.
pub(crate) fn ulimit(text: &str) -> Result<String, String> {
    const NAMES: [&str; 16] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
        "as",
    ];
    let (name, limits) = text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !NAMES.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let parts: Vec<&str> = limits.split(':').collect();
    let number = |t: &str| -> Result<i64, String> {
        t.parse().map_err(|_| format!("strconv.ParseInt: parsing {}: invalid syntax", quote(t)))
    };
    let (soft, hard) = match parts[..] {
        [soft] => (number(soft)?, None),
        [soft, hard] => (number(soft)?, Some(number(hard)?)),
        _ => {
            return Err(format!(
                "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
            ));
        }
    };
    let hard = hard.unwrap_or(soft);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(match soft {
            -1 => format!(
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {hard}"
            ),
            _ => format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"),
        });
    }
    Ok(json!({ "Name": name, "Soft": soft, "Hard": hard }).to_string())
}

/// A request for GPUs, as JSON.
pub(crate) fn gpus(text: &str) -> Result<String, String> {
    let count = |t: &str| match t {
        "all" => Ok(-1),
        _ => t.parse::<i64>().map_err(|_| {
            format!("invalid count ({t}): value must be either \"all\" or an integer: invalid syntax")
        }),
    };
    let list = |t: &str| t.split(',').map(str::to_owned).collect::<Vec<_>>();
    let (mut driver, mut number, mut ids) = (String::new(), None, None);
    let (mut capabilities, mut options) = (vec!["gpu".to_owned()], serde_json::Map::new());
    let mut seen = Vec::new();
    for field in csv::fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, value),
            None => ("count", field.as_str()),
        };
        if seen.contains(&key.to_owned()) {
            return Err(format!("gpu request key '{key}' can be specified only once"));
        }
        seen.push(key.to_owned());
        match key {
            "driver" => value.clone_into(&mut driver),
            "count" => number = Some(count(value)?),
            "device" => ids = Some(list(value)),
            "capabilities" => {
                capabilities = list(value);
                capabilities.push("gpu".to_owned());
            }
            "options" => {
                let pairs = csv::fields(value).map_err(|e| format!("failed to read gpu options: {e}"))?;
                options = super::env::to_map(&pairs);
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    let number = number.unwrap_or(i64::from(ids.is_none()));
    Ok(json!({
        "Driver": driver, "Count": number, "DeviceIDs": ids, "Capabilities": [capabilities], "Options": options,
    })
    .to_string())
}
