//! The container's cgroup as its monitor needs it: told of out-of-memory kills, able to kill what the init's death does not, and
//! removed at the end.

use super::reactor::{EventFlags, Reactor, Token, Watch};
use crate::cgroups::{Cgroup, CgroupPath, Layout, OomWatch};

/// A cgroup, if the container has one.
pub(crate) struct Watched {
    group: Option<Cgroup>,
    watch: Option<(OomWatch, Watch)>,
    oom_kills: u64,
}

impl Watched {
    /// The container's cgroup, be it there or not; not yet watched.
    pub(crate) fn new(layout: &Layout, path: &CgroupPath) -> Self {
        let group = Cgroup::open(layout, path);
        Self { group: Some(group), watch: None, oom_kills: 0 }
    }

    /// Asks the kernel to be told. Without a memory controller there is nothing to be told.
    pub(crate) fn watch(&mut self, reactor: &Reactor) {
        let Some(group) = &self.group else { return };
        let Ok(oom) = group.watch_oom() else { return };
        let copy = rustix::io::fcntl_dupfd_cloexec(&oom, 3);
        let Ok(mut watch) = copy.map(|fd| Watch::new(reactor, fd, Token::Oom)) else { return };
        watch.want(Some(EventFlags::IN));
        self.watch = Some((oom, watch));
    }

    /// How many processes have been killed for want of memory, as far as noted.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.oom_kills
    }

    /// Looks what an announcement meant; the count if it has grown.
    pub(crate) fn note_oom(&mut self) -> Option<u64> {
        if let Some((oom, _)) = &self.watch {
            oom.drain();
        }
        let count = self.group.as_ref()?.oom_kills().ok()?;
        let grown = count > self.oom_kills;
        self.oom_kills = self.oom_kills.max(count);
        grown.then_some(count)
    }

    /// Kills every process in it.
    pub(crate) fn kill_all(&self) {
        if let Some(group) = &self.group {
            // It may be gone already; a process that even SIGKILL does not reach shows when it is removed.
            let _ = group.kill_all();
        }
    }

    /// Removes it; what cannot be removed is left to the daemon's reconciliation.
    pub(crate) fn remove(&mut self) {
        self.watch = None;
        if let Some(group) = self.group.take() {
            let _ = group.remove();
        }
    }
}
