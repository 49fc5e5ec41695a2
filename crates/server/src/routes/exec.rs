//! Processes started inside running containers.

use http::StatusCode;
use skiff_api::{
    model::{ExecCreateRequest, ExecCreateResponse, ExecStartRequest},
    stream::{self, MULTIPLEXED, RAW, StreamKind},
};
use skiff_engine::{ExecStart, StartedExec};

use super::lifecycle::finish;
use crate::{
    convert,
    failure::{Failure, Outcome},
    hijack::{self, Hijack, Opened, Transport},
    reply::{Reply, common_headers},
    request::{Context, Request},
};

pub(super) async fn create(context: &Context, mut request: Request, container: &str) -> Outcome<Reply> {
    let mut wire: ExecCreateRequest = request.json().await?;
    if wire.cmd.as_ref().is_none_or(Vec::is_empty) {
        return Err(Failure::invalid("No exec command specified"));
    }
    if !request.version.at_least(42) {
        wire.console_size = None;
    }
    let id = context.engine.execs.create(container, convert::exec::config(wire)).await?;
    Ok(Reply::json(StatusCode::CREATED, &ExecCreateResponse { id: id.to_string() }))
}

pub(super) async fn start(context: &Context, mut request: Request, id: &str) -> Outcome<Reply> {
    let wire: ExecStartRequest = request.json().await?;
    let exec = context.engine.execs.inspect(id).await?;
    let options = ExecStart {
        detach: wire.detach,
        tty: wire.tty,
        console_size: wire.console_size.filter(|_| request.version.at_least(42) && wire.tty),
    };
    let execs = context.engine.execs.clone();
    let name = id.to_owned();
    if wire.detach {
        finish(async move { execs.start(&name, options).await }).await?;
        return Ok(Reply::empty(StatusCode::OK));
    }
    let framed = !wire.tty && request.version.at_least(42);
    let head = exec_head(request.wants_upgrade(), if framed { MULTIPLEXED } else { RAW });
    let open = async move {
        match finish(async move { execs.start(&name, options).await }).await {
            Ok(StartedExec::Attached(attached)) => attached.into(),
            Ok(StartedExec::Detached) => Opened::default(),
            Err(failure) => refusal(&failure, wire.tty),
        }
    };
    let (execs, name) = (context.engine.execs.clone(), id.to_owned());
    let (ending, detached) = (execs.clone(), name.clone());
    Ok(Reply::Hijack(Hijack {
        head: head.into_bytes(),
        open: Box::pin(open),
        stdin: exec.config.attach_stdin,
        on_detach: Box::new(move || execs.detached(&detached)),
        // Clients ask for the exit code as soon as the output ends.
        settle: Box::pin(async move {
            ending.settled(&name).await;
            None
        }),
        transport: Transport::Plain,
    }))
}

/// The head of the answer has been sent by the time it is known: the client reads the reason as output.
fn refusal(failure: &Failure, tty: bool) -> Opened {
    let text = format!("{}\r\n", failure.message);
    let mut refusal = Vec::new();
    match tty {
        true => refusal.extend_from_slice(text.as_bytes()),
        false => stream::encode(StreamKind::Stdout, text.as_bytes(), &mut refusal),
    }
    Opened { refusal, ..Opened::default() }
}

/// As for attaching, with the headers that other answers have too.
fn exec_head(upgrade: bool, content_type: &str) -> String {
    let mut head = hijack::head(upgrade, content_type);
    head.truncate(head.len() - 2);
    for (name, value) in common_headers() {
        let value = value.to_str().expect("our headers are ASCII");
        head.push_str(&format!("{}: {value}\r\n", canonical(name)));
    }
    head + "\r\n"
}

/// `api-version` as `Api-Version`.
fn canonical(name: &str) -> String {
    let mut start = true;
    let upper = |c: char| {
        let c = if start { c.to_ascii_uppercase() } else { c };
        start = c == '-';
        c
    };
    name.chars().map(upper).collect()
}

pub(super) async fn resize(context: &Context, request: &Request, id: &str) -> Outcome<Reply> {
    let height = request.query.terminal_size("h", "height")?;
    let width = request.query.terminal_size("w", "width")?;
    context.engine.execs.resize(id, height, width).await?;
    Ok(Reply::empty(StatusCode::OK))
}

pub(super) async fn inspect(context: &Context, id: &str) -> Outcome<Reply> {
    Ok(Reply::ok(&convert::exec::inspect(context.engine.execs.inspect(id).await?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_dockers() {
        let head = exec_head(true, MULTIPLEXED);
        assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nApi-Version: 1.51\r\nDocker-Experimental: false\r\nOstype: linux\r\nServer: Skiff/"), "{head}");
        assert!(head.ends_with(" (linux)\r\n\r\n"), "{head}");
        assert!(exec_head(false, RAW).starts_with(
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\nApi-Version"
        ));
    }
}
