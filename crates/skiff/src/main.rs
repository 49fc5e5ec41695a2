//! The binary: looks at its name and first argument, and takes the role they name.

use std::{ffi::OsStr, process::ExitCode};

use skiff_runtime::launcher;

fn main() -> ExitCode {
    // Before anything else is touched: whatever a launcher has touched, every monitor carries.
    if std::env::args_os().next().as_deref() == Some(OsStr::new(launcher::ARGV0)) {
        launcher::process::main()
    }
    skiff_cli::main(std::env::args_os())
}
