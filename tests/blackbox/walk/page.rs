//! `docs/compatibility.md`, made of what the walk checks.

use std::fmt::Write as _;

use super::{
    table::{Exception, Row, Whose},
    versions,
};

const HEAD: &str = "\
# Compatibility

This page is made by the tests (`tests/blackbox/walk`): they send every field of every request below to the engine and look
for every field of its answers. The facts come from Docker's specification of the API v1.51. A field that is neither handled nor
listed here with its reason fails the suite; so does one that is listed and handled. `…` stands for all fields that begin so.

The same suite runs against Docker 28.5.2. Where the reason is marked *as Docker*, Docker does the same.

| endpoint | request fields | of these checked | answer fields | of these filled |
|---|---|---|---|---|
";

/// The whole page.
pub(super) fn render(rows: &[Row], exceptions: &[Exception]) -> String {
    let mut page = HEAD.to_owned();
    for endpoint in rows.iter().filter(|row| row.part == "endpoint") {
        let fields = |answer: bool| {
            let of = |row: &&Row| {
                row.endpoint == endpoint.endpoint && row.is_answer() == answer && row.part != "endpoint"
            };
            let fields: Vec<_> = rows.iter().filter(of).collect();
            let excepted = |row: &&&Row| skiffs(exceptions).any(|exception| exception.is_about(row));
            (fields.len(), fields.len() - fields.iter().filter(excepted).count())
        };
        let ((asked, checked), (answered, filled)) = (fields(false), fields(true));
        let _ = writeln!(page, "| `{}` | {asked} | {checked} | {answered} | {filled} |", endpoint.endpoint);
    }
    page.push_str("\n## What is not as the specification says\n\n");
    for endpoint in rows.iter().filter(|row| row.part == "endpoint") {
        list(&mut page, endpoint.endpoint, rows, exceptions);
    }
    list_versions(&mut page);
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// The exceptions that are Skiff's, too.
fn skiffs(exceptions: &[Exception]) -> impl Iterator<Item = &Exception> {
    exceptions.iter().filter(|exception| exception.whose != Whose::Docker)
}

/// The exceptions of an endpoint.
fn list(page: &mut String, endpoint: &str, rows: &[Row], exceptions: &[Exception]) {
    let rows: Vec<_> = rows.iter().filter(|row| row.endpoint == endpoint).collect();
    let mut lines = String::new();
    for exception in skiffs(exceptions).filter(|exception| rows.iter().any(|row| exception.is_about(row))) {
        let what = match exception.field.trim_start_matches("[]").trim_start_matches('.') {
            "…" => "all of it".to_owned(),
            field => format!("`{field}`"),
        };
        let same = if exception.whose == Whose::DockerToo { " *As Docker.*" } else { "" };
        let _ = writeln!(lines, "- {what}: {}.{same}", exception.reason);
    }
    if !lines.is_empty() {
        let _ = writeln!(page, "### `{endpoint}`\n\n{lines}");
    }
}

/// What depends on the version that a client asks for.
fn list_versions(page: &mut String) {
    page.push_str(
        "## Versions\n\nVersions 1.24 to 1.51 are served. These depend on the version, as in Docker:\n\n\
         | | in versions |\n|---|---|\n",
    );
    for span in versions::ANSWERS {
        let (field, from, to) =
            (span.field.trim_start_matches('.'), span.versions.start(), span.versions.end());
        let _ = writeln!(
            page,
            "| `GET {}`: `{field}` | 1.{from} to 1.{to} |",
            span.path.replace("CONTAINER", "{id}")
        );
    }
    let heeded =
        versions::HEEDED.iter().map(|heeded| (heeded.field, heeded.since, "before, it is not looked at"));
    let refused =
        versions::REFUSED.iter().map(|refused| (refused.what, refused.since, "before, it is refused"));
    for (what, since, before) in heeded.chain(refused) {
        let _ = writeln!(page, "| `POST /containers/create`: {what} | from 1.{since}; {before} |");
    }
}
