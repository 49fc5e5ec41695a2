//! Whom a receiver's certificate has to satisfy, and what we show.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use rustix::fs::{Mode, OFlags};
use skiff_tls::Anybody;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::OptionError;

/// What the options say of TLS.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trust<'a> {
    /// A file of authorities, instead of the system's.
    pub(super) authorities: Option<&'a [u8]>,
    /// Files with a certificate of ours and its key.
    pub(super) identity: Option<(&'a Path, &'a Path)>,
    /// Take any certificate.
    pub(super) anybody: bool,
}

/// Reads a file that an option names. (Not through `fs_err`: the path is told by the error already.)
pub(super) fn read(what: &str, path: &Path) -> Result<Vec<u8>, OptionError> {
    let read = || {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source: io::Error| OptionError::File {
        what: what.to_owned(),
        path: path.to_owned(),
        source,
    })
}

/// TLS with this trust. Blocks for files.
///
/// # Errors
/// `option` is blamed for files that hold something else.
pub(super) fn config(option: &'static str, trust: Trust<'_>) -> Result<Arc<ClientConfig>, OptionError> {
    let bad = |e: &dyn fmt::Display| OptionError::value(option, e.to_string());
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&e))?;
    let builder = match trust.anybody {
        true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody::new(provider))),
        false => builder.with_root_certificates(roots(trust.authorities)),
    };
    let Some((certificate, key)) = trust.identity else { return Ok(Arc::new(builder.with_no_client_auth())) };
    const WHAT: &str = "Could not load X509 key pair: ";
    let wrong = |e: &dyn fmt::Display| OptionError::value(option, format!("{WHAT}{e}"));
    let (chain, key) = (read(WHAT, certificate)?, read(WHAT, key)?);
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().map_err(|e| wrong(&e))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| wrong(&e))?;
    Ok(Arc::new(builder.with_client_auth_cert(chain, key).map_err(|e| wrong(&e))?))
}

/// The authorities in a file, or the system's.
fn roots(file: Option<&[u8]>) -> RootCertStore {
    let Some(pem) = file else { return skiff_tls::system_authorities() };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    roots
}

/// Whether a file holds any certificate.
pub(super) fn has_certificates(pem: &[u8]) -> bool {
    CertificateDer::pem_slice_iter(pem).flatten().next().is_some()
}

/// The name that a certificate has to be for.
pub(super) fn name(option: &'static str, host: &str) -> Result<ServerName<'static>, OptionError> {
    ServerName::try_from(host.to_owned()).map_err(|e| OptionError::value(option, format!("{host:?}: {e}")))
}
