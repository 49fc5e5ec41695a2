//! Networks: the built-in ones, to look at.

use crate::{
    convert,
    failure::Outcome,
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

pub(super) async fn inspect(context: &Context, name: &str) -> Outcome<Reply> {
    let network = context.engine.networks.inspect(name).await?;
    Ok(Reply::ok(&convert::network::inspect(network, true)))
}
