//! The driver `vfs`: snapshots are copies. It works on every file system, slowly, and takes the space of every copy where
//! the file system cannot share blocks.
//!
//! Layers are kept as `overlay2` keeps them. `views/<chain id>` are read-only copies of merged trees, made when asked for.

use std::{
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::CWD,
    mount::{OpenTreeFlags, open_tree},
};

use skiff_sys::mount::{Change, attr, set_attributes};

use crate::{
    self as snapshots, ChainId, Layer, LayerTar, Lifetime, Result, Snapshotter, StagedLayer, Usage,
    compare::{self, Difference},
    copy::{copy_attributes, copy_tree},
    diff::{Member, TarStream},
    dirs::sync_dir,
    merge::Stack,
    skeleton,
    snapshotter::system,
    unpacked::UnpackedLayers,
    upper,
};

/// The driver's name.
pub(crate) const NAME: &str = "vfs";

/// Layers as directories, snapshots as copies of what they amount to.
#[derive(Debug)]
pub(crate) struct Vfs {
    layers: UnpackedLayers,
    views: PathBuf,
    /// The lowest layer of every snapshot.
    skeleton: PathBuf,
}

impl Vfs {
    /// Opens the store below `root`.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let layers = UnpackedLayers::open(root)?;
        upper::load(&layers.dirs, &layers.index)?;
        let views = root.join("views");
        fs_err::create_dir_all(&views)?;
        Ok(Self { layers, views, skeleton: skeleton::open(root)? })
    }

    fn root(&self, key: &str) -> Result<PathBuf> {
        self.layers.index.snapshot(key)?;
        Ok(self.layers.dirs.snapshot(key).join("root"))
    }

    /// What a snapshot of a layer begins with.
    fn below(&self, parent: Option<&ChainId>) -> Result<Stack> {
        let mut lowers = self.layers.diffs(parent)?;
        lowers.push(self.skeleton.clone());
        Ok(Stack::new(lowers))
    }

    fn differences(&self, key: &str) -> Result<Vec<Difference>> {
        let below = self.below(self.layers.index.snapshot(key)?.as_ref())?;
        Ok(compare::differences(&below, &self.root(key)?)?)
    }
}

impl Snapshotter for Vfs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn status(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn stage(&self, tar: &mut (dyn Read + Send)) -> Result<StagedLayer> {
        self.layers.stage(tar)
    }

    fn commit(&self, staged: StagedLayer, parent: Option<&ChainId>) -> Result<ChainId> {
        self.layers.commit(staged, parent)
    }

    fn layer(&self, chain: &ChainId) -> Result<Layer> {
        self.layers.index.layer(chain)
    }

    fn layers(&self) -> Vec<ChainId> {
        self.layers.index.layers()
    }

    fn layer_tar(&self, chain: &ChainId) -> Result<LayerTar> {
        self.layers.tar(chain)
    }

    fn layer_usage(&self, chain: &ChainId) -> Result<Usage> {
        upper::layer_usage(&self.layers.dirs, &self.layers.index, chain)
    }

    fn remove_layer(&self, chain: &ChainId) -> Result<()> {
        self.layers.remove(chain)?;
        let view = self.views.join(chain.hex());
        if fs_err::exists(&view)? {
            self.layers.dirs.discard(&view)?;
        }
        Ok(())
    }

    fn prepare(
        &self,
        key: &str,
        parent: Option<&ChainId>,
        lifetime: Lifetime,
        limit: Option<u64>,
    ) -> Result<()> {
        let layers = &self.layers;
        let below = self.below(parent)?;
        upper::prepare(&layers.dirs, &layers.index, key, parent, limit, |dir| {
            merged_copy(&below, &dir.join("root"))?;
            if lifetime == Lifetime::Durable { flush(dir) } else { Ok(()) }
        })
    }

    fn can_limit(&self) -> bool {
        self.layers.dirs.can_limit()
    }

    fn copies(&self) -> bool {
        true
    }

    fn mount(&self, key: &str, _lifetime: Lifetime) -> Result<OwnedFd> {
        clone_mount(&self.root(key)?)
    }

    fn view(&self, chain: &ChainId) -> Result<OwnedFd> {
        let stack = self.layers.stack(Some(chain))?;
        let view = self.views.join(chain.hex());
        if !fs_err::exists(&view)? {
            let staging = self.layers.dirs.staging()?;
            merged_copy(&stack, &staging.path().join("root"))?;
            flush(staging.path())?;
            match fs_err::rename(staging.path().join("root"), &view) {
                // Another thread made it meanwhile.
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                result => result?,
            }
            sync_dir(&self.views)?;
        }
        let mount = clone_mount(&view)?;
        let read_only = Change { set: attr::RDONLY, ..Change::default() };
        set_attributes(mount.as_fd(), &read_only).map_err(system("mount_setattr"))?;
        Ok(mount)
    }

    fn snapshots(&self) -> Vec<String> {
        self.layers.index.snapshots()
    }

    fn diff(&self, key: &str) -> Result<Box<dyn Read + Send>> {
        let members: Vec<io::Result<Member>> =
            self.differences(key)?.into_iter().map(|d| Ok(d.into_member())).collect();
        Ok(Box::new(TarStream::new(members.into_iter())))
    }

    fn changes(&self, key: &str) -> Result<Vec<snapshots::Change>> {
        let mut changes: Vec<snapshots::Change> =
            self.differences(key)?.iter().map(Difference::change).collect();
        changes.sort();
        Ok(changes)
    }

    fn remove(&self, key: &str) -> Result<()> {
        upper::remove(&self.layers.dirs, &self.layers.index, key)
    }

    fn usage(&self, key: &str) -> Result<Usage> {
        upper::tree_usage(&self.root(key)?)
    }

    fn collect_garbage(&self) -> Result<()> {
        self.layers.dirs.collect()
    }

    fn describe(&self, key: &str) -> Result<Vec<(&'static str, PathBuf)>> {
        Ok(vec![("Dir", self.root(key)?)])
    }
}

