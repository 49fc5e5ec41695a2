//! Power cuts: a machine with a disk is killed at random moments while its daemon is busy, boots again, and looks for what was acknowledged.
//!
//! `tests/power` is what runs in it, and says what this keeps: killing QEMU loses what the guest has not written to its disk.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::disk::Disk;
use super::initramfs;
use super::machine::{Console, Machine, Parts, Said};
use super::packages::Installed;
use super::suite::{Executable, program};

/// How long a machine may say nothing.
const PATIENCE: Duration = Duration::from_secs(300);

const SCRIPT: &str = "run-power";

/// How far a machine gets before it is cut off.
#[derive(Clone, Copy)]
enum Cut {
    /// Milliseconds after the daemon was started: it is recovering.
    Starting(u64),
    /// Milliseconds after as many acts were acknowledged: it is busy.
    Busy { acts: u64, after: u64 },
    /// As soon as everything was found right.
    Checked,
}

/// Cuts the power `rounds` times.
pub(crate) fn run(installed: &Installed, executables: &[Executable], rounds: u64) -> Result<()> {
    let work = tempfile::Builder::new().prefix("skiff-vm-").tempdir()?;
    let (initramfs, image) = (work.path().join("initramfs"), work.path().join("disk"));
    let mut disk = Disk::new()?;
    let (skiff, power) = (program(executables, "skiff")?, program(executables, "power")?);
    for path in [skiff, power] {
        disk.add_program(path, path)?;
    }
    let line = format!("{} {} /journal\ntail /daemon.log\npoweroff -f\n", power.display(), skiff.display());
    disk.script(SCRIPT, &line)?;
    disk.finish(&image)?;
    let mut journal = String::new();
    for round in 0..=rounds {
        let cut = match round {
            last if last == rounds => Cut::Checked,
            round if round % 3 == 2 => Cut::Starting(random(4_000)),
            _ => Cut::Busy { acts: 1 + random(40), after: random(1_000) },
        };
        initramfs::write(&initramfs, installed, Some(&journal))?;
        let parts = Parts { kernel: &installed.image, initramfs: &initramfs, disk: &image, run: SCRIPT };
        let (machine, console) = Machine::boot(&parts)?;
        let said = until_cut(machine, &console, cut)?;
        let when = match cut {
            Cut::Starting(after) => format!("cut {after} ms after the daemon was started"),
            Cut::Busy { acts, after } => format!("cut {after} ms after {acts} acts"),
            Cut::Checked => "everything is there".to_owned(),
        };
        eprintln!("== power, Linux {}, round {round}: {when}", installed.version);
        journal.push_str(&said);
        journal.push_str("cut\n");
    }
    Ok(())
}

/// What the machine says for the journal, until it is cut off.
fn until_cut(machine: Machine, console: &Console, cut: Cut) -> Result<String> {
    let mut said = String::new();
    let mut end = None;
    let mut acts: Option<u64> = None;
    let mut machine = Some(machine);
    loop {
        match console.read(end.unwrap_or_else(|| Instant::now() + PATIENCE)) {
            Said::Line(line) => {
                let Some((_, marked)) = line.split_once("@@") else {
                    eprintln!("     {line}");
                    continue;
                };
                let (kind, rest) = marked.split_once(' ').unwrap_or((marked, ""));
                match kind {
                    "wrong" => bail!("after a power cut: {rest}"),
                    "checked" => acts = Some(0),
                    "ack" => acts = acts.map(|acts| acts + 1),
                    _ => {}
                }
                // A last line may be cut as well; its act has not begun.
                if matches!(kind, "try" | "ack") && serde_json::from_str::<serde_json::Value>(rest).is_ok() {
                    said.push_str(marked);
                    said.push('\n');
                }
                let after = match (cut, kind) {
                    (Cut::Checked, "checked") => return Ok(said),
                    (Cut::Starting(after), "daemon") => after,
                    (Cut::Busy { acts: wanted, after }, "ack") if acts == Some(wanted) => after,
                    _ => continue,
                };
                end = Some(Instant::now() + Duration::from_millis(after));
            }
            Said::Off if machine.is_none() => return Ok(said),
            Said::Off => bail!("the machine has turned itself off"),
            Said::Timeout if end.is_some() => {
                // What it has said until then still comes.
                drop(machine.take());
                end = None;
            }
            Said::Timeout => bail!("the machine says nothing"),
        }
    }
}

/// A number below `limit`.
fn random(limit: u64) -> u64 {
    RandomState::new().build_hasher().finish() % limit
}
