//! Tables, and the parts of long ones.

use std::ops::Range;

use maud::{Markup, html};

use super::View;
use crate::http::query::encode;

/// Rows that one page shows.
const ROWS: usize = 100;
/// From so many rows on, they can be filtered.
const MANY: usize = 10;

/// A column with its title.
#[derive(Clone, Copy)]
pub(super) enum Column {
    /// May be broken anywhere.
    Text(&'static str),
    /// Is not broken, if there is room.
    Short(&'static str),
    Number(&'static str),
    /// Buttons and links that say themselves what they do.
    Actions,
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Text(title) | Self::Short(title) | Self::Number(title) => title,
            Self::Actions => "Actions",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Short(_) => "short",
            Self::Number(_) => "number",
            Self::Actions => "actions",
        }
    }
}

/// A table. In a narrow window each row becomes a block of its own, with the titles before the cells.
pub(super) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<Markup>>) -> Markup {
    html! {
        table {
            thead { tr { @for column in columns {
                th class=(column.class()) scope="col" {
                    @if matches!(column, Column::Actions) { span.hidden { (column.title()) } } @else { (column.title()) }
                }
            } } }
            tbody { @for row in rows {
                tr { @for (column, cell) in columns.iter().zip(row) {
                    td class=(column.class()) data-title=(column.title()) { (cell) }
                } }
            } }
        }
    }
}

/// The part of a long list that is shown: `?from=`, of what `?filter=` lets pass.
pub(super) struct Part<'a> {
    filter: &'a str,
    from: usize,
}

impl<'a> Part<'a> {
    pub(super) fn of(view: &'a View) -> Self {
        let from = view.query.get("from").and_then(|from| from.parse::<u32>().ok()).unwrap_or_default();
        Self { filter: view.query.get("filter").unwrap_or_default().trim(), from: from as usize }
    }

    pub(super) fn passes(&self, name: &str) -> bool {
        name.contains(self.filter)
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.from..self.from.saturating_add(ROWS)
    }

    /// Those of this part.
    pub(super) fn take<T>(&self, all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        all.into_iter().skip(self.from).take(ROWS)
    }

    /// The form with the filter, where there are many.
    pub(super) fn form(&self, path: &str, all: usize) -> Markup {
        html! {
            @if all >= MANY || !self.filter.is_empty() {
                form.row action=(path) role="search" {
                    label { "Filter" input type="search" name="filter" value=(self.filter); }
                    button.quiet type="submit" { "Show" }
                }
            }
        }
    }

    /// Links to the parts before and after, if this is not all of `passing`. `more` goes into them, too.
    pub(super) fn links(&self, passing: usize, more: &str) -> Markup {
        let to = self.range().end.min(passing);
        let link = |from: usize| format!("?{more}&from={from}&filter={}", encode(self.filter));
        html! {
            @if self.from >= passing {
                p { "Nothing. " @if passing > 0 || !self.filter.is_empty() { a href={ "?" (more) } { "Show all" } } }
            }
            @else if self.from > 0 || to < passing {
                nav.parts aria-label="Parts" {
                    @if self.from > 0 { a rel="prev" href=(link(self.from.saturating_sub(ROWS))) { "Before" } }
                    span { (self.from + 1) "–" (to) " of " (passing) }
                    @if to < passing { a rel="next" href=(link(self.from + ROWS)) { "After" } }
                }
            }
        }
    }
}
