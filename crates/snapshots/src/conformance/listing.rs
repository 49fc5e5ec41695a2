//! A tree as text, to compare trees by.

use std::{
    collections::BTreeMap,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use skiff_archive::attributes::xattrs;
use skiff_types::Digest;

/// Every path of a tree with everything about it: type, mode, owner, size, time, contents, attributes, and which other path is
/// the same file.
pub type Listing = BTreeMap<String, String>;

/// The listing of a directory; its own root is `.`.
pub fn listing(root: &Path) -> Listing {
    let mut listing = Listing::new();
    let mut inodes = BTreeMap::new();
    walk(&root.join("."), ".", &mut listing, &mut inodes);
    listing
}

fn walk(path: &Path, name: &str, listing: &mut Listing, inodes: &mut BTreeMap<(u64, u64), String>) {
    let metadata = fs_err::symlink_metadata(path).expect("the tree can be read");
    let kind = metadata.file_type();
    let what = if kind.is_dir() {
        "dir".to_owned()
    } else if kind.is_symlink() {
        format!("link to {}", fs_err::read_link(path).expect("a link").display())
    } else if kind.is_file() {
        let contents = fs_err::read(path).expect("a file");
        format!("file {} {:x?}", metadata.len(), &Digest::of(contents).sha256()[..6])
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else {
        format!("device {:x} block {}", metadata.rdev(), kind.is_block_device())
    };
    let attributes: Vec<_> = xattrs(path)
        .expect("attributes")
        .into_iter()
        .map(|(n, v)| format!("{}={}", n.escape_ascii(), v.escape_ascii()))
        .collect();
    let same = match kind.is_dir() {
        true => name.to_owned(),
        false => inodes.entry((metadata.dev(), metadata.ino())).or_insert_with(|| name.to_owned()).clone(),
    };
    let facts = format!(
        "{what} {:o} {}:{} {}.{:09} {attributes:?} ={same}",
        metadata.mode() & 0o7777,
        metadata.uid(),
        metadata.gid(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    );
    listing.insert(name.to_owned(), facts);
    if kind.is_dir() {
        let entries = fs_err::read_dir(path).expect("a directory");
        let mut names: Vec<_> = entries.map(|e| e.expect("an entry").file_name()).collect();
        names.sort();
        for child in names {
            let child_name = format!("{name}/{}", child.display());
            walk(&path.join(&child), &child_name, listing, inodes);
        }
    }
}
