//! `cargo xtask vm`: tests on other kernels than this machine's, in a virtual machine.
//!
//! Debian's kernels (6.1 of bookworm, 6.12 of bookworm-backports) boot under QEMU with nothing but cgroup v2, from a disk made here: busybox, what the
//! tests run, and the test binaries. Each test runs in a process of its own, as under nextest. The serial console brings the results back. Needs
//! `qemu-system-x86_64`, `mke2fs`, `apt-get`, `dpkg`, `xz`, `strip`, and the programs that the tests run.
//!
//! Kernels are kept in a cache directory outside the repository, and come from wherever this machine's own apt sources point.

mod disk;
mod initramfs;
mod machine;
mod packages;
mod power;
mod results;
mod suite;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use self::disk::Disk;
use self::machine::{Machine, Parts, Said};
use self::packages::{Installed, Kernel};
use self::results::Results;
use self::suite::{Executable, Suite};

const USAGE: &str = "\
usage: cargo xtask vm [--kernel 6.1|6.12]... [--timeout SECONDS] [TARGET[=FILTER]]...
       cargo xtask vm [--kernel 6.1|6.12]... power [ROUNDS]
       cargo xtask vm [--kernel 6.1|6.12]... run SCRIPT [PROGRAM]...

Runs tests on each kernel (both unless named): those of the test binaries called TARGET, as cargo calls them (kernel, monitor, blackbox, cli, daemon,
faults, lifecycle, ports, reach, skiff_snapshots, skiff_engine ...), whose names contain FILTER; without any, the core that `cargo xtask ci` runs.

power cuts the machine off at random moments, ROUNDS times (6), while its daemon is busy, and looks for everything acknowledged after each.

run runs a shell script in a machine that has the programs beside busybox and what else tests use; those of cargo are named by their target.";

/// Emulation is slow, and one test that hangs must not hold up everything for ever.
const TIMEOUT: Duration = Duration::from_secs(2700);

/// Power cuts unless the command line says how many.
const ROUNDS: u64 = 6;

/// Those of the core.
const CORE_ROUNDS: &str = "2";

struct Options {
    kernels: Vec<Kernel>,
    suites: Vec<String>,
    timeout: Duration,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { kernels: Vec::new(), suites: Vec::new(), timeout: TIMEOUT };
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value\n\n{USAGE}"));
            match arg.as_str() {
                "--kernel" => options.kernels.push(value()?.parse()?),
                "--timeout" => options.timeout = Duration::from_secs(value()?.parse()?),
                flag if flag.starts_with('-') => bail!("unknown option {flag}\n\n{USAGE}"),
                _ => options.suites.push(arg),
            }
        }
        if options.kernels.is_empty() {
            options.kernels = vec![Kernel::Stable, Kernel::Backports];
        }
        Ok(options)
    }
}

/// What a change must pass to land: the core suites on both kernels, and a few power cuts where the default driver is.
pub(crate) fn core() -> Result<()> {
    run(std::iter::empty())?;
    run(["--kernel", "6.12", "power", CORE_ROUNDS].into_iter().map(str::to_owned))
}

/// Runs the command with the arguments behind `vm`.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<()> {
    let options = Options::parse(args)?;
    let installed = options.kernels.iter().map(|kernel| packages::fetch(&cache(), *kernel));
    let installed = installed.collect::<Result<Vec<_>>>()?;
    let executables = suite::build()?;
    if let [power, rounds @ ..] = options.suites.as_slice()
        && power == "power"
    {
        let rounds = rounds.first().map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
        return installed.iter().try_for_each(|installed| power::run(installed, &executables, rounds));
    }
    if let [run, script, programs @ ..] = options.suites.as_slice()
        && run == "run"
    {
        let script = fs_err::read_to_string(script)?;
        let run = |installed| run_script(installed, &executables, &script, programs, options.timeout);
        return installed.iter().try_for_each(run);
    }
    // An emulated machine keeps one processor busy, so all kernels run at once.
    let results = thread::scope(|scope| {
        let machines: Vec<_> = options
            .kernels
            .iter()
            .zip(&installed)
            .map(|(kernel, installed)| {
                let suites = match options.suites.as_slice() {
                    [] => Suite::core(*kernel),
                    words => Suite::parse(words),
                };
                let (executables, timeout) = (&executables, options.timeout);
                scope.spawn(move || run_suites(installed, executables, &suites, timeout))
            })
            .collect();
        machines
            .into_iter()
            .map(|machine| machine.join().map_err(|_| anyhow!("a machine's thread panicked"))?)
            .collect::<Result<Vec<_>>>()
    })?;
    for (installed, results) in installed.iter().zip(&results) {
        eprintln!("== Linux {}: {results}", installed.version);
    }
    if results.iter().all(Results::is_success) { Ok(()) } else { bail!("tests failed in a machine") }
}

/// Runs a script in a machine, and shows what it prints.
fn run_script(
    installed: &Installed,
    executables: &[Executable],
    script: &str,
    programs: &[String],
    timeout: Duration,
) -> Result<()> {
    let mut disk = Disk::new()?;
    disk.add_program(&packages::apparmor(&cache())?, Path::new("/sbin/apparmor_parser"))?;
    for name in programs {
        let path = suite::program(executables, name).unwrap_or(Path::new(name));
        let file = path.file_name().with_context(|| format!("{name} is no program"))?;
        disk.add_program(path, &Path::new("/bin").join(file))?;
    }
    disk.script("run-script", &format!("{script}\npoweroff -f\n"))?;
    in_machine(installed, disk, "run-script", timeout, |line| eprintln!("{line}"))
}

/// Where downloads are kept, and disks while they are used.
fn cache() -> PathBuf {
    std::env::temp_dir().join("skiff-vm")
}

/// Runs tests in one machine.
fn run_suites(
    installed: &Installed,
    executables: &[Executable],
    suites: &[Suite],
    timeout: Duration,
) -> Result<Results> {
    let mut disk = Disk::new()?;
    suite::install(&mut disk, executables, suites)?;
    disk.add_program(&packages::apparmor(&cache())?, Path::new("/sbin/apparmor_parser"))?;
    eprintln!("== {} test binaries on Linux {}", suites.len(), installed.version);
    let mut results = Results::of(&installed.version);
    in_machine(installed, disk, suite::SCRIPT, timeout, |line| results.read(line))?;
    Ok(results)
}

/// Boots with a disk, and takes every line of the console until the machine turns itself off.
fn in_machine(
    installed: &Installed,
    disk: Disk,
    run: &str,
    timeout: Duration,
    mut take: impl FnMut(&str),
) -> Result<()> {
    let work = tempfile::Builder::new().prefix("skiff-vm-").tempdir()?;
    let (initramfs, image) = (work.path().join("initramfs"), work.path().join("disk"));
    initramfs::write(&initramfs, installed, None)?;
    disk.finish(&image)?;
    let parts = Parts { kernel: &installed.image, initramfs: &initramfs, disk: &image, run };
    let (_machine, console) = Machine::boot(&parts)?;
    let end = Instant::now() + timeout;
    loop {
        match console.read(end) {
            Said::Line(line) => take(&line),
            Said::Off => return Ok(()),
            Said::Timeout => {
                eprintln!("== no end after {} s", timeout.as_secs());
                return Ok(());
            }
        }
    }
}
