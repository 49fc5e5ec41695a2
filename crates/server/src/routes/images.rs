//! Images: list, look at, name, remove, and their archives.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use skiff_api::{
    decode,
    model::{ImageDelete, ImagePlatform, JsonError, JsonMessage, PruneImages},
};
use skiff_engine::{ImageListOptions, ImportRequest, LoadProgress, RemoveImageOptions, model::DeletedImage};
use tokio::sync::mpsc;

use super::{lifecycle::finish, registries};
use crate::{
    body, convert,
    failure::{Failure, Outcome},
    reply::{BodyError, Reply},
    request::{Context, Request},
};

pub(super) async fn list(context: &Context, request: &Request) -> Outcome<Reply> {
    let (query, version) = (&request.query, request.version);
    let mut filters = request.engine_filters()?;
    if let Some(reference) = query.given("filter").filter(|_| !version.at_least(41)) {
        filters.add("reference", reference);
    }
    let options = ImageListOptions {
        all: query.flag("all"),
        filters,
        shared_size: version.at_least(42) && query.flag("shared-size"),
        containers: version.at_least(51),
        manifests: version.at_least(47) && query.flag("manifests"),
    };
    let images = context.engine.images.list(options).await?;
    let shown: Vec<_> = images.into_iter().map(|i| convert::image::summary(i, version)).collect();
    Ok(Reply::ok(&shown))
}

pub(super) async fn inspect(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let only = if request.version.at_least(49) { platform(request, 48)? } else { String::new() };
    let manifests = request.version.at_least(48) && request.query.flag("manifests");
    if !only.is_empty() && manifests {
        return Err(Failure::invalid(
            "conflicting options: manifests and platform options cannot both be set",
        ));
    }
    let image = context.engine.images.inspect(name, &only, manifests).await?;
    Ok(Reply::ok(&convert::image::inspect(image, request.version)))
}

pub(super) async fn history(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let steps = context.engine.images.history(name, &platform(request, 48)?).await?;
    Ok(Reply::ok(&steps.into_iter().map(convert::image::history).collect::<Vec<_>>()))
}

pub(super) async fn tag(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let (repository, tag) = (request.query.get("repo"), request.query.get("tag"));
    if repository.is_empty() {
        // Docker says so too, having done nothing.
        return Ok(Reply::empty(StatusCode::OK));
    }
    context.engine.images.tag(name, repository, tag).await?;
    Ok(Reply::empty(StatusCode::CREATED))
}

pub(super) async fn remove(context: Context, request: &Request, name: String) -> Outcome<Reply> {
    if name.trim().is_empty() {
        return Err(Failure::invalid("image name cannot be blank"));
    }
    let platforms = if request.version.at_least(50) { request.query.all("platforms") } else { Vec::new() };
    let only = match platforms.as_slice() {
        [] => String::new(),
        [one] => named_platform(one)?,
        _ => return Err(Failure::invalid("multiple platforms are not supported")),
    };
    let (force, no_prune) = (request.query.flag("force"), request.query.flag("noprune"));
    let options = RemoveImageOptions { force, no_prune, only };
    let removed = finish(async move { context.engine.images.remove(&name, options).await }).await?;
    Ok(Reply::ok(&removed.into_iter().map(deleted).collect::<Vec<_>>()))
}

fn deleted(step: DeletedImage) -> ImageDelete {
    match step {
        DeletedImage::Untagged(untagged) => ImageDelete { untagged, ..ImageDelete::default() },
        DeletedImage::Deleted(deleted) => ImageDelete { deleted, ..ImageDelete::default() },
    }
}

pub(super) async fn prune(context: &Context, request: &Request) -> Outcome<Reply> {
    let filters = request.engine_filters()?;
    let images = context.engine.images.clone();
    let pruned = finish(async move { images.prune(&filters).await }).await?;
    let removed: Vec<_> = pruned.removed.into_iter().map(deleted).collect();
    let images_deleted = (!removed.is_empty()).then_some(removed);
    Ok(Reply::ok(&PruneImages { images_deleted, space_reclaimed: pruned.space }))
}

/// An archive of these images. The names are checked before the answer begins.
pub(super) async fn save(context: &Context, request: &Request, names: Vec<String>) -> Outcome<Reply> {
    let write = context.engine.images.save(names, &platform(request, 48)?).await?;
    let body = body::written(move |out| write(out).map_err(BodyError::from)).await;
    Ok(Reply::stream("application/x-tar", body))
}

