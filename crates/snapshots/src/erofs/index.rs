//! Writes a layer's tree as an EROFS image whose file contents lie in archives beside it.
//!
//! The image holds inodes, directories, links and attributes; each regular file is one chunk (or, when sparse, several)
//! on an external device, the archive. Order in the image: superblock and device table, inodes with what is stored behind
//! them, then blocks of directories and long links.

use std::{io, os::unix::fs::FileExt};

use super::{
    format::{self, BLOCK, CHUNK, DIRENT, HOLE, INODE, INODE_SLOT, Inode, Layout, MAX_CHUNK_BITS},
    tree::{Content, Data, Directory, NodeId, ROOT, Tree},
};
use skiff_archive::attributes::is_overlay_xattr;

use crate::tar::Extent;

/// The attribute that hides what layers below have in a directory.
const OPAQUE: (&[u8], &[u8]) = (b"trusted.overlay.opaque", b"y");
/// The most chunks that all sparse files together may have (64 MiB of entries).
const MOST_CHUNKS: u64 = 8 << 20;
/// The most blocks of directories, links and misplaced stretches (512 MiB): the image is put together in memory.
const MOST_BLOCKS: u32 = 1 << 20;

/// An archive that the index refers to.
pub(super) struct Archive<'a> {
    pub(super) file: &'a std::fs::File,
    pub(super) len: u64,
}

/// The bytes of the image. `archives[0]` is the layer's own.
///
/// # Errors
/// A file whose stretches are too fragmented, an archive above 2 TiB (`EFBIG`), or an archive cannot be read.
pub(super) fn encode(tree: &Tree, archives: &[Archive<'_>]) -> io::Result<Vec<u8>> {
    let mut plan = Planner::new(tree, archives)?;
    plan.place(ROOT)?;
    let mut next = 0;
    while next < plan.order.len() {
        let id = plan.order[next];
        if let Content::Directory(directory) = &tree.node(id).content {
            for child in directory.children.values() {
                plan.link(*child)?;
            }
        }
        next += 1;
    }
    plan.write(archives)
}

/// Where a node's inode goes, and what is with it.
struct Placed {
    /// Offset of the inode.
    offset: u64,
    layout: Layout,
    xattrs: Vec<u8>,
    size: u64,
    /// First data block, counted from the first of all, if it has any.
    block: u32,
    links: u32,
    number: u32,
    chunks: Option<Chunks>,
}

/// The chunks of a regular file.
#[derive(Clone)]
struct Chunks {
    /// Binary logarithm of a chunk's bytes.
    bits: u32,
    /// For each chunk where it lies; empty for one chunk at the file's position.
    table: Vec<Place>,
}

/// Where a chunk lies.
#[derive(Clone, Copy)]
enum Place {
    Hole,
    /// At this offset of the archive.
    Archive(u64),
    /// In this data block of the index itself, because the archive has it at no block's start.
    Own(u32),
}

struct Planner<'a> {
    tree: &'a Tree,
    devices: Vec<u32>,
    placed: Vec<Option<Placed>>,
    /// Nodes in the order of their inodes.
    order: Vec<NodeId>,
    /// End of the inodes so far.
    end: u64,
    /// Data blocks so far.
    blocks: u32,
    /// Chunks of sparse files so far.
    chunks: u64,
}

