//! The pid file. A lock, not the number, says whether its daemon still lives: numbers are given out again.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// Our pid in a file, locked until this is dropped.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    _locked: fs_err::File,
}

impl PidFile {
    /// Writes and locks the file; what a dead daemon left is overwritten.
    ///
    /// # Errors
    /// Another daemon has it, or it cannot be written.
    pub(super) fn create(path: &Path) -> Result<Self, String> {
        let context = |reason: &dyn std::fmt::Display| {
            format!(
                "failed to start daemon, ensure docker is not running or delete {}: {reason}",
                path.display()
            )
        };
        if let Some(directory) = path.parent() {
            fs_err::create_dir_all(directory)
                .map_err(|e| format!("failed to create pidfile directory: {e}"))?;
        }
        let mut file = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| context(&e))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(context(&format_args!("process with PID {} is still running", pid.trim())));
        }
        let pid = std::process::id().to_string();
        file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(|e| context(&e))?;
        Ok(Self { path: path.to_owned(), _locked: file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs_err::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_living_daemon_keeps_its_pid_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/skiff.pid");
        let first = PidFile::create(&path).unwrap();
        assert_eq!(fs_err::read_to_string(&path).unwrap(), std::process::id().to_string());
        let message = PidFile::create(&path).unwrap_err();
        assert!(
            message.ends_with(&format!("process with PID {} is still running", std::process::id())),
            "{message}"
        );
        drop(first);
        assert!(!path.exists());
        // A stale file, even with the number of a process that lives.
        fs_err::write(&path, "1").unwrap();
        drop(PidFile::create(&path).unwrap());
    }
}
