//! Rows about containers' files: copied in and out, exported, committed.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Row, report::Unit, subject::Subject};

pub(super) const ROWS: &[Row] = &[
    Row::new("CLI cp of a 200 MB file out of a container", Unit::Milliseconds, 7, |s| {
        let out = s.scratch.path().join("copied");
        let took = s.cli(&["cp", &format!("{}:/big", container(s)?), text(&out)?])?;
        fs_err::remove_file(out)?;
        Ok(took)
    })
    .target(200.0)
    .around(with_a_big_file, finish),
    Row::new("CLI cp of a 200 MB file into a container", Unit::Milliseconds, 7, |s| {
        let file = big_file(s)?;
        s.cli(&["cp", text(&file)?, &format!("{}:/big", container(s)?)])
    })
    .target(150.0)
    .around(one_running, finish),
    Row::new("CLI export of a container with 260 MB of changes", Unit::Milliseconds, 5, |s| {
        let out = s.scratch.path().join("exported.tar");
        let took = s.cli(&["export", "-o", text(&out)?, container(s)?])?;
        fs_err::remove_file(out)?;
        Ok(took)
    })
    .target(800.0)
    .around(with_changes, finish),
    Row::new("CLI commit of 260 MB of changes", Unit::Milliseconds, 5, |s| {
        let took = s.cli(&["commit", container(s)?, COMMITTED])?;
        s.client.delete(&format!("/images/{COMMITTED}?force=1"))?.ok()?;
        Ok(took)
    })
    .target(400.0)
    .around(with_changes, finish),
];

const COMMITTED: &str = "bench-committed";

fn text(path: &std::path::Path) -> Result<&str> {
    path.to_str().context("not UTF-8")
}

fn container(subject: &Subject) -> Result<&str> {
    subject.containers.first().map(String::as_str).context("no container")
}

fn one_running(subject: &mut Subject) -> Result<()> {
    let id = subject.create(&["sleep", "100000"], "none")?;
    subject.client.post(&format!("/containers/{id}/start"), &serde_json::Value::Null)?.ok()?;
    subject.containers.push(id);
    Ok(())
}

/// 200 MB of which no block is like another.
fn big_file(subject: &Subject) -> Result<PathBuf> {
    let path = subject.scratch.path().join("big");
    if !path.exists() {
        fs_err::write(&path, noise(200_000_000, 1))?;
        rustix::fs::sync();
    }
    Ok(path)
}

/// Bytes that do not repeat soon.
pub(super) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn with_a_big_file(subject: &mut Subject) -> Result<()> {
    one_running(subject)?;
    let file = big_file(subject)?;
    subject.cli(&["cp", text(&file)?, &format!("{}:/big", container(subject)?)])?;
    Ok(())
}

/// 260 files of a megabyte.
fn with_changes(subject: &mut Subject) -> Result<()> {
    one_running(subject)?;
    let dir = subject.scratch.path().join("changes");
    if !dir.exists() {
        fs_err::create_dir(&dir)?;
        for number in 0..260 {
            fs_err::write(dir.join(number.to_string()), noise(1_000_000, number + 2))?;
        }
    }
    subject.cli(&["cp", text(&dir)?, &format!("{}:/changes", container(subject)?)])?;
    rustix::fs::sync();
    Ok(())
}

fn finish(subject: &mut Subject) -> Result<()> {
    subject.remove_containers()
}