impl<'a> Planner<'a> {
    fn new(tree: &'a Tree, archives: &[Archive<'_>]) -> io::Result<Self> {
        let blocks = |archive: &Archive<'_>| {
            u32::try_from(archive.len.div_ceil(BLOCK as u64)).map_err(|_| io::ErrorKind::FileTooLarge.into())
        };
        let devices = archives.iter().map(blocks).collect::<io::Result<Vec<_>>>()?;
        let end = format::SUPERBLOCK + (format::SUPERBLOCK_LEN + devices.len() * format::DEVICE_SLOT) as u64;
        let mut placed = Vec::new();
        placed.resize_with(tree.len(), || None);
        Ok(Self { tree, devices, placed, order: Vec::new(), end, blocks: 0, chunks: 0 })
    }

    /// Counts a directory entry for a node, and places the node if it is the first.
    fn link(&mut self, id: NodeId) -> io::Result<()> {
        match &mut self.placed[id as usize] {
            Some(placed) => placed.links += 1,
            None => self.place(id)?,
        }
        Ok(())
    }

    fn place(&mut self, id: NodeId) -> io::Result<()> {
        let node = self.tree.node(id);
        let mut attributes: Vec<_> =
            node.xattrs.iter().filter(|(n, _)| !is_overlay_xattr(n)).cloned().collect();
        let (mut size, mut links, mut chunks, mut table) = (0, 1, None, 0);
        match &node.content {
            Content::Directory(directory) => {
                size = blocks_of(directory).total();
                let is_dir = |id: &&NodeId| matches!(self.tree.node(**id).content, Content::Directory(_));
                links = 2 + directory.children.values().filter(is_dir).count() as u32;
                if directory.opaque {
                    attributes.push((OPAQUE.0.to_vec(), OPAQUE.1.to_vec()));
                }
            }
            Content::Symlink(target) => size = target.len() as u64,
            Content::File(data) if data.size > 0 => {
                size = data.size;
                let plan = self.chunks(data)?;
                table = plan.table.len().max(1) * CHUNK;
                chunks = Some(plan);
            }
            _ => {}
        }
        let xattrs = format::xattrs(&attributes)?;
        if (xattrs.len().saturating_sub(12)) / 4 >= usize::from(u16::MAX) {
            return Err(io::ErrorKind::ArgumentListTooLong.into());
        }
        let head = INODE + xattrs.len();
        let tail = (size % BLOCK as u64) as usize;
        let stored = chunks.is_none() && size > 0;
        // What follows an inode must not cross a block.
        let inline = stored && tail > 0 && head + tail <= BLOCK;
        let mut offset = self.end.next_multiple_of(INODE_SLOT);
        let len = match (&chunks, inline) {
            (Some(_), _) => head.next_multiple_of(CHUNK) + table,
            (None, true) => head + tail,
            (None, false) => head,
        };
        if inline && offset % BLOCK as u64 + len as u64 > BLOCK as u64 {
            offset = offset.next_multiple_of(BLOCK as u64);
        }
        let layout = match &chunks {
            Some(chunks) => Layout::Chunks { bits: chunks.bits - u32::from(format::BLOCK_BITS) },
            None if inline => Layout::Inline,
            None => Layout::Plain,
        };
        let block = self.blocks;
        if stored {
            let whole = if inline { size / BLOCK as u64 } else { size.div_ceil(BLOCK as u64) };
            self.take_blocks(u32::try_from(whole).map_err(|_| io::ErrorKind::FileTooLarge)?)?;
        }
        self.end = offset + len as u64;
        let number = self.order.len() as u32 + 1;
        self.order.push(id);
        self.placed[id as usize] =
            Some(Placed { offset, layout, xattrs, size, block, links, number, chunks });
        Ok(())
    }

    /// How a file's bytes are cut into chunks.
    fn chunks(&mut self, data: &Data) -> io::Result<Chunks> {
        let Some(extents) = &data.sparse else {
            let bits = ceil_log2(data.size).max(u32::from(format::BLOCK_BITS));
            return match bits - u32::from(format::BLOCK_BITS) {
                0..=MAX_CHUNK_BITS => Ok(Chunks { bits, table: Vec::new() }),
                _ => Err(io::ErrorKind::FileTooLarge.into()),
            };
        };
        let bits = sparse_bits(data.size, extents);
        let aligned = bits >= u32::from(format::BLOCK_BITS);
        let bits = if aligned { bits } else { u32::from(format::BLOCK_BITS) };
        let count = data.size.div_ceil(1 << bits);
        self.chunks += count;
        if self.chunks > MOST_CHUNKS {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut table = vec![Place::Hole; count as usize];
        let mut stored = data.position;
        for extent in extents.iter().filter(|e| e.len > 0) {
            let (first, last) = (extent.offset >> bits, (extent.offset + extent.len - 1) >> bits);
            for chunk in first..=last {
                let place = &mut table[chunk as usize];
                if aligned {
                    *place = Place::Archive(stored + ((chunk << bits) - extent.offset));
                } else if matches!(place, Place::Hole) {
                    *place = Place::Own(self.blocks);
                    self.take_blocks(1)?;
                }
            }
            stored += extent.len;
        }
        Ok(Chunks { bits, table })
    }

    fn take_blocks(&mut self, more: u32) -> io::Result<()> {
        self.blocks = self.blocks.saturating_add(more);
        if self.blocks > MOST_BLOCKS { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
    }

    fn write(&self, archives: &[Archive<'_>]) -> io::Result<Vec<u8>> {
        let data_start = self.end.next_multiple_of(BLOCK as u64);
        let first_block =
            u32::try_from(data_start / BLOCK as u64).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let blocks = first_block.checked_add(self.blocks).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut image = Vec::with_capacity(blocks as usize * BLOCK);
        image.resize(format::SUPERBLOCK as usize, 0);
        let root = u16::try_from(self.nid(ROOT)).expect("the root comes first");
        image.extend(format::superblock(root, self.order.len() as u64, blocks, &self.devices));
        let mut data = vec![0; self.blocks as usize * BLOCK];
        for id in &self.order {
            self.write_node(*id, first_block, &mut image, &mut data, archives)?;
        }
        image.resize(data_start as usize, 0);
        image.extend(data);
        Ok(image)
    }

    fn write_node(
        &self,
        id: NodeId,
        first_block: u32,
        image: &mut Vec<u8>,
        data: &mut [u8],
        archives: &[Archive<'_>],
    ) -> io::Result<()> {
        let node = self.tree.node(id);
        let placed = self.placed(id);
        image.resize(placed.offset as usize, 0);
        let (kind, address) = match &node.content {
            Content::Directory(_) => (0o040_000, first_block + placed.block),
            Content::File(_) => (0o100_000, 0),
            Content::Symlink(_) => (0o120_000, first_block + placed.block),
            Content::CharDevice(d) => (0o020_000, format::device_number(d.major, d.minor)),
            Content::BlockDevice(d) => (0o060_000, format::device_number(d.major, d.minor)),
            Content::Fifo => (0o010_000, 0),
            Content::Whiteout => (0o020_000, 0),
        };
        let inode = Inode {
            layout: placed.layout,
            xattr_len: placed.xattrs.len(),
            mode: kind | (node.mode & 0o7777) as u16,
            size: placed.size,
            address,
            number: placed.number,
            uid: node.uid,
            gid: node.gid,
            mtime: node.mtime.secs,
            mtime_nanos: node.mtime.nanos,
            links: placed.links,
        };
        inode.encode(image);
        image.extend_from_slice(&placed.xattrs);
        match &node.content {
            Content::Directory(directory) => {
                let bytes = self.directory_bytes(id, directory);
                store(placed, &bytes, image, data);
            }
            Content::Symlink(target) => store(placed, target, image, data),
            Content::File(file) => {
                if let Some(chunks) = &placed.chunks {
                    image.resize(image.len().next_multiple_of(CHUNK), 0);
                    self.write_chunks(file, chunks, first_block, image);
                    copy_own(file, chunks, data, archives)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn write_chunks(&self, file: &Data, chunks: &Chunks, first_block: u32, image: &mut Vec<u8>) {
        let device = file.archive + 1;
        let block =
            |offset: u64| u32::try_from(offset / BLOCK as u64).expect("the archive's length was checked");
        let single = [Place::Archive(file.position)];
        let table = if chunks.table.is_empty() { &single[..] } else { &chunks.table };
        for place in table {
            let (device, address) = match *place {
                Place::Hole => (0, HOLE),
                Place::Archive(offset) => (device, block(offset)),
                Place::Own(number) => (0, first_block + number),
            };
            image.extend_from_slice(&[0; 2]);
            image.extend_from_slice(&device.to_le_bytes());
            image.extend_from_slice(&address.to_le_bytes());
        }
    }

    /// A directory's blocks: entries, then their names, sorted through all blocks.
    fn directory_bytes(&self, id: NodeId, directory: &Directory) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, block) in blocks_of(directory).0.iter().enumerate() {
            bytes.resize(index * BLOCK, 0);
            let mut name_at = block.len() * DIRENT;
            for name in block {
                let (target, kind) = match *name {
                    b"." => (id, 2),
                    b".." => (directory.parent, 2),
                    name => (directory.children[name], self.file_type(directory.children[name])),
                };
                bytes.extend_from_slice(&self.nid(target).to_le_bytes());
                bytes.extend_from_slice(&u16::try_from(name_at).expect("within a block").to_le_bytes());
                bytes.extend_from_slice(&[kind, 0]);
                name_at += name.len();
            }
            block.iter().for_each(|name| bytes.extend_from_slice(name));
        }
        bytes
    }

    fn file_type(&self, id: NodeId) -> u8 {
        match self.tree.node(id).content {
            Content::File(_) => 1,
            Content::Directory(_) => 2,
            Content::CharDevice(_) | Content::Whiteout => 3,
            Content::BlockDevice(_) => 4,
            Content::Fifo => 5,
            Content::Symlink(_) => 7,
        }
    }

    fn nid(&self, id: NodeId) -> u64 {
        self.placed(id).offset / INODE_SLOT
    }

    fn placed(&self, id: NodeId) -> &Placed {
        self.placed[id as usize].as_ref().expect("every node that is reached has its place")
    }
}

/// Puts contents into their blocks and, when inline, their last part behind the inode.
fn store(placed: &Placed, bytes: &[u8], image: &mut Vec<u8>, data: &mut [u8]) {
    let whole = match placed.layout {
        Layout::Inline => bytes.len() / BLOCK * BLOCK,
        _ => bytes.len(),
    };
    data[placed.block as usize * BLOCK..][..whole].copy_from_slice(&bytes[..whole]);
    image.extend_from_slice(&bytes[whole..]);
}

/// Copies the stretches that lie in the archive at no block's start.
fn copy_own(file: &Data, chunks: &Chunks, data: &mut [u8], archives: &[Archive<'_>]) -> io::Result<()> {
    let own = |chunk: u64| match chunks.table.get(chunk as usize) {
        Some(Place::Own(block)) => Some(*block as usize * BLOCK),
        _ => None,
    };
    let mut stored = file.position;
    for extent in file.sparse.iter().flatten() {
        let (mut at, end) = (extent.offset, extent.offset + extent.len);
        while at < end {
            let Some(block) = own(at / BLOCK as u64) else { break };
            let within = (at % BLOCK as u64) as usize;
            let len = (BLOCK - within).min((end - at) as usize);
            let archive = &archives[usize::from(file.archive)];
            archive.file.read_exact_at(&mut data[block + within..][..len], stored + (at - extent.offset))?;
            at += len as u64;
        }
        stored += extent.len;
    }
    Ok(())
}

/// Binary logarithm of the largest chunk in which every stretch starts and, but for the file's end, ends at a chunk's edge;
/// 0 when there is none.
fn sparse_bits(size: u64, extents: &[Extent]) -> u32 {
    let most = (ceil_log2(size.max(1))).min(MAX_CHUNK_BITS + u32::from(format::BLOCK_BITS));
    let mut stored = 0;
    extents.iter().filter(|e| e.len > 0).fold(most.max(u32::from(format::BLOCK_BITS)), |bits, extent| {
        let end = extent.offset + extent.len;
        let end = if end >= size { 0 } else { end };
        // Chunks also have to start at the archive's blocks.
        let misplaced = stored % BLOCK as u64;
        stored += extent.len;
        match misplaced {
            0 => bits.min(extent.offset.trailing_zeros()).min(end.trailing_zeros()),
            _ => 0,
        }
    })
}

fn ceil_log2(value: u64) -> u32 {
    u64::BITS - (value.max(1) - 1).leading_zeros()
}

/// The names of a directory, `.` and `..` among them, as they are cut into blocks.
struct Blocks<'a>(Vec<Vec<&'a [u8]>>);

impl Blocks<'_> {
    /// The directory's length: whole blocks and the used part of the last.
    fn total(&self) -> u64 {
        let last = self.0.last().map_or(0, |names| names.iter().map(|n| DIRENT + n.len()).sum());
        ((self.0.len() - 1) * BLOCK + last) as u64
    }
}

fn blocks_of(directory: &Directory) -> Blocks<'_> {
    let mut names: Vec<&[u8]> = directory.children.keys().map(Vec::as_slice).collect();
    for dots in [&b"."[..], b".."] {
        let at = names.partition_point(|name| *name < dots);
        names.insert(at, dots);
    }
    let mut blocks = vec![Vec::new()];
    let mut used = 0;
    for name in names {
        let len = DIRENT + name.len();
        if used + len > BLOCK {
            blocks.push(Vec::new());
            used = 0;
        }
        used += len;
        blocks.last_mut().expect("never empty").push(name);
    }
    Blocks(blocks)
}
