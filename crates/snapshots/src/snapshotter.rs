//! The contract that every storage driver keeps.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::PathBuf,
};

use skiff_types::Digest;

use crate::{ChainId, Damage, Error, LayerTar, Result, StagedLayer, verify};

/// A store of read-only layers and of writable snapshots on top of them.
///
/// # Layers
///
/// A layer is one tar of changes over a parent layer, named by its [`ChainId`]. It comes into being in two steps:
/// [`stage`](Self::stage) reads the tar, which needs no parent, so that the layers of an image may be staged in any
/// order and in parallel; [`commit`](Self::commit) puts it on its parent. Between the two it belongs to the caller:
/// dropping a [`StagedLayer`] removes it. A layer is immutable, and exists entirely or not at all: at any instant a
/// killed process or a power cut leaves either no layer or the complete one. When `commit` returns, the layer is durable.
///
/// # Snapshots
///
/// A snapshot is the writable file system of one container, named by a key of the caller's.
/// [`prepare`](Self::prepare) makes it; [`mount`](Self::mount) gives a detached mount of it, any number of times
/// one after the other; [`remove`](Self::remove) drops it. What is written into it is as durable as the writer's own
/// `fsync` makes it, unless its [`Lifetime`] says that it does not matter.
///
/// # Order
///
/// A layer with children or snapshots cannot be removed ([`Error::LayerInUse`]). Removing is quick: the directory is
/// renamed away and the name is free at once; the bytes go with the next
/// [`collect_garbage`](Self::collect_garbage), which may run in the background at any time. Removal need not be durable:
/// after a power cut a removed layer or snapshot may be there again. The owner of the records compares
/// [`layers`](Self::layers) and [`snapshots`](Self::snapshots) with what it knows at start-up and removes the rest.
///
/// # Failure
///
/// An operation that fails leaves nothing behind that a later operation would see. Methods block; they may be called
/// from any thread, and never hold a lock while they read, write or wait for the disk in bulk.
pub trait Snapshotter: Send + Sync + 'static {
    /// The driver's name: `erofs`, `overlay2` or `vfs`.
    fn name(&self) -> &'static str;

    /// Facts for people, as `docker info` shows below the driver's name.
    fn status(&self) -> Vec<(String, String)>;

    /// Reads the uncompressed tar of a layer to its end and prepares everything that does not need the parent.
    /// Bytes after the archive's end marker count for the diff id and come back from [`layer_tar`](Self::layer_tar).
    ///
    /// # Errors
    /// [`Error::Archive`] for what is not a tar or is truncated, [`Error::Apply`] for entries that cannot be made.
    fn stage(&self, tar: &mut (dyn Read + Send)) -> Result<StagedLayer>;

    /// [`stage`](Self::stage) of a whole file, to which nobody writes any more: a driver that keeps archives may make the
    /// file its own by another link to it.
    ///
    /// # Errors
    /// Those of [`stage`](Self::stage).
    fn stage_file(&self, mut file: File) -> Result<StagedLayer> {
        self.stage(&mut file)
    }

    /// Puts a staged layer on `parent` and makes it durable. If the layer exists already, the staged one is dropped.
    ///
    /// # Errors
    /// [`Error::LayerNotFound`] for the parent, [`Error::DanglingLink`] for a hard link to what no layer has.
    fn commit(&self, staged: StagedLayer, parent: Option<&ChainId>) -> Result<ChainId>;

    /// [`stage`](Self::stage) and [`commit`](Self::commit), refusing a layer that is not `expected`.
    ///
    /// # Errors
    /// Those of both, and [`Error::DiffId`].
    fn apply_layer(
        &self,
        parent: Option<&ChainId>,
        expected: Option<&Digest>,
        tar: &mut (dyn Read + Send),
    ) -> Result<Layer> {
        let staged = self.stage(tar)?;
        let found = *staged.diff_id();
        if let Some(expected) = expected.filter(|e| **e != found) {
            return Err(Error::DiffId { expected: *expected, found });
        }
        let chain = self.commit(staged, parent)?;
        self.layer(&chain)
    }

    /// What is known of a layer; [`Error::LayerNotFound`] if it is not there.
    fn layer(&self, chain: &ChainId) -> Result<Layer>;

    /// All layers, in no particular order.
    fn layers(&self) -> Vec<ChainId>;

    /// The layer's uncompressed tar, bit for bit as it was staged.
    fn layer_tar(&self, chain: &ChainId) -> Result<LayerTar>;

    /// Reads a layer whole and compares it with its diff id, and what was made from it with what is made from it now. Nothing
    /// is wrong with an empty list. What lies below counts where the layer took something from there. The disk is asked
    /// for what nobody uses at the moment; what is in memory because somebody does is read from there.
    ///
    /// # Errors
    /// [`Error::LayerNotFound`], and what keeps the comparison from being made.
    fn verify(&self, chain: &ChainId) -> Result<Vec<Damage>> {
        let layer = self.layer(chain)?;
        Ok(verify::archive(&layer, self.layer_tar(chain)).into_iter().collect())
    }

    /// Puts a staged layer in the place of a damaged one that has the same diff id. Who has mounted the damaged one keeps it.
    ///
    /// # Errors
    /// [`Error::LayerNotFound`], [`Error::DiffId`], [`Error::CannotMend`] for drivers that cannot replace a layer.
    fn mend(&self, _chain: &ChainId, _staged: StagedLayer) -> Result<()> {
        Err(Error::CannotMend(self.name()))
    }

    /// The space that a layer takes without those below it. Walks its files.
    fn layer_usage(&self, chain: &ChainId) -> Result<Usage>;

    /// Removes a layer that nothing stands on.
    fn remove_layer(&self, chain: &ChainId) -> Result<()>;

    /// Makes a writable snapshot that may take `limit` bytes of the disk. After a power cut a [`Lifetime::Durable`] one is there
    /// as it was made, or not at all, in which case the same call makes it again.
    ///
    /// # Errors
    /// [`Error::SnapshotExists`], [`Error::InvalidKey`], [`Error::LayerNotFound`]; [`Error::NoLimits`].
    fn prepare(
        &self,
        key: &str,
        parent: Option<&ChainId>,
        lifetime: Lifetime,
        limit: Option<u64>,
    ) -> Result<()>;

    /// Whether snapshots can have a limit here: the store's file system enforces project quotas. Reads what is mounted now.
    fn can_limit(&self) -> bool;

    /// Whether [`prepare`](Self::prepare) copies all files below, so that nobody should call it on the off-chance.
    fn copies(&self) -> bool {
        false
    }

    /// A detached mount of the snapshot's file system, writable, private, in no mount namespace yet: the receiver
    /// attaches it with `move_mount`, and it is gone when its last user is. It has what a container's own mounts stand on
    /// (`/proc`, `/etc/hosts`, …) even if no layer has; that is no change. At most one mount of a snapshot may exist
    /// at a time; the kernel does not enforce that, the caller does.
    ///
    /// With [`Lifetime::Ephemeral`] nothing that is written needs to reach the disk, not even at the writer's `fsync`.
    fn mount(&self, key: &str, lifetime: Lifetime) -> Result<OwnedFd>;

    /// A detached, read-only mount of a layer with all layers below it.
    fn view(&self, chain: &ChainId) -> Result<OwnedFd>;

    /// All snapshots' keys, in no particular order.
    fn snapshots(&self) -> Vec<String>;

    /// The snapshot's changes as a layer: an uncompressed tar in deterministic order, with whiteouts. The files should
    /// not change while it is read; one that shrinks is an error.
    fn diff(&self, key: &str) -> Result<Box<dyn Read + Send>>;

    /// The paths that differ from the parent, ordered by path.
    fn changes(&self, key: &str) -> Result<Vec<Change>>;

    /// Removes a snapshot. A mount that is still attached somewhere keeps working on the removed files.
    fn remove(&self, key: &str) -> Result<()>;

    /// The space that a snapshot's own changes take. Walks its files.
    fn usage(&self, key: &str) -> Result<Usage>;

    /// Frees the space of everything removed so far, and of what a killed process left half done. Slow.
    fn collect_garbage(&self) -> Result<()>;

    /// Where a snapshot's changes lie on the host, for `docker inspect`'s `GraphDriver.Data`: names and paths.
    fn describe(&self, key: &str) -> Result<Vec<(&'static str, PathBuf)>>;
}

/// A layer of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its identity.
    pub chain: ChainId,
    /// The layer below.
    pub parent: Option<ChainId>,
    /// The SHA-256 of its tar.
    pub diff_id: Digest,
    /// The length of its tar in bytes.
    pub tar_size: u64,
    /// The sum of the sizes of its regular files in bytes, as Docker counts an image's size.
    pub size: u64,
}

/// Whether a snapshot has to outlive the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It survives a power cut.
    Durable,
    /// It may be lost in a power cut: the container is removed when it ends.
    Ephemeral,
}

/// One difference between a snapshot and its parent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The absolute path within the file system.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It existed before, and its contents, its metadata or something below it changed.
    Modified,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

/// Space on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The sum of the regular files' sizes in bytes, each inode once.
    pub bytes: u64,
    /// The number of inodes.
    pub inodes: u64,
    /// Bytes of the disk that they take, directories included.
    pub allocated: u64,
}

/// The error of a system call that names no file itself.
pub(crate) fn system(call: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Error {
    let call = call.into();
    move |e| Error::System { call, source: io::Error::from(e) }
}
