//! The files of one layer as a tree in memory, built from the entries of its archive.
//!
//! Entries are applied in the archive's order, as unpacking them would: a later one replaces an earlier one, parents
//! that no entry describes come into being with mode 0755, links on the way are followed inside the layer's root and
//! never out of it. Whiteouts become what overlayfs understands. Contents stay in the archive; a file only knows where.

use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    io,
};

use rustix::io::Errno;
use skiff_archive::path::{clean, clean_target, split};

use crate::{
    Error, Result,
    tar::{self, Device, Entry, EntryKind, Extent, Timestamp},
    whiteout,
};

/// The prefix of what AUFS kept for itself.
const AUFS: &[u8] = b".wh..wh.";
/// Symbolic links followed on one path, as in the kernel.
const MOST_LINKS: u32 = 40;

/// What a change of a file's owner takes away.
const CAPABILITY: &[u8] = b"security.capability";

/// The most bytes of a file's attributes, since they stand behind its inode.
const MOST_XATTRS: usize = 4 * u16::MAX as usize;

/// `NAME_MAX`.
const LONGEST_NAME: usize = 255;

/// `PATH_MAX`.
const LONGEST_PATH: usize = 4096;

/// What a layer's tree may take in memory, in bytes: some three million files. A few megabytes of compressed archive could
/// ask for any amount.
const LARGEST: usize = 1 << 30;

/// A node's place in [`Tree::nodes`].
pub(super) type NodeId = u32;

/// The root directory.
pub(super) const ROOT: NodeId = 0;

/// All files of a layer.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Hard links to files that the layers below must have.
    foreign: Vec<Foreign>,
    /// What the tree takes in memory, about, in bytes.
    weight: usize,
}

/// A hard link to a file of a layer below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// The directory it goes to, which a later entry may have taken out of the tree.
    dir: NodeId,
    /// The link's own path.
    pub(super) path: Vec<u8>,
    /// The path of the file.
    pub(super) target: Vec<u8>,
}

/// A file, whatever its names are.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) content: Content,
}

/// What a file is, and what is in it.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Directory(Directory),
    File(Data),
    Symlink(Vec<u8>),
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
    /// Hides what layers below have under this name.
    Whiteout,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    pub(super) parent: NodeId,
    pub(super) children: BTreeMap<Vec<u8>, NodeId>,
    /// Whether what layers below have here is hidden.
    pub(super) opaque: bool,
    /// Whether an entry said what the directory itself is like.
    described: bool,
}

/// Where the bytes of a regular file lie.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    /// Length as programs see it.
    pub(super) size: u64,
    /// The archive: 0 is the layer's own, others are archives of layers below.
    pub(super) archive: u16,
    /// Offset of the stored bytes in the archive, a multiple of 512.
    pub(super) position: u64,
    /// The stretches that are stored; none means all.
    pub(super) sparse: Option<Vec<Extent>>,
}

