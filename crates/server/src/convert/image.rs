//! Images.

use serde_json::{Value, json};
use skiff_api::{ApiVersion, model as wire};
use skiff_engine::{
    DistributionInfo, Found, Progress,
    model::{
        HistoryEntry, ImageConfig, ImageInspect, ImageSummary, ManifestKind, ManifestSummary, PublishedImage,
    },
};

use skiff_types::human_size;

use super::{inspect, some_list, some_map, some_set};
use crate::time;

pub(crate) fn summary(image: ImageSummary, version: ApiVersion) -> wire::ImageSummary {
    let (descriptor, manifests) = published(image.published);
    let descriptor = descriptor.filter(|_| version.at_least(48));
    let mut shown = wire::ImageSummary {
        containers: if version.at_least(51) { image.containers } else { -1 },
        created: image.created.map(|t| t.as_second()).unwrap_or_default(),
        id: format!("sha256:{}", image.id),
        labels: some_map(image.labels),
        parent_id: image.parent_id,
        repo_digests: Some(image.repo_digests),
        repo_tags: image.repo_tags,
        shared_size: image.shared_size,
        size: image.size,
        virtual_size: if version.at_least(44) { 0 } else { image.size },
        last_used: 0,
        descriptor,
        manifests,
    };
    let nameless = shown.repo_digests.as_ref().is_some_and(Vec::is_empty);
    if !version.at_least(43) && nameless {
        shown.repo_digests = None;
        if shown.repo_tags.is_empty() {
            shown.repo_tags.push("<none>:<none>".to_owned());
            shown.repo_digests = Some(vec!["<none>@<none>".to_owned()]);
        }
    }
    shown
}

/// Keys that `Config` had until 1.49 although an image's configuration has no such values.
const OLD_CONFIG_KEYS: [&str; 9] = [
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Domainname",
    "Hostname",
    "Image",
    "OpenStdin",
    "StdinOnce",
    "Tty",
];

