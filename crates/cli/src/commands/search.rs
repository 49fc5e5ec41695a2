//! `search`.

use serde::Deserialize;
use skiff_client::Query;

use super::Call;
use crate::{
    credentials::server_of,
    failure::{Failure, Outcome},
    listing::{Listing, ellipsis},
    options::filters,
    template::Value,
};

static LISTING: Listing = Listing {
    row_type: "formatter.searchContext",
    headers: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
        ("IsAutomated", "AUTOMATED"),
    ],
};

/// How much of a description is shown.
const COLUMNS: usize = 45;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Found {
    name: String,
    description: String,
    star_count: i64,
    is_official: bool,
    is_automated: bool,
}

/// `docker search`.
pub(super) async fn search(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let query = Query::new()
        .maybe("filters", filters::to_json(&matches.all("filter")))
        .maybe("limit", matches.changed("limit").then(|| matches.text("limit")))
        .with("term", &args[0]);
    let auth = session.credentials().get(&server_of(&args[0]))?;
    let client = session.engine().await?;
    let bytes = client.image_search(query, &auth.header()).await?;
    let mut found: Vec<Found> =
        serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("decoding the list: {e}")))?;
    // Stable: what has as many stars stays in the index's order.
    found.sort_by_key(|f| std::cmp::Reverse(f.star_count));
    let format = match matches.text("format") {
        "" | "table" => "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
        custom => custom,
    };
    let truncate = !matches.on("no-trunc");
    let rows: Vec<Value> = found.iter().map(|f| row(f, truncate)).collect();
    LISTING.print(format, &rows)
}

fn row(found: &Found, truncate: bool) -> Value {
    let description = found.description.replace(['\n', '\r'], " ");
    let description = if truncate { ellipsis(&description, COLUMNS) } else { description };
    let mark = |is: bool| Value::text(if is { "[OK]" } else { "" });
    LISTING.row(vec![
        ("Description", Value::text(description)),
        ("IsAutomated", mark(found.is_automated)),
        ("IsOfficial", mark(found.is_official)),
        ("Name", Value::text(&found.name)),
        ("StarCount", Value::text(found.star_count.to_string())),
    ])
}
