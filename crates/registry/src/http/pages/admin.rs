//! Pages for administrators: storage, the audit log.

use maud::{Markup, html};

use super::{
    Page, View, layout,
    lists::{Column, table},
};
use crate::{
    Error, clock,
    http::query::encode,
    service::{blocking, maintenance::Collected},
};

/// Lines of the audit log on one page.
const LINES: usize = 200;

pub(super) async fn audit(view: &View) -> Result<Page, Error> {
    view.registry.require_admin(&view.visitor.caller)?;
    let registry = view.registry.clone();
    let wanted = view.query.get("about").unwrap_or_default().trim().to_owned();
    let filter = wanted.clone();
    let entries = blocking(move || {
        registry.audit.last(LINES, |e| [&e.what, &e.who, &e.action].iter().any(|text| text.contains(&filter)))
    })
    .await??;
    let columns = [
        Column::Short("Time"),
        Column::Short("Who"),
        Column::Short("From"),
        Column::Short("Did"),
        Column::Text("To what"),
    ];
    let rows = entries.iter().map(|entry| {
        vec![
            html! { (entry.time.replace('T', " ").trim_end_matches('Z')) },
            html! { @if entry.who.is_empty() { "nobody" } @else { (entry.who) } },
            html! { @if entry.from.is_empty() { "–" } @else { (entry.from) } },
            html! { (entry.action) },
            html! { code { (entry.what) } },
        ]
    });
    Page::ok(layout::page(
        view,
        "Audit log",
        html! {
            form.row action="/ui/audit" role="search" {
                label { "Who, did or to what" input type="search" name="about" value=(wanted); }
                button.quiet type="submit" { "Show" }
            }
            @if entries.is_empty() { p { "Nothing." } } @else { (table(&columns, rows)) }
            p.who { "The last " (LINES) " lines at most, times in UTC. All of them are in audit.jsonl in the registry's directory." }
        },
    ))
}

/// What is stored; and what a collection that somebody has asked for just did.
pub(super) fn storage(view: &View, collected: Option<&Collected>) -> Result<Page, Error> {
    view.registry.require_admin(&view.visitor.caller)?;
    let figures = view.registry.catalog.figures();
    let mut samples = view.registry.samples.all();
    samples.push((clock::now(), figures.bytes));
    let mut projects: Vec<(String, u64)> = {
        let contents = view.registry.catalog.read();
        let names: std::collections::BTreeSet<&str> =
            contents.repositories.keys().map(|name| name.project()).collect();
        names.into_iter().map(|name| (name.to_owned(), contents.project_size(name))).collect()
    };
    projects.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let rows = projects.iter().take(100).map(|(name, size)| {
        let quota = view.registry.accounts.policy(name).quota;
        vec![
            html! { a href={ "/ui/projects/" (encode(name)) } { (name) } },
            html! { (layout::size(*size)) },
            html! { @match quota { Some(quota) => (layout::size(quota)), None => "–" } },
        ]
    });
    Page::ok(layout::page(
        view,
        "Storage",
        html! {
            @if let Some(collected) = collected {
                p.notice role="status" {
                    "Collected: " (collected.blobs + collected.leftovers) " files that nothing named, " (collected.expired)
                    " expired tags and manifests, " (collected.uploads) " uploads that nobody continued."
                }
            }
            dl.figures {
                @for (title, figure) in [
                    ("Stored", layout::size(figures.bytes)),
                    ("Files", figures.blobs.to_string()),
                    ("Repositories", figures.repositories.to_string()),
                    ("Manifests", figures.manifests.to_string()),
                    ("Tags", figures.tags.to_string()),
                ] { div { dt { (title) } dd { (figure) } } }
            }
            (plot(&samples))
            h2 { "By project" }
            @if projects.is_empty() { p { "Nothing is stored yet." } }
            @else { (table(&[Column::Text("Project"), Column::Number("Size"), Column::Number("Quota")], rows)) }
            p { "What no manifest names any more is collected by itself." }
            form.row method="post" action="/ui/collect" {
                (layout::token(view))
                button.quiet type="submit" { "Collect garbage now" }
            }
        },
    ))
}

/// Stored bytes over time.
fn plot(samples: &[(u64, u64)]) -> Markup {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return html! {} };
    if first.0 == last.0 {
        return html! {};
    }
    let most = samples.iter().map(|(_, bytes)| *bytes).max().unwrap_or(1).max(1);
    let x = |time: u64| 10 + (time - first.0) * 780 / (last.0 - first.0);
    let y = |bytes: u64| 210 - (u128::from(bytes) * 170 / u128::from(most)) as u64;
    let points: String = samples.iter().map(|(time, bytes)| format!("{},{} ", x(*time), y(*bytes))).collect();
    html! {
        figure {
            figcaption { "Stored bytes" }
            svg viewBox="0 0 800 240" role="img" aria-label={ "Stored bytes from " (clock::short(first.0)) " to " (clock::short(last.0)) ", at most " (layout::size(most)) } {
                line.axis x1="10" y1="40" x2="790" y2="40" {}
                line.axis x1="10" y1="125" x2="790" y2="125" {}
                line.axis x1="10" y1="210" x2="790" y2="210" {}
                polygon.area points={ "10,210 " (points) "790,210" } {}
                polyline.curve points=(points.trim_end()) fill="none" {}
                text x="10" y="32" { (layout::size(most)) }
                text x="10" y="234" { (clock::short(first.0)) }
                text x="790" y="234" text-anchor="end" { (clock::short(last.0)) }
            }
        }
    }
}
