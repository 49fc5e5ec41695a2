//! Repositories: their tags, and the removal of images.

use maud::{Markup, html};

use super::{Page, View, layout};
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

/// The way to a repository's page.
fn way(name: &Name) -> Markup {
    layout::trail(&[
        ("Projects", "/ui/"),
        (name.project(), &format!("/ui/projects/{}", encode(name.project()))),
    ])
}

/// The way to the page of one of its images.
pub(super) fn way_in(name: &Name) -> Markup {
    layout::trail(&[
        ("Projects", "/ui/"),
        (name.project(), &format!("/ui/projects/{}", encode(name.project()))),
        (name.as_str(), &format!("/ui/repositories/{name}")),
    ])
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
    let tags = view.registry.catalog.tag_summaries(&name)?;
    let remove = may_remove(view, &name);
    Page::ok(layout::page(
        view,
        name.as_str(),
        html! {
            (way(&name))
            @if let Some(newest) = tags.iter().max_by_key(|tag| tag.pushed) {
                (layout::command(&format!("docker pull {}/{name}:{}", view.host, newest.tag)))
            }
            table data-filter="yes" {
                thead { tr {
                    th scope="col" { "Tag" } th scope="col" { "Digest" } th scope="col" { "Kind" } th.number scope="col" { "Size" }
                    th scope="col" { "Pushed" } th scope="col" { "By" } @if remove { th scope="col" { span.hidden { "Change" } } }
                } }
                tbody {
                    @for tag in &tags {
                        tr {
                            td { a href=(image(&name, &tag.tag)) { (tag.tag) } }
                            td { code { (short(&tag.digest.to_string())) } }
                            td { (if tag.media_type.is_index() { "index" } else { "image" }) }
                            td.number { (layout::size(tag.size)) }
                            td { (clock::short(tag.pushed)) }
                            td { @if tag.by.is_empty() { "–" } @else { (tag.by) } }
                            @if remove {
                                td { a.quiet href={ "/ui/delete/" (name) "?ref=" (encode(tag.tag.as_str())) }
                                    aria-label={ "Remove tag " (tag.tag) } { "Remove" } }
                            }
                        }
                    }
                }
            }
            @if remove { p { a.quiet href={ "/ui/delete/" (name) } { "Remove this repository" } } }
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
    Page::ok(layout::page(
        view,
        "Remove?",
        html! {
            (way_in(&name))
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
