//! Which images there are and what they are called: one file, replaced as a whole.
//!
//! Readers take a snapshot and never wait for the disk; writers go one after the other. A change is acknowledged once the
//! new file is durable, so it survives a power cut or never happened.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use skiff_types::{Digest, ImageId};

use crate::{Error, Publication, Published, Reference, Result};

/// The file's name.
const FILE: &str = "images.json";

/// Everything that is recorded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Records {
    version: u32,
    /// Every image.
    pub(crate) images: BTreeMap<Digest, ImageRecord>,
    /// Every name, by tag or by digest.
    pub(crate) names: BTreeMap<Reference, Digest>,
}

/// What is recorded of an image beside its configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// The image it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<Digest>,
    /// When it last got a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_tagged: Option<Timestamp>,
    /// What it was published as, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) published: Vec<Published>,
}

const VERSION: u32 = 1;

impl Records {
    /// An image's names, sorted as text: clients show or save the first.
    pub(crate) fn names_of(&self, id: &ImageId) -> impl Iterator<Item = &Reference> {
        let digest = id.digest();
        let names = self.names.iter().filter(|(_, d)| **d == digest).map(|(name, _)| name);
        let mut names: Vec<_> = names.collect();
        names.sort_by_cached_key(|name| name.to_string());
        names.into_iter()
    }

    /// Images made from this one.
    pub(crate) fn has_children(&self, id: &ImageId) -> bool {
        self.images.values().any(|r| r.parent == Some(id.digest()))
    }

    /// An image's record.
    pub(crate) fn image(&self, id: &ImageId) -> Option<&ImageRecord> {
        self.images.get(&id.digest())
    }

    /// Gives an image a name; whose it was before.
    pub(crate) fn name(&mut self, name: Reference, id: &ImageId, now: Timestamp) -> Option<ImageId> {
        if let Some(record) = self.images.get_mut(&id.digest()) {
            record.last_tagged = Some(now);
        }
        self.names.insert(name, id.digest()).map(ImageId::from).filter(|old| old != id)
    }

    /// Gives an image names that it has elsewhere: no time is noted, as in Docker. Which of them it had not, and blobs that
    /// it needs no more.
    pub(crate) fn call(
        &mut self,
        id: &ImageId,
        names: &[Reference],
        publication: Option<&Publication>,
    ) -> (Vec<Reference>, Vec<Digest>) {
        let mut changed = Vec::new();
        for name in names {
            if self.names.insert(name.clone(), id.digest()) != Some(id.digest()) {
                changed.push(name.clone());
            }
        }
        let forgotten = publication.map(|p| self.publish(id, p.published.clone())).unwrap_or_default();
        (changed, forgotten)
    }
}

/// The records and their file.
#[derive(Debug)]
pub(crate) struct RecordFile {
    dir: PathBuf,
    current: RwLock<Arc<Records>>,
    writer: Mutex<()>,
}

impl RecordFile {
    /// Reads the file in `dir`; without one there are no images.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let records = match fs_err::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Records { version: VERSION, ..Records::default() }
            }
            bytes => serde_json::from_slice(&bytes?).map_err(|e| damaged(&path, e.to_string()))?,
        };
        if records.version != VERSION {
            return Err(damaged(&path, format!("unknown version {}", records.version)));
        }
        Ok(Self { dir: dir.to_owned(), current: RwLock::new(Arc::new(records)), writer: Mutex::new(()) })
    }

    /// The records as they are now.
    pub(crate) fn read(&self) -> Arc<Records> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the records durably, or not at all if `change` or the disk refuses.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Records) -> Result<T>) -> Result<T> {
        // A panic before the assignment leaves file and memory as they were.
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = Records::clone(&self.read());
        let answer = change(&mut records)?;
        self.write(&records)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(records);
        Ok(answer)
    }

    /// Does something while nobody changes the records.
    pub(crate) fn while_unchanged<T>(&self, work: impl FnOnce(&Records) -> T) -> T {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        work(&self.read())
    }

    fn write(&self, records: &Records) -> Result<()> {
        let temporary = self.dir.join("images.json.new");
        let mut file = fs_err::File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(records).map_err(io::Error::from)?)?;
        file.sync_data()?;
        fs_err::rename(&temporary, self.dir.join(FILE))?;
        fs_err::File::open(&self.dir)?.sync_all()?;
        Ok(())
    }
}

fn damaged(path: &Path, reason: String) -> Error {
    Error::Damaged { path: path.display().to_string(), reason }
}
