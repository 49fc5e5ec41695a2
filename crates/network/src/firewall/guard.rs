//! A thread that sees to it when something changes: puts the table back, tells of routes.

use std::{io, os::fd::OwnedFd, thread, time::Duration};

use crate::{
    NetworkError,
    netlink::{Seen, Watch},
};

/// How long to wait before trying again what the kernel refused.
const RETRY: Duration = Duration::from_millis(500);

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Guard {
    stop: OwnedFd,
    thread: Option<thread::JoinHandle<()>>,
}

impl Guard {
    /// Calls `act` whenever something changed. `name` is the thread's, 15 bytes at most.
    pub(crate) fn start(
        name: &'static str,
        watch: Watch,
        act: impl Fn(Seen) -> Result<(), NetworkError> + Send + 'static,
    ) -> io::Result<Self> {
        let stop = watch.stopper()?;
        let thread = thread::Builder::new().name(name.to_owned()).stack_size(256 << 10);
        let thread = thread.spawn(move || run(name, &watch, act))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Adding one to a fresh eventfd cannot fail.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(name: &str, watch: &Watch, act: impl Fn(Seen) -> Result<(), NetworkError>) {
    loop {
        match watch.wait() {
            Ok(Seen::Stopped) => return,
            Ok(seen) => {
                while let Err(error) = act(seen) {
                    tracing::error!(guard = name, %error, "what changed could not be seen to");
                    thread::sleep(RETRY);
                    if watch.stopped() {
                        return;
                    }
                }
            }
            Err(error) => {
                tracing::error!(guard = name, %error, "changes are no longer noticed");
                return;
            }
        }
    }
}
