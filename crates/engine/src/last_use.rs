//! When images and volumes were last used, over restarts of the daemon. Of containers their records say it.
//!
//! Nothing waits for these times: they are noted in memory, and what has changed is committed together some time later. A
//! kill in between loses the last moments; what is not known at all counts from when it was made.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use skiff_images::Image;
use skiff_types::ImageId;
use tokio::sync::Notify;

use crate::{
    containers::Parts,
    model::{ContainerRecord, MountKind, Timestamp},
    records::{Records, durable},
};

/// How long changes wait for others.
const REST: Duration = Duration::from_secs(2);

/// The times, and images that are being removed.
pub(crate) struct LastUse {
    inner: Mutex<Inner>,
    records: Records,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    times: BTreeMap<String, Timestamp>,
    /// Keys whose times are not committed yet.
    changed: BTreeSet<String>,
    leaving: BTreeSet<ImageId>,
    /// How often each is held.
    held: BTreeMap<ImageId, u32>,
}

fn image_key(id: &ImageId) -> String {
    format!("image/{}", id.digest())
}

fn volume_key(name: &str) -> String {
    format!("volume/{name}")
}

impl LastUse {
    /// With what the store has.
    pub(crate) fn new(times: Vec<(String, Timestamp)>, records: Records) -> Arc<Self> {
        let inner = Inner { times: times.into_iter().collect(), ..Inner::default() };
        Arc::new(Self { inner: Mutex::new(inner), records, changed: Arc::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic under this lock")
    }

    fn note(&self, inner: &mut Inner, key: String) {
        inner.times.insert(key.clone(), Timestamp::now());
        if inner.changed.insert(key) && inner.changed.len() == 1 {
            self.changed.notify_one();
        }
    }

    /// An image is used now. False if it is just being removed: then it is as good as gone.
    pub(crate) fn image(&self, id: &ImageId) -> bool {
        let mut inner = self.lock();
        if inner.leaving.contains(id) {
            return false;
        }
        self.note(&mut inner, image_key(id));
        true
    }

    /// An image is used until the answer is dropped, though no container has it. None if it is just being removed.
    pub(crate) fn hold(self: &Arc<Self>, id: &ImageId) -> Option<Held> {
        if !self.image(id) {
            return None;
        }
        *self.lock().held.entry(*id).or_default() += 1;
        Some(Held { uses: self.clone(), id: *id })
    }

    /// What a container has is used now.
    pub(crate) fn of_container(&self, record: &ContainerRecord) {
        let mut inner = self.lock();
        self.note(&mut inner, image_key(&record.image));
        for mount in &record.mounts {
            match (mount.kind, mount.image) {
                (MountKind::Volume, _) => self.note(&mut inner, volume_key(&mount.name)),
                (MountKind::Image, Some(image)) => self.note(&mut inner, image_key(&image)),
                _ => {}
            }
        }
    }

    /// When an image was last used, if that is known.
    pub(crate) fn of_image(&self, id: &ImageId) -> Option<Timestamp> {
        self.lock().times.get(&image_key(id)).copied()
    }

    /// When a volume was last used, if that is known.
    pub(crate) fn of_volume(&self, name: &str) -> Option<Timestamp> {
        self.lock().times.get(&volume_key(name)).copied()
    }

    /// From now on until the answer is dropped nobody begins to use the image; none if it has been used since it was `seen`.
    pub(crate) fn leave(self: &Arc<Self>, id: &ImageId, seen: Option<Timestamp>) -> Option<Leaving> {
        let mut inner = self.lock();
        let same = inner.times.get(&image_key(id)).copied() == seen;
        (same && !inner.held.contains_key(id) && inner.leaving.insert(*id))
            .then(|| Leaving { uses: self.clone(), id: *id })
    }

    /// Forgets everything but these images and volumes.
    pub(crate) fn keep_only(&self, images: &[ImageId], volumes: &[String]) {
        let known: BTreeSet<String> =
            images.iter().map(image_key).chain(volumes.iter().map(|name| volume_key(name))).collect();
        let mut inner = self.lock();
        let gone: Vec<String> = inner.times.keys().filter(|key| !known.contains(*key)).cloned().collect();
        for key in gone {
            inner.times.remove(&key);
            inner.changed.insert(key);
        }
    }

    /// Commits what has changed.
    pub(crate) async fn write(&self) {
        let changed: Vec<(String, Option<Timestamp>)> = {
            let mut inner = self.lock();
            let keys = std::mem::take(&mut inner.changed);
            keys.into_iter().map(|key| (key.clone(), inner.times.get(&key).copied())).collect()
        };
        if changed.is_empty() {
            return;
        }
        if let Err(e) = durable(self.records.put_last_use(&changed).unhurried()).await {
            tracing::warn!("cannot note when images and volumes were last used: {e}");
        }
    }
}

/// An image that is being removed.
pub(crate) struct Leaving {
    uses: Arc<LastUse>,
    id: ImageId,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.uses.lock().leaving.remove(&self.id);
    }
}

/// Somebody uses an image.
pub(crate) struct Held {
    uses: Arc<LastUse>,
    id: ImageId,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut inner = self.uses.lock();
        if let Some(count) = inner.held.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                inner.held.remove(&self.id);
            }
        }
    }
}

