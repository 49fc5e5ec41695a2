//! Projects: all of them, one with its repositories and settings, and the search.

use maud::{Markup, html};

use super::{Page, View, layout};
use crate::{
    Error,
    accounts::{
        LIBRARY,
        records::{ProjectRecord, Role},
    },
    auth::{Action, Mode},
    catalog::RepositorySummary,
    clock,
    http::query::encode,
};

/// Repositories that one page shows.
const ROWS: usize = 500;

/// The visible projects: those that were made, and, without accounts, those that names begin with.
fn visible(view: &View) -> Vec<(String, ProjectRecord)> {
    let registry = &view.registry;
    let mut projects = registry.accounts.read().projects.clone();
    if !matches!(registry.auth.mode, Mode::Accounts) {
        for name in registry.catalog.read().repositories.keys() {
            projects
                .entry(name.project().to_owned())
                .or_insert_with(|| ProjectRecord { public: true, ..Default::default() });
        }
    }
    projects.into_iter().filter(|(name, _)| registry.sees(&view.visitor.caller, name)).collect()
}

pub(super) fn list(view: &View) -> Result<Page, Error> {
    let projects = visible(view);
    let admin = view.registry.require_admin(&view.visitor.caller).is_ok();
    let contents = view.registry.catalog.read();
    let rows = projects.iter().map(|(name, project)| {
        (name, project, contents.of_project(name).count(), contents.project_size(name))
    });
    Page::ok(layout::page(
        view,
        "Projects",
        html! {
            @if projects.is_empty() { p { "There is nothing that you may see. " a href="/ui/login" { "Sign in" } "." } }
            @else {
                table {
                    thead { tr { th scope="col" { "Project" } th scope="col" { "Access" } th.number scope="col" { "Repositories" } th.number scope="col" { "Size" } } }
                    tbody {
                        @for (name, project, repositories, size) in rows {
                            tr {
                                td { a href={ "/ui/projects/" (encode(name)) } { (name) } }
                                td { (if project.public { "public" } else { "private" }) }
                                td.number { (repositories) }
                                td.number { (layout::size(size)) }
                            }
                        }
                    }
                }
            }
            @if admin {
                details {
                    summary { "New project" }
                    form.card method="post" action="/ui/project-add" {
                        (layout::token(view))
                        label { "Name" input name="name" required pattern="[a-z0-9]+([._\\-]+[a-z0-9]+)*"; }
                        label.check { input type="checkbox" name="public" value="yes"; " Everybody may pull" }
                        button type="submit" { "Make" }
                    }
                }
            }
        },
    ))
}

pub(super) fn search(view: &View) -> Result<Page, Error> {
    let wanted = view.query.get("q").unwrap_or_default().trim().to_lowercase();
    let found = view.registry.catalog.summaries(ROWS, view.registry.found(&view.visitor.caller, &wanted));
    Page::ok(layout::page(
        view,
        "Search",
        html! {
            p aria-live="polite" {
                (found.len()) @if found.len() == ROWS { " or more" } " repositories for “" (wanted) "”"
            }
            (table(&found))
        },
    ))
}

fn table(repositories: &[RepositorySummary]) -> Markup {
    html! {
        table data-filter="yes" {
            thead { tr { th scope="col" { "Repository" } th.number scope="col" { "Tags" } th.number scope="col" { "Manifests" } th.number scope="col" { "Size" } th scope="col" { "Changed" } } }
            tbody {
                @for repository in repositories {
                    tr {
                        td { a href={ "/ui/repositories/" (repository.name) } { (repository.name) } }
                        td.number { (repository.tags) }
                        td.number { (repository.manifests) }
                        td.number { (layout::size(repository.size)) }
                        td { @if repository.changed > 0 { (clock::short(repository.changed)) } @else { "–" } }
                    }
                }
            }
        }
    }
}

pub(super) fn one(view: &View, name: &str) -> Result<Page, Error> {
    let (registry, caller) = (&view.registry, &view.visitor.caller);
    let project = visible(view).into_iter().find(|(n, _)| n == name).map(|(_, project)| project);
    let project = project.ok_or_else(|| Error::NotFound { what: "project", name: name.to_owned() })?;
    let repositories = registry.catalog.summaries(ROWS, |n| n.project() == name);
    let rules = registry.require_role(caller, name, Role::Admin).is_ok();
    let example = if name == LIBRARY { "image:tag".to_owned() } else { format!("{name}/image:tag") };
    let may_push = match example.split(':').next().and_then(|n| n.parse().ok()) {
        Some(name) => registry.allow(caller, &name, Action::Push).is_ok(),
        None => false,
    };
    Page::ok(layout::page(
        view,
        name,
        html! {
            (layout::trail(&[("Projects", "/ui/")]))
            p { (if project.public { "Public" } else { "Private" }) " · " (repositories.len()) " repositories" }
            @if may_push { (layout::command(&format!("docker push {}/{example}", view.host))) }
            (table(&repositories))
            @if rules { (replications(view, name)) (settings(view, name, &project)) }
        },
    ))
}