/// The configuration is a map, as in Docker: its keys are in order.
pub(crate) fn inspect(image: ImageInspect, version: ApiVersion) -> wire::ImageInspect<Value> {
    let mut shown = serde_json::to_value(config(image.config)).expect("wire types have string keys only");
    if !version.at_least(50) {
        for key in OLD_CONFIG_KEYS {
            let text = matches!(key, "Domainname" | "Hostname" | "Image");
            shown[key] = if text { json!("") } else { json!(false) };
        }
    }
    let old = !version.at_least(44);
    let created = image.created.map(|t| t.to_string());
    let (descriptor, manifests) = published(image.published);
    wire::ImageInspect {
        id: format!("sha256:{}", image.id),
        repo_tags: image.repo_tags,
        repo_digests: image.repo_digests,
        parent: image.parent,
        comment: image.comment,
        created: created.unwrap_or_else(|| if old { time::NEVER.to_owned() } else { String::new() }),
        container: Some(image.container).filter(|id| !version.at_least(45) && !id.is_empty()),
        container_config: (!version.at_least(45))
            .then(|| image.container_config.map(inspect::shown_config).unwrap_or_default()),
        docker_version: image.docker_version,
        author: image.author,
        config: Some(shown),
        architecture: image.architecture,
        variant: image.variant,
        os: image.os,
        os_version: image.os_version,
        size: image.size,
        virtual_size: if old { image.size } else { 0 },
        graph_driver: wire::DriverData { data: Some(image.driver_data), name: image.driver },
        root_fs: wire::RootFs { r#type: "layers".to_owned(), layers: some_list(image.root_fs.layers) },
        metadata: wire::ImageMetadata { last_tag_time: time::render(image.last_tagged) },
        descriptor,
        manifests,
    }
}

/// What an image was published as: a descriptor and manifests.
fn published(published: Option<PublishedImage>) -> (Option<Value>, Vec<wire::ImageManifest>) {
    let Some(published) = published else { return (None, Vec::new()) };
    let manifests = published.manifests.into_iter().map(manifest).collect();
    (Some(descriptor(&published.descriptor)), manifests)
}

fn descriptor(descriptor: &skiff_engine::Descriptor) -> Value {
    serde_json::to_value(descriptor).expect("descriptors have string keys only")
}

fn manifest(manifest: ManifestSummary) -> wire::ImageManifest {
    let content = manifest.content as i64;
    let mut shown = wire::ImageManifest {
        id: manifest.descriptor.digest.to_string(),
        descriptor: descriptor(&manifest.descriptor),
        available: manifest.available,
        size: wire::ManifestSize { total: content, content },
        kind: "unknown".to_owned(),
        ..wire::ImageManifest::default()
    };
    match manifest.kind {
        ManifestKind::Unknown => {}
        ManifestKind::Attestation { of } => {
            shown.kind = "attestation".to_owned();
            shown.attestation_data = Some(wire::ManifestAttestation { r#for: of });
        }
        ManifestKind::Image { platform: of, containers, unpacked } => {
            shown.kind = "image".to_owned();
            shown.size.total += unpacked as i64;
            shown.image_data = Some(wire::ManifestImage {
                platform: platform(of),
                size: wire::UnpackedSize { unpacked: unpacked as i64 },
                containers,
            });
        }
    }
    shown
}

fn platform(p: skiff_engine::Platform) -> wire::DistributionPlatform {
    wire::DistributionPlatform {
        architecture: p.architecture,
        os: p.os,
        os_version: p.os_version,
        os_features: some_list(p.os_features).filter(|list| !list.is_empty()),
        variant: p.variant,
    }
}

fn config(config: ImageConfig) -> wire::ImageConfig {
    wire::ImageConfig {
        user: config.user,
        exposed_ports: some_set(config.exposed_ports),
        env: some_list(config.env),
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        volumes: some_set(config.volumes),
        working_dir: config.working_dir,
        labels: some_map(config.labels),
        stop_signal: config.stop_signal.unwrap_or_default(),
        args_escaped: config.args_escaped,
        healthcheck: config.healthcheck.map(inspect::shown_healthcheck),
        on_build: config.on_build,
        shell: config.shell,
    }
}

/// A bar of progress, that older clients print as it is.
fn bar(current: u64, total: u64) -> String {
    const WIDTH: usize = 50;
    let done = match total {
        0 => WIDTH,
        total => (current as f64 / total as f64 * WIDTH as f64) as usize,
    };
    let (bar, rest) = ("=".repeat(done.min(WIDTH)), " ".repeat(WIDTH.saturating_sub(done)));
    let size = |bytes| human_size(bytes, 4);
    match current > total {
        true => format!("[{bar}>{rest}] {:>8}", size(current)),
        false => format!("[{bar}>{rest}] {:>8}/{}", size(current), size(total)),
    }
}

/// The progress of a layer.
fn layer(id: String, status: String, current: u64, total: u64) -> wire::JsonMessage {
    wire::JsonMessage {
        status,
        progress_detail: Some(wire::JsonProgress {
            current: current as i64,
            total: total as i64,
            ..wire::JsonProgress::default()
        }),
        progress: bar(current, total),
        id,
        ..wire::JsonMessage::default()
    }
}

/// The progress of a layer that is read from an archive.
pub(crate) fn loading(id: String, current: u64, total: u64) -> wire::JsonMessage {
    layer(id, "Loading layer".to_owned(), current, total)
}

/// What a registry has behind a name.
pub(crate) fn distribution(info: DistributionInfo) -> wire::DistributionInspect {
    wire::DistributionInspect {
        descriptor: wire::DistributionDescriptor {
            media_type: info.descriptor.media_type,
            digest: info.descriptor.digest.to_string(),
            size: info.descriptor.size as i64,
        },
        platforms: info.platforms.map(|list| list.into_iter().map(platform).collect()),
    }
}

/// A result of a search.
pub(crate) fn found(found: Found) -> wire::SearchResult {
    wire::SearchResult {
        star_count: found.star_count,
        is_official: found.is_official,
        name: found.name,
        is_automated: found.is_automated,
        description: found.description.unwrap_or_default(),
    }
}

/// A line of a pull or push.
pub(crate) fn progress(line: Progress) -> wire::JsonMessage {
    let empty = Some(wire::JsonProgress::default());
    match line {
        Progress::Status { id, status } => wire::JsonMessage { id, status, ..Default::default() },
        Progress::Layer { id, status, bytes: Some((current, total)) } => layer(id, status, current, total),
        Progress::Layer { id, status, bytes: None } => {
            wire::JsonMessage { id, status, progress_detail: empty, ..Default::default() }
        }
        Progress::Pushed { tag, digest, size } => wire::JsonMessage {
            progress_detail: empty,
            aux: Some(json!({ "Tag": tag, "Digest": digest, "Size": size })),
            ..Default::default()
        },
    }
}

pub(crate) fn history(step: HistoryEntry) -> wire::HistoryItem {
    wire::HistoryItem {
        comment: step.comment,
        created: step.created.map(|t| t.as_second()).unwrap_or_default(),
        created_by: step.created_by,
        id: step.id,
        size: step.size,
        tags: some_list(step.tags),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a real Docker draws it.
    #[test]
    fn a_layer_s_progress_has_a_bar() {
        for (current, bar) in [
            (557_056, "[>                                                  ]  557.1kB/203.8MB"),
            (9_469_952, "[==>                                                ]   9.47MB/203.8MB"),
            (203_796_480, "[==================================================>]  203.8MB/203.8MB"),
        ] {
            let line = loading("1e3dc3abb324".to_owned(), current, 203_796_480);
            assert_eq!(line.progress, bar);
            assert_eq!(
                line.progress_detail.map(|d| (d.current, d.total)),
                Some((current as i64, 203_796_480))
            );
        }
    }
}
