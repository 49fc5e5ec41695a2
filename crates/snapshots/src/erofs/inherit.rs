//! What a new layer takes from the layers below it: files its hard links lead to, and what its undescribed directories look
//! like.

use std::{
    collections::HashSet,
    fs::File,
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use skiff_archive::attributes::xattrs;

use super::tree::{Content, Data, Node, Tree};
use crate::{
    Error, Result,
    copies::Copies,
    merge::{Found, Stack},
    tar::{Device, Timestamp, padding},
};

/// The layer's second archive: contents of files of the layers below that this layer's hard links lead to.
pub(super) struct Extra<'a, 'b> {
    path: PathBuf,
    copies: &'a mut Copies<'b>,
    file: Option<fs_err::File>,
    len: u64,
}

impl<'a, 'b> Extra<'a, 'b> {
    /// An archive that is made at `path` when something goes into it.
    pub(super) fn new(path: PathBuf, copies: &'a mut Copies<'b>) -> Self {
        Self { path, copies, file: None, len: 0 }
    }

    /// The archive, if there is one, and its length.
    pub(super) fn finish(self) -> Option<(File, u64)> {
        Some((self.file?.into_file(), self.len))
    }

    fn add(&mut self, source: &Path, len: u64) -> io::Result<u64> {
        self.copies.take(len)?;
        if self.file.is_none() {
            self.file =
                Some(fs_err::OpenOptions::new().read(true).write(true).create_new(true).open(&self.path)?);
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        let position = self.len;
        let copied = io::copy(&mut fs_err::File::open(source)?, file)?;
        let filler = padding(copied);
        io::Write::write_all(file, &vec![0; filler])?;
        self.len += copied + filler as u64;
        Ok(position)
    }
}

/// Completes a tree with what `below` has.
///
/// # Errors
/// [`Error::DanglingLink`] for a hard link to what no layer has.
pub(super) fn inherit(tree: &mut Tree, below: &Stack, extra: &mut Extra<'_, '_>) -> Result<()> {
    for number in 0..tree.foreign().len() {
        let link = tree.foreign()[number].clone();
        let text = |path: &[u8]| path.escape_ascii().to_string();
        let failed = |source| Error::Apply { path: text(&link.path), source };
        let dangling = || Error::DanglingLink { path: text(&link.path), target: text(&link.target) };
        if has_link_above(tree, &link.target) {
            return Err(dangling());
        }
        match tree.find(&link.target).map(|id| &tree.node(id).content) {
            Some(Content::Whiteout | Content::Directory(_)) => return Err(dangling()),
            Some(_) => {}
            None if is_hidden(tree, &link.target) => return Err(dangling()),
            None => {
                let found = below.lookup(&link.target).map_err(failed)?.filter(|f| !f.metadata.is_dir());
                let node = file(&found.ok_or_else(dangling)?, extra).map_err(failed)?;
                tree.copy_up(&link.target, node).map_err(failed)?;
            }
        }
        tree.link(&link).map_err(failed)?;
    }
    let mut idle = HashSet::new();
    tree.whiteouts(|id, path| {
        let failed = |source| Error::Apply { path: path.escape_ascii().to_string(), source };
        // overlayfs shows a whiteout's name in a directory that no other layer has.
        if below.lookup(path).map_err(failed)?.is_none() || is_below_opaque(tree, path) {
            idle.insert(id);
        }
        Ok::<(), Error>(())
    })?;
    tree.remove(&idle);
    let mut described = Vec::new();
    let mut weight = 0;
    tree.undescribed(|id, path| {
        let failed = |source| Error::Apply { path: path.escape_ascii().to_string(), source };
        if let Some(found) = below.lookup(path).map_err(failed)?.filter(|f| f.metadata.is_dir()) {
            let like = node(&found, Content::Fifo).map_err(failed)?;
            weight += like.weight();
            tree.room_for(weight).map_err(failed)?;
            described.push((id, like));
        }
        Ok::<(), Error>(())
    })?;
    for (id, like) in described {
        let failed = |source| Error::Apply { path: ".".to_owned(), source };
        tree.describe(id, like).map_err(failed)?;
    }
    Ok(())
}

/// Whether the layer takes a directory above the path away.
fn is_hidden(tree: &Tree, path: &[u8]) -> bool {
    above(tree, path).any(|content| matches!(content, Content::Whiteout))
}

/// Whether the layer hides everything that is below a directory above the path.
fn is_below_opaque(tree: &Tree, path: &[u8]) -> bool {
    above(tree, path).any(|content| matches!(content, Content::Directory(directory) if directory.opaque))
}

/// Whether the layer leads the path elsewhere. What was there when the link came was linked then.
fn has_link_above(tree: &Tree, path: &[u8]) -> bool {
    above(tree, path).any(|content| matches!(content, Content::Symlink(_)))
}

/// What the layer has above a path.
fn above<'a>(tree: &'a Tree, path: &'a [u8]) -> impl Iterator<Item = &'a Content> {
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(end, _)| end);
    ends.filter_map(|end| tree.find(&path[..end])).map(|id| &tree.node(id).content)
}

fn file(found: &Found, extra: &mut Extra<'_, '_>) -> io::Result<Node> {
    let kind = found.metadata.file_type();
    let device = || Device {
        major: rustix::fs::major(found.metadata.rdev()),
        minor: rustix::fs::minor(found.metadata.rdev()),
    };
    let content = if kind.is_symlink() {
        Content::Symlink(fs_err::read_link(&found.path)?.as_os_str().as_bytes().to_vec())
    } else if kind.is_char_device() {
        Content::CharDevice(device())
    } else if kind.is_block_device() {
        Content::BlockDevice(device())
    } else if kind.is_fifo() {
        Content::Fifo
    } else {
        let size = found.metadata.len();
        Content::File(Data { size, archive: 1, position: extra.add(&found.path, size)?, sparse: None })
    };
    node(found, content)
}

fn node(found: &Found, content: Content) -> io::Result<Node> {
    let metadata = &found.metadata;
    let nanos = u32::try_from(metadata.mtime_nsec()).unwrap_or(0);
    Ok(Node {
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: Timestamp { secs: metadata.mtime(), nanos },
        xattrs: xattrs(&found.path)?,
        content,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{conformance::Archive, erofs::layers::read_tree};

    /// The most memory that this process has had at once, in bytes.
    fn most_memory() -> usize {
        let status = fs_err::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim_end_matches("kB").trim().parse::<usize>().unwrap() << 10
    }

    /// Short names that lead to long paths: all paths together would be seventy megabytes.
    #[test]
    fn whiteouts_behind_a_link_are_not_all_in_memory() {
        let deep = ["d"; 14].map(|d| d.repeat(250)).join("/");
        let base = Archive::new().dir(&deep).symlink("s", &deep);
        let archive = (0..20_000).fold(base, |archive, i| archive.file(&format!("s/.wh.{i}"), ""));
        let mut tree = read_tree(&archive.finish()[..]).unwrap();
        fs_err::write("/proc/self/clear_refs", "5").unwrap();
        let before = most_memory();
        let copies = &mut Copies::again();
        let extra = &mut Extra::new(PathBuf::new(), copies);
        inherit(&mut tree, &Stack::new(Vec::new()), extra).unwrap();
        let more = most_memory() - before;
        assert!(more < 35 << 20, "{more} bytes");
        assert!(tree.find(&[deep.as_bytes(), b"/1"].concat()).is_none());
    }
}
