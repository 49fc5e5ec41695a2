//! A full disk, and being killed at any moment.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use skiff_images::{ImageStore, ImportOptions};
use skiff_types::ErrorKind;

use crate::archives::{Dir, docker_archive, image, layer, load};

/// Set for the child process that is killed: where its store is.
const CHILD: &str = "SKIFF_TEST_IMAGES_CHILD";

/// Not a test by itself: what the killed process does. It loads, tags and removes without end and says what has been
/// acknowledged.
#[test]
fn child_that_is_killed() {
    let Some(root) = std::env::var_os(CHILD) else { return };
    let root = std::path::PathBuf::from(root);
    let snapshots = skiff_snapshots::open(&root.join("snapshots"), None).unwrap();
    let store = ImageStore::open(&root.join("images"), Arc::clone(&snapshots)).unwrap();
    for i in 0.. {
        let name: &'static str = format!("img:{i}").leak();
        load(&store, &docker_archive(&[image(&[layer("same"), layer(name)], &[name])])).unwrap();
        say(&format!("has {name}"));
        if i >= 3 {
            let old = format!("img:{}", i - 3);
            store.remove(&old, skiff_images::RemoveOptions::default(), &|_| Vec::new()).unwrap();
            say(&format!("lacks {old}"));
        }
    }
}

/// In one piece: who is killed meanwhile has said it or not.
fn say(line: &str) {
    std::io::stderr().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    for round in 0..8u64 {
        let root = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "faults::child_that_is_killed", "--nocapture"])
            .env(CHILD, root.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(60 + round * 37));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let snapshots = skiff_snapshots::open(&root.path().join("snapshots"), None).unwrap();
        let store = ImageStore::open(&root.path().join("images"), snapshots).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        for line in &lines {
            let Some(name) = line.strip_prefix("has ") else { continue };
            let lacks = format!("lacks {name}");
            // The removal that was under way may have happened or not.
            let newest: u32 = lines.iter().filter(|l| l.starts_with("has ")).count() as u32;
            let number: u32 = name.trim_start_matches("img:").parse().unwrap();
            if lines.contains(&&lacks[..]) {
                assert!(store.resolve(name).is_err(), "{name} was removed");
            } else if number + 4 > newest {
                let image = store.get(name).unwrap();
                let mut saved = Vec::new();
                store.save(&[image.id.to_string()], None, &mut saved).unwrap();
            }
        }
        let mut wanted = std::collections::HashSet::new();
        for image in store.list().unwrap() {
            wanted.extend(skiff_snapshots::ChainId::all(&image.config.rootfs.diff_ids));
        }
        assert_eq!(
            store.snapshotter().layers().into_iter().collect::<std::collections::HashSet<_>>(),
            wanted
        );
    }
}

#[test]
fn a_full_disk_is_an_error_and_leaves_a_working_store() {
    let Some(disk) = SmallDisk::mount() else { panic!("this test needs to mount a tmpfs") };
    let snapshots = skiff_snapshots::open(&disk.path().join("snapshots"), None).unwrap();
    let store = ImageStore::open(&disk.path().join("images"), Arc::clone(&snapshots)).unwrap();
    let small = load(&store, &docker_archive(&[image(&[layer("a")], &["small:1"])])).unwrap();
    let big = skiff_snapshots::conformance::Archive::new().file("big", &"x".repeat(12 << 20)).finish();
    let error = store.import(&mut &big[..], &ImportOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
    let error = load(&store, &docker_archive(&[image(&[layer("a"), big], &["big:1"])])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(store.snapshotter().layers().len(), 1);
    store.tag("small:1", &"small:2".parse().unwrap()).unwrap();
    load(&store, &docker_archive(&[image(&[layer("b")], &["other:1"])])).unwrap();
    assert_eq!(store.resolve("small:2").unwrap(), small[0].id);
}

/// A tmpfs of 8 MiB.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().ok()?;
        let options = c"size=8m";
        rustix::mount::mount("tmpfs", dir.path(), "tmpfs", rustix::mount::MountFlags::empty(), options)
            .ok()?;
        Some(Self(dir))
    }

    fn path(&self) -> &std::path::Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn loads_and_removals_of_the_same_at_once_leave_whole_images() {
    let dir = Dir::new();
    let store = dir.open();
    let archive = docker_archive(&[image(&[layer("a"), layer("b")], &["x:1"])]);
    let other = docker_archive(&[image(&[layer("a"), layer("c")], &["y:1"])]);
    std::thread::scope(|scope| {
        for (archive, name) in [(&archive, "x:1"), (&archive, "x:1"), (&other, "y:1"), (&other, "y:1")] {
            let store = &store;
            scope.spawn(move || {
                for _ in 0..15 {
                    load(store, archive).unwrap();
                    for image in store.list().unwrap() {
                        assert_eq!(image.config.rootfs.diff_ids.len(), 2);
                    }
                    let _ = store.remove(name, skiff_images::RemoveOptions::default(), &|_| Vec::new());
                }
            });
        }
    });
    for (archive, name) in [(&archive, "x:1"), (&other, "y:1")] {
        load(&store, archive).unwrap();
        store.save(&[name.to_owned()], None, &mut Vec::new()).unwrap();
    }
    assert_eq!(store.snapshotter().layers().len(), 3);
}
