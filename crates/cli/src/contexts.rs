//! The store of contexts below the configuration directory: named engines.

use std::path::Path;

use serde::Deserialize;
use skiff_client::TlsFiles;
use skiff_types::Digest;

use crate::options::env::go_open_error;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Metadata {
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Endpoint {
    host: String,
    #[serde(rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// An engine that has a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// Its address.
    pub(crate) host: String,
    /// Its certificates, if it has any.
    pub(crate) tls: Option<TlsFiles>,
}

/// What the context `name` stands for.
///
/// # Errors
/// A context that is not there, in docker's words.
pub(crate) fn find(config_dir: &Path, name: &str) -> Result<Context, String> {
    let id = Digest::of(name).hex();
    let path = config_dir.join("contexts/meta").join(&id).join("meta.json");
    let text = fs_err::read(&path).map_err(|e| {
        format!("context {name:?}: context not found: {}", go_open_error(&path.to_string_lossy(), &e))
    })?;
    let metadata: Metadata =
        serde_json::from_slice(&text).map_err(|e| format!("parsing {}: {e}", path.display()))?;
    let Endpoint { host, skip_tls_verify } = metadata.endpoints.docker;
    let certificates = config_dir.join("contexts/tls").join(&id).join("docker");
    let file = |name: &str| Some(certificates.join(name)).filter(|path| path.exists());
    let tls = certificates.exists().then(|| TlsFiles {
        ca: file("ca.pem"),
        identity: file("cert.pem").zip(file("key.pem")),
        verify: !skip_tls_verify,
    });
    Ok(Context { host, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_names_an_engine() {
        let dir = tempfile::tempdir().unwrap();
        let error = find(dir.path(), "nope").unwrap_err();
        assert!(error.starts_with("context \"nope\": context not found: open /"), "{error}");
        assert!(error.ends_with(
            "/contexts/meta/ca3704aa0b06f5954c79ee837faa152d84d6b2d42838f0637a15eda8337dbdce/meta.json: no such file \
             or directory"
        ));
        let meta = dir.path().join("contexts/meta").join(Digest::of("box").hex());
        fs_err::create_dir_all(&meta).unwrap();
        fs_err::write(
            meta.join("meta.json"),
            r#"{"Name":"box","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://1.2.3.4:5"}}}"#,
        )
        .unwrap();
        let context = Context { host: "tcp://1.2.3.4:5".into(), tls: None };
        assert_eq!(find(dir.path(), "box"), Ok(context));
    }
}
