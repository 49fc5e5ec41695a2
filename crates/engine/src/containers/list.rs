//! List: every filter of the API.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use skiff_types::ImageId;

use super::{
    ListOptions, command, inspect, links,
    parts::{Parts, blocking},
};
use crate::{
    Error, Result,
    container::Container,
    model::{ContainerRecord, ContainerSummary, Filters, PortSummary, Sizes, Status, Timestamp},
    validate,
};

const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "id",
    "isolation",
    "label",
    "name",
    "status",
    "health",
    "since",
    "volume",
    "network",
    "is-task",
    "publish",
    "expose",
];

const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
const HEALTH: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

pub(super) async fn list(parts: &Arc<Parts>, options: ListOptions) -> Result<Vec<ContainerSummary>> {
    let select = Selection::read(parts, &options)?;
    let choose = |container: Arc<Container>| {
        let record = container.record();
        let created = select.matches(&record).then_some(record.created);
        drop(record);
        created.map(|created| (Reverse(created), container))
    };
    let mut chosen: Vec<_> = parts.registry.all().into_iter().filter_map(choose).collect();
    chosen.sort_by_key(|(created, _)| *created);
    if options.limit > 0 {
        chosen.truncate(options.limit as usize);
    }
    let now = Timestamp::now();
    // Containers of one image are many: ask once.
    let mut known: BTreeMap<(String, ImageId), bool> = BTreeMap::new();
    let mut out = Vec::with_capacity(chosen.len());
    let mut links = links::names(parts);
    for (_, container) in &chosen {
        let record = container.record();
        let same = *known
            .entry((record.config.image.clone(), record.image))
            .or_insert_with_key(|(name, id)| parts.images.resolve(name).is_ok_and(|found| found == *id));
        let mut names = links.remove(&record.id).unwrap_or_default();
        names.insert(format!("/{}", record.name));
        out.push(summary(&record, names.into_iter().collect(), same, now));
    }
    if options.size {
        for (summary, (_, container)) in out.iter_mut().zip(&chosen) {
            summary.sizes = Some(measure(parts, container).await?);
        }
    }
    Ok(out)
}

async fn measure(parts: &Arc<Parts>, container: &Arc<Container>) -> Result<Sizes> {
    let (parts, container) = (parts.clone(), container.clone());
    blocking(move || inspect::sizes(&parts, &container)).await
}

fn summary(
    record: &ContainerRecord,
    names: Vec<String>,
    name_is_current: bool,
    now: Timestamp,
) -> ContainerSummary {
    let image_id = record.image.digest().to_string();
    ContainerSummary {
        id: record.id.to_string(),
        names,
        image: if name_is_current { record.config.image.clone() } else { image_id.clone() },
        image_id,
        command: command::line(&record.args),
        created: record.created,
        ports: ports(record),
        sizes: None,
        labels: record.config.labels.clone(),
        state: record.state.status,
        status: command::status(record, now),
        network_mode: record.host.network_mode.clone(),
        annotations: record.host.annotations.clone(),
        networks: record.network.networks.iter().map(|(name, e)| (name.clone(), e.clone())).collect(),
        mounts: record.mounts.clone(),
        image_manifest: None,
    }
}

fn ports(record: &ContainerRecord) -> Vec<PortSummary> {
    let mut out = Vec::new();
    for (port, bindings) in &record.network.ports {
        let Some((private_port, protocol)) = validate::parse_port(port) else { continue };
        let one = |ip: &str, public_port: u16| PortSummary {
            ip: ip.to_owned(),
            private_port,
            public_port,
            protocol: protocol.to_owned(),
        };
        match bindings {
            None => out.push(one("", 0)),
            Some(bindings) => {
                out.extend(bindings.iter().map(|b| one(&b.host_ip, b.host_port.parse().unwrap_or(0))));
            }
        }
    }
    out
}

