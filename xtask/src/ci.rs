//! What must hold before a change lands; the same here and on a server.

use std::{process::Command, time::Instant};

use anyhow::{Context, Result, bail};

use crate::{layers, root, sizes, vm};

/// Runs every check, cheapest first, and stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    cargo("format", &["fmt", "--all", "--check"])?;
    step("layers", layers::check)?;
    step("sizes", sizes::check)?;
    // Advisories come from a database on the network; `cargo deny check advisories` is for a machine that has one.
    cargo("deny", &["deny", "--log-level", "error", "check", "bans", "licenses", "sources"])?;
    cargo("clippy", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    // What users build has fewer features than the workspace with its tests.
    cargo("alone", &["check", "--quiet", "--package", "skiff"])?;
    cargo("tests", &["nextest", "run", "--workspace"])?;
    step("machines", vm::core)
}

fn cargo(name: &str, args: &[&str]) -> Result<()> {
    step(name, || {
        let status = Command::new(env!("CARGO")).args(args).current_dir(root()).status();
        match status.with_context(|| format!("cannot run cargo {}", args[0]))? {
            status if status.success() => Ok(()),
            status => bail!("cargo {}: {status}", args.join(" ")),
        }
    })
}

fn step(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("== {name}");
    let start = Instant::now();
    run().with_context(|| format!("{name} failed"))?;
    eprintln!("== {name}: {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}
