//! What all pages share: head, navigation, forms, sizes and times.

use maud::{DOCTYPE, Markup, html};

use super::View;
use crate::{auth::Mode, http::query::encode};

/// A page with its title.
pub(super) fn page(view: &View, title: &str, body: Markup) -> Markup {
    below(view, &[], title, body)
}

/// A page with its title, and the way to it: names and addresses.
pub(super) fn below(view: &View, way: &[(&str, &str)], title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Skiff registry" }
                link rel="icon" href="/ui/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/ui/style.css";
                script src="/ui/script.js" defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                (header(view))
                main #content {
                    @if !way.is_empty() { (trail(way)) }
                    h1 { (title) }
                    (body)
                }
            }
        }
    }
}

fn header(view: &View) -> Markup {
    let caller = &view.visitor.caller;
    let admin = view.registry.require_admin(caller).is_ok();
    let accounts = matches!(view.registry.auth.mode, Mode::Accounts);
    let link = |path: &str, name: &str| html! { a href=(path) aria-current=[(view.path == path).then_some("page")] { (name) } };
    html! {
        header {
            a.brand href="/ui/" { "Skiff registry" }
            nav aria-label="Main" {
                (link("/ui/", "Projects"))
                @if admin {
                    (link("/ui/users", "Users"))
                    (link("/ui/storage", "Storage"))
                    (link("/ui/audit", "Audit log"))
                }
            }
            form.search action="/ui/search" role="search" {
                input type="search" name="q" aria-label="Search repositories" placeholder="Search repositories"
                    value=(view.query.get("q").unwrap_or_default());
            }
            @if !caller.is_nobody() {
                form.inline.who method="post" action="/ui/logout" {
                    (token(view))
                    @if accounts { (link("/ui/account", &caller.name)) } @else { span { (caller.name) } }
                    button.quiet type="submit" { "Sign out" }
                }
            } @else if !matches!(view.registry.auth.mode, Mode::Open) && view.path != "/ui/login" {
                a.button.who href=(sign_in(view)) { "Sign in" }
            }
        }
    }
}

/// Where one signs in and then comes back from.
pub(super) fn sign_in(view: &View) -> String {
    match view.whole.as_str() {
        "" | "/ui/" => "/ui/login".to_owned(),
        whole => format!("/ui/login?to={}", encode(whole)),
    }
}

/// The sign-in page. Who has failed keeps the name that he typed.
pub(super) fn login(view: &View, to: &str, user: &str, failed: Option<&str>) -> Markup {
    page(
        view,
        "Sign in",
        html! {
            @if let Some(reason) = failed { p.failure role="alert" { (reason) } }
            form.card method="post" action="/ui/login" {
                (token(view))
                input type="hidden" name="to" value=(to);
                label { "User name" input name="user" value=(user) autocomplete="username" required autofocus[user.is_empty()]; }
                label { "Password" input name="password" type="password" autocomplete="current-password" required autofocus[!user.is_empty()]; }
                button type="submit" { "Sign in" }
            }
        },
    )
}

/// What makes a form ours.
pub(super) fn token(view: &View) -> Markup {
    html! { input type="hidden" name="token" value=(view.visitor.form_token(&view.registry)); }
}

/// The removal of a `user` or `project`, with everything that goes with it, in words.
pub(super) fn removal(view: &View, what: &str, name: &str, with: &str) -> Markup {
    html! {
        details {
            summary { "Remove this " (what) }
            form.card method="post" action={ "/ui/" (what) "-remove/" (encode(name)) } {
                (token(view))
                p { "This removes " strong { (name) } " " (with) ". It cannot be undone." }
                button.danger type="submit" { "Remove" }
            }
        }
    }
}

/// A command to copy.
pub(super) fn command(text: &str) -> Markup {
    html! {
        div.command { code { (text) } button.quiet type="button" data-copy=(text) { "Copy" } }
    }
}

/// The way here.
fn trail(steps: &[(&str, &str)]) -> Markup {
    html! {
        nav.trail aria-label="Breadcrumb" {
            @for (at, (name, href)) in steps.iter().enumerate() {
                @if at > 0 { span aria-hidden="true" { " / " } }
                a href=(href) { (name) }
            }
        }
    }
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    skiff_types::human_size(bytes, 3)
}
