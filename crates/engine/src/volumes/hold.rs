//! Names that somebody works with: shared by those who only need the volume to stay, exclusive for who makes or removes
//! it. All names of one request are taken at once, so that two requests never wait for each other.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex},
};

/// Whether others may hold the name too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Shared,
    Exclusive,
}

/// Who holds what.
#[derive(Debug, Default)]
pub(super) struct Holds {
    held: Mutex<HashMap<String, Held>>,
    changed: Condvar,
}

#[derive(Debug)]
enum Held {
    Shared(usize),
    Exclusive,
}

/// Names that are held until this is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    holds: Arc<Holds>,
    names: Vec<String>,
}

impl Holds {
    /// Takes names, each once, waiting until all are free. What is wanted is asked again after each wait. Blocks.
    pub(super) fn take(self: &Arc<Self>, wanted: impl Fn() -> Vec<(String, Mode)>) -> Hold {
        let mut held = self.held.lock().expect("no panic under this lock");
        let wanted = loop {
            let wanted = wanted();
            let free = |(name, mode): &(String, Mode)| match held.get(name) {
                None => true,
                Some(Held::Shared(_)) => *mode == Mode::Shared,
                Some(Held::Exclusive) => false,
            };
            if wanted.iter().all(free) {
                break wanted;
            }
            held = self.changed.wait(held).expect("no panic under this lock");
        };
        for (name, mode) in &wanted {
            match (held.get_mut(name), mode) {
                (Some(Held::Shared(count)), _) => *count += 1,
                (_, Mode::Shared) => drop(held.insert(name.clone(), Held::Shared(1))),
                (_, Mode::Exclusive) => drop(held.insert(name.clone(), Held::Exclusive)),
            }
        }
        Hold { holds: self.clone(), names: wanted.into_iter().map(|(name, _)| name).collect() }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.holds.held.lock().expect("no panic under this lock");
        for name in &self.names {
            match held.get_mut(name) {
                Some(Held::Shared(count)) if *count > 1 => *count -= 1,
                _ => drop(held.remove(name)),
            }
        }
        drop(held);
        self.holds.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn an_exclusive_hold_waits_for_shared_ones_and_asks_again() {
        let holds = Arc::new(Holds::default());
        let one = holds.take(|| vec![("a".into(), Mode::Shared), ("b".into(), Mode::Shared)]);
        let two = holds.take(|| vec![("b".into(), Mode::Shared)]);
        let gone = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let hold = holds.take(|| match gone.load(Ordering::SeqCst) {
                    true => vec![("c".into(), Mode::Exclusive)],
                    false => vec![("b".into(), Mode::Exclusive)],
                });
                hold.names.clone()
            });
            drop(one);
            assert_eq!(holds.held.lock().unwrap().len(), 1);
            gone.store(true, Ordering::SeqCst);
            drop(two);
            assert_eq!(waiting.join().unwrap(), ["c"]);
        });
        assert!(holds.held.lock().unwrap().is_empty());
    }
}
