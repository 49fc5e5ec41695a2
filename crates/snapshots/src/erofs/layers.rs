//! Layers kept as archives with an index, and their mounts.
//!
//! ```text
//! layers/<chain id>/tar      the exact archive
//! layers/<chain id>/index    the EROFS image that refers into it
//! layers/<chain id>/extra    contents taken from layers below, if there are any
//! layers/<chain id>/meta     LayerRecord in JSON
//! ```

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use skiff_sys::writeback::Follower;

use super::{
    format::BLOCK,
    index::{Archive, encode},
    inherit::{Extra, inherit},
    mount::mount,
    namespace::{Attached, Namespace},
    tree::Tree,
};
use crate::{
    ChainId, Error, LayerTar, Result, StagedLayer,
    copies::Copies,
    dirs::StoreDirs,
    hashing::{Hashed, hashed},
    index::Index,
    layer_record::LayerRecord,
    merge::Stack,
    staging::StagingDir,
    tar::Reader,
};

/// The store of layers and the names of snapshots.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) dirs: StoreDirs,
    pub(super) index: Index,
    /// Each layer is mounted once, when it is first needed: containers share its page cache. The mounts are in no mount
    /// namespace, or in that of `namespace`.
    mounts: Mutex<HashMap<ChainId, LayerMount>>,
    /// Where layers are attached and overlays mounted on kernels that need it.
    namespace: OnceLock<Namespace>,
    /// What the trees of staged layers take in memory, in bytes.
    held: Arc<AtomicUsize>,
}

/// The most that the trees of all staged layers may take in memory: an archive may have any number of layers. The others
/// are read once more when they are committed.
const MOST_HELD: usize = 256 << 20;

/// A tree whose memory is given back to the kernel when it is done with, in bytes.
const LARGE: usize = 32 << 20;

/// The tree of a layer that was staged and may be committed.
struct HeldTree {
    tree: Tree,
    held: Arc<AtomicUsize>,
}

impl HeldTree {
    fn hold(tree: Tree, held: &Arc<AtomicUsize>) -> Option<Self> {
        let before = held.fetch_add(tree.weight(), Ordering::Relaxed);
        let this = Self { tree, held: Arc::clone(held) };
        (before + this.tree.weight() <= MOST_HELD).then_some(this)
    }

    fn release(mut self) -> Tree {
        let weight = self.tree.weight();
        self.held.fetch_sub(weight, Ordering::Relaxed);
        std::mem::replace(&mut self.tree, Tree::new())
    }
}

impl Drop for HeldTree {
    fn drop(&mut self) {
        self.held.fetch_sub(self.tree.weight(), Ordering::Relaxed);
    }
}

/// What is made from an archive over the layers below: the index, and whether there is an `extra`, which is put into `dir`.
pub(super) fn derive(
    tree: &mut Tree,
    (tar, len): (&File, u64),
    below: &[LayerMount],
    dir: &Path,
    copies: &mut Copies<'_>,
) -> Result<(Vec<u8>, bool)> {
    let mut extra = Extra::new(dir.join("extra"), copies);
    inherit(tree, &Stack::new(below.iter().map(LayerMount::path).collect()), &mut extra)?;
    let extra = extra.finish();
    let mut archives = vec![Archive { file: tar, len }];
    archives.extend(extra.as_ref().map(|(file, len)| Archive { file, len: *len }));
    let failed = |source| Error::Apply { path: ".".to_owned(), source };
    Ok((encode(tree, &archives).map_err(failed)?, extra.is_some()))
}

pub(super) fn read_tree(archive: impl BufRead) -> Result<Tree> {
    let mut reader = Reader::new(archive);
    let mut tree = Tree::new();
    while let Some(entry) = reader.next_entry()? {
        tree.apply(entry)?;
    }
    Ok(tree)
}

/// A layer's mount, open as a directory.
#[derive(Clone, Debug)]
pub(super) struct LayerMount(Arc<(OwnedFd, Option<Attached>)>);

impl LayerMount {
    /// A path to the root of the mount, good as long as this is held.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/.", self.0.0.as_raw_fd()))
    }
}

