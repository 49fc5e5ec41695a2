//! The page of one image: what it is, its platforms, configuration, layers and history.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;

use super::{
    Page, View,
    images::{full, image, may_remove, page_in, readable, short},
    layout,
    lists::{Column, table},
};
use crate::{
    Error,
    catalog::{Found, Referrer},
    clock,
    digest::Digest,
    http::query::encode,
    manifest::{Descriptor, Document, MAX_MANIFEST},
    name::{Name, Reference},
};

/// Bytes of the longest manifest that is shown as it is.
const RAW: usize = 64 << 10;

pub(super) async fn page(view: &View, name: &str) -> Result<Page, Error> {
    let name = readable(view, name)?;
    let reference: Reference = view.query.get("ref").unwrap_or_default().parse()?;
    let (found, bytes) = view.registry.clone().get_manifest(&name, &reference, true).await?;
    let document = Document::parse(&bytes)?;
    let title = match &reference {
        Reference::Tag(_) => full(&name, &reference),
        Reference::Digest(digest) => format!("{name}@{}", short(&digest.to_string())),
    };
    let body = if found.media_type.is_index() {
        platforms(view, &name, document.manifests.entries())
    } else {
        let config = match &document.config {
            Some(config) => configuration(view, &name, config).await,
            None => Value::Null,
        };
        contents(document.layers.entries(), &config)
    };
    Page::ok(page_in(
        view,
        &name,
        &title,
        html! {
            (layout::command(&format!("docker pull {}/{}", view.host, full(&name, &reference))))
            (facts(view, &name, &found, &document))
            (body)
            (annotations(document.annotations.as_ref()))
            (referrers(&name, &view.registry.catalog.referrers(&name, &found.digest)))
            @if bytes.len() <= RAW {
                details { summary { "The manifest as it was pushed" } pre { (String::from_utf8_lossy(&bytes)) } }
            }
            @if may_remove(view, &name) {
                p { a.button href={ "/ui/delete/" (name) "?ref=" (encode(&reference.to_string())) } { "Remove this image" } }
            }
        },
    ))
}

fn facts(view: &View, name: &Name, found: &Found, document: &Document) -> Markup {
    let extent = view.registry.catalog.extent(name, &found.digest);
    let tags = view.registry.catalog.tags_of(name, &found.digest);
    html! {
        dl {
            dt { "Digest" } dd { code { (found.digest) } }
            dt { "Media type" } dd { code { (found.media_type.as_str()) } }
            @if let Some(kind) = &document.artifact_type { dt { "Artifact type" } dd { code { (kind) } } }
            @if let Some((pushed, size)) = extent {
                dt { "Size" } dd { (layout::size(size)) }
                dt { "Pushed" } dd { (clock::short(pushed)) }
            }
            @if let Some(subject) = &document.subject {
                dt { "Refers to" } dd { a href=(image(name, &subject.digest)) { code { (short(&subject.digest)) } } }
            }
            @if !tags.is_empty() {
                dt { "Tags" } dd { @for tag in &tags { a href=(image(name, tag)) { (tag) } " " } }
            }
        }
    }
}

fn platforms(view: &View, name: &Name, manifests: &[Descriptor]) -> Markup {
    let size = |entry: &Descriptor| {
        let digest = entry.digest.parse().ok()?;
        view.registry.catalog.extent(name, &digest).map(|(_, size)| layout::size(size))
    };
    let columns = [Column::Text("Platform"), Column::Short("Digest"), Column::Number("Size")];
    let rows = manifests.iter().map(|entry| {
        vec![
            html! { (platform(entry, manifests)) },
            html! { a href=(image(name, &entry.digest)) { code { (short(&entry.digest)) } } },
            html! { (size(entry).as_deref().unwrap_or("–")) },
        ]
    });
    html! {
        h2 { "Platforms" }
        (table(&columns, rows))
    }
}

