use std::{
    io::{BufReader, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use rustix::fs::{CWD, makedev, mkdirat, mknodat};

use super::*;
use crate::tar::Reader;

fn packed(path: &Path, name: &str) -> Vec<u8> {
    let object = open_place(CWD, path.as_os_str().as_encoded_bytes()).unwrap();
    let mut out = Vec::new();
    pack(object.as_fd(), name.as_bytes(), &mut out).unwrap();
    out
}

fn entries(archive: &[u8]) -> Vec<Entry> {
    let mut reader = Reader::new(BufReader::new(archive));
    std::iter::from_fn(|| reader.next_entry().unwrap()).collect()
}

fn names(archive: &[u8]) -> Vec<String> {
    entries(archive).into_iter().map(|e| String::from_utf8(e.path).unwrap()).collect()
}

#[test]
fn names_begin_as_asked_and_come_in_order() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(dir.path().join("b/c")).unwrap();
    fs_err::write(dir.path().join("b.x"), "x").unwrap();
    fs_err::write(dir.path().join("a"), "a").unwrap();
    assert_eq!(names(&packed(dir.path(), "top")), ["top/", "top/a", "top/b/", "top/b/c/", "top/b.x"]);
    assert_eq!(names(&packed(dir.path(), "/")), ["/", "/a", "/b/", "/b/c/", "/b.x"]);
    assert_eq!(names(&packed(dir.path(), ".")), ["./", "./a", "./b/", "./b/c/", "./b.x"]);
    assert_eq!(names(&packed(dir.path(), "")), ["a", "b/", "b/c/", "b.x"]);
    assert_eq!(names(&packed(&dir.path().join("a"), "other")), ["other"]);
}

#[test]
fn every_kind_is_described_and_only_files_are_opened() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs_err::write(at("file"), "contents").unwrap();
    fs_err::set_permissions(at("file"), std::fs::Permissions::from_mode(0o4751)).unwrap();
    fs_err::hard_link(at("file"), at("link")).unwrap();
    fs_err::os::unix::fs::symlink("/etc/passwd", at("symlink")).unwrap();
    // Nobody writes to it: to open it for reading would wait for ever.
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    mknodat(CWD, at("device"), FileType::CharacterDevice, Mode::RUSR, makedev(1, 5)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let archive = packed(dir.path(), "");
    let found = entries(&archive);
    let kinds: Vec<_> = found.iter().map(|e| (e.path.as_slice(), e.kind.clone())).collect();
    assert_eq!(
        kinds,
        [
            (&b"device"[..], EntryKind::CharDevice(Device { major: 1, minor: 5 })),
            (b"file", EntryKind::File),
            (b"link", EntryKind::HardLink(b"file".to_vec())),
            (b"pipe", EntryKind::Fifo),
            (b"symlink", EntryKind::Symlink(b"/etc/passwd".to_vec())),
        ]
    );
    assert_eq!((found[1].mode, found[1].size), (0o4751, 8));
}

#[test]
fn depth_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs_err::create_dir(&tree).unwrap();
    let mut here: OwnedFd = fs_err::File::open(&tree).unwrap().into_file().into();
    for _ in 0..3000 {
        mkdirat(&here, "dir", Mode::RWXU).unwrap();
        // Comes after the directory: its own has to be opened again by then.
        mknodat(&here, "last", FileType::RegularFile, Mode::RUSR, 0).unwrap();
        here = openat(&here, "dir", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let found = names(&packed(&tree, ""));
    assert_eq!(found.len(), 6000);
    assert_eq!(found.iter().filter(|n| n.ends_with("last")).count(), 3000);
    assert_eq!(found.last().unwrap(), "last");
    crate::remove_tree(&tree).unwrap();
}

/// A sink that changes the tree once a certain file is being written.
struct Swap<'a> {
    out: Vec<u8>,
    change: Box<dyn FnMut() + 'a>,
}

impl Write for Swap<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ArchiveSink for Swap<'_> {
    fn copy_live_file(&mut self, file: &mut File, len: u64) -> io::Result<()> {
        (self.change)();
        self.out.copy_live_file(file, len)
    }
}

#[test]
fn what_changes_meanwhile_leads_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
    fs_err::create_dir_all(tree.join("b")).unwrap();
    fs_err::create_dir(&outside).unwrap();
    fs_err::write(outside.join("secret"), "secret").unwrap();
    fs_err::write(tree.join("a"), "a").unwrap();
    fs_err::write(tree.join("b/secret"), "harmless").unwrap();
    fs_err::write(tree.join("c"), "a long text").unwrap();
    fs_err::write(tree.join("d"), "").unwrap();
    let change = || {
        // A directory becomes a link out of the tree, a file shrinks, another vanishes.
        if fs_err::rename(tree.join("b"), dir.path().join("moved")).is_ok() {
            fs_err::os::unix::fs::symlink(&outside, tree.join("b")).unwrap();
            fs_err::remove_file(tree.join("d")).unwrap();
        } else {
            fs_err::write(tree.join("c"), "a").unwrap();
        }
    };
    let mut out = Swap { out: Vec::new(), change: Box::new(change) };
    let object = open_place(CWD, tree.as_os_str().as_encoded_bytes()).unwrap();
    pack(object.as_fd(), b"", &mut out).unwrap();
    let archive = std::mem::take(&mut out.out);
    assert_eq!(names(&archive), ["a", "b", "c"]);
    let mut reader = Reader::new(BufReader::new(&archive[..]));
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut contents = Vec::new();
        reader.copy_contents(&mut contents).unwrap();
        match &entry.path[..] {
            b"b" => assert!(matches!(entry.kind, EntryKind::Symlink(_))),
            b"c" => assert_eq!(contents, b"a\0\0\0\0\0\0\0\0\0\0"),
            _ => assert_eq!(contents, b"a"),
        }
    }
    let mut all = String::new();
    (&archive[..]).take(1 << 20).read_to_string(&mut all).unwrap();
    assert!(!all.contains("harmless"));
}
