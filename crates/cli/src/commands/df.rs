//! `system df`: what everything takes on disk.

use std::rc::Rc;

use serde::Deserialize;

use super::{Call, images, ps};
use crate::{
    failure::{Failure, Outcome},
    format::{size, time},
    listing::Listing,
    say,
    template::{self, Functions, MissingKey, Struct, Value},
};

const TABLE: &str = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const IMAGES: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t\
    {{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const VOLUMES: &str = "table {{.Name}}\t{{.Links}}\t{{.Size}}";
const BUILD_CACHE: &str = "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";

static SUMMARY: Listing = Listing {
    row_type: "formatter.diskUsageContext",
    headers: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
};
static VOLUME: Listing = Listing {
    row_type: "formatter.volumeContext",
    headers: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE"), ("LastUsedSince", "LAST USED")],
};
static CACHE: Listing = Listing {
    row_type: "formatter.buildCacheContext",
    headers: &[
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("UsageCount", "USAGE"),
        ("Shared", "SHARED"),
    ],
};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Usage {
    layers_size: i64,
    images: Option<Vec<images::Summary>>,
    containers: Option<Vec<ps::Summary>>,
    volumes: Option<Vec<Volume>>,
    build_cache: Option<Vec<Cache>>,
    disk_budget: Option<Budget>,
}

/// Skiff's own.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Budget {
    limit: i64,
    used: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Volume {
    name: String,
    usage_data: Option<VolumeUsage>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VolumeUsage {
    ref_count: i64,
    size: i64,
    #[serde(default)]
    last_used: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Cache {
    #[serde(rename = "ID")]
    id: String,
    r#type: String,
    in_use: bool,
    shared: bool,
    size: i64,
    created_at: String,
    last_used_at: Option<String>,
    usage_count: i64,
}

/// A line of the summary.
#[derive(Debug, Default, PartialEq, Eq)]
struct Line {
    kind: &'static str,
    count: usize,
    active: usize,
    size: i64,
    /// Bytes that a prune would free, and whether to show their share.
    reclaimable: i64,
    share: bool,
}

impl Usage {
    fn summary(&self) -> [Line; 4] {
        let images = self.images.as_deref().unwrap_or_default();
        let used = images.iter().filter(|i| i.containers != 0 && i.size != -1 && i.shared_size != -1);
        let used: i64 = used.map(|i| i.size - i.shared_size).sum();
        let containers = self.containers.as_deref().unwrap_or_default();
        let rw = |active: bool| -> i64 {
            containers.iter().filter(|c| active || !c.is_active()).map(|c| c.size_rw).sum()
        };
        let volumes = self.volumes.as_deref().unwrap_or_default();
        let measured = || volumes.iter().filter_map(|v| v.usage_data).filter(|usage| usage.size != -1);
        let cache = self.build_cache.as_deref().unwrap_or_default();
        let cached = |only_unused: bool| -> i64 {
            cache.iter().filter(|c| !c.shared && (!only_unused || !c.in_use)).map(|c| c.size).sum()
        };
        let in_use = |v: &&Volume| v.usage_data.is_some_and(|usage| usage.ref_count > 0);
        [
            Line {
                kind: "Images",
                count: images.len(),
                active: images.iter().filter(|i| i.containers > 0).count(),
                size: self.layers_size,
                reclaimable: self.layers_size - used,
                share: true,
            },
            Line {
                kind: "Containers",
                count: containers.len(),
                active: containers.iter().filter(|c| c.is_active()).count(),
                size: rw(true),
                reclaimable: rw(false),
                share: true,
            },
            Line {
                kind: "Local Volumes",
                count: volumes.len(),
                active: volumes.iter().filter(in_use).count(),
                size: measured().map(|usage| usage.size).sum(),
                reclaimable: measured().filter(|usage| usage.ref_count == 0).map(|usage| usage.size).sum(),
                share: true,
            },
            Line {
                kind: "Build Cache",
                count: cache.len(),
                active: cache.iter().filter(|c| c.in_use).count(),
                size: cached(false),
                reclaimable: cached(true),
                share: false,
            },
        ]
    }
}

impl Line {
    fn row(&self) -> Value {
        let mut reclaimable = human(self.reclaimable);
        if self.share && self.size > 0 {
            reclaimable.push_str(&format!(" ({}%)", self.reclaimable * 100 / self.size));
        }
        SUMMARY.row(vec![
            ("Active", Value::text(self.active.to_string())),
            ("Reclaimable", Value::text(reclaimable)),
            ("Size", Value::text(human(self.size))),
            ("TotalCount", Value::text(self.count.to_string())),
            ("Type", Value::text(self.kind)),
        ])
    }
}

fn human(bytes: i64) -> String {
    size::human(bytes as f64, 4)
}

/// `docker system df`.
pub(super) async fn df(call: Call<'_>) -> Outcome {
    let client = call.session.engine().await?;
    let bytes = client.disk_usage().await?;
    let usage: Usage =
        serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("decoding the answer: {e}")))?;
    let format = call.matches.text("format");
    if call.matches.on("verbose") {
        return verbose(&usage, format);
    }
    let rows: Vec<Value> = usage.summary().iter().map(Line::row).collect();
    if !matches!(format, "" | "table") {
        return SUMMARY.print(format, &rows);
    }
    SUMMARY.print(TABLE, &rows)?;
    if let Some(Budget { limit, used }) = usage.disk_budget {
        say::line(&format!("\nDisk budget: {} of {}", human(used), human(limit)));
    }
    Ok(())
}

/// The table's format; who has a budget wants to see what goes next.
fn with_last_use(table: &str, usage: &Usage) -> String {
    match usage.disk_budget {
        Some(_) => format!("{table}\t{{{{.LastUsedSince}}}}"),
        None => table.to_owned(),
    }
}

fn verbose(usage: &Usage, format: &str) -> Outcome {
    let budget = usage.disk_budget.is_some();
    let images: Vec<Value> =
        usage.images.iter().flatten().flat_map(|image| images::rows(image, budget)).collect();
    let containers: Vec<Value> = usage.containers.iter().flatten().map(ps::row_without_image_size).collect();
    let volumes: Vec<Value> = usage.volumes.iter().flatten().map(|v| volume(v, budget)).collect();
    let cache: Vec<Value> = usage.build_cache.iter().flatten().map(cached).collect();
    if !matches!(format, "" | "table") {
        return custom(format, [images, containers, volumes, cache]);
    }
    let total = usage.summary()[3].size;
    let mut text =
        format!("Images space usage:\n\n{}", images::LISTING.render(&with_last_use(IMAGES, usage), &images)?);
    text.push_str(&format!("\nContainers space usage:\n\n{}", ps::LISTING.render(CONTAINERS, &containers)?));
    text.push_str(&format!(
        "\nLocal Volumes space usage:\n\n{}",
        VOLUME.render(&with_last_use(VOLUMES, usage), &volumes)?
    ));
    text.push_str(&format!("\nBuild cache usage: {}\n\n", human(total)));
    text.push_str(&CACHE.render(BUILD_CACHE, &cache)?);
    say::print(text.as_bytes());
    Ok(())
}

/// Everything as one value with four lists.
fn custom(format: &str, lists: [Vec<Value>; 4]) -> Outcome {
    let text = if format == "json" { "{{json .}}" } else { format };
    let wrong = |e: String| Failure::new(format!("template parsing error: {e}"));
    let template = template::parse(text, Functions::Values).map_err(wrong)?;
    let [images, containers, volumes, cache] = lists.map(|list| Value::List(Rc::new(list)));
    let fields =
        vec![("Images", images), ("Containers", containers), ("Volumes", volumes), ("BuildCache", cache)];
    let source = fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_json())).collect();
    let all = Value::Struct(Rc::new(Struct {
        type_name: "formatter.diskUsageContext",
        pointer: true,
        is_row: true,
        fields,
        source: Some(template::Json::Object(source)),
    }));
    let out = template::execute(&template, &all, Functions::Values, MissingKey::NoValue).map_err(wrong)?;
    say::line(&out);
    Ok(())
}

