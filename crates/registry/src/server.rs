//! The running server: listeners and connections.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rustix::io::Errno;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};
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

/// How long requests under way may go on at the end.
const GRACE: Duration = Duration::from_secs(5);

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
                let listener = listen_at(address).await;
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

    /// Serves until `end`. Then nobody is let in, requests under way are answered, and connections that wait for another are
    /// closed; what takes longer than five seconds is cut.
    pub async fn run(self, end: impl Future<Output = ()>) {
        // Every connection has a receiver: so it hears of the end, and is known to have ended.
        let (ending, alive) = watch::channel(false);
        let Self { registry, tcp, operator, handover } = self;
        let (maintain, handing) = (registry.clone().maintain(), registry.clone());
        let replicate = registry.clone().replicate();
        let operator = {
            let (registry, alive) = (registry.clone(), alive.clone());
            async move {
                match operator {
                    Some(listener) => accept_operator(listener, registry, alive).await,
                    None => std::future::pending().await,
                }
            }
        };
        let handed = alive.clone();
        let tcp = async move {
            match tcp {
                Some((listener, tls)) => accept(listener, tls.map(TlsAcceptor::from), registry, alive).await,
                None => std::future::pending().await,
            }
        };
        let handover = async move {
            match handover {
                Some(listener) => handing.hand_over(listener, handed).await,
                None => std::future::pending().await,
            }
        };
        let all = async move { tokio::join!(tcp, operator, handover, maintain, replicate) };
        tokio::select! {
            _ = all => {}
            () = end => {}
        }
        ending.send_replace(true);
        let _ = tokio::time::timeout(GRACE, ending.closed()).await;
    }
}

/// Listens on an address. Any of both families is any of the older one where the kernel has no other.
async fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error)
            if address.ip() == Ipv6Addr::UNSPECIFIED
                && error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

fn operator(path: &PathBuf) -> io::Result<UnixListener> {
    // The database is ours alone, so whatever lies here is left over.
    let _ = fs_err::remove_file(path);
    let listener = UnixListener::bind(path)?;
    fs_err::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    registry: Arc<Registry>,
    alive: watch::Receiver<bool>,
) {
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
        let (registry, acceptor, alive) = (registry.clone(), acceptor.clone(), alive.clone());
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
            connection::serve(registry, socket, peer, alive).await;
            drop(place);
        });
    }
}

async fn accept_operator(listener: UnixListener, registry: Arc<Registry>, alive: watch::Receiver<bool>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let peer = Peer { address: None, secure: false, local: false };
                let socket = Socket::Operator(Patient::new(stream, PATIENCE));
                tokio::spawn(connection::serve(registry.clone(), socket, peer, alive.clone()));
            }
            Err(error) => {
                error!(%error, "cannot accept the operator's connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use skiff_sys::seccomp::{self, Instruction};

    use super::*;

    /// From now on this thread's kernel has no IPv6.
    fn without_ipv6() {
        let socket = if cfg!(target_arch = "x86_64") { 41 } else { 198 };
        let load = |k| Instruction { code: 0x20, jt: 0, jf: 0, k };
        let unless = |k, jf| Instruction { code: 0x15, jt: 0, jf, k };
        let answer = |k| Instruction { code: 0x06, jt: 0, jf: 0, k };
        let refuse = 0x0005_0000 | Errno::AFNOSUPPORT.raw_os_error() as u32;
        // The number of the call, then its first argument: AF_INET6.
        let program =
            [load(0), unless(socket, 3), load(16), unless(10, 1), answer(refuse), answer(0x7fff_0000)];
        rustix::thread::set_no_new_privs(true).unwrap();
        seccomp::load(&program, 0).unwrap();
    }

    #[test]
    fn any_address_is_one_where_there_is_no_ipv6() {
        let bound = std::thread::spawn(|| {
            without_ipv6();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let any = listen_at((Ipv6Addr::UNSPECIFIED, 0).into()).await.unwrap();
                let loopback = listen_at((Ipv6Addr::LOCALHOST, 0).into()).await;
                (any.local_addr().unwrap().ip(), loopback.is_ok())
            })
        });
        assert_eq!(bound.join().unwrap(), (Ipv4Addr::UNSPECIFIED.into(), false));
    }
}
