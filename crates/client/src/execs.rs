//! Processes in running containers.

use serde::{Deserialize, Serialize};

use crate::{Body, Client, Error, Hijacked, Query, Request, escape};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Id {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct State {
    exit_code: Option<i64>,
}

/// How to start a process.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StartExec {
    /// Do not attach.
    pub detach: bool,
    /// It has a terminal.
    pub tty: bool,
    /// Rows and columns of its terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<(u16, u16)>,
}

impl Client {
    /// `POST /containers/{id}/exec`; gives the id of what is to run.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn exec_create(&self, container: &str, body: &impl Serialize) -> Result<String, Error> {
        let path = format!("/containers/{}/exec", escape(container));
        Ok(self.json::<Id>(Request::post(path).body(Body::json(body))).await?.id)
    }

    /// `POST /exec/{id}/start` without its streams.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn exec_start(&self, id: &str, start: StartExec) -> Result<(), Error> {
        self.unit(Request::post(format!("/exec/{id}/start")).body(Body::json(&start))).await
    }

    /// `POST /exec/{id}/start` with its streams.
    ///
    /// # Errors
    /// As [`Client::hijack`].
    pub async fn exec_attach(&self, id: &str, start: StartExec) -> Result<Hijacked, Error> {
        self.hijack(Request::post(format!("/exec/{id}/start")).body(Body::json(&start))).await
    }

    /// `POST /exec/{id}/resize`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn exec_resize(&self, id: &str, rows: u16, columns: u16) -> Result<(), Error> {
        let query = Query::new().with("h", rows.to_string()).with("w", columns.to_string());
        self.unit(Request::post(format!("/exec/{id}/resize")).query(query)).await
    }

    /// The exit code of an exec that has ended.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn exec_exit_code(&self, id: &str) -> Result<i64, Error> {
        let state: State = self.json(Request::get(format!("/exec/{id}/json"))).await?;
        Ok(state.exit_code.unwrap_or_default())
    }
}