fn volume(volume: &Volume, last_use: bool) -> Value {
    let known =
        |text: &dyn Fn(VolumeUsage) -> String| volume.usage_data.map_or_else(|| "N/A".to_owned(), text);
    let mut fields = vec![
        ("Links", Value::text(known(&|usage| usage.ref_count.to_string()))),
        ("Name", Value::text(&volume.name)),
        ("Size", Value::text(known(&|usage| human(usage.size)))),
    ];
    if last_use {
        fields.push(("LastUsedSince", Value::text(known(&|usage| images::since_last_use(usage.last_used)))));
    }
    VOLUME.row(fields)
}

fn cached(cache: &Cache) -> Value {
    let since = |text: &str| {
        text.parse::<jiff::Timestamp>()
            .map_or_else(|_| String::new(), |t| time::since(t.as_second()) + " ago")
    };
    CACHE.row(vec![
        ("CacheType", Value::text(&cache.r#type)),
        ("CreatedSince", Value::text(since(&cache.created_at))),
        ("ID", Value::text(cache.id.get(..12).unwrap_or(&cache.id))),
        ("LastUsedSince", Value::text(cache.last_used_at.as_deref().map(since).unwrap_or_default())),
        ("Shared", Value::text(cache.shared.to_string())),
        ("Size", Value::text(human(cache.size))),
        ("UsageCount", Value::text(cache.usage_count.to_string())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As docker 28.5.2 adds it up.
    #[test]
    fn what_could_go_is_told_with_its_share() {
        let usage: Usage = serde_json::from_str(
            r#"{"LayersSize":1000,"Images":[{"Containers":1,"Size":700,"SharedSize":100},{"Containers":0,"Size":400,"SharedSize":100}],
                "Containers":[{"State":"running","SizeRw":16},{"State":"exited","SizeRw":3}],
                "Volumes":[{"Name":"a","UsageData":{"RefCount":1,"Size":4}},{"Name":"b","UsageData":{"RefCount":0,"Size":0}}],
                "BuildCache":null}"#,
        )
        .unwrap();
        let shown: Vec<_> =
            usage.summary().iter().map(|l| (l.count, l.active, l.size, l.reclaimable)).collect();
        assert_eq!(shown, [(2, 1, 1000, 400), (2, 1, 19, 3), (2, 1, 4, 0), (0, 0, 0, 0)]);
    }
}
