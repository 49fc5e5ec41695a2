//! How many bytes the uploads under way have, together for each project: what they take of its quota before they are blobs.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// The projects.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<HashMap<String, Arc<AtomicU64>>>);

/// One upload's part; it ends with the upload.
#[derive(Debug)]
pub(crate) struct Share {
    project: Arc<AtomicU64>,
    own: AtomicU64,
}

impl Shares {
    /// The share of a new upload.
    pub(super) fn share(&self, project: &str) -> Arc<Share> {
        let mut projects = self.0.lock().expect("no panic under this lock");
        if projects.len() > 1024 {
            projects.retain(|_, bytes| Arc::strong_count(bytes) > 1);
        }
        let project = projects.entry(project.to_owned()).or_default().clone();
        Arc::new(Share { project, own: AtomicU64::new(0) })
    }

    /// Bytes of a project's uploads.
    pub(super) fn bytes(&self, project: &str) -> u64 {
        let projects = self.0.lock().expect("no panic under this lock");
        projects.get(project).map_or(0, |bytes| bytes.load(Relaxed))
    }
}

impl Share {
    /// The upload has so many bytes.
    pub(crate) fn set(&self, bytes: u64) {
        let before = self.own.swap(bytes, Relaxed);
        self.project.fetch_add(bytes.wrapping_sub(before), Relaxed);
    }

    /// The upload gets more bytes, unless the project's uploads would have more than `limit` then.
    ///
    /// # Errors
    /// How many they have.
    pub(crate) fn grow(&self, more: u64, limit: u64) -> Result<(), u64> {
        let enough = |held: u64| held.checked_add(more).filter(|sum| *sum <= limit);
        self.project.fetch_update(Relaxed, Relaxed, enough)?;
        self.own.fetch_add(more, Relaxed);
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_share_their_projects_room() {
        let shares = Shares::default();
        let (a, b, other) = (shares.share("p"), shares.share("p"), shares.share("q"));
        assert_eq!(a.grow(6, 10), Ok(()));
        assert_eq!(b.grow(5, 10), Err(6));
        assert_eq!(b.grow(4, 10), Ok(()));
        assert_eq!(other.grow(10, 10), Ok(()));
        a.set(1);
        assert_eq!(shares.bytes("p"), 5);
        drop(b);
        assert_eq!(shares.bytes("p"), 1);
        assert_eq!(a.grow(u64::MAX, u64::MAX), Err(1));
    }
}
