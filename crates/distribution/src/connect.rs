//! Connections: through a proxy or not, with TLS or not, kept for the next request.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

use crate::{
    certificates::{self, Trust},
    config::Config,
    error::{RequestError, go_words},
    proxy::{self, Proxy},
    url::{Origin, Scheme},
};

/// A body on its way to a registry.
pub(crate) type OutgoingBody = BoxBody<Bytes, io::Error>;
/// A connection that can carry a request.
pub(crate) type Sender = SendRequest<OutgoingBody>;

/// The most that a proxy may answer before the tunnel stands, in bytes.
const MOST_OF_PROXY: usize = 8 << 10;

/// The connections of one session, in use and idle.
pub(crate) struct Connections {
    config: Arc<Config>,
    idle: Mutex<HashMap<Origin, Vec<Sender>>>,
    tls: Mutex<HashMap<Origin, Arc<ClientConfig>>>,
}

/// A connection, and whether requests on it name the whole address: a proxy wants that.
pub(crate) struct Connected {
    pub(crate) sender: Sender,
    pub(crate) absolute: bool,
    pub(crate) proxy_authorization: Option<crate::Secret>,
    /// It carried requests before: the other end may have closed it meanwhile.
    pub(crate) used: bool,
}

impl Connections {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self { config, idle: Mutex::default(), tls: Mutex::default() }
    }

    /// A connection to the host that can take a request now. `fresh` leaves idle ones alone.
    pub(crate) async fn get(
        &self,
        origin: &Origin,
        trust: &Trust,
        fresh: bool,
    ) -> Result<Connected, RequestError> {
        let proxy = proxy::for_host(&self.config.proxies, origin).map_err(RequestError::Proxy)?;
        let plain_proxy = proxy.filter(|_| origin.scheme == Scheme::Http);
        let absolute = plain_proxy.is_some();
        let proxy_authorization = plain_proxy.and_then(|p| p.authorization);
        let ready = |sender, used| Connected { sender, absolute, proxy_authorization, used };
        loop {
            let idle = self.lock_idle().get_mut(origin).and_then(Vec::pop).filter(|_| !fresh);
            let Some(mut sender) = idle else { break };
            if matches!(tokio::time::timeout(Duration::ZERO, sender.ready()).await, Ok(Ok(()))) {
                return Ok(ready(sender, true));
            }
        }
        let opened = tokio::time::timeout(self.config.limits.connect, self.open(origin, trust));
        match opened.await {
            Ok(sender) => Ok(ready(sender?, false)),
            Err(_) => Err(RequestError::Timeout("Client.Timeout exceeded while dialing")),
        }
    }

    /// Keeps a connection whose last answer has been read to its end.
    pub(crate) fn put_back(&self, origin: &Origin, sender: Sender) {
        /// More are not needed at once.
        const MOST: usize = 8;
        let mut idle = self.lock_idle();
        let list = idle.entry(origin.clone()).or_default();
        if list.len() < MOST && !sender.is_closed() {
            list.push(sender);
        }
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, HashMap<Origin, Vec<Sender>>> {
        // Any connection may be lost.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self, origin: &Origin, trust: &Trust) -> Result<Sender, RequestError> {
        let proxy = proxy::for_host(&self.config.proxies, origin).map_err(RequestError::Proxy)?;
        let stream = match &proxy {
            None => dial(origin).await?,
            Some(proxy) if proxy.origin.scheme == Scheme::Https => {
                return Err(RequestError::Proxy("proxies that want TLS are not supported".to_owned()));
            }
            Some(proxy) => {
                let mut stream = dial(&proxy.origin).await.map_err(|e| RequestError::Proxy(e.to_string()))?;
                if origin.scheme == Scheme::Https {
                    tunnel(&mut stream, proxy, origin).await?;
                }
                stream
            }
        };
        if origin.scheme == Scheme::Http {
            return start(stream).await;
        }
        let connector = TlsConnector::from(self.tls(origin, trust).await?);
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|e| RequestError::Tls(format!("tls: {:?}: {e}", origin.host)))?;
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|e| RequestError::Tls(certificates::words(&e, &origin.host)))?;
        start(stream).await
    }

    async fn tls(&self, origin: &Origin, trust: &Trust) -> Result<Arc<ClientConfig>, RequestError> {
        if let Some(config) = self.tls.lock().unwrap_or_else(PoisonError::into_inner).get(origin) {
            return Ok(Arc::clone(config));
        }
        let trust = trust.clone();
        let config = tokio::task::spawn_blocking(move || certificates::client_config(&trust))
            .await
            .map_err(|e| RequestError::Tls(e.to_string()))?
            .map_err(|e| RequestError::Tls(e.to_string()))?;
        let mut known = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(known.entry(origin.clone()).or_insert(config)))
    }
}

