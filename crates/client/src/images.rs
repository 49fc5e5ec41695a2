//! Images.

use bytes::Bytes;
use tokio::io::AsyncRead;

use crate::{Body, Client, Error, Query, Request, Response, escape};

fn path(name: &str, rest: &str) -> String {
    format!("/images/{}{rest}", escape(name))
}

impl Client {
    /// `GET /images/json`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn images(&self, all: bool, manifests: bool, filters: Option<&str>) -> Result<Bytes, Error> {
        let query = Query::new().flag("all", all).flag("manifests", manifests).maybe("filters", filters);
        self.get_bytes("/images/json", query).await
    }

    /// `GET /images/{name}/json`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn image_inspect(&self, name: &str, platform: Option<&str>) -> Result<Bytes, Error> {
        self.get_bytes(path(name, "/json"), Query::new().maybe("platform", platform)).await
    }

    /// `GET /images/{name}/history`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn image_history(&self, name: &str, platform: Option<&str>) -> Result<Bytes, Error> {
        self.get_bytes(path(name, "/history"), Query::new().maybe("platform", platform)).await
    }

    /// `POST /images/{name}/tag`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn image_tag(&self, source: &str, repository: &str, tag: &str) -> Result<(), Error> {
        let query = Query::new().with("repo", repository).with("tag", tag);
        self.unit(Request::post(path(source, "/tag")).query(query)).await
    }

    /// `DELETE /images/{name}`: what was untagged and deleted.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn image_remove(&self, name: &str, query: Query) -> Result<Bytes, Error> {
        self.send(Request::new(http::Method::DELETE, path(name, "")).query(query)).await?.bytes().await
    }

    /// `POST /images/create`: pull or import; the body is a stream of progress.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn image_create(
        &self,
        query: Query,
        archive: Option<Box<dyn AsyncRead + Send + Unpin>>,
        registry_auth: Option<&str>,
    ) -> Result<Response, Error> {
        let body = archive.map_or(Body::Empty, Body::Stream);
        let mut request = Request::post("/images/create").query(query).body(body);
        if let Some(auth) = registry_auth {
            request = request.header("X-Registry-Auth", auth);
        }
        self.send(request).await
    }

    /// `POST /images/{name}/push`; the body is a stream of progress. `registry_config`, which only Skiff reads here, has the
    /// credentials of registries that layers come from.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn image_push(
        &self,
        name: &str,
        query: Query,
        registry_auth: &str,
        registry_config: Option<&str>,
    ) -> Result<Response, Error> {
        let request =
            Request::post(path(name, "/push")).query(query).header("X-Registry-Auth", registry_auth);
        self.send(match registry_config {
            Some(config) => request.header("X-Registry-Config", config),
            None => request,
        })
        .await
    }

    /// `POST /images/{name}/verify`, which only Skiff has: the stream of its progress.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn image_verify(
        &self,
        name: &str,
        query: Query,
        registry_auth: &str,
    ) -> Result<Response, Error> {
        let request = Request::post(path(name, "/verify")).query(query);
        self.send(request.header("X-Registry-Auth", registry_auth)).await
    }

    /// `GET /images/search`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn image_search(&self, query: Query, registry_auth: &str) -> Result<Bytes, Error> {
        let request = Request::get("/images/search").query(query).header("X-Registry-Auth", registry_auth);
        self.send(request).await?.bytes().await
    }

    /// `POST /auth`: tries credentials.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn auth(&self, credentials: &impl serde::Serialize) -> Result<Bytes, Error> {
        self.send(Request::post("/auth").body(Body::json(credentials))).await?.bytes().await
    }

    /// `POST /images/load`; the body is a stream of progress.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn image_load(
        &self,
        query: Query,
        archive: Box<dyn AsyncRead + Send + Unpin>,
    ) -> Result<Response, Error> {
        self.send(Request::post("/images/load").query(query).body(Body::Stream(archive))).await
    }

    /// `GET /images/get`: a tar archive of the named images.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn image_save(&self, names: &[String], platform: Option<&str>) -> Result<Response, Error> {
        let query = names.iter().fold(Query::new(), |query, name| query.with("names", name));
        self.send(Request::get("/images/get").query(query.maybe("platform", platform))).await
    }
}
