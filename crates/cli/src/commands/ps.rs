//! `ps`.

use std::{collections::BTreeMap, rc::Rc};

use serde::Deserialize;
use skiff_client::ListContainers;

use super::{Call, ports};
use crate::{
    failure::{Failure, Outcome},
    format::{size, time},
    grammar::quote,
    listing::{self, Listing, ellipsis, short_id},
    options::filters,
    reference::Reference,
    say,
    template::Value,
};

const TABLE: &str =
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n\
     state: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\n\
     ports: {{- pad .Ports 1 0}}\n";

pub(super) static LISTING: Listing = Listing {
    row_type: "formatter.ContainerContext",
    headers: &[
        ("ID", "CONTAINER ID"),
        ("Names", "NAMES"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Ports", "PORTS"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("Size", "SIZE"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
        ("Platform", "PLATFORM"),
    ],
};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Summary {
    id: String,
    names: Option<Vec<String>>,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    command: String,
    created: i64,
    ports: Option<Vec<ports::Port>>,
    pub(super) size_rw: i64,
    size_root_fs: i64,
    labels: Option<BTreeMap<String, String>>,
    state: String,
    status: String,
    network_settings: Option<Networks>,
    mounts: Option<Vec<Mount>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Networks {
    networks: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Mount {
    name: String,
    source: String,
    driver: String,
}

/// `docker ps`.
pub(super) async fn ps(call: Call<'_>) -> Outcome {
    let Call { session, matches, .. } = call;
    let given = matches.text("format");
    let quiet = matches.on("quiet");
    if !given.is_empty() && quiet {
        say::error("WARNING: Ignoring custom format, because both --format and --quiet are set.");
    }
    let custom = if given.is_empty() { session.config.ps_format.as_str() } else { given };
    let mut with_size = matches.on("size");
    if !custom.is_empty() {
        LISTING.check(custom, &row(&Summary::default(), true))?;
        with_size |= !quiet
            && !matches.changed("size")
            && [".Size", "json .}", "json . "].iter().any(|used| custom.contains(used));
    }
    let limit = match matches.number("last") {
        -1 if matches.on("latest") => Some(1),
        n if n > 0 => Some(n),
        _ => None,
    };
    let pairs = matches.all("filter");
    let filters = filters::to_json(&pairs);
    let client = session.engine().await?;
    let bytes = client
        .containers(ListContainers {
            all: matches.on("all"),
            size: with_size,
            limit,
            filters: filters.as_deref(),
        })
        .await?;
    let containers: Vec<Summary> =
        serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("decoding the list: {e}")))?;
    let format = match custom {
        _ if quiet && custom == "raw" => "container_id: {{.ID}}".to_owned(),
        _ if quiet => "{{.ID}}".to_owned(),
        "" | "table" if with_size => format!("{TABLE}\t{{{{.Size}}}}"),
        "" | "table" => TABLE.to_owned(),
        "raw" if with_size => format!("{RAW}size: {{{{.Size}}}}\n"),
        "raw" => RAW.to_owned(),
        custom => custom.to_owned(),
    };
    let truncate = !matches.on("no-trunc");
    let rows: Vec<Value> = containers.iter().map(|container| row(container, truncate)).collect();
    LISTING.print(&format, &rows)
}

impl Summary {
    /// Whether it takes part in anything.
    pub(super) fn is_active(&self) -> bool {
        matches!(self.state.as_str(), "running" | "paused" | "restarting")
    }
}

/// A row whose size is that of the container's own changes alone.
pub(super) fn row_without_image_size(container: &Summary) -> Value {
    row(&Summary { size_root_fs: 0, ..container.clone() }, true)
}

fn row(container: &Summary, truncate: bool) -> Value {
    let cut = |text: &str, columns: usize| if truncate { ellipsis(text, columns) } else { text.to_owned() };
    let labels: Vec<(String, String)> = container.labels.clone().unwrap_or_default().into_iter().collect();
    let mounts = container.mounts.as_deref().unwrap_or_default();
    let mount_names: Vec<String> = mounts
        .iter()
        .map(|mount| cut(if mount.name.is_empty() { &mount.source } else { &mount.name }, 15))
        .collect();
    let local = mounts.iter().filter(|mount| mount.driver == "local").count();
    let networks = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let networks: Vec<&str> = networks.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let id = if truncate { short_id(&container.id) } else { &container.id };
    let mut sizes = size::human(container.size_rw as f64, 3);
    if container.size_root_fs > 0 {
        sizes.push_str(&format!(" (virtual {})", size::human(container.size_root_fs as f64, 3)));
    }
    LISTING.row(vec![
        ("Command", Value::text(quote(&cut(&container.command, 20)))),
        ("CreatedAt", Value::text(time::go_local(container.created))),
        ("ID", Value::text(id)),
        ("Image", Value::text(image(container, truncate))),
        ("Label", Value::Lookup(Rc::new(labels.clone()))),
        ("Labels", listing::labels(&labels)),
        ("LocalVolumes", Value::text(local.to_string())),
        ("Mounts", Value::text(mount_names.join(","))),
        ("Names", Value::text(names(container, truncate))),
        ("Networks", Value::text(networks.join(","))),
        ("Platform", Value::Nil),
        ("Ports", Value::text(ports::display(container.ports.as_deref().unwrap_or_default()))),
        ("RunningFor", Value::text(time::since(container.created) + " ago")),
        ("Size", Value::text(sizes)),
        ("State", Value::text(&container.state)),
        ("Status", Value::text(&container.status)),
    ])
}

/// The container's own name; links give it others, which count only when nothing is cut.
fn names(container: &Summary, truncate: bool) -> String {
    let names: Vec<&str> =
        container.names.iter().flatten().map(|name| name.strip_prefix('/').unwrap_or(name)).collect();
    match names.iter().find(|name| truncate && !name.contains('/')) {
        Some(own) => (*own).to_owned(),
        None => names.join(","),
    }
}

fn image(container: &Summary, truncate: bool) -> String {
    let image = container.image.as_str();
    if image.is_empty() {
        return "<no image>".to_owned();
    }
    if !truncate {
        return image.to_owned();
    }
    if short_id(&container.image_id) == short_id(image) {
        return short_id(image).to_owned();
    }
    match Reference::parse(image) {
        Ok(Reference::Named { name, tag: Some(tag), .. }) => format!("{name}:{tag}"),
        Ok(Reference::Named { name, .. }) => name,
        _ => image.to_owned(),
    }
}
