//! The processes in a cgroup: who they are, how to put one in from outside, stop all of them, and end all of them.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::files::{OpenFile, read_text, subdirectories};
use super::{Cgroup, CgroupError, Controller, Operation};

/// How long [`Cgroup::freeze`] waits; a process in an uninterruptible sleep does not stop before it returns from it.
const FREEZING_PATIENCE: Duration = Duration::from_secs(10);
/// v1 freezes with less trouble when it is let go and tried again now and then.
const REFREEZE_EVERY: u32 = 50;
/// How often the signal loop of [`Cgroup::kill_all`] goes round while processes keep forking.
const KILL_ROUNDS: u32 = 100;

impl Cgroup {
    /// Puts a process in from outside. Prefer [`super::Entry`]: this takes the lock that waits for an RCU grace period.
    ///
    /// # Errors
    /// The first directory that refuses it.
    pub fn join(&self, pid: Pid) -> Result<(), CgroupError> {
        let value = pid.as_raw_nonzero().to_string();
        self.directories()
            .try_for_each(|directory| OpenFile::default().write(&directory.join("cgroup.procs"), &value))
    }

    /// The ids of all processes in the cgroup and below it, in this process's pid namespace, sorted.
    ///
    /// # Errors
    /// When the lists cannot be read; a cgroup that is gone has no processes.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        let mut pids = Vec::new();
        if let Some(directory) = self.process_directory() {
            for_each_directory(directory, &mut |directory| read_pids(directory, &mut pids))?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// The hierarchy whose lists of processes are used: v2's, else the freezer's, else any.
    fn process_directory(&self) -> Option<&Path> {
        self.unified().or_else(|| self.directory(Controller::Freezer)).or_else(|| self.directories().next())
    }

    /// Stops every process, and returns when all have stopped. The v2 freezer needs no controller, so the hybrid has it too, and
    /// what it has frozen can still be killed.
    ///
    /// # Errors
    /// [`CgroupError::NotFrozen`] after ten seconds, with everything running again.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let (directory, is_v2) = self.freezer()?;
        let (file, stop, go) = freezer_words(is_v2);
        let control = directory.join(file);
        let start = Instant::now();
        OpenFile::default().write(&control, stop)?;
        for round in 1u32.. {
            if is_frozen(directory, is_v2)? {
                return Ok(());
            }
            if start.elapsed() >= FREEZING_PATIENCE {
                OpenFile::default().write(&control, go)?;
                let waited_ms = start.elapsed().as_millis() as u64;
                return Err(CgroupError::NotFrozen { path: directory.to_owned(), waited_ms });
            }
            thread::sleep(Duration::from_micros(if round < 20 { 50 } else { 1_000 }));
            if !is_v2 {
                // A v1 freezer asks the processes again only when it is written to.
                if round.is_multiple_of(REFREEZE_EVERY) {
                    OpenFile::default().write(&control, go)?;
                }
                OpenFile::default().write(&control, stop)?;
            }
        }
        Ok(())
    }

