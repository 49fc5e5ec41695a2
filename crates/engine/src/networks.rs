//! The built-in networks: `bridge`, `host`, `none`.

use crate::{
    Error, Result,
    model::{Filters, NetworkInspect},
};

/// The service.
#[derive(Clone)]
pub struct Networks {}

#[expect(unused_variables, reason = "signatures first")]
impl Networks {
    /// Lists networks.
    ///
    /// # Errors
    /// Unknown filters.
    pub async fn list(&self, filters: Filters) -> Result<Vec<NetworkInspect>> {
        Err(Error::NotImplemented("not there yet".into()))
    }

    /// One network by name, id or beginning of its id.
    ///
    /// # Errors
    /// There is no such network.
    pub async fn inspect(&self, network: &str) -> Result<NetworkInspect> {
        Err(Error::NotImplemented("not there yet".into()))
    }
}
