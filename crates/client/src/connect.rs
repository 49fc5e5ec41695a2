//! Opening connections.

use std::io;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::{Error, Host, Tls, tls};

/// A body on its way to the engine.
pub(crate) type OutgoingBody = UnsyncBoxBody<Bytes, io::Error>;
/// A connection that can carry a request.
pub(crate) type Sender = SendRequest<OutgoingBody>;

/// Connects and makes ready for requests.
pub(crate) async fn open(host: &Host, tls: Option<&Tls>) -> Result<Sender, Error> {
    let connected = match host {
        Host::Unix(path) => match UnixStream::connect(path).await {
            Ok(stream) => start(stream).await,
            Err(error) => Err(error),
        },
        Host::Tcp { authority, .. } => match TcpStream::connect(authority.as_str()).await {
            Ok(stream) => {
                // Keystrokes must not wait for acknowledgements.
                stream.set_nodelay(true).ok();
                match tls {
                    None => start(stream).await,
                    Some(tls) => {
                        let handshake = |source| Error::Handshake { host: host.to_string(), source };
                        let name = tls::server_name(authority)
                            .ok_or_else(|| handshake(io::Error::other("no name to expect")))?;
                        let stream = tls.0.connect(name, stream).await.map_err(handshake)?;
                        start(stream).await
                    }
                }
            }
            Err(error) => Err(error),
        },
    };
    connected.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => Error::Forbidden { host: host.to_string() },
        _ => Error::Unreachable { host: host.to_string(), source },
    })
}

async fn start<S>(stream: S) -> io::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::Builder::new()
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // Its errors reach whoever waits for an answer on it.
    tokio::spawn(async move { connection.with_upgrades().await.ok() });
    Ok(sender)
}
