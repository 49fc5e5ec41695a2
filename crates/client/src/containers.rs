//! Containers.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Body, Client, Error, Hijacked, JsonLines, Query, Request, Response, escape};

/// A container that has been made.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// What the engine thinks of the request.
    pub warnings: Option<Vec<String>>,
}

/// Which streams to attach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attach<'a> {
    /// Send input.
    pub stdin: bool,
    /// Receive standard output.
    pub stdout: bool,
    /// Receive standard error.
    pub stderr: bool,
    /// Receive what was logged before.
    pub logs: bool,
    /// The keys that detach, as written (`ctrl-p,ctrl-q`).
    pub detach_keys: Option<&'a str>,
}

/// Which containers to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListContainers<'a> {
    /// Also those that do not run.
    pub all: bool,
    /// With sizes.
    pub size: bool,
    /// At most so many, the newest.
    pub limit: Option<i64>,
    /// Filters as JSON.
    pub filters: Option<&'a str>,
}

/// Which lines of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Logs<'a> {
    /// Go on with new lines.
    pub follow: bool,
    /// Of standard output.
    pub stdout: bool,
    /// Of standard error.
    pub stderr: bool,
    /// From this time on.
    pub since: Option<&'a str>,
    /// Before this time.
    pub until: Option<&'a str>,
    /// With the time of each.
    pub timestamps: bool,
    /// Only so many of the last.
    pub tail: Option<&'a str>,
    /// With extra attributes.
    pub details: bool,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitCondition {
    /// It does not run.
    NotRunning,
    /// Its next exit.
    NextExit,
    /// It is gone.
    Removed,
}

/// How a wait ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WaitResult {
    /// Exit code.
    pub status_code: i64,
    /// What kept the engine from waiting.
    pub error: Option<WaitFailure>,
}

/// An error within a [`WaitResult`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WaitFailure {
    /// In words.
    pub message: String,
}

fn path(id: &str, rest: &str) -> String {
    format!("/containers/{}{rest}", escape(id))
}

impl Client {
    /// `POST /containers/create`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_create(
        &self,
        name: Option<&str>,
        platform: Option<&str>,
        body: &impl Serialize,
    ) -> Result<Created, Error> {
        let query = Query::new().maybe("name", name).maybe("platform", platform);
        self.json(Request::post("/containers/create").query(query).body(Body::json(body))).await
    }

    /// `POST /containers/{id}/{action}` for the actions without a body: start, stop, kill, pause, …
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_action(&self, id: &str, action: &str, query: Query) -> Result<(), Error> {
        self.unit(Request::post(path(id, &format!("/{action}"))).query(query)).await
    }

    /// `POST /containers/{id}/attach`.
    ///
    /// # Errors
    /// As [`Client::hijack`].
    pub async fn container_attach(&self, id: &str, attach: Attach<'_>) -> Result<Hijacked, Error> {
        let query = Query::new()
            .flag("stream", true)
            .flag("stdin", attach.stdin)
            .flag("stdout", attach.stdout)
            .flag("stderr", attach.stderr)
            .flag("logs", attach.logs)
            .maybe("detachKeys", attach.detach_keys);
        self.hijack(Request::post(path(id, "/attach")).query(query)).await
    }

    /// `POST /containers/{id}/wait`: the answer's head, which arrives once the engine waits. Its body, a
    /// [`WaitResult`], comes when the condition is met.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_wait(&self, id: &str, condition: WaitCondition) -> Result<Response, Error> {
        let condition = match condition {
            WaitCondition::NotRunning => None,
            WaitCondition::NextExit => Some("next-exit"),
            WaitCondition::Removed => Some("removed"),
        };
        self.send(Request::post(path(id, "/wait")).query(Query::new().maybe("condition", condition))).await
    }

    /// `GET /containers/{id}/json`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_inspect(&self, id: &str, size: bool) -> Result<Bytes, Error> {
        self.get_bytes(path(id, "/json"), Query::new().flag("size", size)).await
    }

    /// `GET /containers/json`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn containers(&self, list: ListContainers<'_>) -> Result<Bytes, Error> {
        let query = Query::new()
            .flag("all", list.all)
            .maybe("limit", list.limit.map(|n| n.to_string()))
            .flag("size", list.size)
            .maybe("filters", list.filters);
        self.get_bytes("/containers/json", query).await
    }

    /// `GET /containers/{id}/logs`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_logs(&self, id: &str, logs: Logs<'_>) -> Result<Response, Error> {
        let query = Query::new()
            .flag("follow", logs.follow)
            .flag("stdout", logs.stdout)
            .flag("stderr", logs.stderr)
            .maybe("since", logs.since)
            .maybe("until", logs.until)
            .flag("timestamps", logs.timestamps)
            .flag("details", logs.details)
            .maybe("tail", logs.tail);
        self.send(Request::get(path(id, "/logs")).query(query)).await
    }

    /// `DELETE /containers/{id}`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_remove(
        &self,
        id: &str,
        force: bool,
        volumes: bool,
        link: bool,
    ) -> Result<(), Error> {
        let query = Query::new().flag("v", volumes).flag("link", link).flag("force", force);
        self.unit(Request::new(http::Method::DELETE, path(id, "")).query(query)).await
    }

    /// `POST /containers/{id}/update`; gives the warnings.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_update(&self, id: &str, body: &impl Serialize) -> Result<Vec<String>, Error> {
        let answer: Created = self.json(Request::post(path(id, "/update")).body(Body::json(body))).await?;
        Ok(answer.warnings.unwrap_or_default())
    }

    /// `GET /containers/{id}/top`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_top(&self, id: &str, ps_args: Option<&str>) -> Result<Bytes, Error> {
        self.get_bytes(path(id, "/top"), Query::new().maybe("ps_args", ps_args)).await
    }

    /// `GET /containers/{id}/stats`: a line a second.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_stats(&self, id: &str) -> Result<JsonLines, Error> {
        let query = Query::new().with("stream", "1");
        Ok(self.send(Request::get(path(id, "/stats")).query(query)).await?.json_lines())
    }

    /// The same once, with rates.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn container_stats_once<T: DeserializeOwned>(&self, id: &str) -> Result<T, Error> {
        let query = Query::new().with("stream", "0");
        self.json(Request::get(path(id, "/stats")).query(query)).await
    }
}
