//! Projects: all of them, one with its repositories and settings, and the search.

use std::num::NonZeroU32;

use maud::{Markup, html};

use super::{
    Page, View, layout,
    lists::{Column, Part, table},
};
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
    name::Name,
};

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
    let may_sign_in = view.visitor.caller.is_nobody() && !matches!(view.registry.auth.mode, Mode::Open);
    let (part, all) = (Part::of(view), projects.len());
    let projects: Vec<_> = projects.into_iter().filter(|(name, _)| part.passes(name)).collect();
    let passing = projects.len();
    let columns = [
        Column::Text("Project"),
        Column::Short("Access"),
        Column::Number("Repositories"),
        Column::Number("Size"),
    ];
    let contents = view.registry.catalog.read();
    let rows = part.take(&projects).map(|(name, project)| {
        vec![
            html! { a href={ "/ui/projects/" (encode(name)) } { (name) } },
            html! { (if project.public { "public" } else { "private" }) },
            html! { (contents.of_project(name).count()) },
            html! { (layout::size(contents.project_size(name))) },
        ]
    });
    Page::ok(layout::page(
        view,
        "Projects",
        html! {
            @if all == 0 && may_sign_in { p { "There is nothing to see without signing in." } }
            @else if all == 0 {
                p { "There is nothing yet that you may see. Images are pushed like this:" }
                (layout::command(&format!("docker push {}/image:tag", view.host)))
            }
            @else {
                (part.form("/ui/", all))
                @if passing > 0 { (table(&columns, rows)) }
                (part.links(passing, ""))
            }
            @if admin {
                details {
                    summary { "New project" }
                    form.card method="post" action="/ui/project-add" {
                        (layout::token(view))
                        label { "Name" input name="name" required pattern="[a-z0-9]+([._\\-]+[a-z0-9]+)*" title="a-z, 0-9, and . _ - between them"; }
                        label.check { input type="checkbox" name="public" value="yes"; "Everybody may pull" }
                        button type="submit" { "Create project" }
                    }
                }
            }
        },
    ))
}

pub(super) fn search(view: &View) -> Result<Page, Error> {
    let wanted = view.query.get("q").unwrap_or_default().trim().to_lowercase();
    let part = Part::of(view);
    let found = view.registry.found(&view.visitor.caller, &wanted);
    let (found, all) = view.registry.catalog.summaries(found, part.range());
    Page::ok(layout::page(
        view,
        "Search",
        html! {
            p aria-live="polite" {
                (all) (if all == 1 { " repository" } else { " repositories" }) " for “" (wanted) "”"
            }
            @if all > 0 { (repositories(&found)) (part.links(all, &format!("q={}", encode(&wanted)))) }
        },
    ))
}

fn repositories(all: &[RepositorySummary]) -> Markup {
    let columns = [
        Column::Text("Repository"),
        Column::Number("Tags"),
        Column::Number("Manifests"),
        Column::Number("Size"),
        Column::Short("Changed"),
    ];
    let rows = all.iter().map(|repository| {
        vec![
            html! { a href={ "/ui/repositories/" (repository.name) } { (repository.name) } },
            html! { (repository.tags) },
            html! { (repository.manifests) },
            html! { (layout::size(repository.size)) },
            html! { @if repository.changed > 0 { (clock::short(repository.changed)) } @else { "–" } },
        ]
    });
    table(&columns, rows)
}

pub(super) fn one(view: &View, name: &str) -> Result<Page, Error> {
    let (registry, caller) = (&view.registry, &view.visitor.caller);
    let project = visible(view).into_iter().find(|(n, _)| n == name).map(|(_, project)| project);
    let project = project.ok_or_else(|| Error::NotFound { what: "project", name: name.to_owned() })?;
    let (part, all) = (Part::of(view), registry.catalog.read().of_project(name).count());
    let passes = |n: &Name| n.project() == name && part.passes(n.as_str());
    let (found, passing) = registry.catalog.summaries(passes, part.range());
    let rules = registry.require_role(caller, name, Role::Admin).is_ok();
    let example = if name == LIBRARY { "image:tag".to_owned() } else { format!("{name}/image:tag") };
    let may_push = match example.split(':').next().and_then(|n| n.parse().ok()) {
        Some(name) => registry.allow(caller, &name, Action::Push).is_ok(),
        None => false,
    };
    let size = layout::size(registry.catalog.read().project_size(name));
    Page::ok(layout::below(
        view,
        &[("Projects", "/ui/")],
        name,
        html! {
            p {
                (if project.public { "Public" } else { "Private" }) " · " (all)
                (if all == 1 { " repository · " } else { " repositories · " }) (size)
                @if let Some(quota) = project.quota { " of " (layout::size(quota)) }
            }
            @if may_push { (layout::command(&format!("docker push {}/{example}", view.host))) }
            (part.form(&view.path, all))
            @if passing > 0 { (repositories(&found)) }
            @if all == 0 { p { "Nothing has been pushed yet." } } @else { (part.links(passing, "")) }
            @if rules {
                (replications(view, name))
                (members(view, name, &project))
                (robots(view, name))
                (settings(view, name, &project))
                @if all == 0 && registry.require_admin(caller).is_ok() { (layout::removal(view, "project", name, "with its members and robots")) }
            }
        },
    ))
}

