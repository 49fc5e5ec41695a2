//! Networks.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Body, Client, Error, Query, Request, escape};

fn path(name: &str, rest: &str) -> String {
    format!("/networks/{}{rest}", escape(name))
}

impl Client {
    /// `POST /networks/create`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn network_create<T: DeserializeOwned>(&self, body: &impl Serialize) -> Result<T, Error> {
        self.json(Request::post("/networks/create").body(Body::json(body))).await
    }

    /// `GET /skiff/explain`, which other engines do not have.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn network_explain<T: DeserializeOwned>(&self, from: &str, to: &str) -> Result<T, Error> {
        let query = Query::new().with("from", from).with("to", to);
        self.json(Request::new(http::Method::GET, "/skiff/explain").query(query)).await
    }

    /// `DELETE /networks/{id}`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn network_remove(&self, name: &str) -> Result<(), Error> {
        self.unit(Request::new(http::Method::DELETE, path(name, ""))).await
    }

    /// `POST /networks/{id}/connect` or `/disconnect`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn network_action(&self, name: &str, action: &str, body: &impl Serialize) -> Result<(), Error> {
        self.unit(Request::post(path(name, &format!("/{action}"))).body(Body::json(body))).await
    }
}