/// The filters, checked and made ready to match.
struct Selection {
    filters: Filters,
    running_only: bool,
    exited: BTreeSet<i32>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    /// Images that count as ancestors; none if that filter is not used.
    ancestors: Option<BTreeSet<ImageId>>,
    publish: Vec<PortFilter>,
    expose: Vec<PortFilter>,
    is_task: bool,
}

impl Selection {
    fn read(parts: &Parts, options: &ListOptions) -> Result<Self> {
        let filters = &options.filters;
        filters.accept(FILTERS)?;
        let mut running_only = !options.all && options.limit <= 0;
        let one_of =
            |key: &str, what: &str, known: &[&str]| match filters.values(key).find(|v| !known.contains(v)) {
                None => Ok(()),
                Some(bad) => Err(Error::Invalid(format!(
                    "invalid filter '{key}={bad}': invalid value for {what} ({bad}): must be one of {}",
                    known.join(", ")
                ))),
            };
        one_of("status", "state", &STATES)?;
        one_of("health", "health", &HEALTH)?;
        let mut exited = BTreeSet::new();
        for code in filters.values("exited") {
            exited.insert(code.parse().map_err(|_| {
                Error::Invalid(format!(
                    "invalid filter 'exited={code}': strconv.Atoi: parsing {code:?}: invalid syntax"
                ))
            })?);
        }
        if !exited.is_empty() || filters.has("status") {
            running_only = false;
        }
        let moment = |key: &str| -> Result<Option<Timestamp>> {
            let Some(reference) = filters.values(key).next() else { return Ok(None) };
            Ok(Some(parts.registry.resolve(reference)?.record().created))
        };
        let (before, since) = (moment("before")?, moment("since")?);
        Ok(Self {
            running_only: running_only && !options.all,
            exited,
            before,
            since,
            ancestors: ancestors(parts, filters)?,
            publish: port_filters("publish", filters)?,
            expose: port_filters("expose", filters)?,
            is_task: filters.boolean("is-task", false)?,
            filters: filters.clone(),
        })
    }

    /// The ports as they are at this moment: `publish` means the host's numbers, `expose` the container's, and one that
    /// fits is enough for both.
    fn has_ports(&self, record: &ContainerRecord) -> bool {
        if self.publish.is_empty() && self.expose.is_empty() {
            return true;
        }
        ports(record).iter().any(|port| {
            self.publish.iter().any(|f| f.holds(port.public_port, &port.protocol))
                || self.expose.iter().any(|f| f.holds(port.private_port, &port.protocol))
        })
    }

    fn matches(&self, record: &ContainerRecord) -> bool {
        let filters = &self.filters;
        let state = &record.state;
        let name = |wanted: &str| name_matches(&record.name, wanted);
        (!self.running_only || state.status.is_running())
            && filters.any("id", |id| record.id.to_string().starts_with(id))
            && filters.any("name", name)
            && filters.exact("status", state.status.as_str())
            && filters.exact("health", state.health.as_ref().map_or("none", |health| health.status.as_str()))
            && !self.is_task
            && (self.exited.is_empty()
                || state.status == Status::Exited && self.exited.contains(&state.exit_code))
            && filters.labels("label", &record.config.labels)
            && self.before.is_none_or(|before| record.created < before)
            && self.since.is_none_or(|since| record.created > since)
            && self.ancestors.as_ref().is_none_or(|images| images.contains(&record.image))
            && filters.any("volume", |volume| {
                record
                    .mounts
                    .iter()
                    .any(|m| m.name == volume || m.destination == volume || m.source == volume)
            })
            && filters.any("network", |network| {
                record.network.networks.iter().any(|(name, endpoint)| {
                    name == network
                        || endpoint.network_id.is_some_and(|id| id.to_string().starts_with(network))
                })
            })
            && self.has_ports(record)
    }
}

/// Whether a name, with or without its slash, matches a regular expression; what is none matches nothing.
fn name_matches(name: &str, wanted: &str) -> bool {
    let matches = |regex: regex_lite::Regex| regex.is_match(name) || regex.is_match(&format!("/{name}"));
    regex_lite::Regex::new(wanted).is_ok_and(matches)
}

