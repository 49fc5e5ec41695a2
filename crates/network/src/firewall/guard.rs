//! The thread that puts the table back.

use std::{io, os::fd::OwnedFd, thread, time::Duration};

use crate::{
    NetworkError,
    nft::{Seen, Watch},
};

/// How long to wait before trying again what the kernel refused.
const RETRY: Duration = Duration::from_millis(500);

/// Watches the table until it is dropped.
#[derive(Debug)]
pub(crate) struct Guard {
    stop: OwnedFd,
    thread: Option<thread::JoinHandle<()>>,
}

impl Guard {
    /// Calls `heal` whenever somebody else changed the table.
    pub(crate) fn start(
        watch: Watch,
        heal: impl Fn(Seen) -> Result<(), NetworkError> + Send + 'static,
    ) -> io::Result<Self> {
        let stop = watch.stopper()?;
        let thread = thread::Builder::new().name("table-guard".to_owned()).stack_size(256 << 10);
        let thread = thread.spawn(move || run(&watch, heal))?;
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

fn run(watch: &Watch, heal: impl Fn(Seen) -> Result<(), NetworkError>) {
    loop {
        match watch.wait() {
            Ok(Seen::Stopped) => return,
            Ok(seen) => {
                while let Err(error) = heal(seen) {
                    tracing::error!(%error, "the firewall table could not be put back");
                    thread::sleep(RETRY);
                    if watch.stopped() {
                        return;
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "changes of the firewall table are no longer noticed");
                return;
            }
        }
    }
}