/// Where a project's images go, and how far that is.
fn replications(view: &View, name: &str) -> Markup {
    let all = view.registry.replication_figures(name);
    let columns = [
        Column::Text("To"),
        Column::Number("Tags waiting"),
        Column::Short("Last complete"),
        Column::Text("Last error"),
    ];
    let rows = all.iter().map(|figures| {
        vec![
            html! { code { (figures.to.target()) } },
            html! { (figures.waiting) },
            html! { @match figures.last { Some(last) => (clock::short(last)), None => "–" } },
            html! { (figures.error.as_deref().unwrap_or("–")) },
        ]
    });
    html! {
        @if !all.is_empty() {
            section aria-labelledby="replication" {
                h2 #replication { "Replication" }
                (table(&columns, rows))
                form.row method="post" action={ "/ui/replicate/" (name) } {
                    (layout::token(view))
                    button.quiet type="submit" { "Compare and send now" }
                }
            }
        }
    }
}

fn members(view: &View, name: &str, project: &ProjectRecord) -> Markup {
    let state = view.registry.accounts.read();
    let others: Vec<&String> =
        state.users.keys().filter(|user| !project.members.contains_key(*user)).collect();
    let rows = project.members.iter().map(|(user, role)| {
        vec![
            html! { (user) },
            html! { (role.as_str()) },
            html! { form.inline method="post" action={ "/ui/member/" (name) } {
                (layout::token(view))
                input type="hidden" name="user" value=(user);
                input type="hidden" name="role" value="none";
                button.quiet type="submit" aria-label={ "Remove member " (user) } { "Remove" }
            } },
        ]
    });
    html! {
        section aria-labelledby="members" {
            h2 #members { "Members" }
            p.soft { "A guest pulls, a developer pushes, a maintainer removes images, an admin looks after members and robots." }
            @if !project.members.is_empty() {
                (table(&[Column::Text("User"), Column::Short("Role"), Column::Actions], rows))
            }
            @if !others.is_empty() {
                form.row method="post" action={ "/ui/member/" (name) } {
                    (layout::token(view))
                    label { "User" select name="user" { @for user in others { option { (user) } } } }
                    label { "Role" select name="role" { @for role in Role::ALL { option { (role.as_str()) } } } }
                    button.quiet type="submit" { "Add member" }
                }
            }
        }
    }
}

fn robots(view: &View, name: &str) -> Markup {
    let state = view.registry.accounts.read();
    let prefix = format!("{name}+");
    let robots: Vec<_> = state.robots.iter().filter(|(robot, _)| robot.starts_with(&prefix)).collect();
    let now = clock::now();
    let rows = robots.iter().map(|(robot, record)| {
        vec![
            html! { code { (robot) } },
            html! { (record.role.as_str()) },
            html! {
                @match record.expires { Some(expires) => (clock::short(expires)), None => "never" }
                @if record.expires.is_some_and(|expires| expires <= now) { " (expired)" }
            },
            html! { form.inline method="post" action={ "/ui/robot-remove/" (name) } {
                (layout::token(view))
                input type="hidden" name="robot" value=(robot.trim_start_matches(&prefix));
                button.quiet type="submit" aria-label={ "Remove robot " (robot) } { "Remove" }
            } },
        ]
    });
    let columns = [Column::Text("Robot"), Column::Short("Role"), Column::Short("Expires"), Column::Actions];
    html! {
        section aria-labelledby="robots" {
            h2 #robots { "Robots" }
            p.soft { "Accounts of this project for programs." }
            @if !robots.is_empty() { (table(&columns, rows)) }
            form.row method="post" action={ "/ui/robot-add/" (name) } {
                (layout::token(view))
                label { "Name" input name="robot" required pattern="[a-z0-9]+([._\\-]+[a-z0-9]+)*" title="a-z, 0-9, and . _ - between them"; }
                label { "Role" select name="role" { option { "developer" } option { "guest" } option { "maintainer" } } }
                label { "Days" input name="days" type="number" min="1" max="3650" value="90"; }
                button.quiet type="submit" { "Add robot" }
            }
        }
    }
}

fn settings(view: &View, name: &str, project: &ProjectRecord) -> Markup {
    let retention = &project.retention;
    let admin = view.registry.require_admin(&view.visitor.caller).is_ok();
    let number = |key: &str, title: &str, value: Option<NonZeroU32>| {
        html! { label { (title) input name=(key) type="number" min="1" value=[value]; } }
    };
    html! {
        section aria-labelledby="settings" {
            h2 #settings { "Settings" }
            form.card method="post" action={ "/ui/project-set/" (name) } {
                (layout::token(view))
                label.check { input type="checkbox" name="public" value="yes" checked[project.public]; "Everybody may pull" }
                label {
                    "Immutable tags, * for anything"
                    input name="immutable" placeholder="v*" value=(project.immutable.join(" "));
                }
                @if admin {
                    label {
                        "Quota, empty for none"
                        input name="quota" placeholder="20g" value=[project.quota.map(exact)];
                    }
                }
                fieldset {
                    legend { "Which tags to keep (none given: all)" }
                    (number("keep_last", "The newest, how many", retention.keep_last))
                    (number("keep_days", "Pushed within how many days", retention.keep_days))
                    label { "With names like these, * for anything" input name="keep" value=(retention.keep.join(" ")); }
                }
                (number("untagged_days", "Days after which images without a tag are removed", retention.untagged_days))
                button type="submit" { "Save" }
            }
        }
    }
}

/// A size as it can be typed again: in the largest unit that loses nothing.
fn exact(bytes: u64) -> String {
    let units = [(30, "g"), (20, "m"), (10, "k")];
    let unit = units.iter().find(|(shift, _)| bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_shown_as_it_can_be_typed() {
        for (bytes, text) in
            [(20 << 30, "20g"), (1536 << 20, "1536m"), (5 << 10, "5k"), (1_000_001, "1000001")]
        {
            assert_eq!(exact(bytes), text);
            assert_eq!(skiff_types::parse_size(text).unwrap() as u64, bytes);
        }
    }
}
