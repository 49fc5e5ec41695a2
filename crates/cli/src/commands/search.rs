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
}

/// `docker search`.
pub(super) async fn search(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let query = Query::new()
        .maybe("filters", filters::to_json(&matches.all("filter")))
        .maybe("limit", matches.changed("limit").then(|| matches.text("limit")))
        .with("term", &args[0]);
    let auth = session.credentials().get(&server_of(&args[0])).unwrap_or_default();
    let client = session.engine().await?;
    let bytes = client.image_search(query, &auth.header()).await?;
    let format = match matches.text("format") {
        "" | "table" => "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
        custom => custom,
    };
    LISTING.print(format, &rows(&bytes, !matches.on("no-trunc"))?)
}

/// As the index sorts them.
fn rows(list: &[u8], truncate: bool) -> Result<Vec<Value>, Failure> {
    let found: Vec<Found> =
        serde_json::from_slice(list).map_err(|e| Failure::new(format!("decoding the list: {e}")))?;
    Ok(found.iter().map(|f| row(f, truncate)).collect())
}

fn row(found: &Found, truncate: bool) -> Value {
    let description = found.description.replace(['\n', '\r'], " ");
    let description = if truncate { ellipsis(&description, COLUMNS) } else { description };
    let fields = vec![
        ("Description", Value::text(description)),
        ("IsOfficial", Value::text(if found.is_official { "[OK]" } else { "" })),
        ("Name", Value::text(&found.name)),
        ("StarCount", Value::text(found.star_count.to_string())),
    ];
    LISTING.row_but(fields, ("IsOfficial", Value::text(found.is_official.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from docker 28.5.2.
    #[test]
    fn what_is_found_is_shown_as_the_index_has_it() {
        let list = r#"[{"name":"low","star_count":1,"is_automated":true},{"name":"high","star_count":9,"is_official":true}]"#;
        let rows = rows(list.as_bytes(), true).unwrap();
        assert_eq!(
            LISTING.render("json", &rows).unwrap(),
            r#"{"Description":"","IsOfficial":"false","Name":"low","StarCount":"1"}
{"Description":"","IsOfficial":"true","Name":"high","StarCount":"9"}
"#
        );
        assert_eq!(LISTING.render("{{.Name}}{{.IsOfficial}}", &rows).unwrap(), "low\nhigh[OK]\n");
        assert!(LISTING.render("{{.IsAutomated}}", &rows).is_err());
    }
}