/// What these layers' records have beside.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SecondArchive {
    /// Whether there is one.
    pub(super) extra: bool,
}

impl Layers {
    /// Opens the store below `root`.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let dirs = StoreDirs::open(root)?;
        let index = LayerRecord::<SecondArchive>::index(&dirs)?;
        Ok(Self { dirs, index, mounts: Mutex::default(), namespace: OnceLock::new(), held: Arc::default() })
    }

    /// From now on layers are attached in a mount namespace of our own. `places` is a directory for them.
    pub(super) fn attach_layers(&self, places: PathBuf) -> Result<()> {
        let namespace = Namespace::new(places)?;
        let _ = self.namespace.set(namespace);
        Ok(())
    }

    /// The namespace in which layers are attached, if they are.
    pub(super) fn namespace(&self) -> Option<&Namespace> {
        self.namespace.get()
    }

    /// A layer's mount, where overlays need it.
    pub(super) fn place(&self, mount: OwnedFd) -> Result<LayerMount> {
        Ok(LayerMount(Arc::new(match self.namespace() {
            None => (mount, None),
            Some(namespace) => {
                let (mount, attached) = namespace.attach(mount)?;
                (mount, Some(attached))
            }
        })))
    }

    /// Stores an archive and reads what is in it.
    pub(super) fn stage(&self, tar: &mut (dyn Read + Send)) -> Result<StagedLayer> {
        let staging = self.dirs.staging()?;
        let mut file = TarWriter::create(&staging.path().join("tar"))?;
        let (tree, hashed) = hashed(tar, &mut |chunk| file.write(chunk), |chunks| read_tree(chunks))?;
        file.fill_up()?;
        Ok(self.staged(staging, tree, &hashed))
    }

    /// Stages an archive that is a file already: linked if that can be, copied otherwise.
    pub(super) fn stage_file(&self, mut file: File) -> Result<StagedLayer> {
        let staging = self.dirs.staging()?;
        let path = staging.path().join("tar");
        // The kernel reads whole blocks, and what is linked must not be filled up.
        let whole = file.metadata()?.len().is_multiple_of(BLOCK as u64);
        if !whole || skiff_handover::link(&file, &path).is_err() {
            return self.stage(&mut file);
        }
        // What was linked is what is read: the file that came could be another one by now.
        let mut linked = fs_err::File::open(&path)?.into_file();
        let (tree, hashed) = hashed(&mut linked, &mut |_| Ok(()), |chunks| read_tree(chunks))?;
        Ok(self.staged(staging, tree, &hashed))
    }

    fn staged(&self, staging: StagingDir, tree: Tree, hashed: &Hashed) -> StagedLayer {
        let mut staged = StagedLayer::new(staging, hashed.digest, hashed.len, tree.size());
        staged.notes = HeldTree::hold(tree, &self.held).map(|held| Box::new(held) as _);
        staged
    }

    /// Writes a staged layer's index over its parent.
    pub(super) fn commit(&self, mut staged: StagedLayer, parent: Option<&ChainId>) -> Result<ChainId> {
        let chain = ChainId::new(parent, staged.diff_id());
        let mounts = self.mounts(parent)?;
        if self.index.layer(&chain).is_ok() {
            return Ok(chain);
        }
        let record = self.finish(&mut staged, parent, &mounts)?;
        self.index.add_layer(record.layer(chain), || self.dirs.publish(staged.into_dir(), &chain))?;
        Ok(chain)
    }

    /// Completes a staged layer's directory over the layers below, and flushes it.
    pub(super) fn finish(
        &self,
        staged: &mut StagedLayer,
        parent: Option<&ChainId>,
        below: &[LayerMount],
    ) -> Result<LayerRecord<SecondArchive>> {
        let held = staged.notes.take().and_then(|notes| notes.downcast::<HeldTree>().ok());
        let dir = &staged.dir().path().to_owned();
        let mut tree = match held {
            Some(held) => held.release(),
            None => read_tree(BufReader::with_capacity(256 << 10, fs_err::File::open(dir.join("tar"))?))?,
        };
        let tar = fs_err::File::open(dir.join("tar"))?.into_file();
        let copied = match tree.foreign().is_empty() {
            true => 0,
            false => LayerRecord::<SecondArchive>::copied(&self.dirs, &self.index.stack(parent)?)?,
        };
        let tar = (&tar, staged.tar_size());
        let mut copies = Copies::new(staged, copied);
        let (index, extra) = derive(&mut tree, tar, below, dir, &mut copies)?;
        let copied = copies.here();
        fs_err::write(dir.join("index"), index)?;
        let record = LayerRecord::new(staged, parent, tree.size(), copied, SecondArchive { extra });
        let large = tree.weight() >= LARGE;
        drop(tree);
        if large {
            skiff_sys::memory::trim_heap();
        }
        record.write(dir)?;
        for file in ["tar", "index", "meta", "extra"].iter().filter(|f| **f != "extra" || record.more.extra) {
            fs_err::File::open(dir.join(file))?.sync_data()?;
        }
        crate::dirs::sync_dir(dir)?;
        Ok(record)
    }

    /// A layer's archive.
    pub(super) fn tar(&self, chain: &ChainId) -> Result<LayerTar> {
        let len = self.index.layer(chain)?.tar_size;
        let file = fs_err::File::open(self.dirs.layer(chain).join("tar"))?.into_file();
        match len % BLOCK as u64 {
            0 => Ok(LayerTar::File { file, len }),
            // What was filled up is not the archive's.
            _ => Ok(LayerTar::Stream { reader: Box::new(file.take(len)), len }),
        }
    }

    /// Removes a layer.
    pub(super) fn remove(&self, chain: &ChainId) -> Result<()> {
        self.index.remove_layer(chain, || self.dirs.discard(&self.dirs.layer(chain)))?;
        self.lock().remove(chain);
        Ok(())
    }

    /// The mounts of a layer and those below it, topmost first.
    pub(super) fn mounts(&self, chain: Option<&ChainId>) -> Result<Vec<LayerMount>> {
        self.index.stack(chain)?.iter().map(|c| self.mounted(c)).collect()
    }

    fn mounted(&self, chain: &ChainId) -> Result<LayerMount> {
        if let Some(mount) = self.lock().get(chain) {
            return Ok(mount.clone());
        }
        // Two may mount the same layer at once; one of the mounts is kept.
        let dir = self.dirs.layer(chain);
        let index = fs_err::File::open(dir.join("index"))?;
        let tar = fs_err::File::open(dir.join("tar"))?;
        let extra = match LayerRecord::<SecondArchive>::read(&dir)?.more.extra {
            true => Some(fs_err::File::open(dir.join("extra"))?),
            false => None,
        };
        let archives: Vec<_> = std::iter::once(&tar).chain(&extra).map(|f| f.file().as_fd()).collect();
        let fd = mount(index.file().as_fd(), &archives).map_err(|e| Error::System {
            call: format!("mounting {}", dir.join("index").display()),
            source: e.into(),
        })?;
        let mount = self.place(fd)?;
        Ok(self.lock().entry(*chain).or_insert(mount).clone())
    }

    /// The next who needs a layer mounts it anew.
    pub(super) fn forget_mount(&self, chain: &ChainId) {
        self.lock().remove(chain);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ChainId, LayerMount>> {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes an archive, and keeps the disk busy with it meanwhile: less is left to flush at the end.
struct TarWriter {
    file: File,
    written: u64,
    disk: Follower,
}

impl TarWriter {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: fs_err::File::create(path)?.into_file(), written: 0, disk: Follower::from(0) })
    }

    /// An archive may end without its last padding, and the kernel reads whole blocks.
    fn fill_up(&mut self) -> io::Result<()> {
        let missing = self.written.next_multiple_of(BLOCK as u64) - self.written;
        self.write(&[0; BLOCK][..missing as usize])
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.file, bytes)?;
        self.written += bytes.len() as u64;
        self.disk.follow(self.file.as_fd(), self.written);
        Ok(())
    }
}
