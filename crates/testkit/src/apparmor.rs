//! AppArmor profiles for tests, loaded with Debian's parser. The engine itself never runs it.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// Debian's package `apparmor` has it.
const PARSER: &str = "/sbin/apparmor_parser";

/// Whether this kernel has AppArmor. `cargo xtask vm` sets `SKIFF_TEST_APPARMOR`: its kernels must have it.
///
/// # Panics
/// When it is missing where it must not be.
pub fn is_enabled() -> bool {
    let parameter = fs_err::read_to_string("/sys/module/apparmor/parameters/enabled");
    let enabled = parameter.is_ok_and(|text| text.starts_with('Y'));
    assert!(enabled || std::env::var_os("SKIFF_TEST_APPARMOR").is_none(), "this kernel has no AppArmor");
    enabled
}

/// A loaded profile; dropping it unloads it.
pub struct Profile {
    text: String,
}

impl Profile {
    /// Loads a profile that allows everything but the files below `/tmp/secret`.
    ///
    /// # Errors
    /// When there is no parser, or the kernel refuses.
    pub fn load(name: &str) -> Result<Self> {
        let rules = "file, capability, network, mount, umount, pivot_root, signal, ptrace, unix, deny /tmp/secret{,/**} rwklx,";
        let text = format!("profile {name} flags=(attach_disconnected,mediate_deleted) {{ {rules} }}\n");
        run_parser("--replace", &text)?;
        Ok(Self { text })
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        if let Err(error) = run_parser("--remove", &self.text) {
            let _ = writeln!(std::io::stderr(), "testkit: {error:#}");
        }
    }
}

fn run_parser(action: &str, text: &str) -> Result<()> {
    let mut parser = Command::new(PARSER)
        .args([action, "--skip-cache", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {PARSER}: install Debian's package apparmor"))?;
    parser.stdin.take().context("piped")?.write_all(text.as_bytes())?;
    let status = parser.wait()?;
    ensure!(status.success(), "{PARSER} {action}: {status}");
    Ok(())
}
