//! A container's files: copied, exported, compared, committed.

use skiff_api::model::{ChangeItem, CommitResponse, PathStat};

use crate::{Body, Client, Error, Query, Request, Response, escape};

fn path(name: &str, rest: &str) -> String {
    format!("/containers/{}{rest}", escape(name))
}

fn stat(response: &Response) -> Result<PathStat, Error> {
    let header = response.header("x-docker-container-path-stat").unwrap_or_default();
    PathStat::from_header(header).ok_or(Error::PathStat)
}

impl Client {
    /// `HEAD /containers/{name}/archive`: what is at a path.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_stat(&self, name: &str, at: &str) -> Result<PathStat, Error> {
        let query = Query::new().with("path", at);
        let request = Request::new(http::Method::HEAD, path(name, "/archive")).query(query);
        stat(&self.send(request).await?)
    }

    /// `GET /containers/{name}/archive`: what is at a path, and an archive of it.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_archive(&self, name: &str, at: &str) -> Result<(PathStat, Response), Error> {
        let query = Query::new().with("path", at);
        let response = self.send(Request::get(path(name, "/archive")).query(query)).await?;
        Ok((stat(&response)?, response))
    }

    /// `PUT /containers/{name}/archive`: unpacks an archive in a directory.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_extract(&self, name: &str, query: Query, archive: Body) -> Result<(), Error> {
        let request = Request::new(http::Method::PUT, path(name, "/archive"));
        self.unit(request.query(query).body(archive)).await
    }

    /// `GET /containers/{name}/export`: an archive of the whole file system.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_export(&self, name: &str) -> Result<Response, Error> {
        self.send(Request::get(path(name, "/export"))).await
    }

    /// `GET /containers/{name}/changes`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_changes(&self, name: &str) -> Result<Vec<ChangeItem>, Error> {
        let changes: Option<_> = self.json(Request::get(path(name, "/changes"))).await?;
        Ok(changes.unwrap_or_default())
    }

    /// `POST /commit`: the new image's id.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn commit(&self, query: Query) -> Result<String, Error> {
        let made: CommitResponse = self.json(Request::post("/commit").query(query)).await?;
        Ok(made.id)
    }
}
