//! `events`: one JSON object a line, as it happens.

use bytes::Bytes;
use futures_util::stream;

use crate::{
    convert,
    failure::{Failure, Outcome},
    reply::Reply,
    request::{Context, Request},
    time,
};

pub(super) fn events(context: &Context, request: &Request) -> Outcome<Reply> {
    let (since, until) = (request.query.get("since"), request.query.get("until"));
    let (from, to) = (time::parse(since)?, time::parse(until)?);
    if let Some(to) = to
        && from.is_some_and(|from| to < from)
    {
        return Err(Failure::invalid(format!(
            "`since` time ({since}) cannot be after `until` time ({until})"
        )));
    }
    let events = context.engine.events.subscribe(from, to, request.engine_filters()?)?;
    let with_image_create = request.version.at_least(46);
    let lines = stream::unfold(events, move |mut events| async move {
        loop {
            let message = convert::event::message(events.next().await?);
            if message.r#type == "image" && message.action == "create" && !with_image_create {
                continue;
            }
            let mut line = serde_json::to_vec(&message).expect("wire types have string keys only");
            line.push(b'\n');
            return Some((Ok(Bytes::from(line)), events));
        }
    });
    Ok(Reply::stream("application/json", lines))
}
