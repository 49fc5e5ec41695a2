//! Images.

use serde_json::{Value, json};
use skiff_api::{ApiVersion, model as wire};
use skiff_engine::model::{HistoryEntry, ImageConfig, ImageInspect, ImageSummary};

use super::{inspect, some_list, some_map, some_set};
use crate::time;

pub(crate) fn summary(image: ImageSummary, version: ApiVersion) -> wire::ImageSummary {
    let mut shown = wire::ImageSummary {
        containers: if version.at_least(51) { image.containers } else { -1 },
        created: image.created.map(|t| t.as_second()).unwrap_or_default(),
        id: format!("sha256:{}", image.id),
        labels: some_map(image.labels),
        parent_id: image.parent_id,
        repo_digests: image.repo_digests,
        repo_tags: image.repo_tags,
        shared_size: image.shared_size,
        size: image.size,
        virtual_size: if version.at_least(44) { 0 } else { image.size },
    };
    if !version.at_least(43) && shown.repo_tags.is_empty() && shown.repo_digests.is_empty() {
        shown.repo_tags.push("<none>:<none>".to_owned());
        shown.repo_digests.push("<none>@<none>".to_owned());
    }
    shown
}

/// Keys that `Config` had until 1.49 although an image's configuration has no such values.
const OLD_CONFIG_KEYS: [&str; 8] = [
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Domainname",
    "Hostname",
    "Image",
    "OpenStdin",
    "StdinOnce",
];

pub(crate) fn inspect(image: ImageInspect, version: ApiVersion) -> Value {
    let old = !version.at_least(44);
    let created = image.created.map(|t| t.to_string());
    let shown = wire::ImageInspect {
        id: format!("sha256:{}", image.id),
        repo_tags: image.repo_tags,
        repo_digests: image.repo_digests,
        parent: image.parent,
        comment: image.comment,
        created: created.unwrap_or_else(|| if old { time::NEVER.to_owned() } else { String::new() }),
        container: None,
        container_config: (!version.at_least(45)).then(wire::Config::default),
        docker_version: image.docker_version,
        author: image.author,
        config: Some(config(image.config)),
        architecture: image.architecture,
        variant: image.variant,
        os: image.os,
        os_version: image.os_version,
        size: image.size,
        virtual_size: if old { image.size } else { 0 },
        graph_driver: wire::DriverData { data: Some(image.driver_data), name: image.driver },
        root_fs: wire::RootFs { r#type: "layers".to_owned(), layers: some_list(image.root_fs.layers) },
        metadata: wire::ImageMetadata { last_tag_time: time::render(image.last_tagged) },
    };
    let mut shown = serde_json::to_value(shown).expect("wire types have string keys only");
    if !version.at_least(50) {
        for key in OLD_CONFIG_KEYS {
            let text = matches!(key, "Domainname" | "Hostname" | "Image");
            shown["Config"][key] = if text { json!("") } else { json!(false) };
        }
        shown["Config"]["Tty"] = json!(false);
    }
    shown
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
