//! The binary: looks at its name and first argument, and takes the role they name.

mod builtin;
mod daemon;
mod doctor;
mod registry;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::ExitCode,
};

use skiff_runtime::{init, launcher, oci};

fn main() -> ExitCode {
    // Before anything else is touched: whatever a launcher has touched, every monitor carries.
    if std::env::args_os().next().as_deref() == Some(OsStr::new(launcher::ARGV0)) {
        launcher::process::main()
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(OsStr::to_str);
    if name == Some("dockerd") {
        return daemon::main(daemon::Name::Dockerd, text(arguments));
    }
    if name == Some("skiff-runtime") {
        return oci::main(std::env::args_os());
    }
    if name == Some(init::NAME) {
        return init::main(arguments);
    }
    match name {
        // In the image of that name.
        Some("registry" | "entrypoint.sh") => return registry::packed(text(arguments)),
        Some("htpasswd") => return registry::htpasswd(text(arguments)),
        _ => {}
    }
    match arguments.next().as_deref().and_then(OsStr::to_str) {
        Some("init") if name != Some("docker") => init::main(arguments),
        Some("daemon") if name != Some("docker") => daemon::main(daemon::Name::Skiff, text(arguments)),
        Some("registry") if name != Some("docker") => registry::main(text(arguments)),
        Some("runtime") if name != Some("docker") => {
            oci::main([OsString::from("skiff runtime")].into_iter().chain(arguments))
        }
        Some("doctor") if name != Some("docker") => doctor::main(text(arguments)),
        // Started by the command line in the background: a session of its own, out of reach of the terminal's signals.
        Some("daemon-session") => {
            let _ = rustix::process::setsid();
            daemon::main(daemon::Name::Skiff, text(arguments))
        }
        _ => skiff_cli::main(std::env::args_os()),
    }
}

/// Arguments as text; what is not is shown with replacement characters and will be refused by name.
fn text(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = String> {
    arguments.map(|argument| argument.to_string_lossy().into_owned())
}