/// Where a project's images go, and how far that is.
fn replications(view: &View, name: &str) -> Markup {
    let all = view.registry.replication_figures(name);
    html! {
        @if !all.is_empty() {
            section aria-labelledby="replication" {
                h2 #replication { "Replication" }
                table {
                    thead { tr { th scope="col" { "To" } th.number scope="col" { "Tags waiting" } th scope="col" { "Last complete" } th scope="col" { "Last error" } } }
                    tbody {
                        @for figures in &all {
                            tr {
                                td { code { (figures.to.target()) } }
                                td.number { (figures.waiting) }
                                td { @match figures.last { Some(last) => (clock::short(last)), None => "–" } }
                                td { (figures.error.as_deref().unwrap_or("–")) }
                            }
                        }
                    }
                }
                form.row method="post" action={ "/ui/replicate/" (name) } {
                    (layout::token(view))
                    button type="submit" { "Compare and send now" }
                }
            }
        }
    }
}

fn settings(view: &View, name: &str, project: &ProjectRecord) -> Markup {
    let state = view.registry.accounts.read();
    let prefix = format!("{name}+");
    let robots: Vec<_> = state.robots.iter().filter(|(robot, _)| robot.starts_with(&prefix)).collect();
    let others: Vec<&String> =
        state.users.keys().filter(|user| !project.members.contains_key(*user)).collect();
    html! {
        section aria-labelledby="members" {
            h2 #members { "Members" }
            table {
                thead { tr { th scope="col" { "User" } th scope="col" { "Role" } th scope="col" { span.hidden { "Change" } } } }
                tbody {
                    @for (user, role) in &project.members {
                        tr {
                            td { (user) } td { (role.as_str()) }
                            td { form.inline method="post" action={ "/ui/member/" (name) } {
                                (layout::token(view))
                                input type="hidden" name="user" value=(user);
                                input type="hidden" name="role" value="none";
                                button.quiet type="submit" aria-label={ "Remove member " (user) } { "Remove" }
                            } }
                        }
                    }
                }
            }
            @if !others.is_empty() {
                form.row method="post" action={ "/ui/member/" (name) } {
                    (layout::token(view))
                    label { "User" select name="user" { @for user in others { option { (user) } } } }
                    label { "Role" select name="role" { @for role in Role::ALL { option { (role.as_str()) } } } }
                    button type="submit" { "Add member" }
                }
            }
        }
        section aria-labelledby="robots" {
            h2 #robots { "Robots" }
            table {
                thead { tr { th scope="col" { "Robot" } th scope="col" { "Role" } th scope="col" { "Expires" } th scope="col" { span.hidden { "Change" } } } }
                tbody {
                    @for (robot, record) in robots {
                        tr {
                            td { code { (robot) } } td { (record.role.as_str()) }
                            td { @match record.expires { Some(expires) => (clock::short(expires)), None => "never" } }
                            td { form.inline method="post" action={ "/ui/robot-remove/" (name) } {
                                (layout::token(view))
                                input type="hidden" name="robot" value=(robot.trim_start_matches(&prefix));
                                button.quiet type="submit" aria-label={ "Remove robot " (robot) } { "Remove" }
                            } }
                        }
                    }
                }
            }
            form.row method="post" action={ "/ui/robot-add/" (name) } {
                (layout::token(view))
                label { "Name" input name="robot" required pattern="[a-z0-9]+([._\\-]+[a-z0-9]+)*"; }
                label { "Role" select name="role" { option { "developer" } option { "guest" } option { "maintainer" } } }
                label { "Days" input name="days" type="number" min="1" max="3650" value="90"; }
                button type="submit" { "Make robot" }
            }
        }
        section aria-labelledby="settings" {
            h2 #settings { "Settings" }
            form.card method="post" action={ "/ui/project-set/" (name) } {
                (layout::token(view))
                label.check { input type="checkbox" name="public" value="yes" checked[project.public]; " Everybody may pull" }
                label {
                    "Immutable tags, with * for anything"
                    input name="immutable" value=(project.immutable.join(" "));
                }
                @if let Some(quota) = project.quota { p { "Quota: " (layout::size(quota)) } }
                button type="submit" { "Save" }
            }
        }
    }
}
