//! Whether anybody asks for anything.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

/// Requests, as far as somebody who waits for quiet must know of them. Costs a request next to nothing.
#[derive(Debug)]
pub struct Activity {
    busy: AtomicBool,
    began: Notify,
}

impl Default for Activity {
    /// Begins busy: starting is work.
    fn default() -> Self {
        let new = Self { busy: AtomicBool::new(false), began: Notify::new() };
        new.note();
        new
    }
}

impl Activity {
    /// A request has come.
    pub(crate) fn note(&self) {
        if !self.busy.swap(true, Ordering::Relaxed) {
            self.began.notify_one();
        }
    }

    /// Waits until there was activity since the last call, and then none for `quiet` to twice as long.
    pub async fn over(&self, quiet: Duration) {
        let mut was_busy = false;
        while !was_busy {
            self.began.notified().await;
            while self.busy.swap(false, Ordering::Relaxed) {
                was_busy = true;
                tokio::time::sleep(quiet).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn quiet_comes_after_activity_and_only_then() {
        const QUIET: Duration = Duration::from_secs(1);
        let activity = Activity::default();
        let start = tokio::time::Instant::now();
        activity.over(QUIET).await;
        assert_eq!(start.elapsed(), QUIET);
        assert!(tokio::time::timeout(QUIET * 100, activity.over(QUIET)).await.is_err(), "nothing has begun");
        activity.note();
        let requests = async {
            for _ in 0..10 {
                activity.note();
                tokio::time::sleep(QUIET / 2).await;
            }
        };
        let start = tokio::time::Instant::now();
        tokio::join!(activity.over(QUIET), requests);
        assert!(start.elapsed() >= QUIET * 5);
    }
}
