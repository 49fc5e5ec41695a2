//! `volume`: create, ls, rm, prune, update.

use std::{collections::BTreeMap, rc::Rc};

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::{Call, prune::SURE};
use crate::{
    confirm::confirm,
    failure::{Failure, Outcome},
    format::{natural, size},
    listing::{self, Listing},
    options::{env, filters},
    say,
    template::Value,
};

static LISTING: Listing = Listing {
    row_type: "formatter.volumeContext",
    headers: &[
        ("Name", "VOLUME NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Group", "GROUP"),
        ("Availability", "AVAILABILITY"),
        ("Status", "STATUS"),
    ],
};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Volume {
    name: String,
    driver: String,
    scope: String,
    mountpoint: String,
    labels: Option<BTreeMap<String, String>>,
    cluster_volume: Option<Json>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct List {
    volumes: Option<Vec<Volume>>,
}

fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|e| Failure::new(format!("decoding the answer: {e}")))
}

/// `docker volume create`.
pub(super) async fn create(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    if !args.is_empty() && matches.some("name").is_some() {
        return Err(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg"
                .into(),
        );
    }
    let mut body = Map::new();
    body.insert("Driver".to_owned(), matches.text("driver").into());
    if let Some(name) = args.first().map(String::as_str).or(matches.some("name")) {
        body.insert("Name".to_owned(), name.into());
    }
    let options = matches.all("opt");
    if !options.is_empty() {
        let options = options.iter().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let options: Map<String, Json> = options.map(|(k, v)| (k.to_owned(), v.into())).collect();
        body.insert("DriverOpts".to_owned(), options.into());
    }
    let labels = matches.all("label");
    if !labels.is_empty() {
        body.insert("Labels".to_owned(), env::to_map(&labels).into());
    }
    let client = session.engine().await?;
    let volume: Volume = decode(&client.volume_create(&body.into()).await?)?;
    say::line(&volume.name);
    Ok(())
}

/// `docker volume ls`.
pub(super) async fn ls(call: Call<'_>) -> Outcome {
    let Call { session, matches, .. } = call;
    let client = session.engine().await?;
    let list: List = decode(&client.volumes(filters::to_json(&matches.all("filter")).as_deref()).await?)?;
    let mut volumes = list.volumes.unwrap_or_default();
    volumes.sort_by(|a, b| natural::compare(&a.name, &b.name));
    let quiet = matches.on("quiet");
    let custom = match matches.text("format") {
        "" if !quiet => session.config.volumes_format.as_str(),
        given => given,
    };
    let format = match custom {
        "" | "table" if quiet => "{{.Name}}",
        "" | "table" => "table {{.Driver}}\t{{.Name}}",
        "raw" if quiet => "name: {{.Name}}",
        "raw" => "name: {{.Name}}\ndriver: {{.Driver}}\n",
        custom => custom,
    };
    let rows: Vec<Value> = volumes.iter().map(row).collect();
    LISTING.print(format, &rows)
}

fn row(volume: &Volume) -> Value {
    let labels: Vec<(String, String)> = volume.labels.clone().unwrap_or_default().into_iter().collect();
    let unknown = || Value::text("N/A");
    LISTING.row(vec![
        ("Availability", unknown()),
        ("Driver", Value::text(&volume.driver)),
        ("Group", unknown()),
        ("Label", Value::Lookup(Rc::new(labels.clone()))),
        ("Labels", listing::labels(&labels)),
        // How many containers have it, and its size, only `system df` tells.
        ("Links", unknown()),
        ("Mountpoint", Value::text(&volume.mountpoint)),
        ("Name", Value::text(&volume.name)),
        ("Scope", Value::text(&volume.scope)),
        ("Size", unknown()),
        ("Status", unknown()),
    ])
}

/// `docker volume rm`.
pub(super) async fn rm(call: Call<'_>) -> Outcome {
    let client = call.session.engine().await?;
    let mut errors = Vec::new();
    for name in call.args {
        match client.volume_remove(name, call.matches.on("force")).await {
            Ok(()) => say::line(name),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure::new(errors.join("\n"))) }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Pruned {
    volumes_deleted: Option<Vec<String>>,
    space_reclaimed: u64,
}

const UNUSED: &str = "WARNING! This will remove anonymous local volumes not used by at least one container.";
const ALL_UNUSED: &str = "WARNING! This will remove all local volumes not used by at least one container.";

/// `docker volume prune`.
pub(super) async fn prune(call: Call<'_>) -> Outcome {
    let Call { session, matches, .. } = call;
    let mut pairs = matches.all("filter");
    let all = matches.on("all");
    if all {
        if let Some(given) = pairs.iter().find(|pair| pair.starts_with("all=")) {
            return Err(format!("conflicting options: cannot specify both --all and --filter {given}").into());
        }
        pairs.push("all=true".to_owned());
    }
    if !matches.on("force") && !confirm(&format!("{}\n{SURE}", if all { ALL_UNUSED } else { UNUSED })) {
        return Ok(());
    }
    let client = session.engine().await?;
    let pruned: Pruned = decode(&client.volumes_prune(filters::to_json(&pairs).as_deref()).await?)?;
    let deleted = pruned.volumes_deleted.unwrap_or_default();
    if !deleted.is_empty() {
        say::line(&format!("Deleted Volumes:\n{}\n", deleted.join("\n")));
    }
    say::line(&format!("Total reclaimed space: {}", size::human(pruned.space_reclaimed as f64, 4)));
    Ok(())
}

/// `docker volume update`.
pub(super) async fn update(call: Call<'_>) -> Outcome {
    let client = call.session.engine().await?;
    let volume: Volume = decode(&client.volume_inspect(&call.args[0]).await?)?;
    match volume.cluster_volume {
        None | Some(Json::Null) => Err("can only update cluster volumes".into()),
        Some(_) => Err("updating cluster volumes is not supported by this version of skiff".into()),
    }
}
