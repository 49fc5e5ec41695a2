//! `/gc`, `/audit`, `/storage`: the registry as a whole.

use http::Method;
use serde_json::json;

use super::{Call, Reply};
use crate::{Error, http::route::wrong_method, service::blocking};

/// Lines of the audit log that are given when no number is asked for.
const LINES: usize = 100;

pub(super) async fn answer(call: &Call, what: &str) -> Result<Reply, Error> {
    let registry = &call.registry;
    registry.require_admin(&call.caller)?;
    match (what, &call.method) {
        ("gc", &Method::POST) => {
            let collected = registry.collect().await?;
            registry.note(&call.caller, "gc", format_args!("{} blobs", collected.blobs));
            Ok(Reply::json(&collected))
        }
        ("audit", &Method::GET) => {
            let n = call.query.get("n").map(str::parse).transpose().map_err(|_| Error::PageInvalid)?;
            let registry = registry.clone();
            let lines = blocking(move || registry.audit.last(n.unwrap_or(LINES), |_| true)).await??;
            Ok(Reply::json(&lines))
        }
        ("storage", &Method::GET) => {
            let figures = registry.catalog.figures();
            Ok(Reply::json(&json!({
                "repositories": figures.repositories,
                "tags": figures.tags,
                "manifests": figures.manifests,
                "blobs": figures.blobs,
                "bytes": figures.bytes,
            })))
        }
        ("gc", _) => Ok(wrong_method("POST")),
        _ => Ok(wrong_method("GET")),
    }
}