    /// Lets every process go on, whoever has frozen it: in the hybrid another runtime may have used the v1 freezer.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        let (first, _) = self.freezer()?;
        for (directory, is_v2) in self.freezers() {
            if directory == first || is_frozen(directory, is_v2)? {
                let (file, _, go) = freezer_words(is_v2);
                OpenFile::default().write(&directory.join(file), go)?;
            }
        }
        Ok(())
    }

    /// Whether the cgroup itself is frozen, by either version's freezer.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        self.freezer()?;
        for (directory, is_v2) in self.freezers() {
            if is_frozen(directory, is_v2)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The freezer that is used.
    fn freezer(&self) -> Result<(&Path, bool), CgroupError> {
        self.freezers().next().ok_or_else(|| CgroupError::MissingController {
            controller: Controller::Freezer,
            setting: "the frozen state".to_owned(),
        })
    }

    /// Directory and whether it is v2's, the better one first.
    fn freezers(&self) -> impl Iterator<Item = (&Path, bool)> {
        let v2 = self.unified().map(|directory| (directory, true));
        let v1 = self.directory(Controller::Freezer).map(|directory| (directory, false));
        v2.into_iter().chain(v1.filter(|_| !self.limits_in_v2()))
    }

    /// Kills every process in the cgroup and below it: at one stroke where the kernel has `cgroup.kill` (5.14, hybrid included), else by signals to a
    /// frozen cgroup. Returns when the signals are sent, not when the processes are gone.
    ///
    /// # Errors
    /// When processes remain that cannot be signalled.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        if let Some(directory) = self.unified() {
            match OpenFile::default().write(&directory.join("cgroup.kill"), "1") {
                Ok(()) => return Ok(()),
                Err(error) if error.errno() != Some(Errno::NOENT.raw_os_error()) => return Err(error),
                Err(_) if !directory.exists() => return Ok(()),
                Err(_) => {}
            }
        }
        self.signal_all(Signal::KILL)
    }

    /// Sends a signal to every process in the cgroup and below it. The cgroup is frozen meanwhile if it can be, so that nobody forks away; without
    /// a freezer the list is read again until it is empty or stays the same.
    ///
    /// # Errors
    /// When a process cannot be signalled.
    pub fn signal_all(&self, signal: Signal) -> Result<(), CgroupError> {
        let was_frozen = self.is_frozen().unwrap_or(false);
        let frozen = was_frozen || self.freeze().is_ok();
        let result = self.signal_listed(signal, frozen);
        // A process in a frozen v1 cgroup dies only when it is let go; one that the user paused stays paused for other signals.
        if frozen && (!was_frozen || signal == Signal::KILL) {
            self.thaw()?;
        }
        result
    }

    fn signal_listed(&self, signal: Signal, frozen: bool) -> Result<(), CgroupError> {
        let mut before = Vec::new();
        for _ in 0..KILL_ROUNDS {
            let pids = self.pids()?;
            for pid in pids.iter().copied().filter_map(Pid::from_raw) {
                match rustix::process::kill_process(pid, signal) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(errno) => {
                        let path = self.process_directory().unwrap_or(Path::new("/"));
                        return Err(CgroupError::kernel(Operation::Signal, path, errno));
                    }
                }
            }
            if frozen || pids.is_empty() || pids == before {
                break;
            }
            before = pids;
        }
        Ok(())
    }
}

/// File, word to stop, word to go on.
fn freezer_words(is_v2: bool) -> (&'static str, &'static str, &'static str) {
    if is_v2 { ("cgroup.freeze", "1", "0") } else { ("freezer.state", "FROZEN", "THAWED") }
}

fn is_frozen(directory: &Path, is_v2: bool) -> Result<bool, CgroupError> {
    let path = directory.join(if is_v2 { "cgroup.events" } else { "freezer.state" });
    let text = match read_text(&path) {
        // A cgroup that is not there in this hierarchy.
        Err(error) if error.errno() == Some(Errno::NOENT.raw_os_error()) => return Ok(false),
        other => other?,
    };
    Ok(if is_v2 { text.lines().any(|line| line == "frozen 1") } else { text.trim() == "FROZEN" })
}

fn for_each_directory(
    directory: &Path,
    action: &mut dyn FnMut(&Path) -> Result<(), CgroupError>,
) -> Result<(), CgroupError> {
    let mut pending: Vec<PathBuf> = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        action(&directory)?;
        pending.extend(subdirectories(&directory)?);
    }
    Ok(())
}

fn read_pids(directory: &Path, pids: &mut Vec<i32>) -> Result<(), CgroupError> {
    let path = directory.join("cgroup.procs");
    match read_text(&path) {
        Ok(text) => {
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0))
        }
        Err(error) => {
            // gone, or a threaded v2 cgroup, whose processes its domain lists
            let gone = [Errno::NOENT, Errno::NODEV, Errno::OPNOTSUPP].map(Errno::raw_os_error);
            if !error.errno().is_some_and(|errno| gone.contains(&errno)) {
                return Err(error);
            }
        }
    }
    Ok(())
}