async fn dial(origin: &Origin) -> Result<TcpStream, RequestError> {
    let found = tokio::net::lookup_host((origin.host.as_str(), origin.port)).await;
    let (mut addresses, failure): (Vec<_>, _) = match found {
        Ok(found) => (found.collect(), String::new()),
        Err(error) => (Vec::new(), error.to_string()),
    };
    // IPv4 first: a host without a way to the other world fails at once, but a broken way costs the whole time.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    if addresses.is_empty() {
        let asked = move || {
            let server = name_server();
            let why = why_no_address(&server, &failure);
            (server, why)
        };
        let (server, why) = tokio::task::spawn_blocking(asked).await.unwrap_or_default();
        return Err(RequestError::Lookup { host: origin.host.clone(), server, why });
    }
    let mut last = None;
    for one in addresses {
        match TcpStream::connect(one).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(cause) => last = Some(RequestError::Dial { address: one.to_string(), cause }),
        }
    }
    Err(last.expect("there was an address to try"))
}

/// The name server that is asked first, as errors name it. Blocks.
fn name_server() -> String {
    let text = fs_err::read_to_string("/etc/resolv.conf").unwrap_or_default();
    first_name_server(&text)
}

/// Why a name has no address, of what the resolver says: it does not tell whether anybody could be asked.
fn why_no_address(server: &str, failure: &str) -> String {
    // Nothing is sent: this is about the way there.
    let way = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| socket.connect(server));
    match way {
        Err(error) if server.parse().is_ok_and(|server: SocketAddr| server.is_ipv4()) => {
            format!("dial udp {server}: connect: {}", go_words(&error))
        }
        // EAI_AGAIN: no answer, or one that says nothing about the name.
        _ if failure.contains("Temporary failure") || failure.contains("Try again") => {
            "Temporary failure in name resolution".to_owned()
        }
        _ => "no such host".to_owned(),
    }
}

fn first_name_server(resolv_conf: &str) -> String {
    let mut servers = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok())?
    });
    let first = servers.next().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    SocketAddr::new(first, 53).to_string()
}

/// Asks a proxy for a tunnel (RFC 9110, section 9.3.6).
async fn tunnel(stream: &mut TcpStream, proxy: &Proxy, to: &Origin) -> Result<(), RequestError> {
    let broken = |e: io::Error| RequestError::Proxy(e.to_string());
    let address = to.address();
    let mut request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str(&format!("Proxy-Authorization: {}\r\n", authorization.reveal()));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        // A byte at a time: what follows belongs to the tunnel.
        answer.push(stream.read_u8().await.map_err(broken)?);
        if answer.len() > MOST_OF_PROXY {
            return Err(RequestError::Proxy("the answer is too long".to_owned()));
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let line = line.lines().next().unwrap_or_default();
    match line.split_once(' ') {
        Some((_, status)) if status.starts_with('2') => Ok(()),
        Some((_, status)) => Err(RequestError::Proxy(status.to_owned())),
        None => Err(RequestError::Proxy("malformed HTTP response".to_owned())),
    }
}

async fn start<S>(stream: S) -> Result<Sender, RequestError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(1 << 20)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| RequestError::Broken(e.to_string()))?;
    // Its errors reach whoever waits for an answer on it.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_server_is_named() {
        let text = "# nameserver 1.1.1.1\nsearch a\nnameserver\t10.0.0.2\nnameserver 10.0.0.3\n";
        assert_eq!(first_name_server(text), "10.0.0.2:53");
        assert_eq!(first_name_server("nameserver fd00::1"), "[fd00::1]:53");
        assert_eq!(first_name_server(""), "127.0.0.1:53");
    }

    #[test]
    fn a_name_that_nobody_could_be_asked_for_may_exist() {
        let unknown = "failed to lookup address information: Name or service not known";
        let unanswered = "failed to lookup address information: Temporary failure in name resolution";
        assert_eq!(why_no_address("127.0.0.1:53", unknown), "no such host");
        assert_eq!(why_no_address("127.0.0.1:53", unanswered), "Temporary failure in name resolution");
        // Nobody may send there without saying so.
        let broadcast = "255.255.255.255:53";
        let why = "dial udp 255.255.255.255:53: connect: permission denied";
        assert_eq!(why_no_address(broadcast, unanswered), why);
    }
}
