//! What a container uses: once, or a line of JSON every second.

use bytes::Bytes;
use futures_util::stream;
use skiff_engine::model::Sample;

use crate::{
    convert,
    failure::{Failure, Outcome},
    reply::Reply,
    request::{Context, Request},
};

pub(super) async fn stats(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let query = &request.query;
    let streaming = query.flag_or("stream", true);
    let one_shot = request.version.at_least(41) && query.flag("one-shot");
    if streaming && one_shot {
        return Err(Failure::invalid("cannot have stream=true and one-shot=true"));
    }
    if one_shot {
        let sample = context.engine.stats.once(name).await?;
        return Ok(Reply::ok(&convert::stats::sample(&sample, None)));
    }
    let mut samples = context.engine.stats.watch(name).await?;
    if streaming {
        let lines = stream::unfold(samples, |mut samples| async move {
            let (sample, before) = samples.next().await?;
            let mut line = serde_json::to_vec(&convert::stats::sample(&sample, before.as_deref()))
                .expect("wire types have string keys only");
            line.push(b'\n');
            Some((Ok(Bytes::from(line)), samples))
        });
        return Ok(Reply::stream("application/json", lines));
    }
    // Two samples make a rate; what does not run has none.
    let gone = || Failure::internal("the container was removed");
    let is_idle = |sample: &Sample| sample.usage.is_none();
    let (mut sample, mut before) = samples.next().await.ok_or_else(gone)?;
    if !is_idle(&sample) {
        (sample, before) = samples.next().await.ok_or_else(gone)?;
    }
    Ok(Reply::ok(&convert::stats::sample(&sample, before.as_deref())))
}
