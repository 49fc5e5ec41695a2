//! Users, for administrators; and for each user his own password.

use maud::{Markup, html};

use super::{
    Page, View, layout,
    lists::{Column, table},
};
use crate::{Error, auth::Mode, clock, http::query::encode};

pub(super) fn all(view: &View) -> Result<Page, Error> {
    view.registry.require_admin(&view.visitor.caller)?;
    // A copy: the head of the page asks for the accounts again, and who holds this lock twice may wait for ever.
    let users = view.registry.accounts.read().users.clone();
    let columns = [
        Column::Text("User"),
        Column::Short("Administrator"),
        Column::Short("State"),
        Column::Short("Since"),
        Column::Actions,
    ];
    let rows = users.iter().map(|(name, user)| {
        vec![
            html! { a href={ "/ui/users/" (encode(name)) } { (name) } },
            html! { (if user.admin { "yes" } else { "no" }) },
            html! { (if user.disabled { "locked out" } else { "active" }) },
            html! { (clock::short(user.created)) },
            lock(view, name, user.disabled),
        ]
    });
    Page::ok(layout::page(
        view,
        "Users",
        html! {
            (table(&columns, rows))
            details {
                summary { "New user" }
                form.card method="post" action="/ui/user-add" {
                    (layout::token(view))
                    label { "Name" input name="name" required autocomplete="off"; }
                    (new_password())
                    label.check { input type="checkbox" name="admin" value="yes"; "Administrator" }
                    button type="submit" { "Create user" }
                }
            }
        },
    ))
}

fn lock(view: &View, name: &str, locked: bool) -> Markup {
    html! {
        form.inline method="post" action={ "/ui/user-set/" (encode(name)) } {
            (layout::token(view))
            input type="hidden" name="disabled" value=(!locked);
            button.quiet type="submit" aria-label={ (if locked { "Let in " } else { "Lock out " }) (name) } {
                (if locked { "Let in" } else { "Lock out" })
            }
        }
    }
}

/// Whose password a form is about: browsers keep passwords for people, and expect the name first.
fn whose(user: &str) -> Markup {
    html! { input hidden name="user" value=(user) autocomplete="username"; }
}

fn new_password() -> Markup {
    html! {
        label {
            "Password, 8 characters or more"
            input name="password" type="password" required minlength="8" autocomplete="new-password";
        }
    }
}

pub(super) fn one(view: &View, name: &str) -> Result<Page, Error> {
    view.registry.require_admin(&view.visitor.caller)?;
    let state = view.registry.accounts.read().clone();
    let user =
        state.users.get(name).ok_or_else(|| Error::NotFound { what: "user", name: name.to_owned() })?;
    let member =
        state.projects.iter().filter_map(|(project, record)| Some((project, record.members.get(name)?)));
    let member: Vec<_> = member.collect();
    let set = format!("/ui/user-set/{}", encode(name));
    Page::ok(layout::below(
        view,
        &[("Users", "/ui/users")],
        name,
        html! {
            dl {
                dt { "State" } dd { (if user.disabled { "locked out" } else { "active" }) }
                dt { "Administrator" } dd { (if user.admin { "yes" } else { "no" }) }
                dt { "Since" } dd { (clock::short(user.created)) }
            }
            form.row method="post" action=(set) {
                (layout::token(view))
                input type="hidden" name="admin" value=(!user.admin);
                button.quiet type="submit" { (if user.admin { "Make an ordinary user" } else { "Make an administrator" }) }
            }
            h2 { "Projects" }
            @if member.is_empty() { p { "Member of no project." } }
            @else {
                (table(&[Column::Text("Project"), Column::Short("Role")], member.into_iter().map(|(project, role)| vec![
                    html! { a href={ "/ui/projects/" (encode(project)) } { (project) } },
                    html! { (role.as_str()) },
                ])))
            }
            h2 { "New password" }
            form.card method="post" action=(set) {
                (layout::token(view))
                (whose(name))
                (new_password())
                button type="submit" { "Set password" }
            }
            (layout::removal(view, "user", name, "from the registry and from all projects"))
        },
    ))
}

/// Refuses who has no account here.
pub(super) fn require_account(view: &View) -> Result<(), Error> {
    if view.visitor.caller.is_nobody() || !matches!(view.registry.auth.mode, Mode::Accounts) {
        return Err(Error::NotFound { what: "page", name: "account".to_owned() });
    }
    Ok(())
}

/// The page of whoever is signed in.
pub(super) fn account(view: &View) -> Result<Page, Error> {
    require_account(view)?;
    let caller = &view.visitor.caller;
    Page::ok(layout::page(
        view,
        "Your account",
        html! {
            p { "Signed in as " strong { (caller.name) } "." }
            @if view.query.get("changed").is_some() { p.notice role="status" { "The password is changed. Other sessions have ended." } }
            h2 { "New password" }
            form.card method="post" action="/ui/account" {
                (layout::token(view))
                (whose(&caller.name))
                label { "Password until now" input name="current" type="password" required autocomplete="current-password"; }
                (new_password())
                button type="submit" { "Change password" }
            }
            h2 { "Command line" }
            (layout::command(&format!("docker login {} -u {}", view.host, caller.name)))
        },
    ))
}
