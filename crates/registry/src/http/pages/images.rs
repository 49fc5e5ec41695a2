//! Repositories: their tags, and the removal of images.

use maud::{Markup, html};

use super::{
    Page, View, layout,
    lists::{Column, Part, table},
};
use crate::{
    Error,
    auth::Action,
    clock,
    http::query::encode,
    name::{Name, Reference},
};

pub(super) fn readable(view: &View, name: &str) -> Result<Name, Error> {
    let name: Name = name.parse()?;
    view.registry.allow(&view.visitor.caller, &name, Action::Pull)?;
    Ok(name)
}

pub(super) fn may_remove(view: &View, name: &Name) -> bool {
    let settings = &view.registry.settings;
    settings.delete
        && !settings.read_only
        && view.registry.allow(&view.visitor.caller, name, Action::Delete).is_ok()
}

/// The addresses of what a repository's page is below.
fn ways(name: &Name) -> (String, String) {
    (format!("/ui/projects/{}", encode(name.project())), format!("/ui/repositories/{name}"))
}

/// A page about one image of a repository.
pub(super) fn page_in(view: &View, name: &Name, title: &str, body: Markup) -> Markup {
    let (project, repository) = ways(name);
    let way =
        [("Projects", "/ui/"), (name.project(), project.as_str()), (name.as_str(), repository.as_str())];
    layout::below(view, &way, title, body)
}

pub(super) fn image(name: &Name, reference: &impl std::fmt::Display) -> String {
    format!("/ui/image/{name}?ref={}", encode(&reference.to_string()))
}

/// As it stands in a command: `name:tag` or `name@digest`.
pub(super) fn full(name: &Name, reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => format!("{name}:{tag}"),
        Reference::Digest(digest) => format!("{name}@{digest}"),
    }
}

/// Enough of a digest to tell it from others.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

pub(super) fn tags(view: &View, name: &str) -> Result<Page, Error> {
    let name = readable(view, name)?;
    let mut tags = view.registry.catalog.tag_summaries(&name)?;
    let (part, all) = (Part::of(view), tags.len());
    tags.sort_by(|a, b| b.pushed.cmp(&a.pushed).then_with(|| a.tag.cmp(&b.tag)));
    let newest = tags.first().map(|tag| tag.tag.clone());
    tags.retain(|tag| part.passes(tag.tag.as_str()));
    let passing = tags.len();
    let remove = may_remove(view, &name);
    let mut columns = vec![
        Column::Text("Tag"),
        Column::Short("Digest"),
        Column::Short("Kind"),
        Column::Number("Size"),
        Column::Short("Pushed"),
        Column::Short("By"),
    ];
    columns.extend(remove.then_some(Column::Actions));
    let rows = part.take(&tags).map(|tag| {
        vec![
            html! { a href=(image(&name, &tag.tag)) { (tag.tag) } },
            html! { code { (short(&tag.digest.to_string())) } },
            html! { (if tag.media_type.is_index() { "index" } else { "image" }) },
            html! { (layout::size(tag.size)) },
            html! { (clock::short(tag.pushed)) },
            html! { @if tag.by.is_empty() { "–" } @else { (tag.by) } },
            html! { a href={ "/ui/delete/" (name) "?ref=" (encode(tag.tag.as_str())) } aria-label={ "Remove tag " (tag.tag) } { "Remove" } },
        ]
    });
    let (project, path) = ways(&name);
    Page::ok(layout::below(
        view,
        &[("Projects", "/ui/"), (name.project(), &project)],
        name.as_str(),
        html! {
            @if let Some(newest) = newest { (layout::command(&format!("docker pull {}/{name}:{newest}", view.host))) }
            (part.form(&path, all))
            @if passing > 0 { (table(&columns, rows)) }
            (part.links(passing, ""))
            @if remove { p { a.button href={ "/ui/delete/" (name) } { "Remove this repository" } } }
        },
    ))
}

/// The page that asks before something is removed.
pub(super) fn confirm(view: &View, name: &str) -> Result<Page, Error> {
    let name = readable(view, name)?;
    view.registry.allow(&view.visitor.caller, &name, Action::Delete)?;
    let reference = view.query.get("ref").map(str::parse::<Reference>).transpose()?;
    let what = match &reference {
        Some(reference) => full(&name, reference),
        None => format!("the repository {name} with all its images"),
    };
    let tags = match &reference {
        Some(Reference::Digest(digest)) => view.registry.catalog.tags_of(&name, digest),
        _ => Vec::new(),
    };
    Page::ok(page_in(
        view,
        &name,
        "Remove?",
        html! {
            p { "This removes " strong { (what) } ". It cannot be undone." }
            @if !tags.is_empty() {
                p { "These tags go with it: " @for tag in &tags { code { (tag) } " " } }
            }
            form.row method="post" action={ "/ui/delete/" (name) } {
                (layout::token(view))
                @if let Some(reference) = view.query.get("ref") { input type="hidden" name="ref" value=(reference); }
                button.danger type="submit" { "Remove" }
                a.button href={ "/ui/repositories/" (name) } { "Keep" }
            }
        },
    ))
}
