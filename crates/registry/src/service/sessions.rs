//! Sessions of the pages that were ended by who signed out: their cookies are good no more, whoever kept them.
//!
//! The registry keeps no list of sessions; a cookie says itself until when it is good. So only what was ended is remembered,
//! and only until then.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use skiff_state::{Batch, OpenError, Table};

use crate::{
    Error, clock,
    store::{Snapshot, Store},
};

/// When a session would have ended by itself, in seconds since 1970, by its name.
const ENDED: Table<u64> = Table::new("ended_sessions");

/// The sessions that were ended.
#[derive(Debug)]
pub(crate) struct Sessions {
    store: Arc<Store>,
    ended: Mutex<HashMap<String, u64>>,
}

impl Sessions {
    pub(super) fn load(snapshot: &Snapshot) -> Result<HashMap<String, u64>, OpenError> {
        Ok(snapshot.all(&ENDED)?.into_iter().collect())
    }

    pub(super) fn new(store: Arc<Store>, ended: HashMap<String, u64>) -> Self {
        Self { store, ended: Mutex::new(ended) }
    }

    /// Ends one that is good until then.
    ///
    /// # Errors
    /// It is ended for this process, but not durably.
    pub(crate) async fn end(&self, name: &str, expires: u64) -> Result<(), Error> {
        let batch = {
            let mut ended = self.ended.lock().expect("no panic under this lock");
            let now = clock::now();
            let over = ended.extract_if(|_, expires| *expires <= now).map(|(name, _)| name);
            let batch = over.fold(Batch::new(), |batch, name| batch.delete(&ENDED, name));
            ended.insert(name.to_owned(), expires);
            batch.put(&ENDED, name, &expires)
        };
        Ok(self.store.commit(batch).await?)
    }

    /// Whether one was ended.
    pub(crate) fn is_ended(&self, name: &str) -> bool {
        self.ended.lock().expect("no panic under this lock").contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_ended_stays_so_over_a_restart_and_is_forgotten_when_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let (store, ended) = Store::open(&dir.path().join("db"), Sessions::load).unwrap();
        let sessions = Sessions::new(Arc::new(store), ended);
        sessions.end("old", clock::now()).await.unwrap();
        sessions.end("young", clock::now() + 60).await.unwrap();
        assert!(sessions.is_ended("young") && !sessions.is_ended("old") && !sessions.is_ended("other"));
        let stored = tokio::task::spawn_blocking(move || sessions.store.reread(Sessions::load).unwrap());
        assert_eq!(stored.await.unwrap().into_keys().collect::<Vec<_>>(), ["young"]);
    }
}
