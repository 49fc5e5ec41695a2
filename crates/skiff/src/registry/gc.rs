//! `skiff registry gc`: collects garbage now.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::Value;

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
        Ok(done) => say(&format!(
            "links removed: {}\nblobs removed: {}\nleftovers removed: {}\nuploads given up: {}\ntags and manifests expired: {}\n",
            done["links"], done["blobs"], done["leftovers"], done["uploads"], done["expired"]
        )),
        Err(reason) => fail(&format!("skiff registry gc: {reason}")),
    }
}
