//! `network ls`.

use std::{collections::BTreeMap, rc::Rc};

use serde::Deserialize;

use super::Call;
use crate::{
    failure::{Failure, Outcome},
    format::{natural, time},
    listing::{self, Listing, short_id},
    options::filters,
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
