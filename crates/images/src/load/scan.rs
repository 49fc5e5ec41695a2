//! The one pass over an archive: small files are kept, layers are staged.

use std::{
    cell::OnceCell,
    collections::HashMap,
    io::{self, BufReader, Read},
    ops::Deref,
};

use skiff_snapshots::{
    ChainId, StagedLayer,
    tar::{EntryKind, Reader},
};
use skiff_types::{Digest, Hasher};

use super::{LoadEvent, Progress, find_diff_id};
use crate::{
    Error, ImageStore, Result,
    decompress::{Compression, decompressed, peek},
    hold::Hold,
};

/// The longest description that is kept, in bytes: that of a manifest in a registry (OCI distribution-spec).
const MAX_FILE: u64 = 4 << 20;

/// The most that is kept of names and descriptions altogether, in bytes.
const MAX_KEPT: u64 = 64 << 20;

/// What an entry costs beside its name and contents, in bytes.
const ENTRY: u64 = 256;

/// What an archive holds.
pub(super) struct Scan<'s> {
    /// Descriptions by path.
    pub(super) files: HashMap<Vec<u8>, Description>,
    /// Layers by path.
    pub(super) layers: HashMap<Vec<u8>, ScannedLayer>,
    /// Links by path: `docker save` once wrote the same layer as a link.
    pub(super) links: HashMap<Vec<u8>, Vec<u8>>,
    pub(super) hold: Hold<&'s ImageStore>,
}

/// A file that may describe something.
pub(super) struct Description {
    bytes: Vec<u8>,
    digest: OnceCell<Digest>,
}

impl Description {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, digest: OnceCell::new() }
    }

    /// The digest of its bytes. Others may name it as often as they like: they are hashed once.
    pub(super) fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| Digest::of(&self.bytes))
    }
}

impl Deref for Description {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A layer of the archive.
pub(super) enum ScannedLayer {
    /// It has been read.
    Staged {
        /// The layer.
        staged: StagedLayer,
        /// The digest of the file in the archive, compressed as it was.
        digest: Digest,
        /// That file's length in bytes.
        len: u64,
    },
    /// The store has it already, above some parent or other: it was not read.
    Present(ChainId),
}

/// Reads the archive.
pub(super) fn scan<'s>(
    store: &'s ImageStore,
    archive: &mut (dyn Read + Send),
    progress: Progress<'_>,
) -> Result<Scan<'s>> {
    let mut reader = Reader::new(BufReader::with_capacity(256 << 10, archive));
    let mut scan =
        Scan { files: HashMap::new(), layers: HashMap::new(), links: HashMap::new(), hold: Hold::new(store) };
    let mut kept = 0;
    while let Some(entry) = reader.next_entry().map_err(snapshot)? {
        check(&entry.path)?;
        let path = clean(&entry.path);
        let link = match &entry.kind {
            EntryKind::Symlink(target) | EntryKind::HardLink(target) => target.len() as u64,
            _ => 0,
        };
        keep(&mut kept, ENTRY + path.len() as u64 * 2 + link)?;
        match entry.kind {
            EntryKind::File if entry.size > 0 && entry.sparse.is_none() => {}
            EntryKind::File => {
                scan.files.insert(path, Description::new(Vec::new()));
                continue;
            }
            EntryKind::Symlink(target) => {
                let parent = path.iter().rposition(|b| *b == b'/').map_or(&b""[..], |i| &path[..i]);
                let target = clean(&[parent, b"/", &target].concat());
                scan.links.insert(path, target);
                continue;
            }
            EntryKind::HardLink(target) => {
                scan.links.insert(path, clean(&target));
                continue;
            }
            _ => continue,
        }
        if let Some(chain) = blob_digest(&path).and_then(|d| find_diff_id(store, &d)) {
            scan.hold.pin(chain);
            // Pinned or gone: if it went just now, the archive's has to be read.
            if store.snapshots.layer(&chain).is_ok() {
                scan.layers.insert(path, ScannedLayer::Present(chain));
                continue;
            }
        }
        let size = entry.size;
        let (head, contents) = peek(EntryReader { reader: &mut reader })?;
        if is_layer(&head) {
            let layer = stage(store, &path, size, &head, contents, progress)?;
            scan.layers.insert(path, layer);
        } else if size <= MAX_FILE {
            keep(&mut kept, size)?;
            let mut contents = contents;
            let mut bytes = Vec::with_capacity(size as usize);
            contents.read_to_end(&mut bytes)?;
            scan.files.insert(path, Description::new(bytes));
        }
    }
    Ok(scan)
}

