//! How much has been copied, on a terminal.

use std::{
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::human;

/// How often the number is written again.
const EVERY: Duration = Duration::from_millis(75);

/// Counts, and shows the count while it grows.
pub(super) struct Progress {
    count: Arc<AtomicU64>,
    shown: Option<tokio::task::JoinHandle<()>>,
}

impl Progress {
    /// Begins to count. Nothing is shown if it is to be quiet, or standard error is no terminal.
    pub(super) fn begin(quiet: bool, header: &'static str) -> Self {
        let count = Arc::new(AtomicU64::new(0));
        let shown = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let count = count.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(EVERY).await;
                    let copied = human(count.load(Ordering::Relaxed));
                    let _ = write!(std::io::stderr().lock(), "\r\x1b[2K{header}{copied}");
                }
            })
        });
        Self { count, shown }
    }

    /// What is to be added to.
    pub(super) fn counter(&self) -> Arc<AtomicU64> {
        self.count.clone()
    }

    /// Takes what was shown away again, and answers the count.
    pub(super) async fn end(self) -> u64 {
        if let Some(task) = self.shown {
            task.abort();
            // Cancelled, which is what was asked for.
            let _ = task.await;
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
        self.count.load(Ordering::Relaxed)
    }
}
