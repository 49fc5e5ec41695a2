//! `cargo xtask vm`: tests on other kernels than this machine's, in a virtual machine.
//!
//! Debian's kernels (6.1 of bookworm, 6.12 of bookworm-backports) boot under QEMU with nothing but cgroup v2, from an initramfs made here: busybox,
//! a few modules, and the statically linked test binaries. Each test runs in a process of its own, as under nextest. The serial console brings the results
//! back. Needs `qemu-system-x86_64`, `apt-get`, `dpkg` and `xz`. The machine is emulated (TCG): KVM inside a virtual machine may be there and not work.
//!
//! Packages are kept in a cache directory outside the repository, and come from wherever this machine's own apt sources point.

mod image;
mod packages;
mod results;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::packages::Kernel;
use self::results::Results;
use crate::root;

const USAGE: &str = "usage: cargo xtask vm [--kernel 6.1|6.12]... [--package NAME]... [--features LIST] [--timeout SECONDS] [FILTER]...

Runs the tests of the packages (skiff-runtime unless named) on each kernel (both unless named). A filter is part of a test's name.";

/// Emulation is slow, and one test that hangs must not hold up everything for ever.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Everything that is emulated, but 16-byte compare and exchange, with which QEMU 7.2's emulation of two processors makes kernels crash, and five
/// levels of page tables, which only cost time.
const CPU: &str = "max,-cx16,-la57";

struct Options {
    kernels: Vec<Kernel>,
    packages: Vec<String>,
    features: Option<String>,
    filters: Vec<String>,
    timeout: Duration,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            kernels: Vec::new(),
            packages: Vec::new(),
            features: None,
            filters: Vec::new(),
            timeout: TIMEOUT,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value\n\n{USAGE}"));
            match arg.as_str() {
                "--kernel" => options.kernels.push(value()?.parse()?),
                "--package" => options.packages.push(value()?),
                "--features" => options.features = Some(value()?),
                "--timeout" => options.timeout = Duration::from_secs(value()?.parse()?),
                flag if flag.starts_with('-') => bail!("unknown option {flag}\n\n{USAGE}"),
                _ => options.filters.push(arg),
            }
        }
        if options.kernels.is_empty() {
            options.kernels = vec![Kernel::Stable, Kernel::Backports];
        }
        if options.packages.is_empty() {
            options.packages = vec!["skiff-runtime".to_owned()];
        }
        Ok(options)
    }
}

/// Runs the command with the arguments behind `vm`.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<()> {
    let options = Options::parse(args)?;
    let executables = build(&options)?;
    let tests = executables.iter().filter(|executable| executable.is_test).count();
    let cache = std::env::temp_dir().join("skiff-vm");
    let mut failed = Vec::new();
    for kernel in &options.kernels {
        let installed = packages::fetch(&cache, *kernel)?;
        let initramfs = cache.join(format!("initramfs-{}-{}", installed.version, std::process::id()));
        image::write(&initramfs, &installed, &executables, &options.filters)?;
        eprintln!("== {tests} test binaries on Linux {}", installed.version);
        let results = boot(&installed.image, &initramfs, options.timeout);
        fs_err::remove_file(&initramfs)?;
        let results = results?;
        eprintln!("== Linux {}: {results}", installed.version);
        if !results.is_success() {
            failed.push(installed.version);
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("tests failed on Linux {}", failed.join(" and ")) }
}

/// A program that cargo has built. In the machine it has the path it has here: tests have the paths of the programs they run compiled into them.
pub(crate) struct Executable {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) is_test: bool,
}

/// Builds the packages' tests, and what they run, and asks cargo where all that is.
fn build(options: &Options) -> Result<Vec<Executable>> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--no-run", "--message-format=json-render-diagnostics"]).current_dir(root());
    for package in &options.packages {
        command.args(["--package", package]);
    }
    command.args(options.features.iter().flat_map(|features| ["--features", features]));
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo test")?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let mut executables = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let message: serde_json::Value = serde_json::from_slice(line).context("cargo does not speak JSON")?;
        let Some(path) = message["executable"].as_str() else { continue };
        let name = message["target"]["name"].as_str().unwrap_or("test").to_owned();
        let is_test = message["profile"]["test"] == true;
        executables.push(Executable { name, path: path.into(), is_test });
    }
    if executables.iter().any(|executable| executable.is_test) {
        Ok(executables)
    } else {
        bail!("there are no tests in {}", options.packages.join(", "))
    }
}

/// Boots and reads the console until the machine turns itself off.
fn boot(kernel: &Path, initramfs: &Path, timeout: Duration) -> Result<Results> {
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", "2", "-m", "2048"])
        .args(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", "console=ttyS0 quiet panic=-1 cgroup_no_v1=all mitigations=off apparmor=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut machine = Machine(command.spawn().context("cannot run qemu-system-x86_64")?);
    let console = machine.0.stdout.take().context("the console is a pipe")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                break;
            }
        }
    });
    let end = Instant::now() + timeout;
    let mut results = Results::default();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => results.read(&line),
            Err(RecvTimeoutError::Disconnected) => return Ok(results),
            Err(RecvTimeoutError::Timeout) => {
                eprintln!("== no end after {} s", timeout.as_secs());
                return Ok(results);
            }
        }
    }
}

/// The machine ends with its guard.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
