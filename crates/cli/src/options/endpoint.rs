//! `--network` and the older options about a container's place in it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::csv;
use crate::grammar::Matches;

/// One `--network`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attachment {
    target: String,
    aliases: Vec<String>,
    driver_options: Map<String, Value>,
    links: Vec<String>,
    ipv4: String,
    ipv6: String,
    link_local: Vec<String>,
    mac: String,
    gateway_priority: i64,
}

/// Reads a network's name, or `name=…,alias=…,ip=…`; kept as JSON of [`Attachment`].
pub(crate) fn check(text: &str) -> Result<String, String> {
    let attachment = if is_long(text) {
        parse_long(text)?
    } else {
        Attachment { target: text.to_owned(), ..Attachment::default() }
    };
    serde_json::to_string(&attachment).map_err(|e| e.to_string())
}

/// Whether a word, `=` and a word stand in it.
fn is_long(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices('=').any(|(at, _)| text[..at].ends_with(word) && text[at + 1..].starts_with(word))
}

fn parse_long(text: &str) -> Result<Attachment, String> {
    let mut attachment = Attachment::default();
    for field in csv::fields(text)? {
        let lower = field.to_lowercase();
        let (key, value) = lower
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid field {field}"))?;
        let value = value.trim();
        match key.trim() {
            "name" => value.clone_into(&mut attachment.target),
            "alias" => attachment.aliases.push(value.to_owned()),
            "ip" => value.clone_into(&mut attachment.ipv4),
            "ip6" => value.clone_into(&mut attachment.ipv6),
            "mac-address" => value.clone_into(&mut attachment.mac),
            "link-local-ip" => attachment.link_local.push(value.to_owned()),
            "driver-opt" => {
                let (key, value) = value
                    .split_once('=')
                    .filter(|(key, _)| !key.is_empty())
                    .ok_or("invalid key value pair format in driver options")?;
                attachment.driver_options.insert(key.trim().to_owned(), value.trim().into());
            }
            "gw-priority" => {
                attachment.gateway_priority =
                    value.parse().map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            key => return Err(format!("invalid field key {key}")),
        }
    }
    if attachment.target.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok(attachment)
}

/// Whether a network mode names a network that somebody made.
fn is_user_defined(mode: &str) -> bool {
    !matches!(mode, "default" | "bridge" | "host" | "none" | "nat") && !mode.starts_with("container:")
}

/// Six octets (or eight, or twenty) in one of the three ways to write them.
pub(crate) fn is_mac(text: &str) -> bool {
    let octets = |separator: char, digits: usize| {
        let parts: Vec<&str> = text.split(separator).collect();
        let bytes = parts.len() * digits / 2;
        matches!(bytes, 6 | 8 | 20)
            && parts.iter().all(|p| p.len() == digits && p.bytes().all(|c| c.is_ascii_hexdigit()))
    };
    octets(':', 2) || octets('-', 2) || octets('.', 4)
}

/// The network mode and the endpoints of a new container.
pub(crate) struct Endpoints {
    /// The first network, or `default`.
    pub(crate) mode: String,
    /// Settings by network.
    pub(crate) settings: Map<String, Value>,
}

/// Puts all options about networks together.
pub(crate) fn resolve(matches: &Matches) -> Result<Endpoints, String> {
    let mut networks = Vec::new();
    for text in matches.all("network") {
        networks.push(serde_json::from_str::<Attachment>(&text).map_err(|e| e.to_string())?);
    }
    let explicit = networks.len();
    if networks.is_empty() {
        networks.push(Attachment { target: "default".to_owned(), ..Attachment::default() });
    }
    let mode = networks[0].target.clone();
    let user_defined = |n: &Attachment| is_user_defined(&n.target);
    let mixed = networks.iter().any(user_defined) && !networks.iter().all(user_defined);

    let mut settings = Map::new();
    for (i, mut network) in networks.into_iter().enumerate() {
        if i == 0 {
            apply_older_options(&mut network, matches)?;
        }
        let endpoint = to_settings(&network)?;
        if settings.contains_key(&network.target) {
            return Err(format!("network {:?} is specified multiple times", network.target));
        }
        // One network without settings needs no endpoint; the daemon makes it.
        if explicit == 1 && endpoint.as_object().is_some_and(Map::is_empty) {
            continue;
        }
        settings.insert(network.target, endpoint);
    }
    if mixed {
        return Err(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
                .to_owned(),
        );
    }
    Ok(Endpoints { mode, settings })
}

/// `--network-alias`, `--link`, `--ip` and the like concern the first network.
fn apply_older_options(network: &mut Attachment, matches: &Matches) -> Result<(), String> {
    let (aliases, links) = (matches.all("network-alias"), matches.all("link"));
    let link_local = matches.all("link-local-ip");
    let conflict =
        |a: &str, b: &str| Err(format!("conflicting options: cannot specify both --{a} and per-network {b}"));
    let both = |option: &str, own: &str| matches.some(option).is_some() && !own.is_empty();
    if !network.aliases.is_empty() && !aliases.is_empty() {
        return conflict("network-alias", "alias");
    }
    if both("ip", &network.ipv4) {
        return conflict("ip", "IPv4 address");
    }
    if both("ip6", &network.ipv6) {
        return conflict("ip6", "IPv6 address");
    }
    if both("mac-address", &network.mac) {
        return conflict("mac-address", "MAC address");
    }
    if !network.link_local.is_empty() && !link_local.is_empty() {
        return conflict("link-local-ip", "link-local IP addresses");
    }
    network.aliases.extend(aliases);
    network.link_local.extend(link_local);
    // On the default bridge a link is the container's own affair, elsewhere the endpoint's.
    if is_user_defined(&network.target) {
        network.links.extend(links);
    }
    let texts = [(&mut network.ipv4, "ip"), (&mut network.ipv6, "ip6"), (&mut network.mac, "mac-address")];
    for (own, option) in texts {
        if let Some(text) = matches.some(option) {
            text.clone_into(own);
        }
    }
    Ok(())
}

fn to_settings(network: &Attachment) -> Result<Value, String> {
    if network.target.trim().is_empty() {
        return Err("no name set for network".to_owned());
    }
    if !is_user_defined(&network.target) {
        if !network.aliases.is_empty() {
            return Err("network-scoped aliases are only supported for user-defined networks".to_owned());
        }
        if !network.links.is_empty() {
            return Err("links are only supported for user-defined networks".to_owned());
        }
    }
    if !network.mac.is_empty() && !is_mac(network.mac.trim()) {
        return Err(format!("{} is not a valid mac address", network.mac));
    }
    let mut settings = Map::new();
    let mut set = |key: &str, value: Value, given: bool| {
        if given {
            settings.insert(key.to_owned(), value);
        }
    };
    set("Aliases", json!(network.aliases), !network.aliases.is_empty());
    set("DriverOpts", json!(network.driver_options), !network.driver_options.is_empty());
    set("Links", json!(network.links), !network.links.is_empty());
    let addressed = !network.ipv4.is_empty() || !network.ipv6.is_empty() || !network.link_local.is_empty();
    let mut ipam = Map::new();
    for (key, text) in [("IPv4Address", &network.ipv4), ("IPv6Address", &network.ipv6)] {
        if !text.is_empty() {
            ipam.insert(key.to_owned(), json!(text));
        }
    }
    if !network.link_local.is_empty() {
        ipam.insert("LinkLocalIPs".to_owned(), json!(network.link_local));
    }
    set("IPAMConfig", ipam.into(), addressed);
    set("MacAddress", json!(network.mac), !network.mac.is_empty());
    set("GwPriority", json!(network.gateway_priority), network.gateway_priority != 0);
    Ok(settings.into())
}
