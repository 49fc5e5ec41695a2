//! The host's name servers, followed when they change.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use crate::{ResolvConf, resolv_conf_path};

/// How old what is known may be. The file is looked at when somebody asks, never by itself.
const FRESH: Duration = Duration::from_secs(1);

/// The servers of `resolv.conf`.
#[derive(Debug)]
pub(super) struct HostServers {
    /// The file, if it is not the host's.
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    looked: Option<Instant>,
    stamp: Option<Stamp>,
    servers: Arc<[IpAddr]>,
    generation: u64,
}

/// What changes with a file.
type Stamp = (SystemTime, u64, u64);

impl HostServers {
    /// Those of the host.
    pub(super) fn new() -> Self {
        Self { path: None, state: Mutex::default() }
    }

    /// Those of a file.
    #[cfg(test)]
    pub(super) fn of(path: PathBuf) -> Self {
        Self { path: Some(path), state: Mutex::default() }
    }

    /// The servers, and a number that grows when they change.
    pub(super) fn current(&self, now: Instant) -> (Arc<[IpAddr]>, u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= FRESH) {
            state.looked = Some(now);
            self.look(&mut state);
        }
        (state.servers.clone(), state.generation)
    }

    fn look(&self, state: &mut State) {
        let stamp = self.stamp();
        if stamp.is_some() && stamp == state.stamp {
            return;
        }
        // A file that is gone has no servers; one that is being written will have another time.
        let servers: Arc<[IpAddr]> = ResolvConf::parse(&self.text()).addresses().into();
        state.stamp = stamp;
        if servers != state.servers {
            state.servers = servers;
            state.generation += 1;
        }
    }

    fn stamp(&self) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let file = fs_err::metadata(self.file()).ok()?;
        Some((file.modified().ok()?, file.ino(), file.len()))
    }

    fn text(&self) -> String {
        fs_err::read_to_string(self.file()).unwrap_or_default()
    }

    fn file(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| {
            let etc = fs_err::read_to_string("/etc/resolv.conf").unwrap_or_default();
            PathBuf::from(resolv_conf_path(&etc))
        })
    }
}
