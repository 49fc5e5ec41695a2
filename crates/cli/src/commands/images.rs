//! `images` and `history`.

use serde::Deserialize;

use super::{Call, tree};
use crate::{
    failure::{Failure, Outcome},
    format::{size, time},
    listing::{Listing, ellipsis, short_id},
    options::{filters, platform::Platform},
    reference::Reference,
    say,
    template::Value,
};

const TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t\
     {{.Size}}";
const TABLE_WITH_DIGESTS: &str = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t\
     {{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";

pub(super) static LISTING: Listing = Listing {
    row_type: "formatter.imageContext",
    headers: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("VirtualSize", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("LastUsedSince", "LAST USED"),
    ],
};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Summary {
    pub(super) id: String,
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) repo_digests: Option<Vec<String>>,
    pub(super) created: i64,
    pub(super) size: i64,
    pub(super) shared_size: i64,
    pub(super) containers: i64,
    /// 0 if the engine does not say.
    pub(super) last_used: i64,
    /// Those of the index that it was published in, if they were asked for.
    pub(super) manifests: Vec<Manifest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Manifest {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) available: bool,
    pub(super) size: ManifestSize,
    /// None for what is no image.
    pub(super) image_data: Option<ImageData>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ManifestSize {
    pub(super) total: i64,
    pub(super) content: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ImageData {
    pub(super) platform: Platform,
    pub(super) containers: Vec<String>,
}

impl Summary {
    /// It has no name; older engines have words for that.
    fn is_dangling(&self) -> bool {
        let tags = self.repo_tags.as_deref().unwrap_or_default();
        let digests = self.repo_digests.as_deref().unwrap_or_default();
        (tags.is_empty() && digests.is_empty()) || (tags == ["<none>:<none>"] && digests == ["<none>@<none>"])
    }
}

/// `docker images`.
pub(super) async fn images(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    if matches.on("tree") {
        tree::check(matches)?;
    }
    let (quiet, digests) = (matches.on("quiet"), matches.on("digests"));
    let mut pairs = matches.all("filter");
    pairs.extend(args.first().map(|name| format!("reference={name}")));
    let client = session.engine().await?;
    let bytes =
        client.images(matches.on("all"), matches.on("tree"), filters::to_json(&pairs).as_deref()).await?;
    let mut images: Vec<Summary> =
        serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("decoding the list: {e}")))?;
    if matches.on("tree") {
        images.retain(|image| matches.on("all") || !image.is_dangling());
        tree::print(images);
        return Ok(());
    }
    let custom = match matches.text("format") {
        "" if !quiet => session.config.images_format.as_str(),
        given => given,
    };
    let format = match custom {
        "" | "table" if quiet => "{{.ID}}".to_owned(),
        "" | "table" if digests => TABLE_WITH_DIGESTS.to_owned(),
        "" | "table" => TABLE.to_owned(),
        "raw" if quiet => "image_id: {{.ID}}".to_owned(),
        "raw" => raw(digests),
        custom if custom.starts_with("table") && digests && !custom.contains("{{.Digest}}") => {
            format!("{custom}\t{{{{.Digest}}}}")
        }
        custom => custom.to_owned(),
    };
    let with_digests = digests || format.contains("{{.Digest}}");
    let truncate = !matches.on("no-trunc");
    let mut rows = Vec::new();
    for image in &images {
        for (repository, tag, digest) in names(image, with_digests, digests) {
            rows.push(row(image, &repository, &tag, &digest, truncate));
        }
    }
    LISTING.print(&format, &rows)?;
    if let Some(name) = args.first()
        && rows.is_empty()
        && SUBCOMMANDS.contains(&name.as_str())
    {
        say::error(&format!("\nNo images found matching {name:?}: did you mean \"docker image {name}\"?"));
    }
    Ok(())
}

/// What people type after `images` when they mean `image`.
const SUBCOMMANDS: [&str; 13] = [
    "build", "history", "import", "inspect", "list", "load", "ls", "prune", "pull", "push", "rm", "save",
    "tag",
];

fn raw(digests: bool) -> String {
    let digest = if digests { "digest: {{.Digest}}\n" } else { "" };
    format!(
        "repository: {{{{ .Repository }}}}\ntag: {{{{.Tag}}}}\n{digest}image_id: {{{{.ID}}}}\ncreated_at: \
         {{{{.CreatedAt}}}}\nvirtual_size: {{{{.Size}}}}\n"
    )
}

/// A line for each name of an image: repository, tag, digest.
fn names(image: &Summary, with_digests: bool, digest_lines: bool) -> Vec<(String, String, String)> {
    let none = || "<none>".to_owned();
    let tags = image.repo_tags.as_deref().unwrap_or_default();
    let digests = image.repo_digests.as_deref().unwrap_or_default();
    if image.is_dangling() {
        return vec![(none(), none(), none())];
    }
    let parse = |text: &String| match Reference::parse(text) {
        Ok(Reference::Named { name, tag, digest }) => Some((name, tag, digest)),
        _ => None,
    };
    let mut by_digest: Vec<(String, String)> =
        digests.iter().filter_map(parse).filter_map(|(name, _, digest)| Some((name, digest?))).collect();
    let mut lines = Vec::new();
    let mut tagged = Vec::new();
    for (name, tag, _) in tags.iter().filter_map(parse) {
        let tag = tag.unwrap_or_else(|| "latest".to_owned());
        let own: Vec<&String> = by_digest.iter().filter(|(n, _)| *n == name).map(|(_, d)| d).collect();
        match own.as_slice() {
            [] => lines.push((name.clone(), tag, none())),
            _ if !with_digests => lines.push((name.clone(), tag, none())),
            own => lines.extend(own.iter().map(|digest| (name.clone(), tag.clone(), (*digest).clone()))),
        }
        tagged.push(name);
    }
    by_digest.retain(|(name, _)| !tagged.contains(name));
    if !digest_lines {
        by_digest.dedup_by(|a, b| a.0 == b.0);
    }
    lines.extend(
        by_digest
            .into_iter()
            .map(|(name, digest)| (name, none(), if digest_lines { digest } else { String::new() })),
    );
    lines
}

/// A row for each name of an image, cut short.
pub(super) fn rows(image: &Summary, last_use: bool) -> Vec<Value> {
    let named = names(image, false, false).into_iter();
    let row = |(repository, tag, digest): (String, String, String)| {
        let mut fields = fields(image, &repository, &tag, &digest, true);
        if last_use {
            fields.push(("LastUsedSince", Value::text(since_last_use(image.last_used))));
        }
        LISTING.row(fields)
    };
    named.map(row).collect()
}

fn row(image: &Summary, repository: &str, tag: &str, digest: &str, truncate: bool) -> Value {
    LISTING.row(fields(image, repository, tag, digest, truncate))
}

fn fields(
    image: &Summary,
    repository: &str,
    tag: &str,
    digest: &str,
    truncate: bool,
) -> Vec<(&'static str, Value)> {
    let known = |n: i64, text: String| if n == -1 { "N/A".to_owned() } else { text };
    let unique = if image.size == -1 { -1 } else { image.shared_size };
    let human = |n: i64| size::human(n as f64, 4);
    vec![
        ("Containers", Value::text(known(image.containers, image.containers.to_string()))),
        ("CreatedAt", Value::text(time::go_local(image.created))),
        ("CreatedSince", Value::text(created_since(image.created))),
        ("Digest", Value::text(digest)),
        ("ID", Value::text(if truncate { short_id(&image.id) } else { &image.id })),
        ("Repository", Value::text(repository)),
        ("SharedSize", Value::text(known(image.shared_size, human(image.shared_size)))),
        ("Size", Value::text(size::human(image.size as f64, 3))),
        ("Tag", Value::text(tag)),
        ("UniqueSize", Value::text(known(unique, human(image.size - image.shared_size)))),
        ("VirtualSize", Value::text(human(image.size))),
    ]
}

/// How long ago an image was made; nothing if its maker left Go's zero of times.
fn created_since(seconds: i64) -> String {
    if seconds == ZERO { String::new() } else { time::since(seconds) + " ago" }
}

/// How long ago something was last used; nothing if nobody knows.
pub(super) fn since_last_use(seconds: i64) -> String {
    if seconds == 0 { String::new() } else { time::since(seconds) + " ago" }
}

static HISTORY: Listing = Listing {
    row_type: "image.historyContext",
    headers: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Step {
    id: String,
    created: i64,
    created_by: String,
    size: i64,
    comment: String,
}

/// Go's zero of times, 0001-01-01.
const ZERO: i64 = -62_135_596_800;

/// Before this moment (2000-01-01) a creation time is not taken for one.
const EPOCH: i64 = 946_684_800;

/// `docker history`.
pub(super) async fn history(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let platform = match matches.some("platform") {
        Some(text) => Some(Platform::parse(text).map_err(|e| format!("invalid platform: {e}"))?.to_json()),
        None => None,
    };
    let client = session.engine().await?;
    let bytes = client.image_history(&args[0], platform.as_deref()).await?;
    let steps: Vec<Step> =
        serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("decoding the history: {e}")))?;
    let (human, truncate) = (matches.on("human"), !matches.on("no-trunc"));
    let format = match matches.text("format") {
        "" | "table" if matches.on("quiet") => "{{.ID}}",
        "" | "table" if human => "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        "" | "table" => "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        custom => custom,
    };
    let rows: Vec<Value> = steps.iter().map(|step| history_row(step, human, truncate)).collect();
    HISTORY.print(format, &rows)
}

fn history_row(step: &Step, human: bool, truncate: bool) -> Value {
    let created_at = time::rfc3339_local(step.created);
    let since = match human {
        false => created_at.clone(),
        true if step.created <= EPOCH => "N/A".to_owned(),
        true => time::since(step.created) + " ago",
    };
    let by = step.created_by.replace('\t', " ");
    let size = if human { size::human(step.size as f64, 3) } else { step.size.to_string() };
    HISTORY.row(vec![
        ("Comment", Value::text(&step.comment)),
        ("CreatedAt", Value::text(created_at)),
        ("CreatedBy", Value::text(if truncate { ellipsis(&by, 45) } else { by })),
        ("CreatedSince", Value::text(since)),
        ("ID", Value::text(if truncate { short_id(&step.id) } else { &step.id })),
        ("Size", Value::text(size)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_time_has_no_age() {
        let image = Summary { id: "sha256:0".to_owned(), created: ZERO, ..Summary::default() };
        let shown = LISTING.render(TABLE, &[row(&image, "a", "b", "", true)]).unwrap();
        assert_eq!(
            shown.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(),
            ["a", "b", "0", "N/A", "0B"]
        );
    }
}
