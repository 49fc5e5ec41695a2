//! `_ping`, `version`, `info`, `system df`.

use http::{HeaderName, Method, StatusCode, header};
use serde_json::json;
use skiff_api::model::{DiskUsage, PruneBuild};
use skiff_engine::{ImageListOptions, ListOptions};

use crate::{
    convert,
    failure::{Failure, Outcome},
    reply::Reply,
    request::{Context, Request},
};

pub(super) fn ping(method: &Method) -> Reply {
    let reply = if method == Method::HEAD { Reply::text("") } else { Reply::text("OK") };
    reply
        .with(header::CACHE_CONTROL, "no-cache, no-store, must-revalidate")
        .with(header::PRAGMA, "no-cache")
        .with(HeaderName::from_static("swarm"), "inactive")
}

pub(super) fn version(context: &Context) -> Reply {
    Reply::ok(&convert::system::version(context.engine.system.version()))
}

pub(super) async fn info(context: &Context, request: &Request) -> Outcome<Reply> {
    let version = request.version;
    let mut info = convert::system::info(context.engine.system.info().await?);
    if !version.at_least(49) {
        info.firewall_backend = None;
        for commit in [&mut info.containerd_commit, &mut info.runc_commit, &mut info.init_commit] {
            commit.expected = commit.id.clone();
        }
    }
    if !version.at_least(25) {
        let names = info.security_options.unwrap_or_default();
        let name = |option: &String| {
            option.split(',').find_map(|part| part.strip_prefix("name=")).unwrap_or(option).to_owned()
        };
        info.security_options = Some(names.iter().map(name).collect());
    }
    let mut info = serde_json::to_value(info).expect("wire types have string keys only");
    if !version.at_least(50) {
        info["BridgeNfIptables"] = json!(false);
        info["BridgeNfIp6tables"] = json!(false);
    }
    if !version.at_least(47) {
        info["RegistryConfig"]["AllowNondistributableArtifactsCIDRs"] = json!(null);
        info["RegistryConfig"]["AllowNondistributableArtifactsHostnames"] = json!(null);
    }
    Ok(Reply::json(StatusCode::OK, &info))
}

/// The kinds of objects that can be measured.
const MEASURED: [&str; 4] = ["container", "image", "volume", "build-cache"];

/// Adds when images and volumes were last used.
async fn tell_last_use(context: &Context, usage: &mut DiskUsage) -> Outcome<()> {
    let system = &context.engine.system;
    let times = system.images_last_used().await?;
    for image in usage.images.iter_mut().flatten() {
        image.last_used = times.get(&image.id).map_or(0, |time| time.as_second());
    }
    for volume in usage.volumes.iter_mut().flatten() {
        if let Some(usage) = &mut volume.usage_data {
            usage.last_used = system.volume_last_used(&volume.name).map_or(0, |time| time.as_second());
        }
    }
    Ok(())
}

/// What everything takes on disk, or the kinds that are asked for.
pub(super) async fn disk_usage(context: &Context, request: &Request) -> Outcome<Reply> {
    let version = request.version;
    let asked = if version.at_least(42) { request.query.all("type") } else { Vec::new() };
    if let Some(unknown) = asked.iter().find(|kind| !MEASURED.contains(&kind.as_str())) {
        return Err(Failure::invalid(format!("unknown object type: {unknown}")));
    }
    let wanted = |kind: &str| asked.is_empty() || asked.iter().any(|asked| asked == kind);
    let budget = context.engine.system.disk_budget().await?;
    let mut usage =
        DiskUsage { disk_budget: budget.map(convert::system::disk_budget), ..DiskUsage::default() };
    if wanted("image") {
        let options = ImageListOptions { shared_size: true, containers: true, ..ImageListOptions::default() };
        let images = context.engine.images.list(options).await?;
        usage.layers_size = i64::try_from(context.engine.images.layers_size().await?).unwrap_or(i64::MAX);
        usage.images = Some(images.into_iter().map(|i| convert::image::summary(i, version)).collect());
    }
    if wanted("container") {
        let options = ListOptions { all: true, size: true, ..ListOptions::default() };
        let containers = context.engine.containers.list(options).await?;
        usage.containers = Some(containers.into_iter().map(convert::container::summary).collect());
    }
    if wanted("volume") {
        let volumes = context.engine.volumes.usage().await?;
        usage.volumes = Some(volumes.into_iter().map(convert::volume::measured).collect());
    }
    if wanted("build-cache") {
        // There is no cache without a builder.
        usage.build_cache = Some(Vec::new());
    }
    if budget.is_some() {
        tell_last_use(context, &mut usage).await?;
    }
    Ok(Reply::ok(&usage))
}

/// `docker system prune` asks this last: nothing is there to be removed.
pub(super) fn prune_build(request: &Request) -> Outcome<Reply> {
    request.filters()?;
    Ok(Reply::ok(&PruneBuild::default()))
}
