//! A container's files: looked at, copied out and in, exported, compared, committed.

use http::{HeaderName, StatusCode};
use skiff_api::model::{ChangeItem, CommitResponse, CreateRequest, PathStat};
use skiff_engine::{ChangeKind, CommitRequest, PutOptions};

use super::lifecycle::finish;
use crate::{
    body, convert,
    failure::{Failure, Outcome},
    reply::{BodyError, Reply},
    request::{Context, Request},
};

/// Tells what is archived.
const STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

/// The parameter without which none of these paths means anything. Recorded: it is missed before the container is.
fn path(request: &Request) -> Outcome<String> {
    match request.query.get("path") {
        "" => Err(Failure::invalid("bad parameter: pathcannot be empty")),
        path => Ok(path.to_owned()),
    }
}

fn header(stat: skiff_engine::PathStat) -> String {
    PathStat {
        name: stat.name,
        size: stat.size,
        mode: stat.mode,
        mtime: stat.mtime.to_string(),
        link_target: stat.link_target,
    }
    .to_header()
}

pub(super) async fn stat(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let stat = context.engine.containers.stat(name, &path(request)?).await?;
    Ok(Reply::empty(StatusCode::OK).with_value(STAT, &header(stat)))
}

pub(super) async fn get(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let archived = context.engine.containers.archive(name, &path(request)?).await?;
    let body = body::written(move |out| (archived.write)(out).map_err(BodyError::from)).await;
    Ok(Reply::stream("application/x-tar", body).with_value(STAT, &header(archived.stat)))
}

pub(super) async fn put(context: Context, request: Request, name: String) -> Outcome<Reply> {
    let path = path(&request)?;
    let options = PutOptions {
        no_overwrite_dir_non_dir: request.query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: request.query.flag("copyUIDGID"),
    };
    let archive = Box::new(body::reader(request.body).await);
    finish(async move { context.engine.containers.put_archive(&name, &path, options, archive).await })
        .await?;
    Ok(Reply::empty(StatusCode::OK))
}

pub(super) async fn changes(context: &Context, name: &str) -> Outcome<Reply> {
    let changes = context.engine.containers.changes(name).await?;
    let kind = |kind| match kind {
        ChangeKind::Modified => 0,
        ChangeKind::Added => 1,
        ChangeKind::Deleted => 2,
    };
    let items: Vec<_> = changes
        .into_iter()
        .map(|c| ChangeItem { path: c.path.to_string_lossy().into_owned(), kind: kind(c.kind) })
        .collect();
    // Go's nil, if there are none.
    Ok(Reply::ok(&(!items.is_empty()).then_some(items)))
}

pub(super) async fn export(context: &Context, name: &str) -> Outcome<Reply> {
    let write = context.engine.containers.export(name).await?;
    let body = body::written(move |out| write(out).map_err(BodyError::from)).await;
    Ok(Reply::stream("application/octet-stream", body))
}

pub(super) async fn commit(context: &Context, mut request: Request) -> Outcome<Reply> {
    let config = match request.content_length() {
        Some(0) => None,
        _ => CreateRequest::decode(request.json_value().await?)?.config,
    };
    let query = &request.query;
    let commit = CommitRequest {
        container: query.get("container").to_owned(),
        repository: query.get("repo").to_owned(),
        tag: query.get("tag").to_owned(),
        author: query.get("author").to_owned(),
        comment: query.get("comment").to_owned(),
        // Of every version there is.
        pause: query.given("pause").is_none() || query.flag("pause"),
        changes: query.all("changes"),
        config: config.map(convert::create::asked_config),
    };
    let containers = context.engine.containers.clone();
    let id = finish(async move { containers.commit(commit).await }).await?;
    Ok(Reply::json(StatusCode::CREATED, &CommitResponse { id }))
}
