//! EROFS on disk, as far as an index uses it (Linux Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h).
//! All numbers are little-endian.

use std::io;

/// Where the superblock starts.
pub(super) const SUPERBLOCK: u64 = 1024;
/// Length of the superblock without extensions.
pub(super) const SUPERBLOCK_LEN: usize = 128;
/// Length of a slot of the device table; the table's place is counted in slots.
pub(super) const DEVICE_SLOT: usize = 128;
/// Block size: that of tar, so that the contents in an archive start at blocks.
pub(super) const BLOCK: usize = 512;
/// Binary logarithm of [`BLOCK`].
pub(super) const BLOCK_BITS: u8 = 9;
/// Inodes start at multiples of this; an inode's number is its offset in these units.
pub(super) const INODE_SLOT: u64 = 32;
/// Length of an extended inode.
pub(super) const INODE: usize = 64;
/// Length of a directory entry without its name.
pub(super) const DIRENT: usize = 12;
/// Length of a chunk's entry.
pub(super) const CHUNK: usize = 8;
/// The block address of a hole.
pub(super) const HOLE: u32 = u32::MAX;
/// The largest exponent of a chunk's size in blocks.
pub(super) const MAX_CHUNK_BITS: u32 = 31;

const MAGIC: u32 = 0xE0F5_E1E2;
const COMPAT_MTIME: u32 = 0x2;
const INCOMPAT_CHUNKED_FILE: u32 = 0x4;
const INCOMPAT_DEVICE_TABLE: u32 = 0x8;
/// Chunks have entries of eight bytes, with a device.
const CHUNK_INDEXES: u32 = 0x20;

/// How an inode's contents are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// In blocks that follow each other.
    Plain,
    /// As plain, but the last part follows the inode.
    Inline,
    /// In chunks, each with its own place.
    Chunks {
        /// A chunk has `2^bits` blocks.
        bits: u32,
    },
}

/// An extended inode.
pub(super) struct Inode {
    pub(super) layout: Layout,
    /// Bytes of extended attributes behind the inode.
    pub(super) xattr_len: usize,
    pub(super) mode: u16,
    pub(super) size: u64,
    /// First block of the contents, or the device number.
    pub(super) address: u32,
    pub(super) number: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    pub(super) mtime_nanos: u32,
    pub(super) links: u32,
}

impl Inode {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (layout, address) = match self.layout {
            Layout::Plain => (0u16, self.address),
            Layout::Inline => (2, self.address),
            Layout::Chunks { bits } => (4, bits | CHUNK_INDEXES),
        };
        // The header of the attributes counts for one unit, the rest is counted in fours.
        let xattr_count = if self.xattr_len == 0 { 0 } else { (self.xattr_len - 12) / 4 + 1 };
        out.extend_from_slice(&(1 | layout << 1).to_le_bytes());
        out.extend_from_slice(&u16::try_from(xattr_count).expect("checked by the caller").to_le_bytes());
        out.extend_from_slice(&self.mode.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&address.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.uid.to_le_bytes());
        out.extend_from_slice(&self.gid.to_le_bytes());
        out.extend_from_slice(&self.mtime.to_le_bytes());
        out.extend_from_slice(&self.mtime_nanos.to_le_bytes());
        out.extend_from_slice(&self.links.to_le_bytes());
        out.extend_from_slice(&[0; 16]);
    }
}

/// The extended attributes behind an inode; empty for none. A value that is too long is an error, as when it is set. Names whose prefix EROFS does not know are left out: they
/// could not be read back.
pub(super) fn xattrs(attributes: &[(Vec<u8>, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for (name, value) in attributes {
        let Some((prefix, rest)) = xattr_prefix(name) else { continue };
        let (Ok(name_len), Ok(value_len)) = (u8::try_from(rest.len()), u16::try_from(value.len())) else {
            return Err(io::ErrorKind::ArgumentListTooLong.into());
        };
        if out.is_empty() {
            out.resize(12, 0);
        }
        out.extend_from_slice(&[name_len, prefix]);
        out.extend_from_slice(&value_len.to_le_bytes());
        out.extend_from_slice(rest);
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    Ok(out)
}

fn xattr_prefix(name: &[u8]) -> Option<(u8, &[u8])> {
    let prefixes: [(&[u8], u8); 3] = [(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];
    match name {
        b"system.posix_acl_access" => Some((2, b"")),
        b"system.posix_acl_default" => Some((3, b"")),
        _ => prefixes.into_iter().find_map(|(prefix, index)| Some((index, name.strip_prefix(prefix)?))),
    }
}

/// A device number as an inode holds it (the kernel's `new_encode_dev`).
pub(super) fn device_number(major: u32, minor: u32) -> u32 {
    let (major, minor) = (major & 0xfff, minor & 0xf_ffff);
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The superblock and the device table behind it. It carries no checksum: erofs-utils 1.8 cannot check one with blocks
/// shorter than 1024 bytes.
pub(super) fn superblock(root: u16, inodes: u64, blocks: u32, devices: &[u32]) -> Vec<u8> {
    let mut out = vec![0; SUPERBLOCK_LEN + devices.len() * DEVICE_SLOT];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC.to_le_bytes());
    put(8, &COMPAT_MTIME.to_le_bytes());
    put(12, &[BLOCK_BITS]);
    put(14, &root.to_le_bytes());
    put(16, &inodes.to_le_bytes());
    put(36, &blocks.to_le_bytes());
    put(80, &(INCOMPAT_CHUNKED_FILE | INCOMPAT_DEVICE_TABLE).to_le_bytes());
    put(86, &u16::try_from(devices.len()).expect("fewer layers than 2¹⁶").to_le_bytes());
    let table = (SUPERBLOCK as usize + SUPERBLOCK_LEN) / DEVICE_SLOT;
    put(88, &u16::try_from(table).expect("a small constant").to_le_bytes());
    for (index, blocks) in devices.iter().enumerate() {
        put(SUPERBLOCK_LEN + index * DEVICE_SLOT + 64, &blocks.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_unknown_prefixes_left_out() {
        assert!(xattrs(&[(b"odd.name".to_vec(), b"x".to_vec())]).unwrap().is_empty());
        let bytes = xattrs(&[(b"user.a".to_vec(), b"xyz".to_vec())]).unwrap();
        assert!(xattrs(&[(b"user.a".to_vec(), vec![0; 1 << 16])]).is_err());
        assert_eq!(bytes[12..], [1, 1, 3, 0, b'a', b'x', b'y', b'z']);
    }

    #[test]
    fn device_numbers_follow_the_kernel() {
        assert_eq!(device_number(0, 0), 0);
        assert_eq!(device_number(8, 1), 0x801);
        assert_eq!(device_number(0x123, 0x45678), 0x4561_2378);
        assert_eq!(device_number(0x1000, 0x10_0000), 0);
    }
}
