//! A hijacked connection joined to the standard streams.

use std::io;

use skiff_api::stream::{Decoder, StreamKind};
use skiff_client::{Hijacked, ReadHalf, WriteHalf};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc::Receiver,
};

use super::{Output, detach_keys::Watcher, input, terminal};
use crate::failure::Failure;

/// How to join.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joint<'a> {
    /// Send standard input.
    pub(crate) stdin: bool,
    /// Something comes back.
    pub(crate) output: bool,
    /// The process has a terminal: bytes are raw and detach keys count.
    pub(crate) tty: bool,
    /// The detach keys, if not the default.
    pub(crate) detach_keys: Option<&'a str>,
}

/// How a joint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The engine closed the stream.
    Closed,
    /// The detach keys were typed.
    Detached,
}

/// Copies both ways until the engine has no more to say, or the detach keys are typed. End of input is passed on by
/// closing that direction only.
pub(crate) async fn join(stream: Hijacked, joint: Joint<'_>) -> Result<End, Failure> {
    let Hijacked { read, write, .. } = stream;
    let _raw = match joint.stdin && joint.tty {
        true => Some(terminal::raw().map_err(|e| {
            Failure::new(format!(
                "unable to setup input stream: unable to set IO streams as raw terminal: {e}"
            ))
        })?),
        false => None,
    };
    let input = send_input(write, joint);
    let output = receive(read, joint.tty);
    tokio::pin!(input, output);
    tokio::select! {
        received = &mut output => received.map(|()| End::Closed),
        detached = &mut input => match detached {
            true => Ok(End::Detached),
            false if joint.output => output.await.map(|()| End::Closed),
            false => Ok(End::Closed),
        },
    }
}

/// Sends input to its end; whether it ended by the detach keys.
async fn send_input(mut write: WriteHalf, joint: Joint<'_>) -> bool {
    if !joint.stdin {
        let _ = write.shutdown().await;
        return false;
    }
    let mut input = input::start();
    let mut watcher = joint.tty.then(|| Watcher::new(joint.detach_keys));
    let detached = copy_input(&mut input, &mut write, watcher.as_mut()).await;
    if !detached {
        let _ = write.shutdown().await;
    }
    detached
}

async fn copy_input(
    input: &mut Receiver<Vec<u8>>,
    write: &mut WriteHalf,
    mut watcher: Option<&mut Watcher>,
) -> bool {
    while let Some(typed) = input.recv().await {
        let (bytes, detached) = match &mut watcher {
            Some(watcher) => watcher.filter(&typed),
            None => (typed, false),
        };
        // A process that reads no more is no error; its output says how it ended.
        if write.write_all(&bytes).await.is_err() {
            return false;
        }
        if detached {
            return true;
        }
    }
    false
}

async fn receive(mut read: ReadHalf, tty: bool) -> Result<(), Failure> {
    let mut buffer = vec![0; 64 << 10];
    let mut decoder = Decoder::new();
    loop {
        let n = match read.read(&mut buffer).await {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if n == 0 {
            return Ok(());
        }
        if tty {
            Output::Stdout.write_all(&buffer[..n]).await?;
        } else {
            write_frames(&mut decoder, &buffer[..n]).await?;
        }
    }
}

/// Writes the payloads in `bytes` to where they belong.
pub(crate) async fn write_frames(decoder: &mut Decoder, mut bytes: &[u8]) -> Result<(), Failure> {
    while let Some((kind, payload)) = decoder.next(&mut bytes).map_err(|e| Failure::new(unframed(e)))? {
        match kind {
            StreamKind::Stdin | StreamKind::Stdout => Output::Stdout.write_all(payload).await?,
            StreamKind::Stderr => Output::Stderr.write_all(payload).await?,
            StreamKind::SystemError => {
                let text = String::from_utf8_lossy(payload);
                return Err(Failure::new(format!("error from daemon in stream: {text}")));
            }
        }
    }
    Ok(())
}

fn unframed(error: skiff_api::stream::FrameError) -> String {
    format!("Unrecognized input header: {}", error.0)
}
