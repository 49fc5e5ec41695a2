//! What a machine of Google's knows of itself.
//!
//! Source: "About VM metadata" of the Compute Engine documentation.

use std::sync::Arc;

use tokio_rustls::rustls::ClientConfig;

use crate::remote::{
    SendError,
    endpoint::{Endpoint, Environment},
};

const HOST: &str = "metadata.google.internal";

/// The machine's metadata server.
pub(super) struct Metadata(Endpoint);

impl Metadata {
    pub(super) fn open(environment: &Environment, trust: &Arc<ClientConfig>) -> Result<Self, SendError> {
        let host = environment("GCE_METADATA_HOST").unwrap_or_else(|| HOST.to_owned());
        let url = format!("http://{host}/computeMetadata/v1/");
        Endpoint::new(&url, trust).map(Self).map_err(|reason| SendError::Protocol { address: url, reason })
    }

    /// One fact: `project/project-id`.
    pub(super) async fn get(&mut self, what: &str) -> Result<String, SendError> {
        let text = self.0.get(&format!("/{what}"), &[("metadata-flavor", "Google")]).await?;
        Ok(text.trim().to_owned())
    }
}
