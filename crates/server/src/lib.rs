//! The Docker Engine API over HTTP: each route parses, calls one method of the engine and renders the answer.
//!
//! [`serve`] answers the requests of one connection. Wire types ([`skiff_api::model`]) and domain types
//! ([`skiff_engine::model`]) meet in `convert` and nowhere else. What differs between API versions is decided here, the
//! engine knows one behaviour. A request that is cut short (the client leaves) stops what only that client wanted
//! (`logs`, `events`, `wait`); starting, stopping and removing go on.

mod activity;
mod body;
mod connection;
mod convert;
mod failure;
mod hijack;
mod metrics;
mod query;
mod reply;
mod request;
mod request_line;
mod routes;
mod time;
mod websocket;

pub use activity::Activity;
pub use connection::{Socket, serve};
pub use metrics::serve_metrics;
pub use request::Context;