/// Copies a merged tree to a new directory.
fn merged_copy(stack: &Stack, to: &Path) -> Result<()> {
    fs_err::create_dir(to)?;
    if let Some(root) = stack.lookup(b"")? {
        copy_tree(&root.merged, to)?;
        copy_attributes(&root.path, &root.metadata, to)?;
    }
    Ok(())
}

/// Flushes the file system of a directory: what has been copied into it is on the disk before it gets its name.
fn flush(dir: &Path) -> Result<()> {
    let dir = fs_err::File::open(dir)?;
    Ok(rustix::fs::syncfs(dir.file()).map_err(io::Error::from)?)
}

/// A detached mount of a directory.
fn clone_mount(dir: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, dir, flags).map_err(system(format!("open_tree {}", dir.display())))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use crate::conformance::Archive;

    use super::*;

    fn run(program: &str, args: &[&Path]) {
        let status = Command::new(program).args(args).status().expect("the program is there");
        assert!(status.success(), "{program} {args:?}");
    }

    /// A file with a file system, mounted until it is dropped.
    struct Mounted(PathBuf);

    impl Mounted {
        fn at(disk: &Path, place: PathBuf) -> Self {
            fs_err::create_dir(&place).unwrap();
            run("mount", &["-oloop".as_ref(), disk, &place]);
            Self(place)
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            run("umount", &[&self.0]);
        }
    }

    /// What lies on the disk when a view is there is what the next engine finds after a power cut.
    #[test]
    fn a_view_is_whole_or_not_there_after_a_power_cut() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        fs_err::File::create(&disk).unwrap().set_len(24 << 20).unwrap();
        run("mkfs.ext4", &["-q".as_ref(), &disk]);
        let contents = "whole ".repeat(10_000);
        let mounted = Mounted::at(&disk, dir.path().join("store"));
        let store = crate::open(&mounted.0, Some(NAME)).unwrap();
        let archive = Archive::new().file("file", &contents).finish();
        let chain = store.apply_layer(None, None, &mut &archive[..]).unwrap().chain;
        drop(store.view(&chain).unwrap());
        // What has not been flushed is not in the file of the disk.
        let cut = dir.path().join("cut");
        fs_err::copy(&disk, &cut).unwrap();
        drop(store);
        let after = Mounted::at(&cut, dir.path().join("after"));
        let view = after.0.join(NAME).join("views").join(chain.hex());
        assert_eq!(fs_err::read_to_string(view.join("file")).unwrap(), contents);
    }
}
