//! What the forms do. Each checks again that the visitor may; the pages only hide what would be refused.

use std::num::NonZeroU32;

use maud::html;

use super::{Page, View, admin, layout, session, users};
use crate::{
    Error,
    accounts::{
        ProjectChange,
        records::{Retention, Role},
    },
    auth::Action,
    clock,
    http::query::{Query, encode},
    name::{Name, Reference},
};

const DAY: u64 = 86_400;

pub(super) async fn submit(view: &View, kind: &str, name: &str, form: &Query) -> Result<Page, Error> {
    let text = |key: &str| form.get(key).unwrap_or_default();
    let (registry, caller) = (&view.registry, &view.visitor.caller);
    match kind {
        "login" => login(view, text("user"), text("password"), text("to")).await,
        "logout" => {
            let cookie = session::sign_out(registry, &view.visitor).await?;
            Ok(Page::Go("/ui/".to_owned(), Some(cookie)))
        }
        "project-add" => {
            registry.require_admin(caller)?;
            let name = text("name");
            registry.accounts.add_project(name, form.get("public").is_some(), &caller.name).await?;
            registry.note(caller, "project.add", name);
            Page::go(format!("/ui/projects/{}", encode(name)))
        }
        "project-set" => project_set(view, name, form).await,
        "project-remove" => {
            registry.remove_project(caller, name).await?;
            Page::go("/ui/")
        }
        "replicate" => {
            registry.require_role(caller, name, Role::Admin)?;
            registry.replicate_now(name)?;
            registry.note(caller, "project.replicate", name);
            Page::go(format!("/ui/projects/{}", encode(name)))
        }
        "member" => {
            registry.require_role(caller, name, Role::Admin)?;
            let (user, role) = (text("user"), text("role"));
            let parsed = Role::parse(role);
            if parsed.is_none() && role != "none" {
                return Err(Error::Invalid { reason: format!("{role:?} is not a role") });
            }
            registry.accounts.set_member(name, user, parsed).await?;
            registry.note(caller, "member.set", format_args!("{name} {user} {role}"));
            Page::go(format!("/ui/projects/{}", encode(name)))
        }
        "robot-add" => robot(view, name, form).await,
        "robot-remove" => {
            registry.require_role(caller, name, Role::Admin)?;
            registry.accounts.remove_robot(name, text("robot")).await?;
            registry.note(caller, "robot.remove", format_args!("{name}+{}", text("robot")));
            Page::go(format!("/ui/projects/{}", encode(name)))
        }
        "user-add" => {
            registry.require_admin(caller)?;
            registry.accounts.add_user(text("name"), text("password"), form.get("admin").is_some()).await?;
            registry.note(caller, "user.add", text("name"));
            Page::go("/ui/users")
        }
        "user-set" => {
            registry.require_admin(caller)?;
            let flag = |key: &str| form.get(key).map(|value| value == "true");
            let password = form.get("password");
            registry.accounts.change_user(name, flag("admin"), flag("disabled"), password).await?;
            registry.note(caller, "user.change", name);
            Page::go("/ui/users")
        }
        "user-remove" => {
            registry.require_admin(caller)?;
            registry.accounts.remove_user(name).await?;
            registry.note(caller, "user.remove", name);
            Page::go("/ui/users")
        }
        "account" => account(view, text("current"), text("password")).await,
        "collect" => {
            registry.require_admin(caller)?;
            let collected = registry.collect().await?;
            registry.note(caller, "gc", format_args!("{} blobs", collected.blobs));
            admin::storage(view, Some(&collected))
        }
        "delete" => delete(view, name, form.get("ref")).await,
        _ => Err(Error::NotFound { what: "page", name: kind.to_owned() }),
    }
}

async fn login(view: &View, user: &str, password: &str, to: &str) -> Result<Page, Error> {
    let registry = &view.registry;
    // Robots have the API.
    let person = !user.contains('+');
    let from = view.visitor.caller.address;
    let right = person && registry.password_is_right(from, user, password).await?;
    match session::sign_in(registry, user, view.secure).filter(|_| right) {
        Some(cookie) => {
            // Nowhere but to a page of this registry.
            let good = to.starts_with("/ui/") && to.bytes().all(|byte| byte.is_ascii_graphic());
            Ok(Page::Go(if good { to } else { "/ui/" }.to_owned(), Some(cookie)))
        }
        None => {
            let page = layout::login(view, to, user, Some("The user name or the password is wrong."));
            Ok(Page::Html(http::StatusCode::FORBIDDEN, page))
        }
    }
}

