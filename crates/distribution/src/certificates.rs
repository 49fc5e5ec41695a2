//! Whose certificates are taken, and which of ours are shown: the system's authorities, and what lies in `certs.d`.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use skiff_tls::Anybody;
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

use crate::{Error, Result};

/// How far a host is trusted.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    /// Any certificate will do: the host is one of the insecure ones.
    pub(crate) anybody: bool,
    /// Authorities beside the system's.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    /// What we show it, if it asks.
    pub(crate) identities: Vec<Arc<Identity>>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities, {} identities", self.authorities.len(), self.identities.len())?;
        f.write_str(if self.anybody { ", anybody)" } else { ")" })
    }
}

/// A certificate of ours with its key.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// The certificates of a PEM file.
pub(crate) fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bad = |e: &dyn fmt::Display| {
        Error::Settings(format!("cannot read certificates of {}: {e}", path.display()))
    };
    let list = CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))?;
    list.collect::<Result<Vec<_>, _>>().map_err(|e| bad(&e))
}

/// A certificate of ours and its key.
pub(crate) fn identity(certificate: &Path, key: &Path) -> Result<Arc<Identity>> {
    let chain = read(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|e| Error::Settings(format!("cannot read the key {}: {e}", key.display())))?;
    Ok(Arc::new(Identity { chain, key }))
}

/// What a directory of `certs.d` says: authorities end in `.crt`, our certificates in `.cert`, their keys in `.key`.
pub(crate) fn in_directory(directory: &Path) -> Result<Trust> {
    let mut trust = Trust::default();
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs_err::read_dir(directory).map_err(settings)? {
        files.push(entry.map_err(settings)?.path());
    }
    files.sort();
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match path.extension().and_then(|e| e.to_str()) {
            Some("crt") => trust.authorities.extend(read(path)?),
            Some("cert") => {
                let key = path.with_extension("key");
                if !files.contains(&key) {
                    let key = key.file_name().unwrap_or_default().to_string_lossy();
                    return Err(Error::Settings(format!(
                        "missing key {key} for client certificate {name}. CA certificates must use the extension .crt"
                    )));
                }
                trust.identities.push(identity(path, &key)?);
            }
            Some("key") if !files.contains(&path.with_extension("cert")) => {
                let certificate = path.with_extension("cert");
                let certificate = certificate.file_name().unwrap_or_default().to_string_lossy();
                return Err(Error::Settings(format!(
                    "missing client certificate {certificate} for key {name}"
                )));
            }
            _ => {}
        }
    }
    Ok(trust)
}

fn settings(error: std::io::Error) -> Error {
    Error::Settings(error.to_string())
}

/// TLS for connections to a host of this trust. Reads the system's authorities. Blocks.
pub(crate) fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>> {
    let bad = |e: &dyn fmt::Display| Error::Settings(e.to_string());
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust.anybody {
        true => Arc::new(Anybody::new(Arc::clone(&provider))),
        false => {
            let roots = Arc::new(authorities(&trust.authorities));
            let inner = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|e| bad(&e))?;
            Arc::new(OrPinned { inner, pinned: trust.authorities.clone() })
        }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match trust.identities.first() {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|e| bad(&e))?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The system's authorities and these.
fn authorities(more: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = skiff_tls::system_authorities();
    roots.add_parsable_certificates(more.iter().cloned());
    roots
}

/// As the web's rules say, and a certificate that somebody put into `certs.d` itself: it signed itself, as people make them
/// for a registry of their own, and no authority is above it.
#[derive(Debug)]
struct OrPinned {
    inner: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OrPinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(error) if self.pinned.iter().any(|p| p == end_entity) && !is_about_time_or_name(&error) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn is_about_time_or_name(error: &rustls::Error) -> bool {
    use rustls::CertificateError as Why;
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            Why::Expired
                | Why::ExpiredContext { .. }
                | Why::NotValidYet
                | Why::NotValidYetContext { .. }
                | Why::NotValidForName
                | Why::NotValidForNameContext { .. }
        )
    )
}

/// What is wrong with the other end, in Go's words.
pub(crate) fn words(error: &std::io::Error, host: &str) -> String {
    use rustls::CertificateError as Why;
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    let failed = |why: &str| format!("tls: failed to verify certificate: x509: {why}");
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => {
            "http: server gave HTTP response to HTTPS client".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            Why::Expired | Why::ExpiredContext { .. } | Why::NotValidYet | Why::NotValidYetContext { .. } => {
                failed("certificate has expired or is not yet valid")
            }
            Why::NotValidForName | Why::NotValidForNameContext { .. } => {
                failed(&format!("certificate is not valid for {host}"))
            }
            Why::UnknownIssuer => failed("certificate signed by unknown authority"),
            other => failed(&other.to_string()),
        },
        Some(rustls::Error::AlertReceived(alert)) => format!("remote error: tls: {alert:?}"),
        Some(other) => format!("tls: {other}"),
        None => error.to_string(),
    }
}
