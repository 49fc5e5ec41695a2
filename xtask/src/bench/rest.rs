//! A machine at rest: nothing left to write, and processors that idle.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// How long the processors are watched at a time. The kernel counts in hundredths of a second.
const WATCHED: Duration = Duration::from_millis(60);
/// What part of that time may be busy.
const BUSY: f64 = 0.15;
/// A machine that does not come to rest is measured as it is.
const PATIENCE: Duration = Duration::from_secs(3);

/// Waits until what was done before is over: dirty pages, cleaning up behind an answer, namespaces that the kernel takes down.
pub(super) fn wait() -> Result<()> {
    rustix::fs::sync();
    let end = Instant::now() + PATIENCE;
    let mut before = Ticks::now()?;
    loop {
        thread::sleep(WATCHED);
        let now = Ticks::now()?;
        if now.busy_since(before) <= BUSY || Instant::now() > end {
            return Ok(());
        }
        before = now;
    }
}

/// Processor time since boot, of all processors together, in hundredths of a second.
#[derive(Clone, Copy)]
struct Ticks {
    idle: u64,
    all: u64,
}

impl Ticks {
    fn now() -> Result<Self> {
        let text = fs_err::read_to_string("/proc/stat")?;
        let line = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("no processor")?;
        let counts = line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are counted with the users.
        let [_, _, _, idle, iowait, ..] = counts[..] else {
            anyhow::bail!("short line in /proc/stat: {line}")
        };
        Ok(Self { idle: idle + iowait, all: counts.iter().take(8).sum() })
    }

    /// The busy part of the time since then, 0 to 1.
    fn busy_since(self, then: Self) -> f64 {
        let all = self.all.saturating_sub(then.all).max(1);
        1.0 - self.idle.saturating_sub(then.idle) as f64 / all as f64
    }
}