impl Tree {
    /// A root directory and nothing in it.
    pub(super) fn new() -> Self {
        let directory = Content::Directory(Directory { parent: ROOT, ..Directory::default() });
        let root = Node {
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            xattrs: Vec::new(),
            content: directory,
        };
        Self { nodes: vec![root], foreign: Vec::new(), weight: 0 }
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// One past the highest id.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// What the tree takes in memory, about, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// Hard links that wait for [`Tree::link`].
    pub(super) fn foreign(&self) -> &[Foreign] {
        &self.foreign
    }

    /// The node at a [clean] path, its last component not followed.
    pub(super) fn find(&self, path: &[u8]) -> Option<NodeId> {
        let (parent, name) = split(path);
        let dir = self.walk(parent).ok()??;
        if name.is_empty() { Some(dir) } else { self.directory(dir)?.children.get(name).copied() }
    }

    /// Calls `each` for every directory that no entry describes, with its path, until that fails.
    pub(super) fn undescribed<E>(
        &self,
        mut each: impl FnMut(NodeId, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.visit(|id, path, node| match &node.content {
            Content::Directory(directory) if !directory.described => each(id, path),
            _ => Ok(()),
        })
    }

    /// Calls `each` for every whiteout, with its path, until that fails.
    pub(super) fn whiteouts<E>(&self, mut each: impl FnMut(NodeId, &[u8]) -> Result<(), E>) -> Result<(), E> {
        self.visit(|id, path, node| match &node.content {
            Content::Whiteout => each(id, path),
            _ => Ok(()),
        })
    }

    /// Takes these nodes out of the tree.
    pub(super) fn remove(&mut self, gone: &HashSet<NodeId>) {
        if gone.is_empty() {
            return;
        }
        for node in &mut self.nodes {
            if let Content::Directory(directory) = &mut node.content {
                directory.children.retain(|_, id| !gone.contains(id));
            }
        }
    }

    /// The sum of the sizes of files and the lengths of symbolic links, each once however many names it has.
    pub(super) fn size(&self) -> u64 {
        let mut seen = vec![false; self.nodes.len()];
        let mut sum = 0;
        let Ok(()) = self.visit(|id, _, node| -> Result<(), Infallible> {
            if !std::mem::replace(&mut seen[id as usize], true) {
                sum += match &node.content {
                    Content::File(data) => data.size,
                    Content::Symlink(target) => target.len() as u64,
                    _ => 0,
                };
            }
            Ok(())
        });
        sum
    }

    /// Calls `each` for every name in the tree, and for the root, until that fails. There is one path in memory at a time:
    /// all of them could take a thousand times what the tree takes.
    fn visit<E>(&self, mut each: impl FnMut(NodeId, &[u8], &Node) -> Result<(), E>) -> Result<(), E> {
        let mut path = Vec::new();
        let mut open = Vec::new();
        let mut next = Some(ROOT);
        loop {
            if let Some(id) = next {
                each(id, &path, self.node(id))?;
                if let Some(directory) = self.directory(id) {
                    open.push((path.len(), directory.children.iter()));
                }
            }
            let Some((len, children)) = open.last_mut() else { return Ok(()) };
            path.truncate(*len);
            next = children.next().map(|(name, child)| {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
                *child
            });
            if next.is_none() {
                open.pop();
            }
        }
    }

    /// Gives a node the owner, mode, time and attributes of another.
    pub(super) fn describe(&mut self, id: NodeId, like: Node) -> io::Result<()> {
        let node = &mut self.nodes[id as usize];
        let before = node.weight();
        (node.mode, node.uid, node.gid, node.mtime) = (like.mode, like.uid, like.gid, like.mtime);
        node.xattrs = like.xattrs;
        let now = node.weight();
        self.weight = self.weight.saturating_sub(before);
        self.grow(now)
    }

    /// Adds what an entry describes.
    ///
    /// # Errors
    /// [`Error::Archive`] for a path that leads out of the layer and for a whiteout of nothing; [`Error::Apply`] where a parent
    /// is a file, for links in a circle, names that are too long, and a hard link to a directory.
    pub(super) fn apply(&mut self, entry: Entry) -> Result<()> {
        let path = clean(&entry.path)?;
        let (parent, name) = split(&path);
        let failed = |path: &[u8]| {
            let shown = &path[..path.len().min(LONGEST_PATH)];
            let path = shown.escape_ascii().to_string();
            move |source| Error::Apply { path, source }
        };
        if path.len() >= LONGEST_PATH {
            return Err(failed(&path)(Errno::NAMETOOLONG.into()));
        }
        if let Some(hidden) = name.strip_prefix(whiteout::PREFIX) {
            if name != whiteout::OPAQUE && matches!(hidden, b"" | b"." | b"..") {
                return Err(tar::Error::Whiteout { path: path.escape_ascii().to_string() }.into());
            }
            return self.whiteout(parent, name, hidden).map_err(failed(&path));
        }
        if parent.split(|b| *b == b'/').any(|part| part.starts_with(AUFS)) {
            return Ok(());
        }
        if path.is_empty() {
            return match entry.kind {
                EntryKind::Directory => self.describe_directory(ROOT, entry).map_err(failed(b"./")),
                _ => Err(tar::Error::Escape { path: entry.path.escape_ascii().to_string() }.into()),
            };
        }
        if let EntryKind::HardLink(target) = &entry.kind {
            let target = clean_target(target)?;
            if target.len() >= LONGEST_PATH {
                return Err(failed(&path)(Errno::NAMETOOLONG.into()));
            }
            return self.hard_link(&path, target, entry).map_err(failed(&path));
        }
        let dir = self.make_directories(parent).map_err(failed(&path))?;
        self.place(dir, name.to_vec(), entry).map_err(failed(&path))
    }

    /// Puts a file of a layer below under its own path into this one, where links can lead to it.
    pub(super) fn copy_up(&mut self, path: &[u8], node: Node) -> io::Result<()> {
        let (parent, name) = split(path);
        let dir = self.make_directories(parent)?;
        let id = self.push(node)?;
        self.insert(dir, name.to_vec(), id)
    }

    /// Makes `path` another name of what is at `target`, or notes that it is to be found below.
    fn hard_link(&mut self, path: &[u8], target: Vec<u8>, entry: Entry) -> io::Result<()> {
        let (parent, name) = split(path);
        let dir = self.make_directories(parent)?;
        match self.find(&target) {
            Some(id) if self.directory(id).is_some() => Err(Errno::PERM.into()),
            Some(id) if !matches!(self.node(id).content, Content::Whiteout) => {
                self.insert(dir, name.to_vec(), id)?;
                self.describe_linked(id, entry)
            }
            _ => {
                // What had the name is replaced, and what takes it after this replaces the link.
                self.directory_mut(dir)?.children.remove(name);
                self.grow(size_of::<Foreign>() + path.len() + target.len())?;
                self.foreign.push(Foreign { dir, path: path.to_vec(), target });
                Ok(())
            }
        }
    }

    /// The entry of a hard link says what the file is like, in the way of calls on its new name: a change of the owner takes
    /// the file's capabilities, attributes are added, and of a symbolic link only the owner changes.
    fn describe_linked(&mut self, id: NodeId, entry: Entry) -> io::Result<()> {
        let Entry { mode, uid, gid, mtime, xattrs, .. } = entry;
        let node = self.node(id);
        let (mode, mtime) = match node.content {
            Content::Symlink(_) => (node.mode, node.mtime),
            _ => (mode, mtime),
        };
        let brought: HashSet<&[u8]> = xattrs.iter().map(|(name, _)| &name[..]).collect();
        let stays = |name: &[u8]| name != CAPABILITY && !brought.contains(name);
        let mut all: Vec<_> = node.xattrs.iter().filter(|(name, _)| stays(name)).cloned().collect();
        all.extend(xattrs.iter().cloned());
        if all.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MOST_XATTRS {
            return Err(io::ErrorKind::ArgumentListTooLong.into());
        }
        self.describe(id, Node { mode, uid, gid, mtime, xattrs: all, content: Content::Fifo })
    }

    /// Makes a link whose target has been [copied up](Self::copy_up), unless a later entry took its name.
    pub(super) fn link(&mut self, link: &Foreign) -> io::Result<()> {
        let (_, name) = split(&link.path);
        let taken =
            self.directory(link.dir).and_then(|d| d.children.get(name)).map(|id| &self.node(*id).content);
        match (taken, self.find(&link.target)) {
            (None | Some(Content::Whiteout), Some(id)) => self.insert(link.dir, name.to_vec(), id),
            _ => Ok(()),
        }
    }

    fn whiteout(&mut self, parent: &[u8], name: &[u8], hidden: &[u8]) -> io::Result<()> {
        if name.starts_with(AUFS) && name != whiteout::OPAQUE {
            return Ok(());
        }
        let dir = self.make_directories(parent)?;
        if name == whiteout::OPAQUE {
            self.directory_mut(dir)?.opaque = true;
            return Ok(());
        }
        self.hide(dir, hidden)
    }

    fn place(&mut self, dir: NodeId, name: Vec<u8>, entry: Entry) -> io::Result<()> {
        let before = self.directory_mut(dir)?.children.get(&name).copied();
        let content = match entry.kind {
            EntryKind::Directory => match before {
                Some(id) if self.directory(id).is_some() => return self.describe_directory(id, entry),
                _ => {
                    let opaque = before.is_some_and(|id| matches!(self.node(id).content, Content::Whiteout));
                    Content::Directory(Directory {
                        parent: dir,
                        opaque,
                        described: true,
                        ..Directory::default()
                    })
                }
            },
            EntryKind::HardLink(_) => return Err(io::ErrorKind::InvalidInput.into()),
            EntryKind::File => Content::File(Data {
                size: entry.size,
                archive: 0,
                position: entry.position.data,
                sparse: entry.sparse,
            }),
            EntryKind::Symlink(target) if target.is_empty() => return Err(Errno::NOENT.into()),
            EntryKind::Symlink(target) if target.len() >= LONGEST_PATH => {
                return Err(Errno::NAMETOOLONG.into());
            }
            EntryKind::Symlink(target) => Content::Symlink(target),
            EntryKind::CharDevice(device) => Content::CharDevice(device),
            EntryKind::BlockDevice(device) => Content::BlockDevice(device),
            EntryKind::Fifo => Content::Fifo,
        };
        // The kernel's own links have this mode, whatever the archive says.
        let mode = if matches!(content, Content::Symlink(_)) { 0o777 } else { entry.mode };
        let id = self.push(Node {
            mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: entry.xattrs,
            content,
        })?;
        self.insert(dir, name, id)
    }

    /// A whiteout hides what is below, never what its own layer has.
    fn hide(&mut self, dir: NodeId, name: &[u8]) -> io::Result<()> {
        match self.directory_mut(dir)?.children.get(name).copied() {
            Some(id) => {
                if let Content::Directory(directory) = &mut self.nodes[id as usize].content {
                    directory.opaque = true;
                }
            }
            None => {
                let mtime = Timestamp::default();
                let id = self.push(Node {
                    mode: 0,
                    uid: 0,
                    gid: 0,
                    mtime,
                    xattrs: Vec::new(),
                    content: Content::Whiteout,
                })?;
                self.insert(dir, name.to_vec(), id)?;
            }
        }
        Ok(())
    }

    fn describe_directory(&mut self, id: NodeId, entry: Entry) -> io::Result<()> {
        self.directory_mut(id)?.described = true;
        let Entry { mode, uid, gid, mtime, xattrs, .. } = entry;
        self.describe(id, Node { mode, uid, gid, mtime, xattrs, content: Content::Fifo })
    }

    /// The directory at a path, made with its parents where it is missing.
    fn make_directories(&mut self, path: &[u8]) -> io::Result<NodeId> {
        let mut dir = ROOT;
        let mut links = 0;
        let mut todo: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        while let Some(part) = todo.pop() {
            if part == b".." {
                dir = self.directory_mut(dir)?.parent;
                continue;
            }
            dir = match self.directory_mut(dir)?.children.get(&part).copied() {
                Some(id) => match &self.node(id).content {
                    Content::Directory(_) => id,
                    Content::Symlink(target) => {
                        links += 1;
                        if links > MOST_LINKS {
                            return Err(Errno::LOOP.into());
                        }
                        if target.starts_with(b"/") {
                            dir = ROOT;
                        }
                        todo.extend(components(target).rev().map(<[u8]>::to_vec));
                        dir
                    }
                    Content::Whiteout => self.new_directory(dir, part, true)?,
                    _ => return Err(io::ErrorKind::NotADirectory.into()),
                },
                None => self.new_directory(dir, part, false)?,
            };
        }
        Ok(dir)
    }

    fn new_directory(&mut self, parent: NodeId, name: Vec<u8>, opaque: bool) -> io::Result<NodeId> {
        let content = Content::Directory(Directory { parent, opaque, ..Directory::default() });
        let mtime = Timestamp::default();
        let id = self.push(Node { mode: 0o755, uid: 0, gid: 0, mtime, xattrs: Vec::new(), content })?;
        self.insert(parent, name, id)?;
        Ok(id)
    }

    /// As [`Tree::make_directories`], but makes nothing.
    fn walk(&self, path: &[u8]) -> io::Result<Option<NodeId>> {
        let mut dir = ROOT;
        let mut links = 0;
        let mut todo: Vec<&[u8]> = components(path).rev().collect();
        while let Some(part) = todo.pop() {
            let Some(directory) = self.directory(dir) else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            if part == b".." {
                dir = directory.parent;
                continue;
            }
            let Some(id) = directory.children.get(part).copied() else { return Ok(None) };
            match &self.node(id).content {
                Content::Symlink(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    if target.starts_with(b"/") {
                        dir = ROOT;
                    }
                    todo.extend(components(target).rev());
                }
                _ => dir = id,
            }
        }
        Ok(Some(dir))
    }

    fn directory(&self, id: NodeId) -> Option<&Directory> {
        match &self.node(id).content {
            Content::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    fn directory_mut(&mut self, id: NodeId) -> io::Result<&mut Directory> {
        match &mut self.nodes[id as usize].content {
            Content::Directory(directory) => Ok(directory),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn insert(&mut self, dir: NodeId, name: Vec<u8>, id: NodeId) -> io::Result<()> {
        match name.len() {
            0 => return Err(io::ErrorKind::InvalidInput.into()),
            1..=LONGEST_NAME => {}
            _ => return Err(Errno::NAMETOOLONG.into()),
        }
        // A map has room for eleven entries in each of its nodes, and uses half of it.
        let entry = size_of::<(Vec<u8>, NodeId)>();
        let first = self.directory_mut(dir)?.children.is_empty();
        self.grow(name.len() + if first { 12 * entry } else { 2 * entry })?;
        self.directory_mut(dir)?.children.insert(name, id);
        Ok(())
    }

    fn push(&mut self, node: Node) -> io::Result<NodeId> {
        self.grow(node.weight())?;
        self.nodes.push(node);
        NodeId::try_from(self.nodes.len() - 1).map_err(|_| too_large())
    }

    /// Counts what is about to be kept.
    fn grow(&mut self, by: usize) -> io::Result<()> {
        self.room_for(by)?;
        self.weight += by;
        Ok(())
    }

    /// Whether the tree may become so much larger.
    pub(super) fn room_for(&self, more: usize) -> io::Result<()> {
        if self.weight + more > LARGEST { Err(too_large()) } else { Ok(()) }
    }
}

impl Node {
    /// What it takes in memory, about, in bytes.
    pub(super) fn weight(&self) -> usize {
        let pair = size_of::<(Vec<u8>, Vec<u8>)>();
        let xattrs: usize = self.xattrs.iter().map(|(name, value)| pair + name.len() + value.len()).sum();
        let more = match &self.content {
            Content::File(data) => data.sparse.as_ref().map_or(0, |map| map.len() * size_of::<Extent>()),
            Content::Symlink(target) => target.len(),
            _ => 0,
        };
        // The list of nodes has room for as many again.
        2 * size_of::<Self>() + xattrs + more
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "too many files in a layer")
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: EntryKind) -> Entry {
        Entry { path: path.into(), kind, mode: 0o640, uid: 7, ..Entry::default() }
    }

    fn tree(entries: impl IntoIterator<Item = Entry>) -> Tree {
        let mut tree = Tree::new();
        for entry in entries {
            tree.apply(entry).unwrap();
        }
        tree
    }

    fn mode(tree: &Tree, path: &str) -> Option<u32> {
        Some(tree.node(tree.find(path.as_bytes())?).mode)
    }

    #[test]
    fn missing_parents_come_into_being() {
        let tree = tree([entry("a/b/c", EntryKind::File)]);
        assert_eq!(mode(&tree, "a/b"), Some(0o755));
        assert_eq!(mode(&tree, "a/b/c"), Some(0o640));
    }

    #[test]
    fn no_path_leaves_the_root() {
        let tree = tree([
            entry("/../../up", EntryKind::File),
            entry("/absolute", EntryKind::File),
            entry("out", EntryKind::Symlink(b"../../..".to_vec())),
            entry("out/through", EntryKind::File),
        ]);
        for name in ["up", "absolute", "through"] {
            assert_eq!(mode(&tree, name), Some(0o640), "{name}");
        }
    }

    #[test]
    fn links_in_a_circle_and_files_as_parents_are_errors() {
        let mut tree = tree([
            entry("a", EntryKind::Symlink(b"b".to_vec())),
            entry("b", EntryKind::Symlink(b"a".to_vec())),
        ]);
        assert!(tree.apply(entry("a/x", EntryKind::File)).is_err());
        tree.apply(entry("f", EntryKind::File)).unwrap();
        assert!(tree.apply(entry("f/x", EntryKind::File)).is_err());
    }

    #[test]
    fn a_whiteout_hides_what_is_below_and_not_its_own_layer() {
        let opaque = |tree: &Tree, path: &[u8]| tree.directory(tree.find(path).unwrap()).unwrap().opaque;
        let tree = tree([
            entry("d", EntryKind::Directory),
            entry(".wh.d", EntryKind::File),
            entry(".wh.gone", EntryKind::File),
            entry("kept", EntryKind::File),
            entry(".wh.kept", EntryKind::File),
            entry(".wh.later", EntryKind::File),
            entry("later/x", EntryKind::File),
            entry("o/.wh..wh..opq", EntryKind::File),
            entry(".wh..wh.plnk/1", EntryKind::File),
        ]);
        assert!(opaque(&tree, b"d") && opaque(&tree, b"later") && opaque(&tree, b"o"));
        assert!(matches!(tree.node(tree.find(b"gone").unwrap()).content, Content::Whiteout));
        assert!(matches!(tree.node(tree.find(b"kept").unwrap()).content, Content::File(_)));
        assert_eq!(tree.find(b".wh..wh.plnk"), None);
    }

    #[test]
    fn every_name_is_visited_once_with_its_path() {
        let tree = tree([
            entry("a/b/c", EntryKind::File),
            entry("a/d", EntryKind::File),
            entry("e", EntryKind::Fifo),
        ]);
        let mut seen = Vec::new();
        let Ok(()) = tree.visit(|_, path, _| -> Result<(), Infallible> {
            seen.push(String::from_utf8(path.to_vec()).unwrap());
            Ok(())
        });
        assert_eq!(seen, ["", "a", "a/b", "a/b/c", "a/d", "e"]);
    }

    #[test]
    fn a_tree_that_grows_too_large_is_refused() {
        let mut tree = Tree::new();
        tree.weight = LARGEST - 10;
        let error = tree.apply(entry("a", EntryKind::File)).unwrap_err();
        assert!(error.to_string().contains("too many files in a layer"), "{error}");
        let long = format!("{}/x", "a/".repeat(2048));
        assert!(Tree::new().apply(entry(&long, EntryKind::File)).is_err());
    }

    #[test]
    fn hard_links_share_a_node_or_wait_for_a_layer_below() {
        let tree = tree([
            entry("a", EntryKind::File),
            entry("b", EntryKind::HardLink(b"./a".to_vec())),
            entry("c", EntryKind::HardLink(b"usr/bin/below".to_vec())),
        ]);
        assert_eq!(tree.find(b"a"), tree.find(b"b"));
        let want = Foreign { dir: ROOT, path: b"c".to_vec(), target: b"usr/bin/below".to_vec() };
        assert_eq!(tree.foreign(), [want]);
    }

    #[test]
    fn later_entries_replace_earlier_ones() {
        let tree = tree([
            entry("x/y", EntryKind::File),
            entry("x", EntryKind::File),
            entry("z", EntryKind::File),
            entry("z", EntryKind::Directory),
            entry("z/in", EntryKind::File),
            entry("z", EntryKind::Directory),
        ]);
        assert!(matches!(tree.node(tree.find(b"x").unwrap()).content, Content::File(_)));
        assert!(tree.find(b"z/in").is_some());
    }
}
