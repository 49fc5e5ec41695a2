//! Repositories and images: tags, what is in an image, and its removal.

use maud::{Markup, html};
use serde_json::Value;

use super::{Page, View, layout};
use crate::{
    Error,
    auth::Action,
    clock,
    digest::Digest,
    http::query::encode,
    manifest::{Descriptor, Document, MAX_MANIFEST},
    name::{Name, Reference},
};

fn readable(view: &View, name: &str) -> Result<Name, Error> {
    let name: Name = name.parse()?;
    view.registry.allow(&view.visitor.caller, &name, Action::Pull)?;
    Ok(name)
}

fn may_remove(view: &View, name: &Name) -> bool {
    let settings = &view.registry.settings;
    settings.delete
        && !settings.read_only
        && view.registry.allow(&view.visitor.caller, name, Action::Delete).is_ok()
}

fn way(name: &Name) -> Markup {
    layout::trail(&[
        ("Projects", "/ui/"),
        (name.project(), &format!("/ui/projects/{}", encode(name.project()))),
    ])
}

fn image(name: &Name, reference: &impl std::fmt::Display) -> String {
    format!("/ui/image/{name}?ref={}", encode(&reference.to_string()))
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
                            td { code { (short(&tag.digest)) } }
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

fn short(digest: &Digest) -> String {
    digest.to_string().chars().take(19).collect()
}

pub(super) async fn details(view: &View, name: &str) -> Result<Page, Error> {
    let name = readable(view, name)?;
    let reference: Reference = view.query.get("ref").unwrap_or_default().parse()?;
    let (found, bytes) = view.registry.clone().get_manifest(&name, &reference, true).await?;
    let document = Document::parse(&bytes)?;
    let pull = match &reference {
        Reference::Tag(tag) => format!("docker pull {}/{name}:{tag}", view.host),
        Reference::Digest(digest) => format!("docker pull {}/{name}@{digest}", view.host),
    };
    let referrers = view.registry.catalog.referrers(&name, &found.digest);
    let body = if found.media_type.is_index() {
        platforms(&name, document.manifests.as_deref().unwrap_or_default())
    } else {
        let config = match &document.config {
            Some(config) => configuration(view, &name, config).await,
            None => Value::Null,
        };
        contents(&document, &config)
    };
    Page::ok(layout::page(
        view,
        &format!("{name} {reference}"),
        html! {
            (way(&name))
            p { a href={ "/ui/repositories/" (name) } { "All tags" } }
            (layout::command(&pull))
            dl {
                dt { "Digest" } dd { code { (found.digest) } }
                dt { "Media type" } dd { code { (found.media_type.as_str()) } }
            }
            (body)
            @if !referrers.is_empty() {
                h2 { "Referrers" }
                table {
                    thead { tr { th scope="col" { "Digest" } th scope="col" { "Artifact type" } } }
                    tbody { @for referrer in &referrers {
                        tr {
                            td { a href=(image(&name, &referrer.found.digest)) { code { (short(&referrer.found.digest)) } } }
                            td { (referrer.artifact_type.as_deref().unwrap_or("–")) }
                        }
                    } }
                }
            }
        },
    ))
}

/// The configuration of an image; null if it is none, or too long to be shown.
async fn configuration(view: &View, name: &Name, config: &Descriptor) -> Value {
    let Ok(digest) = config.digest.parse::<Digest>() else { return Value::Null };
    match view.registry.catalog.blob(name, &digest) {
        Ok(size) if size <= MAX_MANIFEST as u64 => {}
        _ => return Value::Null,
    }
    let bytes = view.registry.content.read(&digest).await;
    bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn platforms(name: &Name, manifests: &[Descriptor]) -> Markup {
    html! {
        h2 { "Platforms" }
        table {
            thead { tr { th scope="col" { "Platform" } th scope="col" { "Digest" } th.number scope="col" { "Manifest" } } }
            tbody { @for entry in manifests {
                tr {
                    td { @match &entry.platform {
                        Some(platform) => { (platform.os) "/" (platform.architecture)
                            @if let Some(variant) = &platform.variant { "/" (variant) } },
                        None => "–",
                    } }
                    td { a href=(image(name, &entry.digest)) { code { (entry.digest.chars().take(19).collect::<String>()) } } }
                    td.number { (layout::size(entry.size.unsigned_abs())) }
                }
            } }
        }
    }
}

fn contents(document: &Document, config: &Value) -> Markup {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let words = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    let inner = &config["config"];
    let layers = document.layers.as_deref().unwrap_or_default();
    let total: u64 = layers.iter().map(|layer| layer.size.unsigned_abs()).sum();
    html! {
        @if config.is_object() {
            h2 { "Configuration" }
            dl {
                dt { "Platform" } dd { (text(&config["os"])) "/" (text(&config["architecture"])) }
                @if config["created"].is_string() { dt { "Created" } dd { (text(&config["created"])) } }
                @for (title, key) in [("Entrypoint", "Entrypoint"), ("Command", "Cmd"), ("Environment", "Env")] {
                    @if inner[key].is_array() { dt { (title) } dd { @for word in words(&inner[key]) { code { (word) } " " } } }
                }
                @for (title, key) in [("Working directory", "WorkingDir"), ("User", "User")] {
                    @if !text(&inner[key]).is_empty() { dt { (title) } dd { code { (text(&inner[key])) } } }
                }
                @for (title, key) in [("Ports", "ExposedPorts"), ("Volumes", "Volumes")] {
                    @if let Some(map) = inner[key].as_object() { dt { (title) } dd { @for name in map.keys() { code { (name) } " " } } }
                }
                @if let Some(labels) = inner["Labels"].as_object() {
                    dt { "Labels" } dd { @for (key, value) in labels { code { (key) "=" (text(value)) } " " } }
                }
            }
        }
        h2 { "Layers" }
        p { (layers.len()) " layers, " (layout::size(total)) }
        table {
            thead { tr { th scope="col" { "Digest" } th scope="col" { "Media type" } th.number scope="col" { "Size" } } }
            tbody { @for layer in layers {
                tr {
                    td { code { (layer.digest.chars().take(19).collect::<String>()) } }
                    td { (layer.media_type) }
                    td.number { (layout::size(layer.size.unsigned_abs())) }
                }
            } }
        }
        @if let Some(history) = config["history"].as_array() {
            h2 { "History" }
            ol.history { @for step in history {
                li { code { (text(&step["created_by"])) } @if step["comment"].is_string() { " " (text(&step["comment"])) } }
            } }
        }
    }
}

/// The page that asks before something is removed.
pub(super) fn confirm(view: &View, name: &str) -> Result<Page, Error> {
    let name = readable(view, name)?;
    view.registry.allow(&view.visitor.caller, &name, Action::Delete)?;
    let what = match view.query.get("ref") {
        Some(reference) => format!("{name}:{}", reference.parse::<Reference>()?),
        None => format!("the repository {name} with all its images"),
    };
    Page::ok(layout::page(
        view,
        "Remove?",
        html! {
            (way(&name))
            p { "This removes " strong { (what) } ". It cannot be undone." }
            form.row method="post" action={ "/ui/delete/" (name) } {
                (layout::token(view))
                @if let Some(reference) = view.query.get("ref") { input type="hidden" name="ref" value=(reference); }
                button.danger type="submit" { "Remove" }
                a.button href={ "/ui/repositories/" (name) } { "Keep" }
            }
        },
    ))
}
