//! Things made in advance, and who waits for them.

use std::collections::VecDeque;

use crate::NetworkError;

/// How urgently something must be made, the least urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// There is enough.
    No,
    /// There is still enough for a while.
    WhenQuiet,
    /// There will not be enough for long.
    Soon,
    /// Somebody waits.
    Now,
}

/// What is ready, oldest first.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    ready: VecDeque<Result<T, NetworkError>>,
    waiting: usize,
    target: usize,
}

impl<T> Shelf<T> {
    /// An empty shelf on which `target` things should be.
    pub(super) fn new(target: usize) -> Self {
        Self { ready: VecDeque::with_capacity(target), waiting: 0, target }
    }

    /// From now on so many should be on it. Those too many are handed back, for the caller to drop when it holds no lock.
    pub(super) fn aim(&mut self, target: usize) -> Vec<Result<T, NetworkError>> {
        self.target = target;
        self.ready.split_off(self.ready.len().min(target.max(self.waiting))).into()
    }

    /// The oldest thing, or why none could be made.
    pub(super) fn take(&mut self) -> Option<Result<T, NetworkError>> {
        self.ready.pop_front()
    }

    /// Puts what was made on the shelf; a failure only if somebody is there to be told.
    pub(super) fn put(&mut self, made: Result<T, NetworkError>) {
        match made {
            Err(error) if self.waiting == 0 => {
                tracing::warn!(%error, "no network namespace could be prepared in advance");
            }
            made => self.ready.push_back(made),
        }
    }

    /// One more waits.
    pub(super) fn begin_waiting(&mut self) {
        self.waiting += 1;
    }

    /// One of those who waited got something.
    pub(super) fn end_waiting(&mut self) {
        self.waiting -= 1;
    }

    /// Whether another thing must be made. After a quiet time shelves are filled up.
    pub(super) fn need(&self, quiet: bool) -> Need {
        let ready = self.ready.len();
        if self.waiting > ready {
            Need::Now
        } else if ready < self.target.div_ceil(2) || (quiet && ready < self.target) {
            Need::Soon
        } else if ready < self.target {
            Need::WhenQuiet
        } else {
            Need::No
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_shelf_is_filled_up_when_all_is_quiet_and_half_filled_at_any_time() {
        let mut shelf = Shelf::new(4);
        let mut needs = Vec::new();
        for thing in 0..5 {
            needs.push((shelf.need(false), shelf.need(true)));
            shelf.put(Ok(thing));
        }
        let (soon, later) = ((Need::Soon, Need::Soon), (Need::WhenQuiet, Need::Soon));
        assert_eq!(needs, [soon, soon, later, later, (Need::No, Need::No)]);
        assert_eq!(shelf.take().unwrap().unwrap(), 0);
    }

    #[test]
    fn who_waits_comes_first_and_hears_of_failures() {
        let failure = || Err(NetworkError::Kernel { operation: "try".into(), errno: Errno::NOMEM });
        let mut shelf = Shelf::<()>::new(2);
        shelf.put(failure());
        assert!(shelf.take().is_none(), "nobody waited");
        shelf.begin_waiting();
        assert_eq!(shelf.need(false), Need::Now);
        shelf.put(failure());
        assert_ne!(shelf.need(false), Need::Now);
        assert!(shelf.take().unwrap().is_err());
        shelf.end_waiting();
    }
}
