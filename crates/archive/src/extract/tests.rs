use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use super::*;
use crate::tar::{END, encode, padding};

#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn entry(mut self, path: &str, kind: EntryKind, contents: &str) -> Self {
        let entry = Entry {
            path: path.into(),
            kind,
            mode: 0o640,
            mtime: Timestamp { secs: 1_700_000_000, nanos: 0 },
            size: contents.len() as u64,
            ..Entry::default()
        };
        encode(&entry, &mut self.0);
        self.0.extend_from_slice(contents.as_bytes());
        self.0.resize(self.0.len() + padding(entry.size), 0);
        self
    }

    fn file(self, path: &str, contents: &str) -> Self {
        self.entry(path, EntryKind::File, contents)
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryKind::Symlink(target.into()), "")
    }

    fn directory(self, path: &str) -> Self {
        self.entry(path, EntryKind::Directory, "")
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryKind::HardLink(target.into()), "")
    }

    fn into_dir(mut self, dir: &Path, options: &Extract) -> Result<(), ExtractError> {
        self.0.extend_from_slice(&END);
        let open = fs_err::File::open(dir).unwrap();
        extract(open.file().as_fd(), &self.0[..], options)
    }
}

fn plain() -> Extract {
    Extract { shown: "/d".into(), ..Extract::default() }
}

/// A directory to unpack into, in one with a secret.
fn places() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("into");
    fs_err::create_dir_all(into.join("sub")).unwrap();
    fs_err::create_dir(dir.path().join("outside")).unwrap();
    fs_err::write(dir.path().join("outside/secret"), "secret").unwrap();
    fs_err::write(into.join("f"), "before").unwrap();
    fs_err::write(into.join("sub/kept"), "kept").unwrap();
    (dir, into)
}

fn text(path: impl AsRef<Path>) -> String {
    fs_err::read_to_string(path.as_ref()).unwrap()
}

#[test]
fn what_is_there_is_replaced_or_stays() {
    let (_dir, into) = places();
    let archive = Archive::default()
        .directory("./")
        .file("f", "after")
        .directory("sub")
        .file("new/deep/x", "x")
        .hard_link("link", "new/deep/x")
        .symlink("s", "f");
    archive.into_dir(&into, &plain()).unwrap();
    assert_eq!((text(into.join("f")), text(into.join("sub/kept"))), ("after".into(), "kept".into()));
    assert_eq!((text(into.join("link")), text(into.join("s"))), ("x".into(), "after".into()));
    let metadata = |name: &str| fs_err::metadata(into.join(name)).unwrap();
    assert_eq!(metadata("f").mode() & 0o7777, 0o640);
    assert_eq!(metadata("f").mtime(), 1_700_000_000);
    assert_eq!((metadata("sub").mode() & 0o7777, metadata("sub").mtime()), (0o640, 1_700_000_000));
    // Nobody described it.
    assert_eq!(metadata("new").mode() & 0o7777, 0o755);
    assert_ne!(metadata("").mtime(), 1_700_000_000);
    Archive::default().file("sub", "now a file").directory("f").into_dir(&into, &plain()).unwrap();
    assert_eq!(text(into.join("sub")), "now a file");
    assert!(metadata("f").is_dir());
}