/// Counts what is kept in memory.
fn keep(kept: &mut u64, more: u64) -> Result<()> {
    *kept += more;
    match *kept > MAX_KEPT {
        true => Err(Error::Archive("too many files in the archive".to_owned())),
        false => Ok(()),
    }
}

/// Stages a layer, compressed or not.
fn stage(
    store: &ImageStore,
    path: &[u8],
    total: u64,
    head: &[u8],
    contents: impl Read + Send,
    progress: Progress<'_>,
) -> Result<ScannedLayer> {
    let compression = Compression::detect(head);
    let id = short_name(path);
    let mut counted = Counted {
        inner: contents,
        // The diff id is the digest of what is not compressed.
        hash: (compression != Compression::None).then(Hasher::default),
        len: 0,
        told: 0,
        tell: &mut |current| progress(LoadEvent::Layer { id: id.clone(), current, total }),
    };
    let staged = decompressed(&mut counted, compression, |plain| store.stage(plain))??;
    // What stands behind the compressed stream belongs to the file as well.
    io::copy(&mut counted, &mut io::sink())?;
    (counted.tell)(counted.len);
    let digest = match counted.hash {
        Some(hash) => hash.finish(),
        None => *staged.diff_id(),
    };
    Ok(ScannedLayer::Staged { staged, digest, len: counted.len })
}

/// Compressed, a tar, or a tar without entries; nothing that describes an image begins like that.
fn is_layer(head: &[u8]) -> bool {
    Compression::detect(head) != Compression::None
        || head.get(257..262) == Some(b"ustar")
        || head.len() == crate::decompress::HEAD && head.iter().all(|b| *b == 0)
}

/// Refuses a name that leads out of the archive.
fn check(path: &[u8]) -> Result<()> {
    let mut depth = 0;
    for part in path.split(|b| *b == b'/') {
        depth += match part {
            b"" | b"." => 0,
            b".." => -1,
            _ => 1,
        };
        if depth < 0 && !path.starts_with(b"/") {
            return Err(Error::Archive(format!("invalid entry name {:?}", String::from_utf8_lossy(path))));
        }
    }
    Ok(())
}

/// A name below the archive's root.
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// The digest that a blob's path promises.
pub(super) fn blob_digest(path: &[u8]) -> Option<Digest> {
    let hex = std::str::from_utf8(path.strip_prefix(b"blobs/sha256/")?).ok()?;
    format!("sha256:{hex}").parse().ok()
}

/// What a layer is called while it is read: the beginning of its digest, or of the legacy layout's directory.
fn short_name(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path.strip_prefix(b"blobs/sha256/").unwrap_or(path));
    text.chars().take(12).collect()
}

fn snapshot(e: skiff_snapshots::tar::Error) -> Error {
    Error::Snapshot(e.into())
}

/// The contents of the current entry.
struct EntryReader<'a, R> {
    reader: &'a mut Reader<R>,
}

impl<R: io::BufRead> Read for EntryReader<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        use skiff_snapshots::tar::Error as TarError;
        let mut bytes = self.reader.fill().map_err(|e| match e {
            TarError::Io(e) => e,
            e => io::Error::new(io::ErrorKind::UnexpectedEof, e),
        })?;
        let n = bytes.read(buf)?;
        self.reader.consume(n);
        Ok(n)
    }
}

/// Counts, and where needed hashes, what passes by.
struct Counted<'a, R> {
    inner: R,
    hash: Option<Hasher>,
    len: u64,
    told: u64,
    tell: &'a mut (dyn FnMut(u64) + Send),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buf[..n]);
        }
        self.len += n as u64;
        if self.len - self.told >= 1 << 20 {
            self.told = self.len;
            (self.tell)(self.len);
        }
        Ok(n)
    }
}

impl Scan<'_> {
    /// The diff id of the layer at a path.
    pub(super) fn diff_id(&self, path: &[u8]) -> Option<Digest> {
        match self.layers.get(path)? {
            ScannedLayer::Staged { staged, .. } => Some(*staged.diff_id()),
            // Only a path that is a diff id lets a layer be taken for one of the store's.
            ScannedLayer::Present(_) => blob_digest(path),
        }
    }
}
