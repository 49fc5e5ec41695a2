//! Attaching to a container.

use std::future::ready;

use http::{HeaderValue, Response, header};
use skiff_api::stream::{MULTIPLEXED, RAW};
use skiff_engine::{AttachOptions, Reader};

use crate::{
    failure::{Failure, Outcome},
    hijack::{self, Hijack, Transport},
    reply::Reply,
    request::{Context, Request},
    websocket::{self, Opcode},
};

pub(super) async fn attach(context: &Context, request: &mut Request, name: &str) -> Outcome<Reply> {
    let query = &request.query;
    let options = AttachOptions {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        logs: query.flag("logs"),
        stream: query.flag("stream"),
        detach_keys: query.given("detachKeys").map(str::to_owned),
    };
    let stdin = options.stdin;
    let mut attached = match context.engine.containers.attach(name, options).await {
        Ok(attached) => attached,
        Err(error) => return Ok(refusal(error.into())),
    };
    request.body.leave();
    let reader = attached.reader.take();
    let framed = !attached.tty && request.version.at_least(42);
    let content_type = if framed { MULTIPLEXED } else { RAW };
    let (containers, name) = (context.engine.containers.clone(), name.to_owned());
    Ok(Reply::Hijack(Hijack {
        head: hijack::head(request.wants_upgrade(), content_type).into_bytes(),
        open: Box::pin(ready(attached.into())),
        stdin,
        settle: Box::pin(async { reader.map(Reader::served) }),
        on_detach: Box::new(move || containers.detached(&name)),
        transport: Transport::Plain,
    }))
}

/// The same through a WebSocket, which is what browsers can do.
pub(super) async fn attach_websocket(context: &Context, request: &mut Request, name: &str) -> Outcome<Reply> {
    let (query, version) = (&request.query, request.version);
    let wanted = |stream| !version.at_least(42) || query.flag(stream);
    let Some(key) = request.headers.get(header::SEC_WEBSOCKET_KEY) else {
        return Err(Failure::invalid("not a WebSocket handshake: Sec-WebSocket-Key is missing"));
    };
    let options = AttachOptions {
        stdin: wanted("stdin"),
        stdout: wanted("stdout"),
        stderr: wanted("stderr"),
        logs: query.flag("logs"),
        stream: query.flag("stream"),
        detach_keys: query.given("detachKeys").map(str::to_owned),
    };
    let stdin = options.stdin;
    let mut attached = context.engine.containers.attach(name, options).await?;
    request.body.leave();
    let kind = if version.at_least(28) { Opcode::Binary } else { Opcode::Text };
    let (containers, name) = (context.engine.containers.clone(), name.to_owned());
    let reader = attached.reader.take();
    let framed = !attached.tty;
    Ok(Reply::Hijack(Hijack {
        head: websocket::head(key.as_bytes()).into_bytes(),
        open: Box::pin(ready(attached.into())),
        stdin,
        settle: Box::pin(async { reader.map(Reader::served) }),
        on_detach: Box::new(move || containers.detached(&name)),
        transport: Transport::WebSocket { kind, framed },
    }))
}

/// Docker has taken the connection over by the time it knows, so its answer is plain text.
fn refusal(failure: Failure) -> Reply {
    let (status, kind) = (failure.status(), HeaderValue::from_static(RAW));
    let mut reply = Reply::failure(&Failure::new(failure.kind, failure.message + "\r"), true);
    if let Reply::Http(response) = &mut reply {
        *response.status_mut() = status;
        response.headers_mut().remove(header::X_CONTENT_TYPE_OPTIONS);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        close_after(response);
    }
    reply
}

fn close_after<T>(response: &mut Response<T>) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}
