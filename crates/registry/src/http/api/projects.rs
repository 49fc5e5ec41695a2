//! `/projects`, `/projects/{name}`, its members and robots.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Reply, done};
use crate::{
    Error,
    accounts::{
        ProjectChange,
        records::{ProjectRecord, RobotRecord, Role},
    },
    clock,
    http::route::wrong_method,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewProject {
    name: String,
    #[serde(default)]
    public: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRole {
    role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRobot {
    name: String,
    role: Role,
    /// Seconds from now.
    #[serde(default)]
    expires_in: Option<u64>,
}

pub(super) async fn answer(call: &Call, rest: &[&str]) -> Result<Reply, Error> {
    match rest {
        [] => all(call).await,
        [project] => one(call, project).await,
        [project, "members", user] => member(call, project, user).await,
        [project, "replicate"] => {
            call.registry.require_role(&call.caller, project, Role::Admin)?;
            if call.method != Method::POST {
                return Ok(wrong_method("POST"));
            }
            call.registry.replicate_now(project)?;
            call.registry.note(&call.caller, "project.replicate", project);
            Ok(Reply::empty(StatusCode::ACCEPTED))
        }
        [project, "robots"] => robots(call, project).await,
        [project, "robots", robot] => {
            call.registry.require_role(&call.caller, project, Role::Admin)?;
            if call.method != Method::DELETE {
                return Ok(wrong_method("DELETE"));
            }
            call.registry.accounts.remove_robot(project, robot).await?;
            call.registry.note(&call.caller, "robot.remove", format_args!("{project}+{robot}"));
            Ok(done())
        }
        _ => Err(Error::NotFound { what: "page", name: rest.join("/") }),
    }
}

fn describe(call: &Call, name: &str, project: &ProjectRecord) -> Value {
    let mut description = {
        let contents = call.registry.catalog.read();
        json!({
            "name": name,
            "public": project.public,
            "created": clock::rfc3339(project.created),
            "quota": project.quota,
            "immutable": project.immutable,
            "retention": project.retention,
            "repositories": contents.of_project(name).count(),
            "size": contents.project_size(name),
        })
    };
    // Who the others are, and whom the registry talks to (addresses of webhooks may hold secrets), is for who may change it.
    if call.registry.require_role(&call.caller, name, Role::Admin).is_ok() {
        description["members"] = json!(project.members);
        description["webhooks"] = project.webhooks.iter().map(|hook| hook.url.as_str()).collect();
        description["replications"] = replications(call, name).into();
    }
    description
}

/// Targets and how it goes with them. Passwords are not told.
fn replications(call: &Call, project: &str) -> Vec<Value> {
    let figures = call.registry.replication_figures(project).into_iter();
    let told = figures.map(|figures| {
        json!({
            "registry": figures.to.registry,
            "prefix": figures.to.prefix,
            "user": figures.to.user,
            "tags": figures.to.tags,
            "every": figures.to.every,
            "waiting": figures.waiting,
            "error": figures.error,
            "last": figures.last.map(clock::rfc3339),
        })
    });
    told.collect()
}

async fn all(call: &Call) -> Result<Reply, Error> {
    let registry = &call.registry;
    match call.method {
        Method::GET => {
            let projects = registry.accounts.read().projects.clone();
            let visible = projects.iter().filter(|(name, _)| registry.sees(&call.caller, name));
            Ok(Reply::json(&visible.map(|(name, project)| describe(call, name, project)).collect::<Vec<_>>()))
        }
        Method::POST => {
            registry.require_admin(&call.caller)?;
            let new: NewProject = call.json()?;
            registry.accounts.add_project(&new.name, new.public, &call.caller.name).await?;
            registry.note(&call.caller, "project.add", &new.name);
            Ok(Reply::json_with(StatusCode::CREATED, &json!({ "name": new.name })))
        }
        _ => Ok(wrong_method("GET, POST")),
    }
}

async fn one(call: &Call, name: &str) -> Result<Reply, Error> {
    let registry = &call.registry;
    match call.method {
        Method::GET => {
            let project = registry.accounts.project(name)?;
            if !registry.sees(&call.caller, name) {
                return Err(Error::NotFound { what: "project", name: name.to_owned() });
            }
            Ok(Reply::json(&describe(call, name, &project)))
        }
        Method::PATCH => {
            registry.require_role(&call.caller, name, Role::Admin)?;
            let change: ProjectChange = call.json()?;
            // A limit on a project is the operator's business, and so is whom the registry talks to.
            if change.quota.is_some() || change.webhooks.is_some() || change.replications.is_some() {
                registry.require_admin(&call.caller)?;
            }
            registry.accounts.change_project(name, change).await?;
            registry.look_at_replications();
            registry.note(&call.caller, "project.change", name);
            Ok(done())
        }
        Method::DELETE => {
            registry.remove_project(&call.caller, name).await?;
            Ok(done())
        }
        _ => Ok(wrong_method("GET, PATCH, DELETE")),
    }
}

async fn member(call: &Call, project: &str, user: &str) -> Result<Reply, Error> {
    call.registry.require_role(&call.caller, project, Role::Admin)?;
    let role = match call.method {
        Method::PUT => Some(call.json::<NewRole>()?.role),
        Method::DELETE => None,
        _ => return Ok(wrong_method("PUT, DELETE")),
    };
    call.registry.accounts.set_member(project, user, role).await?;
    let role = role.map_or("none", Role::as_str);
    call.registry.note(&call.caller, "member.set", format_args!("{project} {user} {role}"));
    Ok(done())
}

fn describe_robot(name: &str, robot: &RobotRecord) -> Value {
    json!({
        "name": name,
        "role": robot.role,
        "expires": robot.expires.map(clock::rfc3339),
        "created": clock::rfc3339(robot.created),
        "by": robot.by,
    })
}

async fn robots(call: &Call, project: &str) -> Result<Reply, Error> {
    let registry = &call.registry;
    registry.require_role(&call.caller, project, Role::Admin)?;
    match call.method {
        Method::GET => {
            let state = registry.accounts.read();
            let prefix = format!("{project}+");
            let robots = state.robots.iter().filter(|(name, _)| name.starts_with(&prefix));
            Ok(Reply::json(&robots.map(|(name, robot)| describe_robot(name, robot)).collect::<Vec<_>>()))
        }
        Method::POST => {
            let new: NewRobot = call.json()?;
            let expires = new.expires_in.map(|seconds| clock::now().saturating_add(seconds));
            let made =
                registry.accounts.add_robot(project, &new.name, new.role, expires, &call.caller.name).await?;
            registry.note(&call.caller, "robot.add", &made.0);
            Ok(Reply::json_with(StatusCode::CREATED, &json!({ "name": made.0, "token": made.1 })))
        }
        _ => Ok(wrong_method("GET, POST")),
    }
}
