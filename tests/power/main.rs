//! What runs in the virtual machine of `cargo xtask vm power` between two power cuts: checks that everything acknowledged before the cut is there and
//! right, and then keeps the daemon busy until the next one.
//!
//! `power SKIFF JOURNAL`. Before each act a line `@@try {"key", "state"}` goes to the console, and after its acknowledgement `@@ack {…}`; the machine's owner
//! keeps these lines and hands them back as JOURNAL. What was tried and not acknowledged may have happened or not. What is not as acknowledged
//! is told by a line `@@wrong …`.

mod check;
mod image;
mod journal;
mod load;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use skiff_testkit::http::Client;

use self::journal::Journal;

const SOCKET: &str = "/run/skiff/skiff.sock";
const DATA: &str = "/var/lib/skiff";

/// A daemon that does not answer within this time, emulated, has failed.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut arg = || args.next().context("usage: power SKIFF JOURNAL");
    let (skiff, path) = (PathBuf::from(arg()?), arg()?);
    let journal = Journal::read(&fs_err::read_to_string(&path).unwrap_or_default())?;
    let mut daemon = start_daemon(&skiff)?;
    match check::all(&journal) {
        Ok(()) => journal::say("checked", "")?,
        Err(error) => journal::say("wrong", &format!("{error:#}"))?,
    }
    load::run(&journal)?;
    daemon.kill()?;
    bail!("the load has ended before the power was cut")
}

fn start_daemon(skiff: &Path) -> Result<Child> {
    let log = fs_err::OpenOptions::new().create(true).append(true).open("/daemon.log")?.into_parts().0;
    let mut daemon = Command::new(skiff)
        .arg("daemon")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot run the daemon")?;
    journal::say("daemon", "")?;
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if Client::new(SOCKET).get("/_ping").is_ok_and(|answer| answer.status == 200) {
            return Ok(daemon);
        }
        if let Some(status) = daemon.try_wait()? {
            let log = fs_err::read_to_string("/daemon.log")?;
            journal::say(
                "wrong",
                &format!("the daemon does not start: {status}: {}", log.lines().last().unwrap_or_default()),
            )?;
            bail!("{log}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    journal::say("wrong", "the daemon does not answer")?;
    bail!("the daemon does not answer")
}