/// The platform that a request of version 1.`since` or later names in JSON, as the engine takes it; empty if none is given.
pub(super) fn platform(request: &Request, since: u32) -> Outcome<String> {
    let Some(text) = request.query.given("platform").filter(|_| request.version.at_least(since)) else {
        return Ok(String::new());
    };
    named_platform(text)
}

/// A platform in JSON, as the engine takes it.
fn named_platform(text: &str) -> Outcome<String> {
    let platform: ImagePlatform = decode::from_slice(text.as_bytes())
        .map_err(|e| Failure::invalid(format!("failed to parse platform: {e}")))?;
    if platform.os.is_empty() || platform.architecture.is_empty() {
        return Err(Failure::invalid("both OS and Architecture must be provided"));
    }
    let parts = [platform.os, platform.architecture, platform.variant];
    Ok(parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/"))
}

/// Import, or pull: by which parameter is there.
pub(super) async fn create(context: &Context, request: Request) -> Outcome<Reply> {
    let query = &request.query;
    if !query.get("fromImage").is_empty() {
        return registries::pull(context, &request).await;
    }
    let source = query.get("fromSrc");
    if source != "-" {
        return Err(Failure::unsupported("importing an image from a URL"));
    }
    let message = query.given("message").map_or_else(|| format!("Imported from {source}"), str::to_owned);
    let import = ImportRequest {
        repository: query.get("repo").to_owned(),
        tag: query.get("tag").to_owned(),
        message,
        changes: query.all("changes"),
        platform: query
            .given("platform")
            .filter(|_| request.version.at_least(32))
            .unwrap_or_default()
            .to_owned(),
        source: source.to_owned(),
    };
    let tar = Box::new(body::reader(request.body).await);
    let id = context.engine.images.import(import, tar).await?;
    let told = line(&JsonMessage { status: id, ..JsonMessage::default() });
    Ok(Reply::stream("application/json", stream::iter([Ok(told)])))
}

/// Progress and errors both come as lines of JSON: the answer has begun before the archive is read.
pub(super) async fn load(context: &Context, request: Request) -> Outcome<Reply> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let images = context.engine.images.clone();
    let only = platform(&request, 48)?;
    let quiet = request.query.flag("quiet");
    let tar = Box::new(body::reader(request.body).await);
    tokio::spawn(async move {
        let lines = sender.clone();
        let mut shown = Shown::default();
        let tell = move |progress: LoadProgress| {
            if let Some(line) = shown.line(progress, quiet) {
                // Who has gone away is not told.
                let _ = lines.send(line);
            }
        };
        if let Err(error) = images.load(tar, &only, Box::new(tell)).await {
            let message = error.to_string();
            let error_detail = Some(JsonError { message: message.clone(), ..JsonError::default() });
            let _ = sender.send(JsonMessage { error: message, error_detail, ..JsonMessage::default() });
        }
    });
    let lines = stream::unfold(receiver, |mut receiver: mpsc::UnboundedReceiver<JsonMessage>| async {
        Some((Ok(line(&receiver.recv().await?)), receiver))
    });
    Ok(Reply::stream("application/json", lines))
}

/// Docker's lines of progress end as HTTP's do.
fn line(message: &JsonMessage) -> Bytes {
    let mut line = serde_json::to_vec(message).expect("wire types have string keys only");
    line.extend_from_slice(b"\r\n");
    line.into()
}

/// How often a layer's progress is worth a line.
const EVERY: Duration = Duration::from_millis(100);

/// Which progress the client has seen.
#[derive(Default)]
struct Shown {
    at: Option<Instant>,
}

impl Shown {
    /// The line for what happened, unless one of the same kind went out a moment ago.
    fn line(&mut self, progress: LoadProgress, quiet: bool) -> Option<JsonMessage> {
        match progress {
            LoadProgress::Line(stream) => Some(JsonMessage { stream, ..JsonMessage::default() }),
            LoadProgress::Layer { .. } if quiet => None,
            LoadProgress::Layer { current, total, .. }
                if current < total && self.at.is_some_and(|at| at.elapsed() < EVERY) =>
            {
                None
            }
            LoadProgress::Layer { id, current, total } => {
                self.at = Some(Instant::now());
                Some(convert::image::loading(id, current, total))
            }
        }
    }
}
