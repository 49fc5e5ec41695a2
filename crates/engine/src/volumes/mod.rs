//! Volumes: made, listed, inspected, removed, pruned; and given to containers.
//!
//! Who uses a volume is never counted: the containers' records say it, so that no crash can make a count wrong. What is
//! mounted for running containers ([`Volume::running`]) is derived from them too when the daemon starts.

mod attach;
mod hold;
mod list;
mod make;
mod recover;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

pub(crate) use attach::{Attached, Visit};
use hold::{Holds, Mode};

use skiff_plugins::PluginDirs;
use skiff_types::ContainerId;
use skiff_volumes::{LOCAL, Local, Options, Plugin, Plugins};

use crate::{
    Error, Events, Result,
    containers::blocking,
    model::{
        Actor, EventKind, Filters, MountKind, MountPoint, PrunedVolumes, VolumeCreate, VolumeRecord,
        VolumeUsage, VolumeView,
    },
    records::{Records, durable},
    registry::Registry,
};

/// The service.
#[derive(Clone)]
pub struct Volumes {
    inner: Arc<Inner>,
}

struct Inner {
    local: Local,
    plugins: Plugins,
    known: Mutex<BTreeMap<String, Arc<Volume>>>,
    holds: Arc<Holds>,
    records: Records,
    events: Events,
    registry: Arc<Registry>,
}

/// A volume in memory.
struct Volume {
    record: VolumeRecord,
    /// Of the local driver.
    options: Options,
    /// Held while it is filled with an image's files.
    filling: Mutex<()>,
    running: Mutex<Running>,
}

/// The containers that run with a volume.
#[derive(Default)]
struct Running {
    containers: BTreeSet<ContainerId>,
    /// Where it is mounted for them.
    place: PathBuf,
}

impl Volume {
    fn new(record: VolumeRecord) -> Arc<Self> {
        let options = match record.driver.as_str() {
            // They were checked when the volume was made.
            LOCAL => Options::parse(&record.options.clone().unwrap_or_default()).unwrap_or_default(),
            _ => Options::default(),
        };
        Arc::new(Self { record, options, filling: Mutex::default(), running: Mutex::default() })
    }

    fn is_local(&self) -> bool {
        self.record.driver == LOCAL
    }

    /// Of the local driver and without options, which may lead to files elsewhere.
    fn is_plain(&self) -> bool {
        self.is_local() && self.record.options.as_ref().is_none_or(|options| options.is_empty())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().expect("no panic under this lock")
    }
}

/// The volumes among a container's mounts.
fn of_container(mounts: &[MountPoint]) -> impl Iterator<Item = &MountPoint> {
    mounts.iter().filter(|mount| mount.kind == MountKind::Volume)
}

