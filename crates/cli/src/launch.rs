//! Starting a daemon in the background when nobody listens at the default socket.

use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::fs::FlockOperation;

use crate::failure::Failure;

/// How long a daemon may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts a daemon unless somebody else just did, and waits until it accepts connections at `socket`. Of several
/// processes that do this at once, one starts the daemon and the others wait for it: they hold a lock in turn.
pub(crate) async fn start_daemon(socket: &Path, program: &str) -> Result<(), Failure> {
    let run_dir = socket.parent().unwrap_or(Path::new("/"));
    fs_err::create_dir_all(run_dir)?;
    let lock = fs_err::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(run_dir.join("start.lock"))?;
    let locked = tokio::task::spawn_blocking(move || {
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).map(|()| lock)
    });
    let _lock = locked.await.map_err(|e| Failure::new(e.to_string()))?.map_err(io::Error::from)?;
    if UnixStream::connect(socket).is_ok() {
        return Ok(());
    }
    let (log_path, log) = open_log(run_dir)?;
    crate::say::error(&format!(
        "{program}: no engine is running, starting one (log: {}; stop it with: kill $(cat /run/skiff/skiff.pid))",
        log_path.display()
    ));
    let mut daemon = Command::new("/proc/self/exe")
        .arg("daemon-session")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?.into_parts().0)
        .stderr(log.into_parts().0)
        .current_dir("/")
        .spawn()
        .map_err(|e| Failure::new(format!("starting a daemon: {e}")))?;
    let started = Instant::now();
    while UnixStream::connect(socket).is_err() {
        if let Some(status) = daemon.try_wait()? {
            return Err(died(&log_path, &format!("the daemon ended at once ({status})")));
        }
        if started.elapsed() > PATIENCE {
            return Err(died(&log_path, &format!("the daemon did not answer within {PATIENCE:?}")));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// The log, beside the state if that can be written, else beside the socket.
fn open_log(run_dir: &Path) -> io::Result<(PathBuf, fs_err::File)> {
    let open = |directory: &Path| {
        fs_err::create_dir_all(directory)?;
        let path = directory.join("daemon.log");
        let file = fs_err::OpenOptions::new().create(true).append(true).open(&path)?;
        Ok((path, file))
    };
    open(Path::new("/var/lib/skiff")).or_else(|_: io::Error| open(run_dir))
}

fn died(log: &Path, what: &str) -> Failure {
    let text = fs_err::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(5)..].join("\n");
    Failure::new(format!("{what}; the end of {}:\n{tail}", log.display()))
}
