//! The exit record: what is left of a container when its monitor has gone.
//!
//! `exit.json` lies in the container's run directory, a tmpfs: it outlives every process but not the boot, and neither
//! does the container.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use super::protocol::{Exit, LogHealth, UnixTime};

const NAME: &str = "exit.json";

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The init's number in the host's pid namespace.
    pub pid: i32,
    /// How the init ended.
    pub exit: Exit,
    /// When the container's program was executed.
    pub started_at: UnixTime,
    /// When the init's end was noticed.
    pub exited_at: UnixTime,
    /// Whether the kernel killed any process of the container for want of memory.
    pub oom_killed: bool,
    /// What the log lost over the container's life.
    pub log: LogHealth,
}

impl ExitRecord {
    /// The record that a monitor left in a run directory, if one did.
    ///
    /// # Errors
    /// What the file system says, and [`io::ErrorKind::InvalidData`] for a file that is no record.
    pub fn load(run_dir: &Path) -> io::Result<Option<Self>> {
        match fs_err::read(run_dir.join(NAME)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Forgets an earlier run's record.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn clear(run_dir: &Path) -> io::Result<()> {
        match fs_err::remove_file(run_dir.join(NAME)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Writes the record so that a reader finds all of it or nothing.
    pub(crate) fn store(&self, run_dir: &Path) -> io::Result<()> {
        let new = run_dir.join("exit.json.new");
        fs_err::write(&new, serde_json::to_vec(self)?)?;
        fs_err::rename(&new, run_dir.join(NAME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_cleared() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ExitRecord::load(dir.path()).unwrap(), None);
        let at = UnixTime { seconds: 1_700_000_000, nanoseconds: 5 };
        let record = ExitRecord {
            pid: 42,
            exit: Exit::Signal(9),
            started_at: at,
            exited_at: at,
            oom_killed: true,
            log: LogHealth { lost: 3, errno: Some(28) },
        };
        record.store(dir.path()).unwrap();
        assert_eq!(ExitRecord::load(dir.path()).unwrap(), Some(record));
        assert_eq!(record.exit.code(), 137);
        ExitRecord::clear(dir.path()).unwrap();
        ExitRecord::clear(dir.path()).unwrap();
        assert_eq!(ExitRecord::load(dir.path()).unwrap(), None);
    }
}