#[test]
fn kinds_are_kept_if_asked() {
    let (_dir, into) = places();
    let options = Extract { keep_kinds: true, ..plain() };
    let error = Archive::default().file("sub", "x").into_dir(&into, &options).unwrap_err();
    assert_eq!(error.to_string(), r#"cannot overwrite directory "sub" with non-directory "/d""#);
    let error = Archive::default().directory("f").into_dir(&into, &options).unwrap_err();
    assert_eq!(error.to_string(), r#"cannot overwrite non-directory "f" with directory "/d""#);
    Archive::default().file("f", "x").directory("sub").into_dir(&into, &options).unwrap();
    assert_eq!(text(into.join("f")), "x");
}

#[test]
fn owners_are_the_archives_or_those_asked_for() {
    let (_dir, into) = places();
    let options = Extract { owner: Some((12, 34)), ..plain() };
    Archive::default().file("owned", "").symlink("s", "f").into_dir(&into, &options).unwrap();
    for name in ["owned", "s"] {
        let metadata = fs_err::symlink_metadata(into.join(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (12, 34));
    }
}

#[test]
fn names_may_begin_otherwise() {
    let (_dir, into) = places();
    let archive =
        || Archive::default().directory("old").file("old/old", "x").hard_link("old/link", "old/old");
    let renamed = |old: &str, new: &str| Extract { renamed: Some((old.into(), new.into())), ..plain() };
    archive().into_dir(&into, &renamed("old", "new")).unwrap();
    assert_eq!((text(into.join("new/old")), text(into.join("new/link"))), ("x".into(), "x".into()));
    Archive::default().directory("/").file("/x", "x").into_dir(&into, &renamed("", "root")).unwrap();
    assert_eq!(text(into.join("root/x")), "x");
    assert!(!into.join("old").exists());
}

#[test]
fn nothing_gets_out() {
    let (dir, into) = places();
    let outside = dir.path().join("outside");
    let absolute = outside.to_str().unwrap();
    fs_err::os::unix::fs::symlink("../outside", into.join("out")).unwrap();
    for (archive, message) in [
        (Archive::default().file("../outside/x", "x"), r#"invalid entry name "../outside/x""#),
        (Archive::default().file("sub/../../outside/x", "x"), r#"invalid entry name "sub/../../outside/x""#),
        (
            Archive::default().hard_link("h", "../outside/secret"),
            r#"invalid hardlink target "../outside/secret""#,
        ),
        (Archive::default().file("out/x", "x"), "statat out/x: path escapes from parent"),
        (
            Archive::default().symlink("l", "sub/../..").file("l/outside/x", "x"),
            "statat l/outside/x: path escapes from parent",
        ),
        (Archive::default().hard_link("h", "out/secret"), "statat h: path escapes from parent"),
        (Archive::default().hard_link("h", absolute), "linkat h: No such file or directory (os error 2)"),
        (Archive::default().file("f/x", "x"), "openat f/x: Not a directory (os error 20)"),
    ] {
        assert_eq!(archive.into_dir(&into, &plain()).unwrap_err().to_string(), message);
    }
    // An absolute link leads below the directory, as in a root.
    Archive::default().symlink("abs", absolute).file("abs/x", "x").into_dir(&into, &plain()).unwrap();
    assert_eq!(text(into.join(&absolute[1..]).join("x")), "x");
    // A link is replaced, not written through; and so is one in the way of a directory.
    Archive::default()
        .symlink("l2", "../outside/secret")
        .file("l2", "mine")
        .symlink("l3", "../outside")
        .directory("l3")
        .file("l3/x", "x")
        .into_dir(&into, &plain())
        .unwrap();
    assert_eq!(text(into.join("l2")), "mine");
    assert!(fs_err::symlink_metadata(into.join("l3")).unwrap().is_dir());
    // Nor are times or modes set through a link that took a directory's place.
    let mode = fs_err::metadata(&outside).unwrap().permissions().mode();
    Archive::default().directory("l4").symlink("l4", "../outside").into_dir(&into, &plain()).unwrap();
    let metadata = fs_err::metadata(&outside).unwrap();
    assert_eq!(metadata.permissions().mode(), mode);
    assert_ne!(metadata.mtime(), 1_700_000_000);
    assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(text(outside.join("secret")), "secret");
}

#[test]
fn directories_that_are_swapped_for_links_meanwhile_lead_nowhere_else() {
    let (dir, into) = places();
    let outside = dir.path().join("outside");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = std::os::unix::fs::symlink("../outside", into.join("swap"));
                let _ = fs_err::remove_file(into.join("swap"));
                let _ = fs_err::create_dir(into.join("swap"));
                let _ = fs_err::rename(into.join("swap"), into.join(".old"));
                let _ = crate::remove_tree(&into.join(".old"));
            }
        });
        let mut made = 0;
        for _ in 0..3000 {
            let archive = Archive::default().file("swap/x", "x").file("swap/y/z", "z");
            made += usize::from(archive.into_dir(&into, &plain()).is_ok());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(made > 0);
    });
    assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn a_link_to_nothing_is_missing_and_a_full_archive_is_needed() {
    let (_dir, into) = places();
    assert!(Archive::default().hard_link("h", "nope").into_dir(&into, &plain()).unwrap_err().is_missing());
    let open = fs_err::File::open(&into).unwrap();
    let archive = Archive::default().file("cut", "some contents").0;
    let error = extract(open.file().as_fd(), &archive[..515], &plain()).unwrap_err();
    assert_eq!(error.to_string(), "unexpected EOF");
}
