//! `--publish` and `--expose`, with the errors of docker/go-connections.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use crate::grammar::quote;

/// An address and port of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Binding {
    #[serde(rename = "HostIp")]
    pub(crate) address: String,
    #[serde(rename = "HostPort")]
    pub(crate) port: String,
}

/// Ports of a container (`80/tcp`) and where they are published.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) exposed: BTreeMap<String, BTreeMap<(), ()>>,
    pub(crate) bindings: BTreeMap<String, Vec<Binding>>,
}

impl Ports {
    /// Adds what `--publish` says.
    pub(crate) fn publish(&mut self, text: &str) -> Result<(), String> {
        let spec = if text.contains('=') { long_form(text)? } else { text.to_owned() };
        for (port, binding) in parse_spec(&spec)? {
            self.exposed.entry(port.clone()).or_default();
            self.bindings.entry(port).or_default().push(binding);
        }
        Ok(())
    }

    /// Adds what `--expose` says: `80`, `80/udp`, `8000-8010/tcp`.
    pub(crate) fn expose(&mut self, text: &str) -> Result<(), String> {
        if text.contains(':') {
            return Err(format!("invalid port format for --expose: {text}"));
        }
        let (port, protocol) = split_protocol(text);
        if port.is_empty() {
            return Err(format!(
                "invalid range format for --expose: {text}, error: Empty string specified for ports."
            ));
        }
        let (start, end) = parse_range(port)
            .map_err(|e| format!("invalid range format for --expose: {text}, error: {e}"))?;
        for port in start..=end {
            self.exposed.entry(format!("{port}/{protocol}")).or_default();
        }
        Ok(())
    }
}

/// `published=8080,target=80` in the short form.
fn long_form(text: &str) -> Result<String, String> {
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for part in text.split(',') {
        let (key, value) = part
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid publish opts format (should be name=value but got '{part}')"))?;
        match key {
            "published" => published = value,
            "target" => target = value,
            "protocol" => protocol = value,
            _ => {}
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

/// The port (or range) and the protocol of `80/udp`; nothing at all if there is no port.
fn split_protocol(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some(("", _)) => ("", ""),
        Some((port, "")) => (port, "tcp"),
        Some((port, protocol)) => (port, protocol),
        None => (text, if text.is_empty() { "" } else { "tcp" }),
    }
}

fn parse_range(text: &str) -> Result<(u16, u16), String> {
    let number = |t: &str| {
        t.parse::<u16>().map_err(|e| {
            let why = match e.kind() {
                std::num::IntErrorKind::PosOverflow => "value out of range",
                _ => "invalid syntax",
            };
            format!("strconv.ParseUint: parsing {}: {why}", quote(t))
        })
    };
    if text.is_empty() {
        return Err("empty string specified for ports".to_owned());
    }
    let Some((start, end)) = text.split_once('-') else {
        let port = number(text)?;
        return Ok((port, port));
    };
    let (start, end) = (number(start)?, number(end)?);
    if end < start {
        return Err(format!("Invalid range specified for the Port: {text}"));
    }
    Ok((start, end))
}

fn host_address(text: &str) -> Result<String, String> {
    let bare = match text.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .ok_or_else(|| format!("Invalid ip address {text}: address {text}:: missing ']' in address"))?,
        None if text.contains(':') => {
            return Err(format!("Invalid ip address {text}: address {text}:: too many colons in address"));
        }
        None => text,
    };
    if !bare.is_empty() && bare.split('%').next().unwrap_or_default().parse::<IpAddr>().is_err() {
        return Err(format!("Invalid ip address: {bare}"));
    }
    Ok(bare.to_owned())
}

/// `[[address:]host port or range:]container port or range[/protocol]`.
fn parse_spec(spec: &str) -> Result<Vec<(String, Binding)>, String> {
    let mut parts = spec.rsplitn(3, ':');
    let last = parts.next().unwrap_or_default();
    let host_ports = parts.next().unwrap_or_default();
    let address = parts.next().unwrap_or_default();

    let (container_ports, protocol) = split_protocol(last);
    if container_ports.is_empty() {
        return Err(format!("No port specified: {spec}<empty>"));
    }
    let protocol = protocol.to_lowercase();
    let address = host_address(address)?;
    let (start, end) =
        parse_range(container_ports).map_err(|_| format!("Invalid containerPort: {container_ports}"))?;
    let host = match host_ports {
        "" => None,
        text => Some(parse_range(text).map_err(|_| format!("Invalid hostPort: {text}"))?),
    };
    if let Some((host_start, host_end)) = host {
        // A range on the host alone means: any one of these.
        if host_end - host_start != end - start && end != start {
            return Err(format!(
                "Invalid ranges specified for container and host Ports: {container_ports} and {host_ports}"
            ));
        }
    }
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("Invalid proto: {protocol}"));
    }
    Ok((start..=end)
        .map(|port| {
            let host_port = match host {
                None => String::new(),
                Some((first, last)) if start == end && first != last => format!("{first}-{last}"),
                Some((first, _)) => (u32::from(first) + u32::from(port - start)).to_string(),
            };
            (format!("{port}/{protocol}"), Binding { address: address.clone(), port: host_port })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(text: &str) -> Result<Vec<(String, String)>, String> {
        let mut ports = Ports::default();
        ports.publish(text)?;
        let flat = ports.bindings.into_iter().flat_map(|(port, bindings)| {
            bindings.into_iter().map(move |b| (port.clone(), format!("{}|{}", b.address, b.port)))
        });
        Ok(flat.collect())
    }

    #[test]
    fn every_form_of_publish() {
        let one = |port: &str, host: &str| Ok(vec![(port.to_owned(), host.to_owned())]);
        assert_eq!(published("80"), one("80/tcp", "|"));
        assert_eq!(published("8080:80"), one("80/tcp", "|8080"));
        assert_eq!(published("127.0.0.1:8080:80/udp"), one("80/udp", "127.0.0.1|8080"));
        assert_eq!(published("127.0.0.1::80"), one("80/tcp", "127.0.0.1|"));
        assert_eq!(published("[::1]:8080:80"), one("80/tcp", "::1|8080"));
        assert_eq!(published("8000-8010:80"), one("80/tcp", "|8000-8010"));
        assert_eq!(published("published=8080,target=80,protocol=udp"), one("80/udp", "|8080"));
        assert_eq!(
            published("8000-8001:80-81"),
            Ok(vec![("80/tcp".into(), "|8000".into()), ("81/tcp".into(), "|8001".into())])
        );
    }

    #[test]
    fn expose_takes_ranges_only_of_ports() {
        let mut ports = Ports::default();
        ports.expose("1-3/udp").unwrap();
        assert_eq!(ports.exposed.keys().collect::<Vec<_>>(), ["1/udp", "2/udp", "3/udp"]);
        assert_eq!(
            ports.expose("x"),
            Err("invalid range format for --expose: x, error: strconv.ParseUint: parsing \"x\": invalid syntax".into())
        );
    }
}
