//! `skiff registry gc`: collects garbage now.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::Value;
use skiff_registry::{Registry, Settings};

use super::{fail, operator::Operator, say};

const USAGE: &str = "Usage:  skiff registry gc [--root DIR]

Remove content that no image refers to, while the registry runs
";

pub(super) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = match words.as_slice() {
        [] => std::env::var("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY")
            .unwrap_or_else(|_| "/var/lib/registry".into()),
        ["--root", root] => (*root).to_owned(),
        [root] if root.starts_with("--root=") => root["--root=".len()..].to_owned(),
        ["--help" | "-h"] => return say(USAGE),
        _ => return fail(USAGE),
    };
    collect(&PathBuf::from(root))
}

/// Collects garbage of the registry that runs over this directory.
pub(super) fn collect(root: &Path) -> ExitCode {
    match Operator::new(root).ask("POST", "/gc", &Value::Null) {
        Ok(done) => tell(&done),
        Err(reason) => fail(&format!("skiff registry gc: {reason}")),
    }
}

/// Collects garbage of the registry that has these settings, whether or not it runs.
pub(super) fn collect_anyway(settings: Settings) -> ExitCode {
    if Operator::new(&settings.root).answers() {
        return collect(&settings.root);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(Registry::collect_stopped(settings)));
    match done {
        Ok(done) => tell(&done),
        Err(reason) => fail(&format!("registry garbage-collect: {reason}")),
    }
}

fn tell(done: &Value) -> ExitCode {
    say(&format!(
        "links removed: {}\nblobs removed: {}\nleftovers removed: {}\nuploads given up: {}\ntags and manifests expired: {}\n",
        done["links"], done["blobs"], done["leftovers"], done["uploads"], done["expired"]
    ))
}
