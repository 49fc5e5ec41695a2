//! Remove: untag and delete, and what stands in the way. The rules are Docker's.

use skiff_snapshots::{ChainId, Error as SnapshotError};
use skiff_types::{Digest, ImageId};

use crate::{Conflict, Error, ImageStore, Published, Reference, Result, records::Records, store::resolve};

/// How `remove` removes.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// Remove all names, and the image although a stopped container uses it.
    pub force: bool,
    /// Keep parents that have no name.
    pub no_prune: bool,
}

/// A container that uses an image.
#[derive(Clone, Debug)]
pub struct ImageUser {
    /// The container's id, shortened to twelve digits.
    pub container: String,
    /// It runs.
    pub running: bool,
}

/// What `remove` did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone.
    Untagged(Reference),
    /// An image is gone.
    Image(ImageId),
    /// A layer is gone.
    Layer(ChainId),
}

/// Which containers use an image.
pub type Users<'a> = &'a dyn Fn(&ImageId) -> Vec<ImageUser>;

impl ImageStore {
    /// Removes a name, and the image with its last name; `users` tells which containers use an image.
    ///
    /// # Errors
    /// [`Error::InUse`] says what stands in the way, and whether force would help.
    pub fn remove(&self, name: &str, options: RemoveOptions, users: Users<'_>) -> Result<Vec<Removed>> {
        let (removed, blobs) = self.records.update(|records| {
            let mut removal = Removal { records, options, users, removed: Vec::new(), blobs: Vec::new() };
            removal.remove(name)?;
            Ok((removal.removed, removal.blobs))
        })?;
        // The records are durable: what follows is garbage, and what is left of it goes at the next start.
        let mut done = Vec::new();
        for (at, item) in removed.iter().enumerate() {
            done.push(item.clone());
            if let Removed::Image(id) = item {
                let layers = self.drop_image(id, &removed[at + 1..])?;
                done.extend(layers.into_iter().map(Removed::Layer));
            }
        }
        self.drop_blobs(&blobs)?;
        Ok(done)
    }

    /// Frees the layers and the configuration of an image that has no record any more. Layers of images that are `next` to go
    /// stay until then.
    fn drop_image(&self, id: &ImageId, next: &[Removed]) -> Result<Vec<ChainId>> {
        // Layers of one whose configuration is damaged go at a start, when it is known again whose they are.
        let diff_ids = self.config(id).map(|config| config.rootfs.diff_ids.clone()).unwrap_or_default();
        let mut removed = Vec::new();
        for chain in ChainId::all(&diff_ids).iter().rev() {
            // Whoever makes an image pins its layers until it is recorded, so one of both is seen.
            let remove = || -> Result<bool> {
                if self.is_top_of_an_image(chain, next) {
                    return Ok(false);
                }
                match self.snapshots.remove_layer(chain) {
                    Err(SnapshotError::LayerInUse { .. } | SnapshotError::LayerNotFound(_)) => Ok(false),
                    result => Ok(result.map(|()| true)?),
                }
            };
            match self.pins.unless_pinned(chain, remove).transpose()? {
                Some(true) => removed.push(*chain),
                // Who pins it removes it when he is done, and what is below.
                None => {}
                Some(false) => break,
            }
        }
        self.forget_config(id);
        // The same image may have been loaded again meanwhile.
        self.drop_blobs(&[id.digest()])?;
        Ok(removed)
    }

    pub(crate) fn is_top_of_an_image(&self, chain: &ChainId, next: &[Removed]) -> bool {
        let records = self.records.read();
        let going = next.iter().filter_map(|r| if let Removed::Image(id) = r { Some(*id) } else { None });
        for id in records.images.keys().copied().map(ImageId::from).chain(going) {
            let is_top = match self.config(&id) {
                Ok(config) => ChainId::of(&config.rootfs.diff_ids).as_ref() == Some(chain),
                // Nobody knows which layers a damaged one has, unless it has gone by now.
                Err(_) => self.records.read().image(&id).is_some(),
            };
            if is_top {
                return true;
            }
        }
        false
    }
}

/// A removal on a copy of the records.
struct Removal<'a> {
    records: &'a mut Records,
    options: RemoveOptions,
    users: Users<'a>,
    removed: Vec<Removed>,
    /// What removed images were published as.
    blobs: Vec<Digest>,
}

