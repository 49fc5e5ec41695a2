//! Cases about snapshots.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use super::{Archive, Listing, Store, archive::node, listing, mount_path};
use crate::{ChainId, Change, ChangeKind, Error, Lifetime, Snapshotter, skeleton, tar::EntryKind};

type Drv = Arc<dyn Snapshotter>;

fn base(driver: &Drv) -> ChainId {
    let archive = Archive::new()
        .entry(&node("./", EntryKind::Directory, 0o750), b"")
        .dir("etc")
        .file("etc/conf", "old")
        .file("etc/gone", "x")
        .file("etc/kept", "x")
        .dir("emptied")
        .file("emptied/1", "1")
        .dir("replaced")
        .file("replaced/old", "")
        .symlink("link", "etc/conf")
        .finish();
    driver.apply_layer(None, None, &mut &archive[..]).expect("the layer applies").chain
}

/// One of every change.
fn change(root: &Path) {
    let at = |p: &str| root.join(p);
    fs_err::write(at("etc/conf"), "new contents").expect("written");
    fs_err::remove_file(at("etc/gone")).expect("removed");
    fs_err::create_dir(at("var")).expect("made");
    fs_err::write(at("var/log"), "line").expect("written");
    fs_err::set_permissions(at("var/log"), PermissionsExt::from_mode(0o2750)).expect("changed");
    fs_err::hard_link(at("var/log"), at("var/same")).expect("linked");
    fs_err::os::unix::fs::symlink("nowhere", at("var/link")).expect("linked");
    fs_err::remove_file(at("emptied/1")).expect("removed");
    fs_err::remove_dir_all(at("replaced")).expect("removed");
    fs_err::create_dir(at("replaced")).expect("made");
    fs_err::write(at("replaced/new"), "").expect("written");
    rustix::fs::setxattr(at("var/log"), "user.x", b"1", rustix::fs::XattrFlags::empty()).expect("set");
}

pub(super) fn writes_stay(store: &Store) {
    let driver = store.open();
    let chain = base(&driver);
    driver.prepare("c1", Some(&chain), Lifetime::Durable, None).expect("a snapshot");
    let mount = driver.mount("c1", Lifetime::Durable).expect("a mount");
    let view = listing(&mount_path(&driver.view(&chain).expect("a view")));
    let mounted = listing(&mount_path(&mount));
    for path in skeleton::paths() {
        assert!(mounted.contains_key(&format!("./{path}")), "{path} is missing");
    }
    assert_eq!(without_skeleton(mounted), view);
    change(&mount_path(&mount));
    let seen = listing(&mount_path(&mount));
    drop(mount);
    drop(driver);
    let driver = store.open();
    assert_eq!(listing(&mount_path(&driver.mount("c1", Lifetime::Durable).expect("a mount"))), seen);
    assert!(driver.usage("c1").expect("usage").bytes >= 16);
    driver.prepare("c2", Some(&chain), Lifetime::Durable, None).expect("another snapshot");
    let other = listing(&mount_path(&driver.mount("c2", Lifetime::Durable).expect("a mount")));
    assert!(other.contains_key("./etc/gone"), "snapshots see nothing of each other");
    let mounts = fs_err::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert!(!mounts.contains(store.root.path().to_str().expect("a plain path")), "mounts are detached");
}

pub(super) fn changes_are_told(store: &Store) {
    let driver = store.open();
    let chain = base(&driver);
    driver.prepare("c", Some(&chain), Lifetime::Ephemeral, None).expect("a snapshot");
    assert_eq!(driver.changes("c").expect("changes"), []);
    let mount = driver.mount("c", Lifetime::Durable).expect("a mount");
    assert_eq!(driver.changes("c").expect("changes"), []);
    change(&mount_path(&mount));
    let told = driver.changes("c").expect("changes");
    let want: Vec<_> = [
        ("/emptied", ChangeKind::Modified),
        ("/emptied/1", ChangeKind::Deleted),
        ("/etc", ChangeKind::Modified),
        ("/etc/conf", ChangeKind::Modified),
        ("/etc/gone", ChangeKind::Deleted),
        ("/replaced", ChangeKind::Modified),
        ("/replaced/new", ChangeKind::Added),
        ("/replaced/old", ChangeKind::Deleted),
        ("/var", ChangeKind::Added),
        ("/var/link", ChangeKind::Added),
        ("/var/log", ChangeKind::Added),
        ("/var/same", ChangeKind::Added),
    ]
    .into_iter()
    .map(|(path, kind)| Change { path: path.into(), kind })
    .collect();
    assert_eq!(told, want);
}

