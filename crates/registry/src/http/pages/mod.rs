//! The pages, `/ui/…`: HTML made here, one style sheet, one script that only adds comfort. Every text is escaped by the
//! templates; nothing is loaded from elsewhere, and the content security policy says so.

mod admin;
mod details;
mod forms;
mod images;
mod layout;
mod lists;
mod projects;
mod session;
mod users;

use std::sync::Arc;

use http::{HeaderName, Method, Request, StatusCode, header};
use maud::{Markup, html};

use super::{
    query::{Query, decode},
    receive::{self, Content},
    reply::{Answer, Reply},
    route::{self, Peer},
};
use crate::{Error, Registry, auth::Mode};

use self::session::Visitor;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
const ICON: &str = include_str!("icon.svg");
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";
/// Bytes of the longest form.
const MAX_FORM: usize = 64 << 10;

/// Everything a page needs.
struct View {
    registry: Arc<Registry>,
    /// Where this page is.
    path: String,
    /// The same with its query, for who signs in first; empty for what is no page to come back to.
    whole: String,
    visitor: Visitor,
    query: Query,
    /// Where clients reach the registry, without a scheme.
    host: String,
    secure: bool,
}

/// What a page answers with.
enum Page {
    Html(StatusCode, Markup),
    /// Go there next; perhaps with a cookie.
    Go(String, Option<String>),
}

impl Page {
    fn ok(markup: Markup) -> Result<Self, Error> {
        Ok(Self::Html(StatusCode::OK, markup))
    }

    fn go(to: impl Into<String>) -> Result<Self, Error> {
        Ok(Self::Go(to.into(), None))
    }
}

/// Answers a request for a page.
pub(super) async fn answer(registry: &Arc<Registry>, peer: &Peer, request: Request<Content>) -> Answer {
    let path = request.uri().path().to_owned();
    let reply = match path.as_str() {
        "/" | "/ui" => go("/ui/"),
        "/ui/style.css" => file("text/css; charset=utf-8", STYLE),
        "/ui/script.js" => file("text/javascript; charset=utf-8", SCRIPT),
        "/ui/icon.svg" => file("image/svg+xml", ICON),
        _ => page(registry, peer, request, &path).await,
    };
    reply
        .with(header::CONTENT_SECURITY_POLICY, POLICY)
        .with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .with(HeaderName::from_static("referrer-policy"), "same-origin")
        .into()
}

fn go(to: &str) -> Reply {
    Reply::empty(StatusCode::SEE_OTHER).with(header::LOCATION, to)
}

fn file(kind: &'static str, text: &'static str) -> Reply {
    Reply::bytes(StatusCode::OK, kind, text).with(header::CACHE_CONTROL, "max-age=300")
}

async fn page(registry: &Arc<Registry>, peer: &Peer, request: Request<Content>, path: &str) -> Reply {
    let headers = request.headers().clone();
    let base = registry.base(peer, &headers);
    let (secure, host) =
        base.split_once("://").map_or((false, ""), |(scheme, host)| (scheme == "https", host));
    let view = View {
        registry: registry.clone(),
        path: path.to_owned(),
        whole: match request.uri().path_and_query() {
            Some(whole) if request.method() == Method::GET && path != "/ui/login" => whole.to_string(),
            _ => String::new(),
        },
        visitor: Visitor::read(registry, peer, request.method(), &headers),
        query: Query::parse(request.uri().query().unwrap_or_default()),
        host: host.to_owned(),
        secure,
    };
    let method = request.method().clone();
    let outcome = match method {
        Method::GET | Method::HEAD => show(&view, path).await,
        Method::POST => submit(&view, path, request).await,
        _ => Err(Error::Unsupported { reason: "pages are read with GET and changed with POST".into() }),
    };
    let page = outcome.unwrap_or_else(|error| {
        route::log(&error, &method, path);
        failure(&view, &error)
    });
    let reply = match page {
        Page::Html(status, markup) => Reply::bytes(status, "text/html; charset=utf-8", markup.into_string()),
        Page::Go(to, None) => go(&to),
        Page::Go(to, Some(cookie)) => go(&to).with(header::SET_COOKIE, cookie),
    };
    reply.with(header::CACHE_CONTROL, "no-store")
}

async fn show(view: &View, path: &str) -> Result<Page, Error> {
    let rest = path.strip_prefix("/ui/").ok_or_else(|| nothing(path))?;
    if rest == "login" {
        let to = view.query.get("to").unwrap_or_default();
        return Page::ok(layout::login(view, to, "", None));
    }
    // Without accounts nobody but who is in the file sees anything; with them there may be public projects.
    if matches!(view.registry.auth.mode, Mode::Htpasswd(_)) && view.visitor.caller.is_nobody() {
        return Page::go(layout::sign_in(view));
    }
    let (kind, name) =
        rest.split_once('/').map_or((rest, String::new()), |(kind, name)| (kind, decode(name, false)));
    match kind {
        "" => projects::list(view),
        "search" => projects::search(view),
        "projects" => projects::one(view, &name),
        "repositories" => images::tags(view, &name),
        "image" => details::page(view, &name).await,
        "delete" => images::confirm(view, &name),
        "storage" => admin::storage(view, None),
        "audit" => admin::audit(view).await,
        "users" if name.is_empty() => users::all(view),
        "users" => users::one(view, &name),
        "account" => users::account(view),
        _ => Err(nothing(path)),
    }
}

async fn submit(view: &View, path: &str, request: Request<Content>) -> Result<Page, Error> {
    let headers = request.headers().clone();
    let body = receive::whole(&mut request.into_body(), MAX_FORM).await?;
    let body = body.ok_or_else(|| Error::Invalid { reason: "the form is too long".into() })?;
    let form = Query::parse(&String::from_utf8_lossy(&body));
    view.visitor.check_form(&view.registry, &headers, &form)?;
    let rest = path.strip_prefix("/ui/").ok_or_else(|| nothing(path))?;
    let (kind, name) =
        rest.split_once('/').map_or((rest, String::new()), |(kind, name)| (kind, decode(name, false)));
    forms::submit(view, kind, &name, &form).await
}

fn nothing(path: &str) -> Error {
    Error::NotFound { what: "page", name: path.to_owned() }
}

/// An error as a page. Who is not signed in is asked to.
fn failure(view: &View, error: &Error) -> Page {
    if matches!(error, Error::Unauthorized { .. }) {
        return Page::Go(layout::sign_in(view), None);
    }
    let body = html! {
        p.failure role="alert" { (error.told()) }
        p { a href="/ui/" { "All projects" } }
    };
    Page::Html(Reply::error(error).status(), layout::page(view, "That did not work", body))
}