/// A user's own password. The session goes on under the new one.
async fn account(view: &View, current: &str, password: &str) -> Result<Page, Error> {
    let (registry, caller) = (&view.registry, &view.visitor.caller);
    users::require_account(view)?;
    if !registry.password_is_right(caller.address, &caller.name, current).await? {
        return Err(Error::Denied { reason: "the password until now is wrong".into() });
    }
    registry.accounts.change_user(&caller.name, None, None, Some(password)).await?;
    registry.note(caller, "user.change", &caller.name);
    Ok(Page::Go("/ui/account?changed".to_owned(), session::sign_in(registry, &caller.name, view.secure)))
}

async fn project_set(view: &View, name: &str, form: &Query) -> Result<Page, Error> {
    let (registry, caller) = (&view.registry, &view.visitor.caller);
    registry.require_role(caller, name, Role::Admin)?;
    let text = |key: &str| form.get(key).unwrap_or_default().trim();
    let patterns = |key: &str| text(key).split_whitespace().map(str::to_owned).collect();
    let number = |key: &str| match text(key) {
        "" => Ok(None),
        given => given
            .parse()
            .map(NonZeroU32::new)
            .map_err(|_| Error::Invalid { reason: format!("{given:?} is no number") }),
    };
    let quota = match form.get("quota").map(str::trim) {
        None => None,
        Some("") => Some(0),
        Some(given) => {
            let bytes = skiff_types::parse_size(given).ok().and_then(|bytes| u64::try_from(bytes).ok());
            let reason = || format!("{given:?} is no size like \"20g\"");
            Some(bytes.ok_or_else(|| Error::Invalid { reason: reason() })?)
        }
    };
    // A limit on a project is the operator's business.
    if quota.is_some() {
        registry.require_admin(caller)?;
    }
    let change = ProjectChange {
        public: Some(form.get("public").is_some()),
        quota,
        immutable: Some(patterns("immutable")),
        retention: Some(Retention {
            keep_last: number("keep_last")?,
            keep_days: number("keep_days")?,
            keep: patterns("keep"),
            untagged_days: number("untagged_days")?,
        }),
        ..Default::default()
    };
    registry.accounts.change_project(name, change).await?;
    registry.note(caller, "project.change", name);
    Page::go(format!("/ui/projects/{}", encode(name)))
}

async fn robot(view: &View, project: &str, form: &Query) -> Result<Page, Error> {
    let (registry, caller) = (&view.registry, &view.visitor.caller);
    registry.require_role(caller, project, Role::Admin)?;
    let role = Role::parse(form.get("role").unwrap_or_default());
    let role = role.ok_or_else(|| Error::Invalid { reason: "a robot needs a role".into() })?;
    let days: u64 = form.get("days").and_then(|days| days.parse().ok()).unwrap_or(90);
    let expires = Some(clock::now().saturating_add(days.saturating_mul(DAY)));
    let name = form.get("robot").unwrap_or_default();
    let (full, token) = registry.accounts.add_robot(project, name, role, expires, &caller.name).await?;
    registry.note(caller, "robot.add", &full);
    // Not behind a redirect: the token is shown once, and is kept nowhere.
    Page::ok(layout::below(
        view,
        &[("Projects", "/ui/"), (project, &format!("/ui/projects/{}", encode(project)))],
        "New robot",
        html! {
            p.notice role="status" { "The token is shown only now." }
            dl { dt { "User name" } dd { code { (full) } } dt { "Token" } dd { code { (token) } } }
            (layout::command(&format!("docker login {} -u {full} -p {token}", view.host)))
        },
    ))
}

async fn delete(view: &View, name: &str, reference: Option<&str>) -> Result<Page, Error> {
    let (registry, caller) = (&view.registry, &view.visitor.caller);
    let name: Name = name.parse()?;
    registry.allow(caller, &name, Action::Delete)?;
    match reference {
        Some(reference) => {
            let reference: Reference = reference.parse()?;
            registry.clone().delete_manifest(caller, &name, &reference).await?;
            Page::go(format!("/ui/repositories/{name}"))
        }
        None => {
            registry.clone().delete_repository(caller, &name).await?;
            Page::go(format!("/ui/projects/{}", encode(name.project())))
        }
    }
}
