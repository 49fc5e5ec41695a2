//! `state` and `list`.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::Serialize;

use super::args::{Format, Global};
use super::record::{Directory, Record, Status, find};
use super::{OciError, log, print, print_json};

/// What `state` and `list` print of a container, field for field as runc does.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    oci_version: String,
    id: String,
    pid: i32,
    status: Status,
    bundle: PathBuf,
    rootfs: PathBuf,
    created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    owner: String,
}

impl Shown {
    fn new(directory: &Directory, record: &Record) -> Self {
        let status = record.status(directory);
        let root = record.spec.root().as_ref().map(|root| record.bundle.join(root.path()));
        let uid = fs_err::metadata(directory.path()).map_or(0, |metadata| metadata.uid());
        Self {
            oci_version: record.spec.version().clone(),
            id: record.id.clone(),
            pid: if matches!(status, Status::Stopped | Status::Creating) { 0 } else { record.process.pid },
            status,
            bundle: record.bundle.clone(),
            rootfs: root.unwrap_or_default(),
            created: record.created.to_string(),
            annotations: record.spec.annotations().clone().unwrap_or_default().into_iter().collect(),
            owner: if uid == 0 { "root".to_owned() } else { format!("#{uid}") },
        }
    }
}

/// Prints the state of a container.
pub(super) fn state(global: &Global, id: &str) -> Result<(), OciError> {
    let (directory, record) = find(global, id)?;
    let source = |source| OciError::Json { path: "standard output".into(), source };
    let text = serde_json::to_string_pretty(&Shown::new(&directory, &record)).map_err(source)?;
    print(&text);
    Ok(())
}

/// Lists containers.
pub(super) fn list(global: &Global, format: Format, quiet: bool) -> Result<(), OciError> {
    let mut shown = Vec::new();
    for directory in Directory::all(global)? {
        match directory.read() {
            Ok(record) => shown.push(Shown::new(&directory, &record)),
            // Being created or deleted at this moment.
            Err(OciError::NotFound) => {}
            // One that cannot be read must not hide the others.
            Err(error) => log::warning(global, &error.to_string()),
        }
    }
    if quiet {
        shown.iter().for_each(|container| print(&container.id));
        return Ok(());
    }
    match format {
        Format::Json => print_json(&shown),
        Format::Table => {
            let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
            let rows = shown.into_iter().map(|it| {
                let bundle = it.bundle.display().to_string();
                [it.id, it.pid.to_string(), status_text(it.status), bundle, it.created, it.owner]
            });
            table(head, rows.collect());
            Ok(())
        }
    }
}

fn status_text(status: Status) -> String {
    status.to_string()
}

/// Prints a table as Go's tabwriter lays it out: columns at least twelve wide, three spaces between.
pub(super) fn table<const COLUMNS: usize>(head: [String; COLUMNS], rows: Vec<[String; COLUMNS]>) {
    let all: Vec<[String; COLUMNS]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].len() + 3).max().unwrap_or(0).max(12);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    for row in &all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths).take(COLUMNS - 1) {
            line.push_str(&format!("{cell:width$}"));
        }
        line.push_str(&row[COLUMNS - 1]);
        print(&line);
    }
}
