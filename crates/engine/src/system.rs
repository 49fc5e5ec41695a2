//! The daemon and its host.

use crate::{
    Error, Result,
    model::{Info, Version},
};

/// The service.
#[derive(Clone)]
pub struct System {}

impl System {
    /// `GET /info`.
    ///
    /// # Errors
    /// The host cannot be asked.
    pub async fn info(&self) -> Result<Info> {
        Err(Error::NotImplemented("not there yet".into()))
    }

    /// `GET /version`, without the API versions, which the server knows.
    pub fn version(&self) -> Version {
        crate::model::Version {
            platform: "Skiff Engine".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            git_commit: String::new(),
            build_time: String::new(),
            os: "linux".into(),
            arch: "amd64".into(),
            kernel_version: String::new(),
            experimental: false,
            components: Vec::new(),
        }
    }
}
