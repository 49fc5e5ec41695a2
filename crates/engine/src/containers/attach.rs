//! Attach: a socket pair, one end for the monitor, one for the client.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use skiff_runtime::monitor::protocol::{Request, Streams, Target};
use tokio::net::UnixStream;

use super::{AttachOptions, Attached, LogOptions, logs, parts::Parts};
use crate::{
    Error, Result,
    container::Container,
    detach_keys,
    model::{Status, Timestamp},
};

pub(super) async fn attach(parts: &Arc<Parts>, reference: &str, options: AttachOptions) -> Result<Attached> {
    let asked = options.detach_keys.as_deref();
    let keys = detach_keys::parse(asked).map_err(|_| {
        Error::Invalid(format!("Invalid detach keys ({}) provided", asked.unwrap_or_default()))
    })?;
    let container = parts.registry.resolve(reference)?;
    let id = container.id;
    match container.status() {
        Status::Paused => {
            return Err(Error::Conflict(format!(
                "container {id} is paused, unpause the container before attach"
            )));
        }
        Status::Restarting => {
            return Err(Error::Conflict(format!(
                "container {id} is restarting, wait until the container is running"
            )));
        }
        _ => {}
    }
    let tty = container.record().config.tty;
    let stream = match options.stream {
        true => {
            let stream = connect(&container, &options).await?;
            parts.tell(&container, "attach", &[]);
            Some(stream)
        }
        false => None,
    };
    let backlog = match options.logs {
        true => Some(logs::open(parts, &container, past(&options)).await?),
        false => None,
    };
    let reader = stream.is_some().then(|| container.reader());
    Ok(Attached { tty, backlog, stream, detach_keys: keys, reader })
}

/// The log up to the moment from which on the stream has everything.
fn past(options: &AttachOptions) -> LogOptions {
    let until = options.stream.then(Timestamp::now);
    LogOptions { stdout: options.stdout, stderr: options.stderr, until, ..LogOptions::default() }
}

async fn connect(container: &Arc<Container>, options: &AttachOptions) -> Result<UnixStream> {
    let open_stdin = container.record().config.open_stdin;
    let streams =
        Streams { stdin: options.stdin && open_stdin, stdout: options.stdout, stderr: options.stderr };
    let (ours, theirs) = pair()?;
    let live = {
        // While a start is under way its clients are settled: wait for it, then attach to what runs.
        let _order = container.order.lock().await;
        match container.live() {
            Ok(live) => live,
            Err(_) => {
                container.attach_early(streams, theirs);
                return Ok(ours);
            }
        }
    };
    let request = Request::Attach { target: Target::Init, streams };
    live.link
        .ask(request, &[theirs.as_fd()])
        .await?
        .map_err(|e| Error::Internal(format!("cannot attach: {e}")))?;
    Ok(ours)
}

/// A connected pair of stream sockets: ours for tokio, and one to give away.
pub(crate) fn pair() -> Result<(UnixStream, OwnedFd)> {
    let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.map_err(|e| Error::Internal(format!("socketpair: {e}")))?;
    let ours = std::os::unix::net::UnixStream::from(ours);
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs))
}
