//! One request on one connection, in bounded time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::Full;
use hyper::{Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::Address;

const CONNECT: Duration = Duration::from_secs(15);
/// Until the head of the answer is there.
const ANSWER: Duration = Duration::from_secs(60);
/// Where distributions keep the authorities that everybody trusts.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Connects.
pub(crate) struct Wire {
    tls: TlsConnector,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    /// `needed`: without any authority, TLS cannot work, and that is said now.
    pub(crate) fn new(needed: bool) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let named = std::env::var("SSL_CERT_FILE").ok();
        for path in named.as_deref().into_iter().chain(AUTHORITIES) {
            let Ok(text) = fs_err::read(path) else { continue };
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).filter_map(Result::ok));
            break;
        }
        if needed && roots.is_empty() {
            return Err(
                "no certificate authorities are known: install ca-certificates, or set SSL_CERT_FILE"
                    .to_owned(),
            );
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    pub(crate) async fn send(
        &self,
        address: &Address,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: String,
    ) -> Result<Response<Incoming>, String> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &address.host);
        if let Some(map) = request.headers_mut() {
            map.extend(headers);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        let slow = |_| "it does not answer in time".to_owned();
        let stream = timeout(CONNECT, TcpStream::connect(address.endpoint())).await.map_err(slow)?;
        let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
        let _ = stream.set_nodelay(true);
        if address.secure {
            let name = ServerName::try_from(address.name().to_owned()).map_err(|error| error.to_string())?;
            let stream = timeout(CONNECT, self.tls.connect(name, stream)).await.map_err(slow)?;
            exchange(stream.map_err(|error| format!("TLS: {error}"))?, request).await
        } else {
            exchange(stream, request).await
        }
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    // Lives until the body has been read or dropped.
    tokio::spawn(connection);
    let answer = timeout(ANSWER, sender.send_request(request)).await;
    answer.map_err(|_| "it does not answer in time".to_owned())?.map_err(text)
}
