//! TLS for TCP sockets: our certificate, and the authority that clients' certificates must come from.

use std::{fmt::Display, path::PathBuf, sync::Arc};

use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// Clients must show a certificate of this authority; none lets everybody in.
    pub(super) ca: Option<PathBuf>,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// Reads the files.
///
/// # Errors
/// Files that are missing, malformed or do not belong together.
pub(super) fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, String> {
    let pair = |reason: &dyn Display| {
        format!(
            "invalid TLS configuration: Could not load X509 key pair (cert: {:?}, key: {:?}): {reason}",
            files.certificate, files.key
        )
    };
    let provider = Arc::new(ring::default_provider());
    let chain = fs_err::read(&files.certificate).map_err(|e| pair(&e))?;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().map_err(|e| pair(&e))?;
    let key = fs_err::read(&files.key).map_err(|e| pair(&e))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| pair(&e))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("invalid TLS configuration: {e}"))?;
    let builder = match &files.ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let bad = |reason: &dyn Display| {
                format!("invalid TLS configuration: could not read CA certificate {ca:?}: {reason}")
            };
            let text = fs_err::read(ca).map_err(|e| bad(&e))?;
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&text) {
                roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|e| bad(&e))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|e| pair(&e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
