//! Launcher and monitors on the real kernel. Needs root and Debian's busybox-static.
//!
//! The launcher runs from a copy of the test binary itself, so this has a `main` of its own: by its name it takes the
//! launcher's role as the product does.

mod attach;
mod detached;
mod exec;
mod faults;
mod fixture;
mod leaks;
mod life;
mod log;
mod terminal;

use std::{ffi::OsStr, process::ExitCode};

use libtest_mimic::{Arguments, Trial};
use skiff_runtime::launcher;

fn main() -> ExitCode {
    if std::env::args_os().next().as_deref() == Some(OsStr::new(launcher::ARGV0)) {
        launcher::process::main()
    }
    let tests = [
        life::TESTS,
        attach::TESTS,
        terminal::TESTS,
        exec::TESTS,
        log::TESTS,
        faults::TESTS,
        leaks::TESTS,
        detached::TESTS,
    ];
    let trials = tests.into_iter().flatten().map(|(name, test)| {
        Trial::test(*name, || {
            test();
            Ok(())
        })
    });
    // One after the other: some count what the whole process has open.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
