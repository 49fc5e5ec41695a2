//! Pages for administrators: users, storage, the audit log.

use maud::{Markup, html};

use super::{Page, View, layout};
use crate::{
    Error, clock,
    service::{blocking, maintenance::Collected},
};

/// Lines of the audit log on one page.
const LINES: usize = 200;

pub(super) fn users(view: &View) -> Result<Page, Error> {
    view.registry.require_admin(&view.visitor.caller)?;
    let state = view.registry.accounts.read();
    Page::ok(layout::page(
        view,
        "Users",
        html! {
            table {
                thead { tr { th scope="col" { "User" } th scope="col" { "Administrator" } th scope="col" { "State" } th scope="col" { "Since" } th scope="col" { span.hidden { "Change" } } } }
                tbody { @for (name, user) in &state.users {
                    tr {
                        td { (name) }
                        td { (if user.admin { "yes" } else { "no" }) }
                        td { (if user.disabled { "locked out" } else { "active" }) }
                        td { (clock::short(user.created)) }
                        td { form.inline method="post" action={ "/ui/user-set/" (name) } {
                            (layout::token(view))
                            input type="hidden" name="disabled" value=(!user.disabled);
                            button.quiet type="submit" aria-label={ (if user.disabled { "Let in " } else { "Lock out " }) (name) } {
                                (if user.disabled { "Let in" } else { "Lock out" })
                            }
                        } }
                    }
                } }
            }
            details {
                summary { "New user" }
                form.card method="post" action="/ui/user-add" {
                    (layout::token(view))
                    label { "Name" input name="name" required autocomplete="off"; }
                    label { "Password" input name="password" type="password" required minlength="8" autocomplete="new-password"; }
                    label.check { input type="checkbox" name="admin" value="yes"; " Administrator" }
                    button type="submit" { "Make" }
                }
            }
        },
    ))
}

pub(super) async fn audit(view: &View) -> Result<Page, Error> {
    view.registry.require_admin(&view.visitor.caller)?;
    let registry = view.registry.clone();
    let wanted = view.query.get("about").unwrap_or_default().to_owned();
    let filter = wanted.clone();
    let entries =
        blocking(move || registry.audit.last(LINES, |e| e.what.contains(&filter) || e.who.contains(&filter)))
            .await??;
    Page::ok(layout::page(
        view,
        "Audit log",
        html! {
            form.row action="/ui/audit" {
                label { "About" input type="search" name="about" value=(wanted); }
                button type="submit" { "Show" }
            }
            table {
                thead { tr { th scope="col" { "Time" } th scope="col" { "Who" } th scope="col" { "From" } th scope="col" { "Did" } th scope="col" { "To what" } } }
                tbody { @for entry in &entries {
                    tr {
                        td { (entry.time) }
                        td { @if entry.who.is_empty() { "nobody" } @else { (entry.who) } }
                        td { (entry.from) }
                        td { (entry.action) }
                        td { code { (entry.what) } }
                    }
                } }
            }
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
    Page::ok(layout::page(
        view,
        "Storage",
        html! {
            @if let Some(collected) = collected {
                p role="status" {
                    "Collected: " (collected.blobs + collected.leftovers) " files that nothing named, " (collected.expired)
                    " expired tags and manifests, " (collected.uploads) " uploads that nobody continued."
                }
            }
            dl.figures {
                dt { "Stored" } dd { (layout::size(figures.bytes)) }
                dt { "Files" } dd { (figures.blobs) }
                dt { "Repositories" } dd { (figures.repositories) }
                dt { "Manifests" } dd { (figures.manifests) }
                dt { "Tags" } dd { (figures.tags) }
            }
            (plot(&samples))
            h2 { "By project" }
            table {
                thead { tr { th scope="col" { "Project" } th.number scope="col" { "Size" } } }
                tbody { @for (name, size) in projects.iter().take(100) {
                    tr { td { a href={ "/ui/projects/" (name) } { (name) } } td.number { (layout::size(*size)) } }
                } }
            }
            form.row method="post" action="/ui/collect" {
                (layout::token(view))
                button type="submit" { "Collect garbage now" }
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
    let x = |time: u64| 60 + (time - first.0) * 720 / (last.0 - first.0);
    let y = |bytes: u64| 170 - (u128::from(bytes) * 150 / u128::from(most)) as u64;
    let points: String = samples.iter().map(|(time, bytes)| format!("{},{} ", x(*time), y(*bytes))).collect();
    html! {
        figure {
            svg viewBox="0 0 800 200" role="img" aria-label={ "Stored bytes from " (clock::short(first.0)) " to " (clock::short(last.0)) ", at most " (layout::size(most)) } {
                line.axis x1="60" y1="170" x2="780" y2="170" {}
                line.axis x1="60" y1="20" x2="60" y2="170" {}
                polyline.curve points=(points.trim_end()) fill="none" {}
                text x="55" y="25" text-anchor="end" { (layout::size(most)) }
                text x="55" y="172" text-anchor="end" { "0" }
                text x="60" y="190" { (clock::short(first.0)) }
                text x="780" y="190" text-anchor="end" { (clock::short(last.0)) }
            }
            figcaption { "Stored bytes" }
        }
    }
}
