//! Checks that the crates depend on each other only in the directions that ARCHITECTURE.md draws.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::root;

/// Each crate with the crates of this workspace that it may use. `types` is open to all. A crate that is not listed
/// may use none.
const ALLOWED: &[(&str, &[&str])] = &[
    ("skiff-sys", &[]),
    ("skiff-api", &[]),
    ("skiff-archive", &[]),
    ("skiff-aws", &[]),
    ("skiff-go", &[]),
    ("skiff-state", &[]),
    ("skiff-tls", &[]),
    ("skiff-handover", &["skiff-sys"]),
    ("skiff-logs", &["skiff-aws", "skiff-go", "skiff-sys", "skiff-tls"]),
    ("skiff-runtime", &["skiff-sys"]),
    ("skiff-snapshots", &["skiff-archive", "skiff-handover", "skiff-sys"]),
    ("skiff-plugins", &[]),
    ("skiff-network", &["skiff-plugins", "skiff-sys"]),
    ("skiff-volumes", &["skiff-plugins", "skiff-sys"]),
    ("skiff-images", &["skiff-archive", "skiff-snapshots"]),
    ("skiff-distribution", &["skiff-handover", "skiff-tls"]),
    (
        "skiff-engine",
        &[
            "skiff-archive",
            "skiff-runtime",
            "skiff-snapshots",
            "skiff-images",
            "skiff-distribution",
            "skiff-network",
            "skiff-logs",
            "skiff-plugins",
            "skiff-state",
            "skiff-sys",
            "skiff-volumes",
        ],
    ),
    ("skiff-registry", &["skiff-aws", "skiff-distribution", "skiff-handover", "skiff-state", "skiff-sys"]),
    ("skiff-server", &["skiff-engine", "skiff-api", "skiff-sys"]),
    ("skiff-client", &["skiff-api", "skiff-tls"]),
    ("skiff-cli", &["skiff-archive", "skiff-client", "skiff-api", "skiff-distribution", "skiff-go"]),
    ("xtask", &["skiff-testkit"]),
    (
        "skiff",
        &[
            "skiff-api",
            "skiff-archive",
            "skiff-cli",
            "skiff-engine",
            "skiff-registry",
            "skiff-runtime",
            "skiff-server",
            "skiff-sys",
        ],
    ),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

/// Fails with every dependency that goes the wrong way. Dependencies of tests are free.
pub(crate) fn check() -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps"])
        .current_dir(root())
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let wrong = wrong_ways(&metadata.packages);
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
}

fn wrong_ways(packages: &[Package]) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in packages {
        let may = allowed.get(package.name.as_str()).copied().unwrap_or_default();
        for dependency in package.dependencies.iter().filter(|d| d.path.is_some()) {
            let test_only = dependency.kind.as_deref() == Some("dev");
            let name = dependency.name.as_str();
            if !test_only && name != "skiff-types" && !may.contains(&name) {
                wrong.push(format!("{} must not depend on {name}", package.name));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependency: &str, kind: Option<&str>) -> Package {
        let dependency =
            Dependency { name: dependency.into(), kind: kind.map(Into::into), path: Some("x".into()) };
        Package { name: name.into(), dependencies: vec![dependency] }
    }

    #[test]
    fn a_subsystem_may_not_import_another() {
        let wrong = wrong_ways(&[package("skiff-network", "skiff-runtime", None)]);
        assert_eq!(wrong, ["skiff-network must not depend on skiff-runtime"]);
    }

    #[test]
    fn the_engine_may_import_them_and_tests_may_import_all() {
        assert!(wrong_ways(&[package("skiff-engine", "skiff-runtime", None)]).is_empty());
        assert!(wrong_ways(&[package("skiff-network", "skiff-testkit", Some("dev"))]).is_empty());
    }
}
