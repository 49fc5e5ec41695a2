//! The binary: looks at its name and first argument, and takes the role they name.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(125)
}
