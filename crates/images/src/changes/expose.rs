//! Ports of `EXPOSE`: what `docker run --publish` takes, of which the container's part counts.

use std::net::IpAddr;

use super::bad;
use crate::Result;

/// The ports of `[[address:]host:]port[-port][/protocol]`, as `port/protocol`.
pub(super) fn expose(spec: &str) -> Result<Vec<String>> {
    let (published, protocol) = spec.split_once('/').unwrap_or((spec, ""));
    let protocol = match protocol.split('/').next() {
        None | Some("") => "tcp".to_owned(),
        Some(protocol) => protocol.to_ascii_lowercase(),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad(format!("Invalid proto: {protocol}")));
    }
    let (host, port) = published.rsplit_once(':').unwrap_or(("", published));
    if port.is_empty() {
        return Err(bad(format!("No port specified: {published}<empty>")));
    }
    let (address, host) = host.rsplit_once(':').unwrap_or(("", host));
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(bad(format!("invalid IP address: {address}")));
    }
    let (first, last) = range(port).ok_or_else(|| bad(format!("Invalid containerPort: {port}")))?;
    if !host.is_empty() {
        let (from, to) = range(host).ok_or_else(|| bad(format!("Invalid hostPort: {host}")))?;
        if first != last && last - first != to - from {
            return Err(bad(format!(
                "Invalid ranges specified for container and host Ports: {port} and {host}"
            )));
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}
