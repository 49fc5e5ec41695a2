//! Writing headers, byte for byte as Go's `archive/tar` does for Docker: ustar where everything fits, PAX otherwise, so that
//! equal trees give equal digests in both engines.

use std::collections::BTreeMap;

use super::{Device, Entry, EntryKind, Timestamp, header::BLOCK};

/// What ends an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Zero bytes that follow contents of this length.
pub fn padding(len: u64) -> usize {
    (len.next_multiple_of(BLOCK as u64) - len) as usize
}

/// Appends the header blocks of an entry. [`Entry::size`] bytes of contents and their [`padding`] have to follow: files are
/// written without regard to holes. Directories' names should end in a slash.
pub fn encode(entry: &Entry, out: &mut Vec<u8>) {
    let records = records(entry);
    if records.is_empty() {
        ustar(entry, out);
        return;
    }
    let mut body = Vec::new();
    for (key, value) in &records {
        record(key, value, &mut body);
    }
    let mut block = Block::new(b'x', &pax_name(&entry.path));
    block.octal(124, 12, body.len() as i64);
    for field in [(100, 8), (108, 8), (116, 8), (136, 12)] {
        block.octal(field.0, field.1, 0);
    }
    block.finish(out);
    out.extend_from_slice(&body);
    out.resize(out.len() + padding(body.len() as u64), 0);
    fields(entry, &entry.path).finish(out);
}

fn ustar(entry: &Entry, out: &mut Vec<u8>) {
    match split(&entry.path) {
        Some((prefix, name)) => {
            let mut block = fields(entry, name);
            block.text(345, 155, prefix);
            block.finish(out);
        }
        None => fields(entry, &entry.path).finish(out),
    }
}

/// The PAX records the entry needs; none if plain ustar holds everything.
fn records(entry: &Entry) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    // A long name that the prefix can take needs no record, unless other records make it a PAX entry anyway.
    let mut optional = BTreeMap::new();
    if !entry.path.is_ascii() || entry.path.len() > 100 {
        let map = if split(&entry.path).is_some() { &mut optional } else { &mut records };
        map.insert(b"path".to_vec(), entry.path.clone());
    }
    let link = link(entry);
    if !link.is_ascii() || link.len() > 100 {
        records.insert(b"linkpath".to_vec(), link.to_vec());
    }
    for (key, value, width) in [("uid", entry.uid, 8), ("gid", entry.gid, 8)] {
        if !fits(i64::from(value), width) {
            records.insert(key.into(), value.to_string().into_bytes());
        }
    }
    if !fits(entry.size as i64, 12) {
        records.insert(b"size".to_vec(), entry.size.to_string().into_bytes());
    }
    if entry.mtime.nanos != 0 || !fits(entry.mtime.secs, 12) {
        records.insert(b"mtime".to_vec(), pax_time(entry.mtime).into_bytes());
    }
    for (name, value) in &entry.xattrs {
        records.insert([b"SCHILY.xattr.", &name[..]].concat(), value.clone());
    }
    if !records.is_empty() {
        records.append(&mut optional);
    }
    records
}

fn link(entry: &Entry) -> &[u8] {
    match &entry.kind {
        EntryKind::Symlink(target) | EntryKind::HardLink(target) => target,
        _ => b"",
    }
}

/// The header block itself, with the given name.
fn fields(entry: &Entry, name: &[u8]) -> Block {
    let (kind, device) = match &entry.kind {
        EntryKind::File => (b'0', Device::default()),
        EntryKind::HardLink(_) => (b'1', Device::default()),
        EntryKind::Symlink(_) => (b'2', Device::default()),
        EntryKind::CharDevice(d) => (b'3', *d),
        EntryKind::BlockDevice(d) => (b'4', *d),
        EntryKind::Directory => (b'5', Device::default()),
        EntryKind::Fifo => (b'6', Device::default()),
    };
    let mut block = Block::new(kind, name);
    block.text(157, 100, link(entry));
    block.octal(100, 8, i64::from(entry.mode));
    block.octal(108, 8, i64::from(entry.uid));
    block.octal(116, 8, i64::from(entry.gid));
    block.octal(124, 12, if entry.kind == EntryKind::File { entry.size as i64 } else { 0 });
    block.octal(136, 12, entry.mtime.secs);
    block.octal(329, 8, i64::from(device.major));
    block.octal(337, 8, i64::from(device.minor));
    block
}

/// A header block while it is filled.
struct Block([u8; BLOCK]);

impl Block {
    fn new(kind: u8, name: &[u8]) -> Self {
        let mut block = Self([0; BLOCK]);
        block.0[156] = kind;
        block.0[257..265].copy_from_slice(b"ustar\x0000");
        block.text(0, 100, name);
        block
    }

    /// As much of the text as is ASCII and fits.
    fn text(&mut self, at: usize, len: usize, text: &[u8]) {
        let ascii: Vec<u8> = text.iter().copied().filter(|b| b.is_ascii() && *b != 0).collect();
        let mut fitting = &ascii[..ascii.len().min(len)];
        // A name cut just behind a slash would look like a directory's.
        while ascii.len() > len && fitting.ends_with(b"/") {
            fitting = &fitting[..fitting.len() - 1];
        }
        self.0[at..at + fitting.len()].copy_from_slice(fitting);
    }

    /// Zero if it does not fit: a PAX record has the value.
    fn octal(&mut self, at: usize, len: usize, value: i64) {
        let value = if fits(value, len) { value } else { 0 };
        let digits = format!("{value:0width$o}", width = len - 1);
        self.0[at..at + len - 1].copy_from_slice(digits.as_bytes());
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|b| u32::from(*b)).sum();
        self.0[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend_from_slice(&self.0);
    }
}

/// Whether a field of `width` bytes takes the number in octal digits and a NUL.
fn fits(value: i64, width: usize) -> bool {
    value >= 0 && value < 1 << (3 * (width - 1))
}

/// The prefix and name of a path too long for the name alone; `None` if it is short or cannot be divided.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 || !path.is_ascii() {
        return None;
    }
    let end = if path.len() > 156 { 156 } else { path.len() - usize::from(path.ends_with(b"/")) };
    let slash = path[..end].iter().rposition(|b| *b == b'/').filter(|i| *i > 0)?;
    let name = &path[slash + 1..];
    (!name.is_empty() && name.len() <= 100).then_some((&path[..slash], name))
}

/// `dir/PaxHeaders.0/file`.
fn pax_name(path: &[u8]) -> Vec<u8> {
    let slash = path.iter().rposition(|b| *b == b'/').map_or(0, |i| i + 1);
    let (dir, file) = path.split_at(slash);
    let mut name = [dir, b"PaxHeaders.0/", file].concat();
    name.retain(u8::is_ascii);
    name.truncate(100);
    while name.ends_with(b"/") {
        name.pop();
    }
    name
}

fn pax_time(time: Timestamp) -> String {
    let text = match (time.secs, time.nanos) {
        (secs, 0) => return secs.to_string(),
        (secs @ ..0, nanos) => format!("-{}.{:09}", -(secs + 1), 1_000_000_000 - nanos),
        (secs, nanos) => format!("{secs}.{nanos:09}"),
    };
    text.trim_end_matches('0').to_owned()
}

/// `length key=value\n`, where the length counts its own digits.
fn record(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + rest.to_string().len();
    len = rest + len.to_string().len();
    out.extend_from_slice(format!("{len} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}
