//! A thousand containers that come and go leave nothing behind.

use std::{
    collections::BTreeMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use skiff_testkit::Daemon;

use crate::{create, daemon, start, wait};

/// What could pile up, by name.
type Counts = BTreeMap<&'static str, u64>;

fn cycle(daemon: &Daemon, times: u32) -> Result<()> {
    let mut client = daemon.client();
    for round in 0..times {
        let network = if round % 2 == 0 { "bridge" } else { "none" };
        let id = create(&mut client, &["true"], network)?;
        start(&mut client, &id)?;
        assert_eq!(wait(&mut client, &id)?, 0);
        client.delete(&format!("/containers/{id}"))?.ok()?;
    }
    Ok(())
}

fn counts(daemon: &Daemon) -> Result<Counts> {
    let pid = daemon.pid().context("the daemon is down")?;
    let output = |program: &str, args: &[&str]| -> Result<String> {
        Ok(String::from_utf8(daemon.inside(program).args(args).output()?.stdout)?)
    };
    let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).context("no RssAnon")?;
    let resident: u64 = resident.trim().trim_end_matches(" kB").parse()?;
    Ok(BTreeMap::from([
        ("mounts", output("cat", &["/proc/self/mountinfo"])?.lines().count() as u64),
        ("links", output("ip", &["-o", "link"])?.lines().count() as u64),
        ("descriptors", fs_err::read_dir(format!("/proc/{pid}/fd"))?.count() as u64),
        ("cgroups", cgroups(&daemon.container_cgroups())),
        ("run files", files(&daemon.exec_root())),
        ("data files", files(&daemon.data_root())),
        // Allocators breathe: a leak of 4 KiB a container would show.
        ("memory in 4 MiB", resident / 4096),
    ]))
}

fn cgroups(parents: &[std::path::PathBuf]) -> u64 {
    parents.iter().map(|p| files(p)).sum()
}

/// Files and directories below a directory.
fn files(dir: &Path) -> u64 {
    let Ok(entries) = fs_err::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|e| 1 + if e.file_type().is_ok_and(|t| t.is_dir()) { files(&e.path()) } else { 0 })
        .sum()
}

#[test]
fn a_thousand_starts_and_removals_leave_nothing() -> Result<()> {
    let daemon = daemon(&[])?;
    cycle(&daemon, 50)?;
    thread::sleep(Duration::from_secs(1));
    let before = counts(&daemon)?;
    cycle(&daemon, 1000)?;
    // Garbage is collected behind the answers.
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let after = counts(&daemon)?;
        let grown: Vec<_> = after.iter().filter(|(name, count)| **count > before[*name]).collect();
        if grown.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < end, "left behind: {grown:?}, before: {before:?}");
        thread::sleep(Duration::from_millis(200));
    }
}