pub(super) fn diffs_reproduce(store: &Store) {
    let driver = store.open();
    let chain = base(&driver);
    driver.prepare("c", Some(&chain), Lifetime::Ephemeral, None).expect("a snapshot");
    let mount = driver.mount("c", Lifetime::Durable).expect("a mount");
    change(&mount_path(&mount));
    let layer =
        driver.apply_layer(Some(&chain), None, &mut driver.diff("c").expect("a diff")).expect("it applies");
    let view = driver.view(&layer.chain).expect("a view");
    // A diff has times in whole seconds and no entry for the root, as Docker's.
    let cut = |root: &Path| -> Vec<String> {
        let tree = without_skeleton(listing(root)).into_iter().filter(|(name, _)| name != ".");
        tree.map(|(n, f)| format!("{n} {}", without_nanoseconds(&f))).collect()
    };
    assert_eq!(cut(&mount_path(&view)), cut(&mount_path(&mount)));
    let mut tar = driver.layer_tar(&layer.chain).expect("an archive");
    let mut again = driver.diff("c").expect("a diff");
    let (mut a, mut b) = (Vec::new(), Vec::new());
    std::io::copy(&mut tar, &mut a).expect("read");
    std::io::copy(&mut again, &mut b).expect("read");
    assert!(a == b, "a diff is the same each time");
}

/// Without what the layer of [`base`] has not.
fn without_skeleton(mut listing: Listing) -> Listing {
    for path in skeleton::paths().filter(|path| *path != "etc") {
        listing.remove(&format!("./{path}"));
    }
    listing
}

fn without_nanoseconds(facts: &str) -> String {
    let words = facts.split(' ').map(|w| match w.split_once('.') {
        Some((secs, nanos)) if nanos.len() == 9 && secs.bytes().all(|b| b.is_ascii_digit()) => secs,
        _ => w,
    });
    words.collect::<Vec<_>>().join(" ")
}

pub(super) fn keys(store: &Store) {
    let driver = store.open();
    for bad in ["", "..", ".x", "a/b", "-x", "a b", &"k".repeat(129)] {
        let error = driver.prepare(bad, None, Lifetime::Ephemeral, None).expect_err(bad);
        assert!(matches!(error, Error::InvalidKey(_)), "{bad}: {error}");
    }
    driver.prepare("key", None, Lifetime::Ephemeral, None).expect("a snapshot");
    let error = driver.prepare("key", None, Lifetime::Ephemeral, None).expect_err("taken");
    assert!(matches!(error, Error::SnapshotExists(_)));
    driver.remove("key").expect("it goes");
    driver.prepare("key", None, Lifetime::Ephemeral, None).expect("the key is free at once");
    driver.remove("key").expect("it goes");
    assert!(matches!(driver.remove("key"), Err(Error::SnapshotNotFound(_))));
    assert!(matches!(driver.mount("key", Lifetime::Durable), Err(Error::SnapshotNotFound(_))));
    assert!(matches!(driver.diff("key"), Err(Error::SnapshotNotFound(_))));
    assert!(driver.snapshots().is_empty());
}

pub(super) fn scratch(store: &Store) {
    let driver = store.open();
    driver.prepare("c", None, Lifetime::Ephemeral, None).expect("a snapshot");
    let mount = driver.mount("c", Lifetime::Durable).expect("a mount");
    fs_err::write(mount_path(&mount).join("f"), "x").expect("written");
    let told = driver.changes("c").expect("changes");
    assert_eq!(told, [Change { path: "/f".into(), kind: ChangeKind::Added }]);
}

pub(super) fn flushed_before_a_cut(store: &Store) {
    let driver = store.open();
    let chain = base(&driver);
    driver.prepare("c", Some(&chain), Lifetime::Durable, None).expect("a snapshot");
    let mount = driver.mount("c", Lifetime::Durable).expect("a mount");
    fs_err::write(mount_path(&mount).join("flushed"), "x").expect("written");
    drop(mount);
    let name = driver.name();
    drop(driver);
    // A file system whose log keeps what was flushed and the directories above it, and nothing beside them.
    fs_err::remove_file(store.root.path().join(name).join("snapshots/c/parent")).expect("the link is there");
    let driver = store.open();
    assert_eq!(driver.snapshots(), Vec::<String>::new());
    driver.prepare("c", Some(&chain), Lifetime::Durable, None).expect("it is made again");
    let mount = driver.mount("c", Lifetime::Durable).expect("a mount");
    // vfs flushes everything before it acknowledges.
    assert_eq!(mount_path(&mount).join("flushed").exists(), name != "vfs");
    assert!(mount_path(&mount).join("etc/conf").exists());
}