/// What an entry of an index is for. Builders put attestations beside the images, for a platform that is none.
fn platform(entry: &Descriptor, all: &[Descriptor]) -> String {
    let note = |key: &str| entry.annotations.as_ref().and_then(|notes| notes.get(key));
    if note("vnd.docker.reference.type").is_some_and(|kind| kind == "attestation-manifest") {
        let about = note("vnd.docker.reference.digest");
        let about = all.iter().find(|other| about.is_some_and(|digest| *digest == other.digest));
        return match about {
            Some(other) => format!("Attestation of {}", platform(other, &[])),
            None => "Attestation".to_owned(),
        };
    }
    let Some(platform) = &entry.platform else { return "–".to_owned() };
    let mut text = format!("{}/{}", platform.os, platform.architecture);
    if let Some(variant) = &platform.variant {
        text.push('/');
        text.push_str(variant);
    }
    if let Some(version) = &platform.os_version {
        text.push(' ');
        text.push_str(version);
    }
    text
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

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// What a container of this image would be: titles and values, one a line.
fn settings(config: &Value) -> Vec<(&'static str, Vec<String>)> {
    let inner = &config["config"];
    let one = |value: &Value| vec![text(value).to_owned()];
    let command = |value: &Value| vec![words(value).join(" ")];
    let keys = |value: &Value| value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
    let labels = inner["Labels"].as_object().into_iter().flatten();
    let platform = [&config["os"], &config["architecture"], &config["variant"]].map(text);
    let platform: Vec<&str> = platform.into_iter().filter(|part| !part.is_empty()).collect();
    // The first word says how it is run.
    let health = words(&inner["Healthcheck"]["Test"]).into_iter().skip(1).collect::<Vec<_>>();
    let all = [
        ("Platform", vec![platform.join("/")]),
        ("Created", one(&config["created"])),
        ("Author", one(&config["author"])),
        ("Entrypoint", command(&inner["Entrypoint"])),
        ("Command", command(&inner["Cmd"])),
        ("Working directory", one(&inner["WorkingDir"])),
        ("User", one(&inner["User"])),
        ("Ports", keys(&inner["ExposedPorts"])),
        ("Volumes", keys(&inner["Volumes"])),
        ("Environment", words(&inner["Env"]).into_iter().map(str::to_owned).collect()),
        ("Healthcheck", vec![health.join(" ")]),
        ("Stop signal", one(&inner["StopSignal"])),
        ("Labels", labels.map(|(key, value)| format!("{key}={}", text(value))).collect()),
    ];
    let there = |values: &Vec<String>| values.iter().any(|value| !value.is_empty());
    all.into_iter().filter(|(_, values)| there(values)).collect()
}

fn contents(layers: &[Descriptor], config: &Value) -> Markup {
    let settings = settings(config);
    let total: u64 = layers.iter().map(|layer| layer.size.unsigned_abs()).sum();
    let rows = layers.iter().map(|layer| {
        vec![
            html! { code title=(layer.digest) { (short(&layer.digest)) } },
            html! { (layer.media_type) },
            html! { (layout::size(layer.size.unsigned_abs())) },
        ]
    });
    html! {
        @if !settings.is_empty() {
            h2 { "Configuration" }
            dl { @for (title, values) in &settings {
                dt { (title) } dd { @for value in values { code.line { (value) } } }
            } }
        }
        h2 { "Layers" }
        p { (layers.len()) (if layers.len() == 1 { " layer, " } else { " layers, " }) (layout::size(total)) }
        (table(&[Column::Short("Digest"), Column::Text("Media type"), Column::Number("Size")], rows))
        @if let Some(steps) = config["history"].as_array() { (history(steps, layers)) }
    }
}

/// The steps that made an image. Those that are not said to be empty made the layers, in this order.
fn history(steps: &[Value], layers: &[Descriptor]) -> Markup {
    let empty = |step: &Value| step["empty_layer"] == true;
    let told = steps.iter().filter(|step| !empty(step)).count() == layers.len();
    let mut layers = layers.iter();
    let rows = steps.iter().map(|step| {
        let size = match empty(step) {
            true => Some("empty".to_owned()),
            false => layers.next().filter(|_| told).map(|layer| layout::size(layer.size.unsigned_abs())),
        };
        vec![
            html! { (text(&step["created"]).get(..16).unwrap_or("–").replace('T', " ")) },
            html! {
                code { (text(&step["created_by"]).trim_start_matches("/bin/sh -c #(nop)").trim_start()) }
                @if !text(&step["comment"]).is_empty() { br; span.soft { (text(&step["comment"])) } }
            },
            html! { (size.as_deref().unwrap_or("–")) },
        ]
    });
    html! {
        h2 { "History" }
        (table(&[Column::Short("Created"), Column::Text("Step"), Column::Number("Size")], rows))
    }
}

fn annotations(all: Option<&BTreeMap<String, String>>) -> Markup {
    let all = all.into_iter().flatten();
    html! {
        @if all.clone().next().is_some() {
            h2 { "Annotations" }
            dl { @for (key, value) in all { dt { (key) } dd { code { (value) } } } }
        }
    }
}

fn referrers(name: &Name, all: &[Referrer]) -> Markup {
    let rows = all.iter().map(|referrer| {
        let digest = referrer.found.digest.to_string();
        vec![
            html! { a href=(image(name, &digest)) { code { (short(&digest)) } } },
            html! { (referrer.artifact_type.as_deref().unwrap_or("–")) },
        ]
    });
    html! {
        @if !all.is_empty() {
            h2 #referrers { "Referrers" }
            (table(&[Column::Short("Digest"), Column::Text("Artifact type")], rows))
        }
    }
}
