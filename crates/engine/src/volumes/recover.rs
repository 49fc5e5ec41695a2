//! What the last daemon left: half-done acts, directories without a record, mounts of containers that have ended.

use std::collections::BTreeSet;

use skiff_volumes::LOCAL;

use super::{Volumes, discard, of_container};
use crate::{
    Result,
    model::{Status, Timestamp, VolumeRecord, volume::ANONYMOUS},
};

impl Volumes {
    /// Compares records, directories and containers. Blocks.
    pub(super) fn recover(&self) -> Result<()> {
        let local = self.all().into_iter().filter(|volume| volume.is_local());
        let recorded: BTreeSet<String> = local.map(|volume| volume.record.name.clone()).collect();
        let found = self.inner.local.recover(&recorded)?;
        for name in &found.lost {
            // An empty one need not reach the disk before a power cut.
            tracing::info!("the directory of volume {name} was missing: it is empty now");
        }
        let adopted: Vec<VolumeRecord> = found.adopted.into_iter().map(|name| self.adopt(name)).collect();
        if !adopted.is_empty() {
            self.inner.records.put_volumes(&adopted).detach();
            adopted.into_iter().for_each(|record| self.insert(record));
        }
        if !found.garbage.is_empty() {
            std::thread::Builder::new()
                .name("volumes".into())
                .spawn(move || found.garbage.iter().for_each(|old| discard(old)))?;
        }
        self.resume();
        Ok(())
    }

    /// A directory that somebody brought here, or that an earlier version made without a record.
    fn adopt(&self, name: String) -> VolumeRecord {
        let made = fs_err::metadata(self.inner.local.data(&name)).and_then(|data| data.modified()).ok();
        let created = made.and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_else(Timestamp::now);
        let all = self.inner.registry.all();
        let anonymous = all.iter().any(|container| {
            of_container(&container.record().mounts).any(|mount| mount.anonymous && mount.name == name)
        });
        let labels = anonymous.then(|| [(ANONYMOUS.to_owned(), String::new())].into());
        VolumeRecord { name, driver: LOCAL.to_owned(), created, options: None, labels }
    }

    /// Which containers run with which volumes, as their records say. Those that have ended meanwhile release them the
    /// usual way.
    fn resume(&self) {
        for container in self.inner.registry.all() {
            let record = container.record();
            if !record.state.status.is_running() && record.state.status != Status::Starting {
                continue;
            }
            for mount in of_container(&record.mounts) {
                if let Some(volume) = self.known(&mount.name) {
                    let mut running = volume.running();
                    running.containers.insert(record.id);
                    running.place = mount.source.as_str().into();
                }
            }
        }
        for volume in self.all() {
            if volume.is_local() && volume.options.needs_mount() && volume.running().containers.is_empty() {
                // A container has ended while nobody looked, or a copy was killed.
                let _ = self.inner.local.unmount(&volume.record.name, &volume.options);
            }
        }
    }
}
