//! Making volumes, for `volume create` and for new containers: staged, recorded, then named.

use std::{collections::BTreeMap, os::fd::OwnedFd, sync::Arc};

use skiff_types::ContainerId;
use skiff_volumes::{Content, LOCAL, Options, Plugin, Staged, check_name};

use super::{Volume, Volumes, hold::Hold, hold::Mode, of_container};
use crate::{
    Error, Result,
    model::{
        ContainerRecord, MountKind, MountPoint, Timestamp, VolumeCreate, VolumeRecord, volume::ANONYMOUS,
    },
};

/// Volumes that are held for a request, and among them new ones that have no record yet. Once their records are durable,
/// [`Making::finish`] gives them their names; dropping this before undoes them.
pub(crate) struct Making {
    volumes: Volumes,
    /// None if there is nothing to hold.
    _hold: Option<Hold>,
    names: Vec<String>,
    staged: Vec<Staged>,
    new: Vec<VolumeRecord>,
    made_by: Vec<(Arc<Plugin>, String)>,
}

impl Making {
    fn new(volumes: &Volumes, hold: Option<Hold>) -> Self {
        Self {
            volumes: volumes.clone(),
            _hold: hold,
            names: Vec::new(),
            staged: Vec::new(),
            new: Vec::new(),
            made_by: Vec::new(),
        }
    }

    /// The records of the new ones.
    pub(crate) fn records(&self) -> &[VolumeRecord] {
        &self.new
    }

    /// The volumes' names, new or not.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The records are durable: the new ones get their names, and everybody may know them. Blocks, for a moment.
    ///
    /// # Errors
    /// A directory cannot be renamed: the next start of the daemon does it.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.made_by.clear();
        let placed = self.staged.drain(..).try_for_each(Staged::place);
        for record in self.new.drain(..) {
            let (name, driver) = (record.name.clone(), record.driver.clone());
            self.volumes.insert(record);
            self.volumes.tell("create", &name, &driver, &[]);
        }
        Ok(placed?)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.new.is_empty() {
            // A commit that failed may have reached the disk all the same.
            let names = self.new.iter().map(|record| record.name.as_str());
            self.volumes.inner.records.delete_volumes(names).detach();
        }
        for (plugin, name) in self.made_by.drain(..) {
            if let Err(e) = plugin.remove(&name) {
                tracing::warn!("cannot undo the creation of volume {name}: {e}");
            }
        }
    }
}

/// What a new volume is to be.
#[derive(Default)]
struct Wanted {
    name: String,
    driver: String,
    options: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

fn labelled(name: &str) -> impl Fn(skiff_volumes::Error) -> Error + use<> {
    let label = format!("create {name}");
    move |e| Error::from(e).labelled(label.clone())
}

/// A volume that is there must have the driver that is asked for, if one is.
fn same_driver(volume: &Volume, driver: &str) -> Result<()> {
    let (name, has) = (&volume.record.name, &volume.record.driver);
    if driver.is_empty() || driver == has {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "create {name}: conflict: driver '{has}' already has volume '{name}': volume name must be unique"
    )))
}

impl Volumes {
    /// Begins `volume create`. Blocks.
    pub(super) fn begin(&self, request: VolumeCreate) -> Result<Making> {
        let VolumeCreate { mut name, driver, options, mut labels } = request;
        if name.is_empty() {
            name = ContainerId::random().to_string();
            labels.get_or_insert_default().insert(ANONYMOUS.to_owned(), String::new());
        }
        let mode = || if self.known(&name).is_some() { Mode::Shared } else { Mode::Exclusive };
        let hold = self.inner.holds.take(|| vec![(name.clone(), mode())]);
        let mut making = Making::new(self, Some(hold));
        making.names.push(name.clone());
        match self.known(&name) {
            Some(volume) => self.fitting(&volume, &driver)?,
            None => self.make_one(&mut making, Wanted { name, driver, options, labels }, None, true)?,
        }
        Ok(making)
    }

    fn fitting(&self, volume: &Volume, driver: &str) -> Result<()> {
        if !driver.is_empty() && driver != LOCAL && driver != volume.record.driver {
            self.plugin(driver).map_err(|e| e.labelled(format!("create {}", volume.record.name)))?;
        }
        same_driver(volume, driver)
    }

    /// Gives the volumes of a new container their names, drivers and places, and checks what needs no disk.
    ///
    /// # Errors
    /// Names and options that are wrong; a volume of another driver.
    pub(crate) fn choose(&self, mounts: &mut [MountPoint]) -> Result<()> {
        for mount in mounts.iter_mut().filter(|mount| mount.kind == MountKind::Volume) {
            if mount.name.is_empty() {
                mount.name = ContainerId::random().to_string();
            }
            if mount.driver.is_empty() {
                let known = self.known(&mount.name);
                mount.driver = known.map_or_else(|| LOCAL.to_owned(), |volume| volume.record.driver.clone());
            }
            if mount.driver != LOCAL {
                continue;
            }
            check_name(&mount.name).map_err(labelled(&mount.name))?;
            let asked = mount.spec.as_ref().and_then(|s| s.volume.as_ref());
            let options = asked.map(|volume| Options::parse(&volume.driver_options)).transpose();
            let options = options.map_err(labelled(&mount.name))?.unwrap_or_default();
            self.inner.local.check_quota(&options).map_err(labelled(&mount.name))?;
            mount.source = self.inner.local.data(&mount.name).to_string_lossy().into_owned();
        }
        Ok(())
    }