impl Volumes {
    /// Opens the directory of volumes. `records` are those of the store. Blocks.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub(crate) fn open(
        root: &Path,
        known: Vec<VolumeRecord>,
        records: Records,
        events: Events,
        registry: Arc<Registry>,
    ) -> Result<Self> {
        let known = known.into_iter().map(|record| (record.name.clone(), Volume::new(record))).collect();
        let inner = Inner {
            local: Local::open(root)?,
            plugins: Plugins::new(PluginDirs::default()),
            known: Mutex::new(known),
            holds: Arc::default(),
            records,
            events,
            registry,
        };
        let volumes = Self { inner: Arc::new(inner) };
        volumes.recover()?;
        Ok(volumes)
    }

    fn known(&self, name: &str) -> Option<Arc<Volume>> {
        self.inner.known.lock().expect("no panic under this lock").get(name).cloned()
    }

    fn all(&self) -> Vec<Arc<Volume>> {
        self.inner.known.lock().expect("no panic under this lock").values().cloned().collect()
    }

    /// The names of all volumes.
    pub(crate) fn names(&self) -> Vec<String> {
        self.inner.known.lock().expect("no panic under this lock").keys().cloned().collect()
    }

    fn insert(&self, record: VolumeRecord) {
        let volume = Volume::new(record);
        let mut known = self.inner.known.lock().expect("no panic under this lock");
        known.insert(volume.record.name.clone(), volume);
    }

    fn plugin(&self, name: &str) -> Result<Arc<Plugin>> {
        Ok(self.inner.plugins.get(name)?)
    }

    /// The containers, running or not, that have a volume.
    fn users(&self, name: &str) -> Vec<String> {
        let uses = |mounts: &[MountPoint]| of_container(mounts).any(|mount| mount.name == name);
        let all = self.inner.registry.all();
        let users = all.iter().filter(|c| uses(&c.record().mounts));
        users.map(|container| container.id.to_string()).collect()
    }

    fn tell(&self, action: &str, name: &str, driver: &str, more: &[(&str, &str)]) {
        let mut attributes: BTreeMap<String, String> = [("driver".to_owned(), driver.to_owned())].into();
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self.inner.events.publish(EventKind::Volume, action, Actor { id: name.to_owned(), attributes });
    }

    /// Makes a volume, or answers the one of this name if it has the same driver.
    ///
    /// # Errors
    /// The name or the options are wrong, the name belongs to a volume of another driver, a plugin refuses.
    pub async fn create(&self, request: VolumeCreate) -> Result<VolumeView> {
        let this = self.clone();
        let mut making = blocking(move || this.begin(request)).await??;
        if !making.records().is_empty() {
            durable(self.inner.records.put_volumes(making.records())).await?;
        }
        let this = self.clone();
        blocking(move || {
            let name = making.names().next().unwrap_or_default().to_owned();
            making.finish()?;
            let volume = this.known(&name).ok_or(Error::NoSuchVolume(name))?;
            // Only who looks at a volume is told its status.
            Ok(VolumeView { status: BTreeMap::new(), ..this.view(&volume)? })
        })
        .await?
    }

    /// One volume.
    ///
    /// # Errors
    /// There is none of this name; its plugin does not answer.
    pub async fn inspect(&self, name: &str) -> Result<VolumeView> {
        let (this, name) = (self.clone(), name.to_owned());
        blocking(move || match this.known(&name) {
            Some(volume) => this.view(&volume),
            None => this.elsewhere(&name)?.ok_or(Error::NoSuchVolume(name)),
        })
        .await?
    }

    /// Volumes, and warnings about drivers that do not answer.
    ///
    /// # Errors
    /// Unknown filters or values.
    pub async fn list(&self, filters: Filters) -> Result<(Vec<VolumeView>, Vec<String>)> {
        let this = self.clone();
        blocking(move || this.select(&filters)).await?
    }

    /// Local volumes, with what they take and how many containers have them. Those with options are left out, as they may be
    /// in the network and take long to walk.
    ///
    /// # Errors
    /// None so far.
    pub async fn usage(&self) -> Result<Vec<(VolumeView, VolumeUsage)>> {
        let this = self.clone();
        blocking(move || {
            let local = this.all().into_iter().filter(|volume| volume.is_plain());
            let measured = local.map(|volume| {
                let view = this.view_local(&volume);
                let bytes = skiff_volumes::measure(Path::new(&view.mountpoint));
                let containers = this.users(&volume.record.name).len();
                (view, VolumeUsage { bytes, containers })
            });
            measured.collect()
        })
        .await
    }

    /// Removes a volume. With `force` it may be missing already, and a plugin that refuses is passed over.
    ///
    /// # Errors
    /// A container has it; there is none; its driver refuses.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        match self.remove_one(name, force).await {
            Err(Error::NoSuchVolume(_)) if force => Ok(()),
            removed => removed,
        }
    }

    async fn remove_one(&self, name: &str, force: bool) -> Result<()> {
        let (this, name) = (self.clone(), name.to_owned());
        let (volume, old, hold) = blocking(move || {
            let hold = this.inner.holds.take(|| vec![(name.clone(), Mode::Exclusive)]);
            let volume = this.known(&name).ok_or_else(|| Error::NoSuchVolume(name.clone()))?;
            let users = this.users(&name);
            if !users.is_empty() {
                return Err(Error::VolumeInUse { name, users });
            }
            let label = |e: skiff_volumes::Error| Error::from(e).labelled(format!("remove {name}"));
            let old = match volume.is_local() {
                true => this.inner.local.take_away(&name, &volume.options).map_err(label)?,
                false => {
                    let removed = this.inner.plugins.get(&volume.record.driver).and_then(|p| p.remove(&name));
                    removed.or_else(|e| if force { Ok(()) } else { Err(label(e)) })?;
                    None
                }
            };
            Ok((volume, old, hold))
        })
        .await??;
        let name = volume.record.name.as_str();
        if let Err(e) = durable(self.inner.records.delete_volumes([name])).await {
            if let Some(old) = old {
                self.inner.local.give_back(name, &old)?;
            }
            return Err(e);
        }
        self.inner.known.lock().expect("no panic under this lock").remove(name);
        self.tell("destroy", name, &volume.record.driver, &[]);
        drop(hold);
        if let Some(old) = old {
            // Nobody waits for it; what stays is garbage of the next start.
            tokio::spawn(blocking(move || discard(&old)));
        }
        Ok(())
    }

    /// Removes local volumes that no container has: anonymous ones, or with the filter `all` every one.
    ///
    /// # Errors
    /// Unknown filters or values.
    pub async fn prune(&self, filters: Filters) -> Result<PrunedVolumes> {
        let unused = list::prunable(&filters)?;
        let mut out = PrunedVolumes::default();
        for volume in self.all() {
            let name = volume.record.name.clone();
            if !volume.is_plain() || !unused(&volume.record) || !self.users(&name).is_empty() {
                continue;
            }
            let path = self.inner.local.data(&name);
            let size = blocking(move || skiff_volumes::measure(&path)).await?;
            match self.remove_one(&name, false).await {
                Ok(()) => {
                    out.reclaimed += size;
                    out.deleted.push(name);
                }
                // Somebody was faster.
                Err(Error::VolumeInUse { .. } | Error::NoSuchVolume(_)) => {}
                Err(e) => tracing::warn!("cannot prune volume {name}: {e}"),
            }
        }
        let attributes = [("reclaimed".to_owned(), out.reclaimed.to_string())].into();
        self.inner.events.publish(EventKind::Volume, "prune", Actor { id: String::new(), attributes });
        Ok(out)
    }

    /// Removes the anonymous volumes of a container that is gone, unless another has them.
    pub(crate) async fn remove_anonymous(&self, mounts: &[MountPoint]) {
        for mount in of_container(mounts).filter(|mount| mount.anonymous) {
            match self.remove_one(&mount.name, false).await {
                Ok(()) | Err(Error::VolumeInUse { .. } | Error::NoSuchVolume(_)) => {}
                Err(e) => tracing::warn!("cannot remove volume {}: {e}", mount.name),
            }
        }
    }
}

/// Removes what was a volume. Blocks.
fn discard(old: &Path) {
    skiff_volumes::unlimit(old);
    if let Err(e) = skiff_snapshots::remove_tree(old) {
        tracing::warn!("cannot remove {}: {e}", old.display());
    }
}
