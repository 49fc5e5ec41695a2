//! A container's life: what changes it goes on when the client leaves, only waiting ends.

use std::future::Future;

use bytes::Bytes;
use futures_util::stream;
use skiff_api::model::{WaitExitError, WaitResponse};
use skiff_engine::{RemoveOptions, Result, StopOptions, WaitCondition, WaitOutcome};

use crate::{
    failure::{Failure, Outcome},
    reply::Reply,
    request::{Context, Request},
};

/// Runs `work` to its end even if the client leaves meanwhile.
pub(super) async fn finish<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Outcome<T> {
    match tokio::spawn(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Failure::internal(format!("the request ended early: {error}"))),
    }
}

pub(super) async fn start(context: Context, request: &Request, name: String) -> Outcome<Reply> {
    // Go's JSON objects that say anything are longer than seven bytes.
    if request.content_length().is_none_or(|length| length > 7) {
        return Err(Failure::invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    if !request.query.get("checkpoint").is_empty() {
        return Err(Failure::unsupported("starting a container from a checkpoint"));
    }
    finish(async move { context.engine.containers.start(&name).await }).await?;
    Ok(Reply::done())
}

fn stop_options(request: &Request) -> Outcome<StopOptions> {
    let signal = request.query.given("signal").filter(|_| request.version.at_least(42));
    Ok(StopOptions { signal: signal.map(str::to_owned), timeout: request.query.number("t")? })
}

pub(super) async fn stop(context: Context, request: &Request, name: String) -> Outcome<Reply> {
    let options = stop_options(request)?;
    finish(async move { context.engine.containers.stop(&name, options).await }).await?;
    Ok(Reply::done())
}

pub(super) async fn restart(context: Context, request: &Request, name: String) -> Outcome<Reply> {
    let options = stop_options(request)?;
    finish(async move { context.engine.containers.restart(&name, options).await }).await?;
    Ok(Reply::done())
}

pub(super) async fn kill(context: Context, request: &Request, name: String) -> Outcome<Reply> {
    let signal = request.query.given("signal").map(str::to_owned);
    finish(async move { context.engine.containers.kill(&name, signal.as_deref()).await }).await?;
    Ok(Reply::done())
}

pub(super) async fn pause(context: Context, name: String) -> Outcome<Reply> {
    finish(async move { context.engine.containers.pause(&name).await }).await?;
    Ok(Reply::done())
}

pub(super) async fn unpause(context: Context, name: String) -> Outcome<Reply> {
    finish(async move { context.engine.containers.unpause(&name).await }).await?;
    Ok(Reply::done())
}

pub(super) async fn remove(context: Context, request: &Request, name: String) -> Outcome<Reply> {
    let query = &request.query;
    let options =
        RemoveOptions { force: query.flag("force"), volumes: query.flag("v"), link: query.flag("link") };
    finish(async move { context.engine.containers.remove(&name, options).await }).await?;
    Ok(Reply::done())
}

/// The headers are sent as soon as the container is watched: the command line starts it only then.
pub(super) async fn wait(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let headers_first = request.version.at_least(30);
    let condition = match request.query.get("condition") {
        _ if !headers_first => WaitCondition::NotRunning,
        "" | "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => return Err(Failure::invalid(format!("invalid condition: {other:?}"))),
    };
    let waiting = context.engine.containers.wait(name, condition).await?;
    if !headers_first {
        return Ok(Reply::ok(&wait_response(waiting.await)));
    }
    let body = stream::once(async {
        let mut line =
            serde_json::to_vec(&wait_response(waiting.await)).expect("wire types have string keys only");
        line.push(b'\n');
        Ok(Bytes::from(line))
    });
    Ok(Reply::stream("application/json", body))
}

fn wait_response(outcome: Result<WaitOutcome>) -> WaitResponse {
    let failed = |message| Some(WaitExitError { message });
    match outcome {
        Ok(outcome) => WaitResponse { status_code: outcome.exit_code, error: outcome.error.and_then(failed) },
        Err(error) => WaitResponse { status_code: -1, error: failed(error.to_string()) },
    }
}