impl Removal<'_> {
    fn remove(&mut self, name: &str) -> Result<()> {
        let id = resolve(self.records, name)?;
        let force = self.options.force;
        let mut untagged_last = false;
        if is_id_prefix(&id, name) {
            if self.has_single_name(&id) {
                if let Some(conflict) =
                    self.hard_conflict(&id).or_else(|| self.stopped_user(&id).filter(|_| !force))
                {
                    return Err(conflict.into());
                }
                self.untag_all(&id);
            }
        } else {
            self.untag_one(&id, name)?;
            if self.records.names_of(&id).next().is_some() {
                return Ok(());
            }
            untagged_last = true;
        }
        self.delete(&id, force, !self.options.no_prune, untagged_last)
    }

    /// Removes the name that was given, and with a repository's last tag its digests.
    fn untag_one(&mut self, id: &ImageId, name: &str) -> Result<()> {
        let needs_force = !self.options.force && self.has_single_name(id);
        if let Some(user) = (self.users)(id).into_iter().next().filter(|_| needs_force) {
            let (reference, container) = (name.to_owned(), user.container);
            return Err(Conflict::ReferenceUsed { reference, container, image: *id }.into());
        }
        let reference = name.parse::<Reference>()?.or_latest();
        self.records.names.remove(&reference.clone().decisive()).ok_or(Error::NoSuchReference)?;
        self.removed.push(Removed::Untagged(reference.clone()));
        let same_repository = |n: &&Reference| n.name() == reference.name();
        let left: Vec<Reference> = self.records.names_of(id).filter(same_repository).cloned().collect();
        if reference.digest().is_none() && left.iter().all(|n| n.digest().is_some()) {
            for digest in left {
                self.records.names.remove(&digest);
                self.removed.push(Removed::Untagged(digest));
            }
        }
        Ok(())
    }

    fn untag_all(&mut self, id: &ImageId) {
        for name in self.records.names_of(id).cloned().collect::<Vec<_>>() {
            self.records.names.remove(&name);
            self.removed.push(Removed::Untagged(name));
        }
    }

    /// Removes an image and then its parents that nobody needs. A `quiet` one says nothing of conflicts, unless the image
    /// would be left without a name and unused.
    fn delete(&mut self, id: &ImageId, force: bool, prune: bool, quiet: bool) -> Result<()> {
        let soft = || self.several_names(id).or_else(|| self.stopped_user(id));
        let conflict = self.hard_conflict(id).or_else(|| if force { None } else { soft() });
        if let Some(conflict) = conflict {
            let dangling = self.records.names_of(id).next().is_none() && !self.records.has_children(id);
            let used =
                matches!(conflict, Conflict::RunningContainer { .. } | Conflict::StoppedContainer { .. });
            return if quiet && (!dangling || used) { Ok(()) } else { Err(conflict.into()) };
        }
        self.untag_all(id);
        let record = self.records.images.remove(&id.digest());
        self.removed.push(Removed::Image(*id));
        self.blobs.extend(record.iter().flat_map(|r| &r.published).flat_map(Published::kept));
        match record.and_then(|r| r.parent).map(ImageId::from) {
            Some(parent) if prune && self.records.image(&parent).is_some() => {
                self.delete(&parent, false, true, true)
            }
            _ => Ok(()),
        }
    }

    /// At most one tag, and all names in one repository.
    fn has_single_name(&self, id: &ImageId) -> bool {
        let names: Vec<&Reference> = self.records.names_of(id).collect();
        let tags = names.iter().filter(|n| n.digest().is_none()).count();
        names.len() <= 1 || tags <= 1 && names.iter().all(|n| n.name() == names[0].name())
    }

    fn hard_conflict(&self, image: &ImageId) -> Option<Conflict> {
        if self.records.has_children(image) {
            return Some(Conflict::HasChildren { image: *image });
        }
        let user = (self.users)(image).into_iter().find(|u| u.running)?;
        Some(Conflict::RunningContainer { image: *image, container: user.container })
    }

    fn several_names(&self, image: &ImageId) -> Option<Conflict> {
        self.records.names_of(image).next().map(|_| Conflict::SeveralRepositories { image: *image })
    }

    fn stopped_user(&self, image: &ImageId) -> Option<Conflict> {
        let user = (self.users)(image).into_iter().find(|u| !u.running)?;
        Some(Conflict::StoppedContainer { image: *image, container: user.container })
    }
}

/// Whether the image was named by (the beginning of) its id.
fn is_id_prefix(id: &ImageId, name: &str) -> bool {
    let digest = id.digest();
    digest.to_string().starts_with(name) || digest.hex().starts_with(name)
}
