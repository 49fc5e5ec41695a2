//! The project's own tasks: `cargo xtask ci`.

#![allow(clippy::print_stderr, reason = "a developer's tool prints")]

mod bench;
mod ci;
mod layers;
mod sizes;
mod spec;
mod vm;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  ci       format, clippy, layer check, size check, cargo deny, every test
  bench    measure every row of the targets, against another engine if one is named
  layers   check that crates depend on each other only in the directions of ARCHITECTURE.md
  sizes    check that no source file has outgrown its purpose
  spec     make the table of the API that the black-box suite walks from Docker's specification
  vm       run tests on Debian's kernels in a virtual machine with cgroup v2
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let result = match args.next().as_deref() {
        Some("ci") => ci::run(),
        Some("bench") => bench::run(args),
        Some("layers") => layers::check(),
        Some("sizes") => sizes::check(),
        Some("spec") => spec::write(args),
        Some("vm") => vm::run(args),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace.
fn root() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}
