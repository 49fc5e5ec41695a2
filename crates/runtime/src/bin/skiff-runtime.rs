//! The OCI runtime alone, as a small binary: what `skiff runtime` is, for tests and measurements of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    skiff_runtime::oci::main(std::env::args_os())
}