/// The images named, and those made from them.
fn ancestors(parts: &Parts, filters: &Filters) -> Result<Option<BTreeSet<ImageId>>> {
    if !filters.has("ancestor") {
        return Ok(None);
    }
    let mut out: BTreeSet<ImageId> =
        filters.values("ancestor").filter_map(|name| parts.images.resolve(name).ok()).collect();
    let all = parts.images.list()?;
    loop {
        let children = all.iter().filter(|i| i.parent.is_some_and(|p| out.contains(&p))).map(|i| i.id);
        let before = out.len();
        out.extend(children.collect::<Vec<_>>());
        if out.len() == before {
            return Ok(Some(out));
        }
    }
}

/// Ports from one to another, of one protocol.
struct PortFilter {
    first: u16,
    last: u16,
    protocol: String,
}

fn port_filters(key: &str, filters: &Filters) -> Result<Vec<PortFilter>> {
    let parse = |text: &str| -> Result<PortFilter> {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |n: &str| {
            n.parse::<u16>().map_err(|_| {
                let digits = !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit());
                let why = if digits { "value out of range" } else { "invalid syntax" };
                Error::Internal(format!(
                    "error while looking up for {key} {text}: strconv.ParseUint: parsing {n:?}: {why}"
                ))
            })
        };
        Ok(PortFilter { first: number(first)?, last: number(last)?, protocol: protocol.to_owned() })
    };
    filters.values(key).map(parse).collect()
}

impl PortFilter {
    fn holds(&self, number: u16, protocol: &str) -> bool {
        self.protocol == protocol && (self.first..=self.last).contains(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::tests::record;

    fn selection(pairs: &[(&str, &str)]) -> Selection {
        let filters: Filters = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Selection {
            running_only: false,
            exited: BTreeSet::new(),
            before: None,
            since: None,
            ancestors: None,
            publish: port_filters("publish", &filters).unwrap(),
            expose: port_filters("expose", &filters).unwrap(),
            is_task: false,
            filters,
        }
    }

    #[test]
    fn filters_choose_as_dockers_do() {
        let mut record = record(&"ab".repeat(32), "web-1");
        record.config.labels.insert("tier".into(), "front".into());
        let binding = crate::model::PortBinding { host_ip: "0.0.0.0".into(), host_port: "8080".into() };
        record.network.ports.insert("80/tcp".into(), Some(vec![binding]));
        record.network.ports.insert("90/udp".into(), None);
        record.state.status = Status::Exited;
        for good in [
            ("id", "abab"),
            ("name", "web"),
            ("name", "^/web-1$"),
            ("name", "^web"),
            ("status", "exited"),
            ("label", "tier=front"),
            ("expose", "79-81"),
            ("expose", "90/udp"),
            ("publish", "8080/tcp"),
            ("publish", "8000-9000"),
            ("health", "none"),
        ] {
            assert!(selection(&[good]).matches(&record), "{good:?}");
        }
        for bad in [
            ("id", "b"),
            ("name", "^eb"),
            ("status", "running"),
            ("label", "tier=back"),
            ("expose", "80/udp"),
            ("publish", "80"),
            ("expose", "8080"),
            ("network", "other"),
            ("volume", "x"),
        ] {
            assert!(!selection(&[bad]).matches(&record), "{bad:?}");
        }
    }

    #[test]
    fn ports_that_are_none_are_refused_in_dockers_words() {
        for (text, message) in [
            ("x", r#"error while looking up for publish x: strconv.ParseUint: parsing "x": invalid syntax"#),
            (
                "1-70000",
                r#"error while looking up for publish 1-70000: strconv.ParseUint: parsing "70000": value out of range"#,
            ),
        ] {
            let filters: Filters = [("publish".to_owned(), text.to_owned())].into_iter().collect();
            let error = port_filters("publish", &filters).err().unwrap();
            assert_eq!(error.to_string(), message);
        }
    }
}
