//! How much was stored when: one measurement an hour, for the plot.

use std::sync::{Arc, Mutex};

use skiff_state::{Batch, OpenError, Table};

use crate::{
    clock,
    store::{Snapshot, Store},
};

/// Bytes by time; keys are seconds since 1970 with leading zeros, so that they sort.
const SAMPLES: Table<u64> = Table::new("samples");
/// Measurements that are kept: a year.
const KEPT: usize = 365 * 24;

/// The measurements.
#[derive(Debug)]
pub(crate) struct Samples {
    store: Arc<Store>,
    all: Mutex<Vec<(u64, u64)>>,
}

impl Samples {
    pub(super) fn load(snapshot: &Snapshot) -> Result<Vec<(u64, u64)>, OpenError> {
        let all = snapshot.all(&SAMPLES)?;
        Ok(all.into_iter().filter_map(|(time, bytes)| Some((time.parse().ok()?, bytes))).collect())
    }

    pub(super) fn new(store: Arc<Store>, all: Vec<(u64, u64)>) -> Self {
        Self { store, all: Mutex::new(all) }
    }

    /// Takes one now. Lost measurements are no loss.
    pub(super) fn take(&self, bytes: u64) {
        let key = |time: u64| format!("{time:020}");
        let now = clock::now();
        let mut batch = Batch::new().put(&SAMPLES, key(now), &bytes);
        {
            let mut all = self.all.lock().expect("no panic under this lock");
            all.push((now, bytes));
            let old = all.len().saturating_sub(KEPT);
            for (time, _) in all.drain(..old) {
                batch = batch.delete(&SAMPLES, key(time));
            }
        }
        self.store.commit(batch).unhurried().detach();
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<(u64, u64)> {
        self.all.lock().expect("no panic under this lock").clone()
    }
}
