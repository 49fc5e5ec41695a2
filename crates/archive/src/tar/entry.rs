//! One member of an archive, whatever dialect described it.

/// A member of an archive, with all extension headers already folded in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The name as the archive has it: it may be absolute, contain `..` or be empty.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Timestamp,
    /// Extended attributes in the archive's order, with full names (`security.capability`).
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The length of a regular file as programs see it, holes included; 0 for what is no regular file.
    pub size: u64,
    /// The stretches of a sparse file that the archive stores, ascending and disjoint; the rest is zeros.
    pub sparse: Option<Vec<Extent>>,
    /// Where the entry lies in the uncompressed stream.
    pub position: Position,
}

/// The type of a member, and what goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    #[default]
    File,
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
    /// Another name of the member with this path, in this archive or in a layer below.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// A device's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

/// A time since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds, rounded down.
    pub secs: i64,
    /// Nanoseconds after `secs`, less than 10⁹.
    pub nanos: u32,
}

/// A stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it starts in the file.
    pub offset: u64,
    /// Its length.
    pub len: u64,
}

/// Where an entry lies in the uncompressed stream. All headers start at multiples of 512, and so does `data`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The first block of the entry, its extension headers included.
    pub header: u64,
    /// The first byte of the contents; the stored stretches of a sparse file follow each other from here.
    pub data: u64,
    /// How many bytes of contents are stored: the size, or the sum of the stretches of a sparse file.
    pub stored: u64,
}
