//! The files of one layer as a tree in memory, built from the entries of its archive.
//!
//! Entries are applied in the archive's order, as unpacking them would: a later one replaces an earlier one, parents
//! that no entry describes come into being with mode 0755, links on the way are followed inside the layer's root and
//! never out of it. Whiteouts become what overlayfs understands. Contents stay in the archive; a file only knows where.

use std::{collections::BTreeMap, io};

use crate::tar::{Device, Entry, EntryKind, Extent, Timestamp};

/// The prefix of whiteouts (OCI image-spec, layer.md).
const WHITEOUT: &[u8] = b".wh.";
/// Hides everything that layers below have in this directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// The prefix of what AUFS kept for itself.
const AUFS: &[u8] = b".wh..wh.";
/// Symbolic links followed on one path, as in the kernel.
const MOST_LINKS: u32 = 40;

/// `NAME_MAX`.
const LONGEST_NAME: usize = 255;

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
}

/// A hard link to a file of a layer below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Foreign {
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
        Self { nodes: vec![root], foreign: Vec::new() }
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// One past the highest id.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Hard links that wait for [`Tree::link`].
    pub(super) fn foreign(&self) -> &[Foreign] {
        &self.foreign
    }

    /// The node at a path, its last component not followed.
    pub(super) fn find(&self, path: &[u8]) -> Option<NodeId> {
        let (parent, name) = split(path);
        let dir = self.walk(parent).ok()??;
        match name {
            None => Some(dir),
            Some(name) => self.directory(dir)?.children.get(name).copied(),
        }
    }

    /// Adds what an entry describes.
    ///
    /// # Errors
    /// `ENOTDIR` where a parent is a file, `ELOOP` for links in a circle, `EPERM` for a hard link to a directory,
    /// `EINVAL` for an entry whose path ends in `..`.
    pub(super) fn apply(&mut self, entry: Entry) -> io::Result<()> {
        if entry.path.split(|b| *b == b'/').any(|part| part.starts_with(AUFS) && part != OPAQUE) {
            return Ok(());
        }
        let (parent, name) = split(&entry.path);
        let dir = self.make_directories(parent)?;
        let Some(name) = name else {
            // The entry is a directory on the way, `./` most of all.
            return self.describe_directory(dir, entry);
        };
        if name == b".." {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if name == OPAQUE {
            self.directory_mut(dir)?.opaque = true;
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.hide(dir, hidden);
        }
        let name = name.to_vec();
        self.place(dir, name, entry)
    }

    /// Gives a file of a layer below another name in this one.
    ///
    /// # Errors
    /// As [`Tree::apply`].
    pub(super) fn link(&mut self, path: &[u8], node: Node) -> io::Result<()> {
        let (parent, name) = split(path);
        let dir = self.make_directories(parent)?;
        let name = name.ok_or(io::ErrorKind::InvalidInput)?.to_vec();
        let id = self.push(node);
        self.insert(dir, name, id)
    }

    fn place(&mut self, dir: NodeId, name: Vec<u8>, entry: Entry) -> io::Result<()> {
        let before = self.directory_mut(dir)?.children.get(&name).copied();
        let content = match entry.kind {
            EntryKind::Directory => match before {
                Some(id) if self.directory(id).is_some() => return self.describe_directory(id, entry),
                _ => {
                    let opaque = before.is_some_and(|id| matches!(self.node(id).content, Content::Whiteout));
                    Content::Directory(Directory { parent: dir, opaque, ..Directory::default() })
                }
            },
            EntryKind::HardLink(target) => {
                let id = match self.find(&target) {
                    Some(id) if self.directory(id).is_some() => return Err(io::Error::from_raw_os_error(1)),
                    Some(id) if !matches!(self.node(id).content, Content::Whiteout) => id,
                    _ => {
                        self.foreign.push(Foreign { path: entry.path, target });
                        return Ok(());
                    }
                };
                return self.insert(dir, name, id);
            }
            EntryKind::File => Content::File(Data {
                size: entry.size,
                archive: 0,
                position: entry.position.data,
                sparse: entry.sparse,
            }),
            EntryKind::Symlink(target) if target.len() >= 4096 => {
                return Err(io::ErrorKind::InvalidFilename.into());
            }
            EntryKind::Symlink(target) => Content::Symlink(target),
            EntryKind::CharDevice(device) => Content::CharDevice(device),
            EntryKind::BlockDevice(device) => Content::BlockDevice(device),
            EntryKind::Fifo => Content::Fifo,
        };
        let id = self.push(Node {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: entry.xattrs,
            content,
        });
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
                });
                self.insert(dir, name.to_vec(), id)?;
            }
        }
        Ok(())
    }

    fn describe_directory(&mut self, id: NodeId, entry: Entry) -> io::Result<()> {
        if entry.kind != EntryKind::Directory {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let node = &mut self.nodes[id as usize];
        (node.mode, node.uid, node.gid, node.mtime) = (entry.mode, entry.uid, entry.gid, entry.mtime);
        node.xattrs = entry.xattrs;
        Ok(())
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
                            return Err(io::Error::from_raw_os_error(40));
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
        let id = self.push(Node { mode: 0o755, uid: 0, gid: 0, mtime, xattrs: Vec::new(), content });
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
                        return Err(io::Error::from_raw_os_error(40));
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
            1..=LONGEST_NAME => self.directory_mut(dir)?.children.insert(name, id),
            _ => return Err(io::ErrorKind::InvalidFilename.into()),
        };
        Ok(())
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId::try_from(self.nodes.len() - 1).expect("an archive has fewer than 2³² entries")
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// The path of the parent and the last component; no last component for the root.
fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut path = path;
    while path == b"." || path.ends_with(b"/") || path.ends_with(b"/.") {
        path = &path[..path.len() - 1];
    }
    let at = path.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
    let (parent, name) = path.split_at(at);
    (parent, (!name.is_empty()).then_some(name))
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
    fn the_last_component_is_split_off() {
        for (path, parent, name) in [
            ("a", "", Some("a")),
            ("./a/b", "./a/", Some("b")),
            ("a/b/", "a/", Some("b")),
            ("a/b/.", "a/", Some("b")),
            ("a/b./", "a/", Some("b.")),
            ("a/..", "a/", Some("..")),
            ("/", "", None),
            ("./", "", None),
            ("", "", None),
        ] {
            assert_eq!(split(path.as_bytes()), (parent.as_bytes(), name.map(str::as_bytes)), "{path:?}");
        }
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
            entry("../../up", EntryKind::File),
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
        assert_eq!(
            tree.apply(entry("f/x", EntryKind::File)).unwrap_err().kind(),
            io::ErrorKind::NotADirectory
        );
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
    fn hard_links_share_a_node_or_wait_for_a_layer_below() {
        let tree = tree([
            entry("a", EntryKind::File),
            entry("b", EntryKind::HardLink(b"./a".to_vec())),
            entry("c", EntryKind::HardLink(b"usr/bin/below".to_vec())),
        ]);
        assert_eq!(tree.find(b"a"), tree.find(b"b"));
        let want = Foreign { path: b"c".to_vec(), target: b"usr/bin/below".to_vec() };
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
