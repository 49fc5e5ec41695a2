//! `/auth/token`: who shows a password gets a token (distribution's token and OAuth 2 specifications).

use std::sync::Arc;

use http::{Method, Request, header};
use serde_json::json;

use super::{
    query::Query,
    receive::{self, Content},
    reply::{Answer, Reply},
    route::{self, Peer},
};
use crate::{
    Error, Registry,
    auth::{
        Action, Caller, CallerKind, Mode,
        token::{Access, LIFETIME, scopes},
    },
    clock,
    name::Name,
};

/// Bytes of the longest form.
const MAX_FORM: usize = 64 << 10;

pub(super) async fn answer(registry: &Arc<Registry>, peer: &Peer, request: Request<Content>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = give(registry, peer, request).await.unwrap_or_else(|error| {
        route::log(&error, &method, &path);
        Reply::error(&error)
    });
    answer.with(header::CACHE_CONTROL, "no-store").into()
}

async fn give(registry: &Arc<Registry>, peer: &Peer, request: Request<Content>) -> Result<Reply, Error> {
    if !matches!(registry.auth.mode, Mode::Accounts) {
        return Err(Error::Unsupported { reason: "this registry gives no tokens".into() });
    }
    let base = registry.base(peer, request.headers());
    let (caller, query) = match *request.method() {
        Method::GET => {
            let caller = registry.identify(peer, request.headers()).await?;
            if matches!(caller.kind, CallerKind::Token(_)) {
                return Err(needs_password(&base));
            }
            (caller, Query::parse(request.uri().query().unwrap_or_default()))
        }
        Method::POST => {
            let body = receive::whole(&mut request.into_body(), MAX_FORM).await?;
            let body = body.ok_or_else(|| Error::Invalid { reason: "the form is too long".into() })?;
            let form = Query::parse(&String::from_utf8_lossy(&body));
            (password_grant(registry, peer, &base, &form).await?, form)
        }
        _ => return Ok(route::wrong_method("GET, POST")),
    };
    let service = query.get("service").unwrap_or(registry.auth.service(&base));
    let access = scopes(query.all("scope")).into_iter().filter_map(|scope| granted(registry, &caller, scope));
    let (token, claims) = registry.auth.signer.issue(&caller.name, service, access.collect());
    Ok(Reply::json(&json!({
        "token": token,
        "access_token": token,
        "expires_in": LIFETIME,
        "issued_at": clock::rfc3339(claims.iat),
    })))
}

/// Tokens make no tokens: a password can be changed, and a token has the rights that were asked for with it.
fn needs_password(base: &str) -> Error {
    Error::Unauthorized { challenge: format!("Basic realm=\"{base}\"") }
}

/// OAuth 2 with a password.
async fn password_grant(registry: &Registry, peer: &Peer, base: &str, form: &Query) -> Result<Caller, Error> {
    if form.get("grant_type") != Some("password") {
        return Err(Error::Unsupported { reason: "only grant_type=password is supported".into() });
    }
    let (user, password) =
        (form.get("username").unwrap_or_default(), form.get("password").unwrap_or_default());
    let from = peer.address.map(|address| address.ip());
    if registry.password_is_right(from, user, password).await? {
        Ok(Caller::known(user, base))
    } else {
        Err(needs_password(base))
    }
}

/// What of a scope the caller has. The rest is left out, which is no error.
fn granted(registry: &Registry, caller: &Caller, scope: Access) -> Option<Access> {
    let name: Name = scope.name.parse().ok().filter(|_| scope.kind == "repository")?;
    let state = registry.accounts.read();
    let wanted = |action: &Action| scope.actions.iter().any(|a| a == action.as_str() || a == "*");
    let may = |action: &Action| caller.is_operator() || state.allows(&caller.name, name.project(), *action);
    let actions: Vec<String> =
        Action::ALL.iter().filter(|a| wanted(a) && may(a)).map(|a| a.as_str().to_owned()).collect();
    (!actions.is_empty()).then_some(Access { actions, ..scope })
}