/// When an image was last used, named, or brought here. Blocks.
pub(crate) fn of_image(parts: &Parts, image: &Image) -> Timestamp {
    let times = [parts.last_use.of_image(&image.id), image.last_tagged, parts.images.stored_at(&image.id)];
    times.into_iter().flatten().max().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Commits changes some time after they are made.
pub(crate) fn keep(parts: &Arc<Parts>) {
    let (parts, changed) = (Arc::downgrade(parts), parts.last_use.changed.clone());
    tokio::spawn(async move {
        loop {
            changed.notified().await;
            tokio::time::sleep(REST).await;
            let Some(parts) = parts.upgrade() else { return };
            parts.last_use.keep_only(&parts.images.ids(), &parts.volumes.names());
            parts.last_use.write().await;
        }
    });
}

#[cfg(test)]
mod tests {
    use skiff_state::Database;

    use super::*;
    use crate::records::{LAST_USE, SCHEMA};

    #[tokio::test]
    async fn times_outlive_the_daemon_and_those_of_what_is_gone_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let open = || Database::open(&path, &SCHEMA).unwrap();
        let records = Records::new(open().into_writer().unwrap());
        let uses = LastUse::new(Vec::new(), records.clone());
        let (image, other) = (ImageId::random(), ImageId::random());
        assert!(uses.image(&image) && uses.image(&other));
        let noted = uses.of_image(&image).unwrap();
        uses.write().await;
        records.close();

        let store = open();
        let times = store.all(&LAST_USE).unwrap();
        let records = Records::new(store.into_writer().unwrap());
        let uses = LastUse::new(times, records.clone());
        assert_eq!(uses.of_image(&image), Some(noted));
        uses.keep_only(&[image], &[]);
        uses.write().await;
        records.close();
        assert_eq!(open().all(&LAST_USE).unwrap(), [(image_key(&image), noted)]);
    }

    #[tokio::test]
    async fn what_is_used_does_not_leave_and_what_leaves_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let store = Database::open(&dir.path().join("state.redb"), &SCHEMA).unwrap();
        let uses = LastUse::new(Vec::new(), Records::new(store.into_writer().unwrap()));
        let image = ImageId::random();
        uses.image(&image);
        assert!(uses.leave(&image, None).is_none(), "used since");
        let leaving = uses.leave(&image, uses.of_image(&image)).unwrap();
        assert!(!uses.image(&image));
        drop(leaving);
        assert!(uses.image(&image));
        let held = uses.hold(&image).unwrap();
        assert!(uses.leave(&image, uses.of_image(&image)).is_none(), "in use");
        drop(held);
        assert!(uses.leave(&image, uses.of_image(&image)).is_some());
    }
}
