//! Images of the store as the engine shows them.

use serde_json::Value;
use skiff_images::Image;

use crate::model::{
    ContainerConfig, HealthConfig, HistoryEntry, ImageInspect, ImageSummary, PublishedImage, RootFsLayers,
};

pub(super) fn inspect(image: &Image, driver: &str, published: Option<PublishedImage>) -> ImageInspect {
    let config = &image.config;
    ImageInspect {
        id: image.id,
        repo_tags: names(&image.tags),
        repo_digests: names(&image.digests),
        parent: parent(image),
        comment: comment(image),
        created: config.created,
        docker_version: config.docker_version.clone(),
        author: config.author.clone(),
        container: config.other.get("container").and_then(Value::as_str).unwrap_or_default().to_owned(),
        container_config: of_container(config),
        config: container_config(&config.config.clone().unwrap_or_default()),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        os: config.os.clone(),
        os_version: config.os_version.clone(),
        size: image.size as i64,
        driver: driver.to_owned(),
        driver_data: Default::default(),
        root_fs: RootFsLayers { layers: config.rootfs.diff_ids.iter().map(ToString::to_string).collect() },
        last_tagged: image.last_tagged,
        published,
    }
}

/// What `commit` notes of the container, and Docker's builder noted until version 23.
fn of_container(config: &skiff_images::ImageConfig) -> Option<ContainerConfig> {
    let noted = serde_json::from_value(config.other.get("container_config")?.clone()).ok()?;
    Some(container_config(&noted))
}

/// Docker shows the latest step's comment if the image has none.
fn comment(image: &Image) -> String {
    match image.config.comment.as_str() {
        "" => image.config.history.last().map_or_else(String::new, |h| h.comment.clone()),
        comment => comment.to_owned(),
    }
}

fn parent(image: &Image) -> String {
    image.parent.map_or_else(String::new, |parent| parent.digest().to_string())
}

fn names(references: &[skiff_images::Reference]) -> Vec<String> {
    references.iter().map(skiff_images::Reference::familiar).collect()
}

pub(super) fn summary(
    image: &Image,
    containers: i64,
    shared_size: i64,
    published: Option<PublishedImage>,
) -> ImageSummary {
    let config = image.config.config.as_ref();
    ImageSummary {
        id: image.id,
        parent_id: parent(image),
        repo_tags: names(&image.tags),
        repo_digests: names(&image.digests),
        created: image.config.created,
        size: image.size as i64,
        shared_size,
        labels: config.and_then(|c| c.labels.clone()).unwrap_or_default(),
        containers,
        published,
    }
}

pub(super) fn history(step: skiff_images::HistoryEntry) -> HistoryEntry {
    HistoryEntry {
        id: step.id.map_or_else(|| "<missing>".to_owned(), |id| id.digest().to_string()),
        created: step.created,
        created_by: step.created_by,
        tags: names(&step.tags),
        size: step.size as i64,
        comment: step.comment,
    }
}

/// A configuration as images have it.
pub(crate) fn image_config(config: &ContainerConfig) -> skiff_images::ContainerConfig {
    let set = |names: &std::collections::BTreeSet<String>| {
        let set: std::collections::BTreeMap<_, _> =
            names.iter().map(|name| (name.clone(), skiff_images::Empty {})).collect();
        Some(set).filter(|set| !set.is_empty())
    };
    skiff_images::ContainerConfig {
        hostname: config.hostname.clone(),
        domainname: config.domainname.clone(),
        user: config.user.clone(),
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: set(&config.exposed_ports),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: Some(config.env.clone()).filter(|env| !env.is_empty()),
        cmd: config.cmd.clone(),
        healthcheck: config.healthcheck.as_ref().map(|check| skiff_images::Healthcheck {
            test: check.test.clone(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        args_escaped: config.args_escaped,
        image: config.image.clone(),
        volumes: set(&config.volumes),
        working_dir: config.working_dir.clone(),
        entrypoint: config.entrypoint.clone(),
        network_disabled: config.network_disabled,
        mac_address: config.mac_address.clone().unwrap_or_default(),
        on_build: config.on_build.clone(),
        labels: Some(config.labels.clone()),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        stop_timeout: config.stop_timeout,
        shell: config.shell.clone().unwrap_or_default(),
        other: Default::default(),
    }
}

pub(crate) fn container_config(config: &skiff_images::ContainerConfig) -> ContainerConfig {
    let keys = |map: &Option<std::collections::BTreeMap<String, skiff_images::Empty>>| {
        map.iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    ContainerConfig {
        hostname: config.hostname.clone(),
        domainname: config.domainname.clone(),
        user: config.user.clone(),
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: keys(&config.exposed_ports),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: config.env.clone().unwrap_or_default(),
        cmd: config.cmd.clone(),
        healthcheck: config.healthcheck.as_ref().map(|check| HealthConfig {
            test: check.test.clone(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        args_escaped: config.args_escaped,
        image: config.image.clone(),
        volumes: keys(&config.volumes),
        working_dir: config.working_dir.clone(),
        entrypoint: config.entrypoint.clone(),
        network_disabled: config.network_disabled,
        mac_address: Some(config.mac_address.clone()).filter(|m| !m.is_empty()),
        on_build: config.on_build.clone(),
        labels: config.labels.clone().unwrap_or_default(),
        stop_signal: Some(config.stop_signal.clone()).filter(|s| !s.is_empty()),
        stop_timeout: config.stop_timeout,
        shell: Some(config.shell.clone()).filter(|s| !s.is_empty()),
    }
}
