//! Volumes.

use bytes::Bytes;
use serde_json::Value;

use crate::{Body, Client, Error, Query, Request, escape};

fn path(name: &str) -> String {
    format!("/volumes/{}", escape(name))
}

impl Client {
    /// `GET /volumes`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn volumes(&self, filters: Option<&str>) -> Result<Bytes, Error> {
        self.get_bytes("/volumes", Query::new().maybe("filters", filters)).await
    }

    /// `GET /volumes/{name}`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn volume_inspect(&self, name: &str) -> Result<Bytes, Error> {
        self.get_bytes(path(name), Query::new()).await
    }

    /// `POST /volumes/create`: the volume.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn volume_create(&self, body: &Value) -> Result<Bytes, Error> {
        self.send(Request::post("/volumes/create").body(Body::json(body))).await?.bytes().await
    }

    /// `DELETE /volumes/{name}`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<(), Error> {
        let query = Query::new().flag("force", force);
        self.unit(Request::new(http::Method::DELETE, path(name)).query(query)).await
    }

    /// `POST /volumes/prune`: what was removed.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn volumes_prune(&self, filters: Option<&str>) -> Result<Bytes, Error> {
        let query = Query::new().maybe("filters", filters);
        self.send(Request::post("/volumes/prune").query(query)).await?.bytes().await
    }
}
