//! Containers: list, create, look at, rename, limit, read the log.

use futures_util::stream;
use http::StatusCode;
use skiff_api::{
    model::{CreateRequest, CreateResponse, HostConfig, PruneContainers, TopResponse, UpdateResponse},
    stream::{MULTIPLEXED, RAW},
};
use skiff_engine::{ListOptions, LogOptions};

use super::lifecycle::finish;
use crate::{
    convert,
    failure::{Failure, Outcome},
    reply::Reply,
    request::{Context, Request},
    time,
};

pub(super) async fn list(context: &Context, request: &Request) -> Outcome<Reply> {
    let query = &request.query;
    let mut filters = request.engine_filters()?;
    for name in ["since", "before"] {
        if let Some(value) = query.given(name) {
            filters.add(name, value);
        }
    }
    let options = ListOptions {
        all: query.flag("all"),
        limit: query.number("limit")?.unwrap_or(0),
        size: query.flag("size"),
        filters,
    };
    let containers = context.engine.containers.list(options).await?;
    let mut shown: Vec<_> = containers.into_iter().map(convert::container::summary).collect();
    if !request.version.at_least(46) {
        shown.iter_mut().for_each(|container| container.host_config.annotations = None);
    }
    Ok(Reply::ok(&shown))
}

pub(super) async fn create(context: &Context, mut request: Request) -> Outcome<Reply> {
    let wire = CreateRequest::decode(request.json_value().await?)?;
    let platform = request.query.given("platform").filter(|_| request.version.at_least(41));
    let name = request.query.given("name").map(str::to_owned);
    let (mut asked, warnings) = convert::create::request(wire, request.version)?;
    asked.name = name;
    asked.platform = platform.unwrap_or_default().to_owned();
    let containers = context.engine.containers.clone();
    let created = finish(async move { containers.create(asked).await }).await?;
    let warnings = created.warnings.into_iter().chain(warnings).collect();
    let answer = CreateResponse { id: created.id.to_string(), warnings: Some(warnings) };
    Ok(Reply::json(StatusCode::CREATED, &answer))
}

pub(super) async fn prune(context: &Context, request: &Request) -> Outcome<Reply> {
    let filters = request.engine_filters()?;
    let containers = context.engine.containers.clone();
    let pruned = finish(async move { containers.prune(&filters).await }).await?;
    // Go's nil, unless something went.
    let containers_deleted = (!pruned.removed.is_empty()).then_some(pruned.removed);
    Ok(Reply::ok(&PruneContainers { containers_deleted, space_reclaimed: pruned.space }))
}

pub(super) async fn inspect(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let view = context.engine.containers.inspect(name, request.query.flag("size")).await?;
    Ok(Reply::ok(&convert::inspect::container(view, request.version)))
}

pub(super) async fn top(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let top = context.engine.containers.top(name, request.query.given("ps_args")).await?;
    Ok(Reply::ok(&TopResponse { processes: Some(top.processes), titles: Some(top.titles) }))
}

pub(super) async fn rename(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    context.engine.containers.rename(name, request.query.get("name")).await?;
    Ok(Reply::done())
}

pub(super) async fn update(context: &Context, mut request: Request, name: &str) -> Outcome<Reply> {
    let mut wire: HostConfig = request.json().await?;
    if !request.version.at_least(40) {
        wire.pids_limit = None;
    }
    let (changes, mut warnings) = convert::create::update(wire)?;
    let (containers, name) = (context.engine.containers.clone(), name.to_owned());
    warnings.extend(finish(async move { containers.update(&name, changes).await }).await?);
    // Go's nil, unless there is something to say.
    let warnings = (!warnings.is_empty()).then_some(warnings);
    Ok(Reply::ok(&UpdateResponse { warnings }))
}

pub(super) async fn resize(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let height = request.query.terminal_size("h", "height")?;
    let width = request.query.terminal_size("w", "width")?;
    context.engine.containers.resize(name, height, width).await?;
    Ok(Reply::empty(StatusCode::OK))
}

pub(super) async fn logs(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let query = &request.query;
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        return Err(Failure::invalid("Bad parameters: you must choose at least one stream"));
    }
    let options = LogOptions {
        follow: query.flag("follow"),
        stdout,
        stderr,
        since: time::parse(query.get("since"))?,
        // Docker takes 0 for "no end", as the command line always sends it.
        until: time::parse(query.get("until"))?.filter(|t| *t != jiff::Timestamp::UNIX_EPOCH),
        timestamps: query.flag("timestamps"),
        // Whatever is not a number means all lines.
        tail: query.get("tail").parse().ok(),
        details: query.flag("details"),
    };
    let lines = context.engine.containers.logs(name, options).await?;
    let framed = !lines.is_tty() && request.version.at_least(42);
    let body = stream::unfold(lines, |mut lines| async {
        let piece = lines.next().await?;
        Some((piece.map_err(Into::into), lines))
    });
    Ok(Reply::stream(if framed { MULTIPLEXED } else { RAW }, body))
}
