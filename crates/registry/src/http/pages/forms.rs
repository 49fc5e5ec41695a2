//! What the forms do. Each checks again that the visitor may; the pages only hide what would be refused.

use maud::html;

use super::{Page, View, admin, layout, session};
use crate::{
    Error,
    accounts::{ProjectChange, records::Role},
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
        "login" => login(view, text("user"), text("password")).await,
        "logout" => Ok(Page::Go("/ui/".to_owned(), Some(session::sign_out()))),
        "project-add" => {
            registry.require_admin(caller)?;
            let name = text("name");
            registry.accounts.add_project(name, form.get("public").is_some(), &caller.name).await?;
            registry.note(caller, "project.add", name);
            Page::go(format!("/ui/projects/{}", encode(name)))
        }
        "project-set" => {
            registry.require_role(caller, name, Role::Admin)?;
            let patterns = text("immutable").split_whitespace().map(str::to_owned).collect();
            let change = ProjectChange {
                public: Some(form.get("public").is_some()),
                immutable: Some(patterns),
                ..Default::default()
            };
            registry.accounts.change_project(name, change).await?;
            registry.note(caller, "project.change", name);
            Page::go(format!("/ui/projects/{}", encode(name)))
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
            registry.accounts.change_user(name, None, Some(text("disabled") == "true"), None).await?;
            registry.note(caller, "user.change", name);
            Page::go("/ui/users")
        }
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

async fn login(view: &View, user: &str, password: &str) -> Result<Page, Error> {
    let registry = &view.registry;
    // Robots have the API.
    let person = !user.contains('+');
    let right = person && registry.auth.password_is_right(&registry.accounts, user, password).await?;
    match session::sign_in(registry, user, view.secure).filter(|_| right) {
        Some(cookie) => Ok(Page::Go("/ui/".to_owned(), Some(cookie))),
        None => {
            registry.note(&view.visitor.caller, "login.failed", user.chars().take(64).collect::<String>());
            let page = layout::login(view, user, Some("The user name or the password is wrong."));
            Ok(Page::Html(http::StatusCode::FORBIDDEN, page))
        }
    }
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
    Page::ok(layout::page(
        view,
        "New robot",
        html! {
            (layout::trail(&[("Projects", "/ui/"), (project, &format!("/ui/projects/{}", encode(project)))]))
            p { "The token is shown only now." }
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
