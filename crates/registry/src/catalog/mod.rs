//! What the registry holds: repositories, their manifests, tags and blobs, and which blobs exist at all.
//!
//! Everything is in memory; a change is made there and queued for the database under one short lock, so that both see
//! the same order, and is acknowledged once it is durable. After a commit that failed, memory is read again from the
//! database ([`Catalog::recover`]). Two rules hold at every moment: a manifest is in the catalog only while what it
//! refers to is, and a blob's file may go only when nothing here names its digest.

mod change;
mod load;
mod read;
pub(crate) mod records;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use skiff_state::{OpenError, Pending};

use crate::{
    Error, clock,
    digest::Digest,
    name::{Name, Tag},
    store::{Snapshot, Store},
};

pub(crate) use change::{NewManifest, Pattern, Policy, Removed};
pub(crate) use read::{Found, Referrer, RepositorySummary};
pub(crate) use records::{ManifestRecord, TagRecord};

/// The catalog.
#[derive(Debug)]
pub(crate) struct Catalog {
    store: Arc<Store>,
    contents: RwLock<Contents>,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) repositories: BTreeMap<Name, Repository>,
    pub(crate) blobs: HashMap<Digest, Blob>,
    /// Bytes that each project's repositories hold together; what several share counts once.
    sizes: HashMap<Arc<str>, u64>,
}

/// A blob that something names.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) size: u64,
    /// Who names it: most often one project.
    uses: Vec<Uses>,
}

/// How many links and manifests of a project's repositories name a blob.
#[derive(Debug, PartialEq)]
struct Uses {
    project: Arc<str>,
    count: u32,
}

/// One repository.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    pub(crate) manifests: HashMap<Digest, Manifest>,
    pub(crate) tags: BTreeMap<Tag, TagEntry>,
    pub(crate) links: HashMap<Digest, Link>,
}

#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) record: ManifestRecord,
    /// When a client last asked for it or pushed it, as far as this process knows.
    pub(crate) touched: Moment,
}

#[derive(Debug)]
pub(crate) struct TagEntry {
    pub(crate) record: TagRecord,
    /// When it was last pulled, as far as this process knows; 0 for never.
    pub(crate) pulled: Moment,
}

/// That a repository may give a blob.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) size: u64,
    pub(crate) since: u64,
    /// When a client last heard that it is there: a push may rely on that for a while.
    pub(crate) touched: Moment,
}

/// Seconds since 1970 that change without a lock.
#[derive(Debug, Default)]
pub(crate) struct Moment(AtomicU64);

impl Moment {
    pub(crate) fn at(seconds: u64) -> Self {
        Self(AtomicU64::new(seconds))
    }

    pub(crate) fn touch(&self) {
        self.0.store(clock::now(), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Contents {
    /// One more of this project names the blob.
    fn hold(&mut self, project: &str, digest: &Digest, size: u64) {
        let blob = self.blobs.entry(digest.clone());
        let blob = blob.or_insert_with(|| Blob { size, uses: Vec::with_capacity(1) });
        if let Some(uses) = blob.uses.iter_mut().find(|uses| *uses.project == *project) {
            uses.count += 1;
            return;
        }
        let known = self.sizes.get_key_value(project).map(|(project, _)| project.clone());
        let project = known.unwrap_or_else(|| project.into());
        *self.sizes.entry(project.clone()).or_default() += blob.size;
        blob.uses.push(Uses { project, count: 1 });
    }

    /// One less does. Whether nobody is left, in any project.
    fn release(&mut self, project: &str, digest: &Digest) -> bool {
        let Some(blob) = self.blobs.get_mut(digest) else { return false };
        let Some(at) = blob.uses.iter().position(|uses| *uses.project == *project) else { return false };
        blob.uses[at].count -= 1;
        if blob.uses[at].count == 0 {
            blob.uses.swap_remove(at);
            if let Some(size) = self.sizes.get_mut(project) {
                *size -= blob.size;
                if *size == 0 {
                    self.sizes.remove(project);
                }
            }
        }
        let last = blob.uses.is_empty();
        if last {
            self.blobs.remove(digest);
        }
        last
    }

    /// Bytes that a project's repositories hold together; what several share counts once.
    pub(crate) fn project_size(&self, project: &str) -> u64 {
        self.sizes.get(project).copied().unwrap_or_default()
    }

    /// Whether some repository of a project has the blob.
    pub(crate) fn project_has(&self, project: &str, digest: &Digest) -> bool {
        self.blobs.get(digest).is_some_and(|blob| blob.uses.iter().any(|uses| *uses.project == *project))
    }
}

impl Catalog {
    /// The catalog that the database holds.
    pub(crate) fn new(store: Arc<Store>, contents: Contents) -> Self {
        Self { store, contents: RwLock::new(contents) }
    }

    /// What the database holds.
    pub(crate) fn load(snapshot: &Snapshot) -> Result<Contents, OpenError> {
        load::load(snapshot)
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().expect("no panic under this lock")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().expect("no panic under this lock")
    }

    /// Waits until a change is durable. If it cannot be, memory goes back to what the database has.
    pub(crate) async fn durable(self: &Arc<Self>, pending: Pending) -> Result<(), Error> {
        let outcome = pending.await;
        if outcome.is_err() {
            let this = self.clone();
            let recovered = tokio::task::spawn_blocking(move || this.recover()).await;
            if !matches!(recovered, Ok(Ok(()))) {
                tracing::error!(?recovered, "cannot read the catalog again after a failed commit");
            }
        }
        Ok(outcome?)
    }

    fn recover(&self) -> Result<(), OpenError> {
        let mut contents = self.write();
        *contents = self.store.reread(Self::load)?;
        Ok(())
    }

    /// Whether anything names the blob.
    pub(crate) fn knows(&self, digest: &Digest) -> bool {
        self.read().blobs.contains_key(digest)
    }
}

#[cfg(test)]
mod tests;
