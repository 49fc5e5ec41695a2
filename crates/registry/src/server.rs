//! The running server: listeners and connections.

use std::{io, net::SocketAddr, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};

use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tracing::{debug, error, warn};

use crate::{
    Registry,
    http::{
        connection::{self, PATIENCE},
        io::Socket,
        patience::Patient,
        route::Peer,
    },
    places::Places,
};

/// A client that does not finish its handshake by then is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept: file descriptors may be short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Clients that are served at once; others wait to be accepted.
const CONNECTIONS: usize = 8192;
/// Of them, those of one address: no single host keeps all others out. A proxy in front is one, and has room.
const EACH: usize = CONNECTIONS / 2;

/// Where a server listens.
#[derive(Debug, Default)]
pub struct Listen {
    /// TCP.
    pub address: Option<SocketAddr>,
    /// TLS on it.
    pub tls: Option<Arc<ServerConfig>>,
    /// A Unix socket for the operator: whoever may connect is an administrator.
    pub operator: Option<PathBuf>,
    /// Whether to open the socket at which files are handed over.
    pub handover: bool,
}

/// A server whose sockets are open.
#[derive(Debug)]
pub struct Server {
    registry: Arc<Registry>,
    tcp: Option<(TcpListener, Option<Arc<ServerConfig>>)>,
    operator: Option<UnixListener>,
    handover: Option<skiff_handover::Listener>,
}

impl Server {
    /// Opens the sockets. Runs inside tokio.
    ///
    /// # Errors
    /// An address is in use or not ours.
    pub async fn bind(registry: Arc<Registry>, listen: Listen) -> Result<Self, String> {
        let operator = match listen.operator {
            None => None,
            Some(path) => Some(
                operator(&path).map_err(|error| format!("cannot listen on {}: {error}", path.display()))?,
            ),
        };
        let socket = registry.handover_socket().filter(|_| listen.handover);
        // Without it, everything goes over TCP: the path may be longer than a socket's can be.
        let handover = socket.and_then(|path| match skiff_handover::Listener::bind(&path) {
            Ok(listener) => Some(listener),
            Err(error) => {
                warn!(path = %path.display(), %error, "files cannot be handed over");
                None
            }
        });
        // Last: whoever reaches it finds the others.
        let tcp = match listen.address {
            None => None,
            Some(address) => {
                let listener = TcpListener::bind(address).await;
                let listener = listener.map_err(|error| format!("cannot listen on {address}: {error}"))?;
                if let Ok(address) = listener.local_addr() {
                    registry.listens_at(address);
                }
                Some((listener, listen.tls))
            }
        };
        Ok(Self { registry, tcp, operator, handover })
    }

    /// The TCP address.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Serves until the future is dropped.
    pub async fn run(self) {
        let Self { registry, tcp, operator, handover } = self;
        let (maintain, handing) = (registry.clone().maintain(), registry.clone());
        let replicate = registry.clone().replicate();
        let operator = {
            let registry = registry.clone();
            async move {
                match operator {
                    Some(listener) => accept_operator(listener, registry).await,
                    None => std::future::pending().await,
                }
            }
        };
        let tcp = async move {
            match tcp {
                Some((listener, tls)) => accept(listener, tls.map(TlsAcceptor::from), registry).await,
                None => std::future::pending().await,
            }
        };
        let handover = async move {
            match handover {
                Some(listener) => handing.hand_over(listener).await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(tcp, operator, handover, maintain, replicate);
    }
}

fn operator(path: &PathBuf) -> io::Result<UnixListener> {
    // The database is ours alone, so whatever lies here is left over.
    let _ = fs_err::remove_file(path);
    let listener = UnixListener::bind(path)?;
    fs_err::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, registry: Arc<Registry>) {
    let places = Places::new(CONNECTIONS, EACH);
    loop {
        let free = places.free().await;
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                error!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.take(free, address.ip()) else {
            debug!(%address, "a client has too many connections");
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (registry, acceptor) = (registry.clone(), acceptor.clone());
        tokio::spawn(async move {
            let own = stream.local_addr().map(|own| own.ip());
            let local = address.ip().to_canonical().is_loopback() || own.is_ok_and(|own| own == address.ip());
            let peer = Peer { address: Some(address), secure: acceptor.is_some(), local };
            let stream = Patient::new(stream, PATIENCE);
            let socket = match acceptor {
                None => Socket::Tcp(stream),
                Some(acceptor) => {
                    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => Socket::Tls(Box::new(stream)),
                        Ok(Err(error)) => return debug!(%address, %error, "TLS handshake failed"),
                        Err(_) => return debug!(%address, "TLS handshake took too long"),
                    }
                }
            };
            connection::serve(registry, socket, peer).await;
            drop(place);
        });
    }
}

async fn accept_operator(listener: UnixListener, registry: Arc<Registry>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let peer = Peer { address: None, secure: false, local: false };
                tokio::spawn(connection::serve(
                    registry.clone(),
                    Socket::Operator(Patient::new(stream, PATIENCE)),
                    peer,
                ));
            }
            Err(error) => {
                error!(%error, "cannot accept the operator's connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
