//! TLS to an engine over TCP: who may be at the other end, and who we are.

use std::{fmt::Display, path::PathBuf, sync::Arc};

use skiff_tls::Anybody;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

/// PEM files, and whether the engine must show a certificate of the authority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority of the engine's certificate.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Without it, any engine is taken for the right one (`--tls`).
    pub verify: bool,
}

/// Files that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// What a client needs to make connections.
#[derive(Clone)]
pub struct Tls(pub(crate) TlsConnector);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Files that are missing, malformed or do not belong together.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError(e.to_string()))?;
        let builder = match files.verify {
            true => builder.with_root_certificates(authority(files)?),
            false => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody::new(provider))),
        };
        let mut config = match &files.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let bad = |e: &dyn Display| {
                    TlsError(format!(
                        "could not load X509 key pair: {e}. Make sure the key is not encrypted ({})",
                        key.display()
                    ))
                };
                let chain = CertificateDer::pem_file_iter(certificate).map_err(|e| bad(&e))?;
                let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|e| bad(&e))?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|e| bad(&e))?;
                builder.with_client_auth_cert(chain, key).map_err(|e| bad(&e))?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

fn authority(files: &TlsFiles) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = &files.ca else {
        return Err(TlsError("an authority is needed to verify the engine (--tlscacert)".to_owned()));
    };
    let bad = |e: &dyn Display| TlsError(format!("could not read CA certificate {path:?}: {e}"));
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))? {
        roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
    }
    Ok(roots)
}

/// The name to expect in the certificate of `host:port`.
pub(crate) fn server_name(authority: &str) -> Option<ServerName<'static>> {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    ServerName::try_from(host.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_name_is_the_host_without_its_port() {
        let text = |authority| server_name(authority).map(|name| name.to_str().into_owned());
        assert_eq!(text("box.example:2376"), Some("box.example".into()));
        assert_eq!(text("127.0.0.1:2376"), Some("127.0.0.1".into()));
        assert_eq!(text("[::1]:2376"), Some("::1".into()));
    }

    #[test]
    fn missing_files_are_named() {
        let files = TlsFiles { ca: Some("/nonexistent/ca.pem".into()), identity: None, verify: true };
        let error = Tls::load(&files).unwrap_err().to_string();
        assert!(error.starts_with("could not read CA certificate \"/nonexistent/ca.pem\": "), "{error}");
    }
}
