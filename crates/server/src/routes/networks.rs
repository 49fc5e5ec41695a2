//! Networks: made, looked at, removed; containers connected and disconnected.

use http::StatusCode;
use skiff_api::model as wire;

use super::lifecycle::finish;
use crate::{
    convert,
    failure::{Failure, Outcome},
    reply::Reply,
    request::{Context, Request},
};

pub(super) async fn list(context: &Context, request: &Request) -> Outcome<Reply> {
    let networks = context.engine.networks.list(request.engine_filters()?).await?;
    // Since version 1.28 lists do not show the containers.
    let with_containers = !request.version.at_least(28);
    let shown: Vec<_> = networks.into_iter().map(|n| convert::network::inspect(n, with_containers)).collect();
    Ok(Reply::ok(&shown))
}

pub(super) async fn inspect(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    // Only a swarm's networks have more to tell.
    let verbose = request.query.get("verbose");
    if !matches!(
        verbose,
        "" | "1" | "t" | "T" | "TRUE" | "true" | "True" | "0" | "f" | "F" | "FALSE" | "false" | "False"
    ) {
        let fault = format!("strconv.ParseBool: parsing {verbose:?}: invalid syntax");
        return Err(Failure::invalid(format!("invalid value for verbose: {verbose}: {fault}")));
    }
    let network = context.engine.networks.inspect(name).await?;
    let scope = request.query.get("scope");
    if !scope.is_empty() && scope != network.network.scope {
        return Err(skiff_engine::Error::NoSuchNetwork(name.to_owned()).into());
    }
    Ok(Reply::ok(&convert::network::inspect(network, true)))
}

pub(super) async fn explain(context: &Context, request: &Request) -> Outcome<Reply> {
    let told = context.engine.networks.explain(request.query.get("from"), request.query.get("to")).await?;
    Ok(Reply::ok(&convert::network::explanation(told)))
}

pub(super) async fn create(context: Context, mut request: Request) -> Outcome<Reply> {
    let asked: wire::NetworkCreateRequest = request.json().await?;
    let asked = convert::network::create(asked, request.version);
    let id = finish(async move { context.engine.networks.create(asked).await }).await?;
    let created = wire::NetworkCreateResponse { id: id.to_string(), warning: String::new() };
    Ok(Reply::json(StatusCode::CREATED, &created))
}

pub(super) async fn remove(context: Context, name: String) -> Outcome<Reply> {
    finish(async move { context.engine.networks.remove(&name).await }).await?;
    Ok(Reply::done())
}

pub(super) async fn prune(context: Context, request: &Request) -> Outcome<Reply> {
    let filters = request.engine_filters()?;
    let removed = finish(async move { context.engine.networks.prune(filters).await }).await?;
    let networks_deleted = (!removed.is_empty()).then_some(removed);
    Ok(Reply::ok(&wire::NetworksPruned { networks_deleted }))
}

pub(super) async fn connect(context: Context, mut request: Request, name: String) -> Outcome<Reply> {
    let asked: wire::NetworkConnectRequest = request.json().await?;
    let asked = convert::network::connect(asked);
    finish(async move { context.engine.networks.connect(&name, asked).await }).await?;
    Ok(Reply::empty(StatusCode::OK))
}

pub(super) async fn disconnect(context: Context, mut request: Request, name: String) -> Outcome<Reply> {
    let asked: wire::NetworkDisconnectRequest = request.json().await?;
    finish(async move { context.engine.networks.disconnect(&name, &asked.container, asked.force).await })
        .await?;
    Ok(Reply::empty(StatusCode::OK))
}