    /// Makes the volumes of a new container that are missing, and fills those that are empty with what the image has there;
    /// `view` gives the image's files. Blocks.
    ///
    /// # Errors
    /// A directory cannot be made or filled; a plugin refuses.
    pub(crate) fn make(
        &self,
        record: &ContainerRecord,
        view: impl Fn() -> Result<Option<OwnedFd>>,
    ) -> Result<Making> {
        if of_container(&record.mounts).next().is_none() {
            return Ok(Making::new(self, None));
        }
        let hold = self.inner.holds.take(|| {
            let mode = |name: &str| if self.known(name).is_some() { Mode::Shared } else { Mode::Exclusive };
            let names: BTreeMap<&str, Mode> =
                of_container(&record.mounts).map(|m| (m.name.as_str(), mode(&m.name))).collect();
            names.into_iter().map(|(name, mode)| (name.to_owned(), mode)).collect()
        });
        let mut making = Making::new(self, Some(hold));
        let mut image = None;
        for mount in of_container(&record.mounts) {
            let asked = mount.spec.as_ref().and_then(|s| s.volume.as_ref());
            let content = match mount.no_copy || asked.is_some_and(|v| !v.subpath.is_empty()) {
                true => None,
                false => {
                    if image.is_none() {
                        image = Some(view()?);
                    }
                    let root = image.iter().flatten().next().map(OwnedFd::try_clone).transpose()?;
                    root.map(|root| Content::of(root, &mount.destination)).transpose()?.flatten()
                }
            };
            if making.names().any(|name| name == mount.name) {
                continue;
            }
            making.names.push(mount.name.clone());
            if let Some(volume) = self.known(&mount.name) {
                self.fitting(&volume, &mount.driver)?;
                if let Some(content) = content {
                    self.fill(&volume, &content, &record.id)?;
                }
                continue;
            }
            let mut labels = asked.map(|v| v.labels.clone()).filter(|labels| !labels.is_empty());
            if mount.anonymous {
                labels.get_or_insert_default().insert(ANONYMOUS.to_owned(), String::new());
            }
            let wanted = Wanted {
                name: mount.name.clone(),
                driver: mount.driver.clone(),
                options: asked.map(|v| v.driver_options.clone()).filter(|options| !options.is_empty()),
                labels,
            };
            // It goes with the boot, as its container does.
            let durable = !(mount.anonymous && record.host.auto_remove);
            self.make_one(&mut making, wanted, content.as_ref(), durable)?;
        }
        Ok(making)
    }

    fn make_one(
        &self,
        making: &mut Making,
        wanted: Wanted,
        content: Option<&Content>,
        durable: bool,
    ) -> Result<()> {
        let Wanted { name, driver, options, labels } = wanted;
        let label = labelled(&name);
        let driver = if driver.is_empty() { LOCAL.to_owned() } else { driver };
        if driver == LOCAL {
            check_name(&name).map_err(&label)?;
            let parsed = Options::parse(&options.clone().unwrap_or_default()).map_err(&label)?;
            self.inner.local.check_quota(&parsed).map_err(&label)?;
            let staged = self.inner.local.stage(&name, &parsed).map_err(&label)?;
            if let Some(content) = content {
                staged.fill(&parsed, content)?;
                if durable {
                    staged.sync()?;
                }
            }
            making.staged.push(staged);
        } else {
            let plugin = self.inner.plugins.get(&driver).map_err(&label)?;
            plugin.create(&name, &options.clone().unwrap_or_default()).map_err(&label)?;
            making.made_by.push((plugin.clone(), name.clone()));
            if let Some(content) = content {
                fill_of_plugin(&plugin, &name, content, "copy")?;
            }
        }
        making.new.push(VolumeRecord { name, driver, created: Timestamp::now(), options, labels });
        Ok(())
    }

    /// Copies an image's files into an existing volume if it is empty.
    fn fill(&self, volume: &Volume, content: &Content, user: &ContainerId) -> Result<()> {
        let _alone = volume.filling.lock().expect("no panic under this lock");
        let name = &volume.record.name;
        if !volume.is_local() {
            return fill_of_plugin(&*self.plugin(&volume.record.driver)?, name, content, &user.to_string());
        }
        // Nobody mounts or unmounts it meanwhile.
        let running = volume.running();
        self.inner.local.mount(name, &volume.options)?;
        let filled = self.inner.local.fill(name, content);
        if running.containers.is_empty() {
            self.inner.local.unmount(name, &volume.options)?;
        }
        Ok(filled?)
    }
}

fn fill_of_plugin(plugin: &Plugin, name: &str, content: &Content, user: &str) -> Result<()> {
    let place = plugin.mount(name, user)?;
    let copied = content.copy_into_empty(&place);
    plugin.unmount(name, user)?;
    Ok(copied?)
}
