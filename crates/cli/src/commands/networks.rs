//! `network` and what is below it.

use std::{collections::BTreeMap, rc::Rc};

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::Call;
use crate::{
    confirm::confirm,
    failure::{Failure, Outcome},
    format::{natural, time},
    listing::{self, Listing, short_id},
    options::{filters, ipam},
    say,
    template::Value,
};

static LISTING: Listing = Listing {
    row_type: "network.networkContext",
    headers: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Network {
    id: String,
    name: String,
    driver: String,
    scope: String,
    created: String,
    internal: bool,
    #[serde(rename = "EnableIPv4")]
    ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    ipv6: bool,
    labels: Option<BTreeMap<String, String>>,
}

/// `docker network ls`.
pub(super) async fn ls(call: Call<'_>) -> Outcome {
    let Call { session, matches, .. } = call;
    let client = session.engine().await?;
    let bytes = client.networks(filters::to_json(&matches.all("filter")).as_deref()).await?;
    let mut networks: Vec<Network> =
        serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("decoding the list: {e}")))?;
    networks.sort_by(|a, b| natural::compare(&a.name, &b.name));
    let quiet = matches.on("quiet");
    let custom = match matches.text("format") {
        "" if !quiet => session.config.networks_format.as_str(),
        given => given,
    };
    let format = match custom {
        "" | "table" if quiet => "{{.ID}}",
        "" | "table" => "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
        "raw" if quiet => "network_id: {{.ID}}",
        "raw" => "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
        custom => custom,
    };
    let truncate = !matches.on("no-trunc");
    let rows: Vec<Value> = networks.iter().map(|network| row(network, truncate)).collect();
    LISTING.print(format, &rows)
}

fn row(network: &Network, truncate: bool) -> Value {
    let labels: Vec<(String, String)> = network.labels.clone().unwrap_or_default().into_iter().collect();
    LISTING.row(vec![
        ("CreatedAt", Value::text(time::go_time(&network.created))),
        ("Driver", Value::text(&network.driver)),
        ("ID", Value::text(if truncate { short_id(&network.id) } else { &network.id })),
        ("IPv4", Value::text(network.ipv4.to_string())),
        ("IPv6", Value::text(network.ipv6.to_string())),
        ("Internal", Value::text(network.internal.to_string())),
        ("Label", Value::Lookup(Rc::new(labels.clone()))),
        ("Labels", listing::labels(&labels)),
        ("Name", Value::text(&network.name)),
        ("Scope", Value::text(&network.scope)),
    ])
}

/// `key=value` pairs, the last one of a key counting.
fn pairs(texts: &[String]) -> Map<String, Json> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), json!(value))
    };
    texts.iter().map(pair).collect()
}

/// `docker network create`.
pub(super) async fn create(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let auxiliary = pairs(&matches.all("aux-address"));
    let auxiliary =
        auxiliary.into_iter().map(|(name, ip)| (name, ip.as_str().unwrap_or_default().to_owned()));
    let config = ipam::pools(&ipam::Given {
        subnets: matches.all("subnet"),
        ranges: matches.all("ip-range"),
        gateways: matches.all("gateway"),
        auxiliary: auxiliary.collect(),
    })?;
    let chosen = |name: &str| matches.changed(name).then(|| matches.on(name));
    let mut body = json!({
        "Name": args[0],
        "Driver": matches.text("driver"),
        "Options": pairs(&matches.all("opt")),
        "IPAM": {
            "Driver": matches.text("ipam-driver"),
            "Config": config,
            "Options": pairs(&matches.all("ipam-opt")),
        },
        "Internal": matches.on("internal"),
        "Ingress": matches.on("ingress"),
        "Attachable": matches.on("attachable"),
        "ConfigOnly": matches.on("config-only"),
        "Scope": matches.text("scope"),
        "Labels": pairs(&matches.all("label")),
        "EnableIPv4": chosen("ipv4"),
        "EnableIPv6": chosen("ipv6"),
    });
    if let Some(from) = matches.some("config-from") {
        body["ConfigFrom"] = json!({ "Network": from });
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Created {
        id: String,
    }
    let client = session.engine().await?;
    let created: Created = client.network_create(&body).await?;
    say::line(&created.id);
    Ok(())
}

/// `docker network rm`.
pub(super) async fn rm(call: Call<'_>) -> Outcome {
    let client = call.session.engine().await?;
    let mut failed = false;
    for name in call.args {
        match client.network_remove(name).await {
            Ok(()) => say::line(name),
            Err(error) if call.matches.on("force") && error.is_not_found() => {}
            Err(error) => {
                say::error(&error.to_string());
                failed = true;
            }
        }
    }
    if failed { Err(Failure::new("exit status 1")) } else { Ok(()) }
}

/// `docker network connect`.
pub(super) async fn connect(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let mut options = Map::new();
    for text in matches.all("driver-opt") {
        let (key, value) = text.split_once('=').ok_or("invalid key/value pair format in driver options")?;
        options.insert(key.to_owned(), json!(value));
    }
    let links: Vec<String> = matches.all("link");
    let body = json!({
        "Container": args[1],
        "EndpointConfig": {
            "IPAMConfig": {
                "IPv4Address": matches.text("ip"),
                "IPv6Address": matches.text("ip6"),
                "LinkLocalIPs": matches.all("link-local-ip"),
            },
            "Links": links,
            "Aliases": matches.all("alias"),
            "DriverOpts": options,
            "GwPriority": matches.number("gw-priority"),
        },
    });
    let client = session.engine().await?;
    Ok(client.network_action(&args[0], "connect", &body).await?)
}

/// `docker network disconnect`.
pub(super) async fn disconnect(call: Call<'_>) -> Outcome {
    let body = json!({ "Container": call.args[1], "Force": call.matches.on("force") });
    let client = call.session.engine().await?;
    Ok(client.network_action(&call.args[0], "disconnect", &body).await?)
}

/// `docker network prune`.
pub(super) async fn prune(call: Call<'_>) -> Outcome {
    const QUESTION: &str = "WARNING! This will remove all custom networks not used by at least one container.\n\
                            Are you sure you want to continue?";
    if !call.matches.on("force") && !confirm(QUESTION) {
        return Ok(());
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Pruned {
        networks_deleted: Option<Vec<String>>,
    }
    let client = call.session.engine().await?;
    let pruned: Pruned =
        client.prune("networks", filters::to_json(&call.matches.all("filter")).as_deref()).await?;
    let names = pruned.networks_deleted.unwrap_or_default();
    if !names.is_empty() {
        say::line(&format!("Deleted Networks:\n{}\n", names.join("\n")));
    }
    Ok(())
}
