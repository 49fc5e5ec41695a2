use std::os::fd::AsRawFd;

use super::*;
use crate::Lifetime;

fn path(fd: BorrowedFd<'_>) -> PathBuf {
    format!("/proc/self/fd/{}/.", fd.as_raw_fd()).into()
}

/// A view of a directory that is copied to where views come from.
fn view(root: &std::path::Path, mounts: Vec<ViewMount>, read_only: bool) -> io::Result<View> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    View::new(open_tree(CWD, root, flags)?, mounts, read_only)
}

fn places() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(dir.path().join("root/d")).unwrap();
    fs_err::create_dir_all(dir.path().join("volume/sub")).unwrap();
    fs_err::write(dir.path().join("volume/file"), "of the volume").unwrap();
    dir
}

#[test]
fn volumes_are_in_it_and_the_host_is_not() {
    let dir = places();
    let mount = |path: &str, target: &str, writable| ViewMount {
        path: dir.path().join(path),
        part: None,
        target: target.into(),
        writable,
        recursive: true,
    };
    let mounts = vec![
        mount("volume/file", "/made/file", true),
        mount("volume", "/d", true),
        mount("volume", "/d/sub", false),
    ];
    let view = view(&dir.path().join("root"), mounts, false).unwrap();
    let at = path(view.root());
    let text = |name: &str| fs_err::read_to_string(at.join(name)).unwrap();
    for name in ["d/file", "d/sub/file", "made/file"] {
        assert_eq!(text(name), "of the volume");
    }
    fs_err::write(at.join("d/new"), "x").unwrap();
    assert!(dir.path().join("volume/new").exists());
    assert!(fs_err::write(at.join("d/sub/new"), "x").is_err());
    // Nothing of it shows outside, and nothing of the host inside.
    assert_eq!(fs_err::read_dir(dir.path().join("root/d")).unwrap().count(), 0);
    let up = resolve(view.root(), b"../../../..", OFlags::PATH).unwrap();
    assert_eq!(fstat(&up).unwrap().st_ino, fstat(view.root()).unwrap().st_ino);
    // Devices are there to be looked at.
    let number = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(view.root(), "null", FileType::CharacterDevice, Mode::RUSR, number).unwrap();
    assert!(resolve(view.root(), b"null", OFlags::PATH).is_ok());
    assert_eq!(resolve(view.root(), b"null", OFlags::RDONLY).unwrap_err(), Errno::ACCESS);
}

#[test]
fn what_it_took_from_the_host_is_let_go_with_it() {
    let dir = places();
    let mount = ViewMount {
        path: dir.path().join("volume"),
        part: None,
        target: "/d".into(),
        writable: true,
        recursive: true,
    };
    let view = view(&dir.path().join("root"), vec![mount], true).unwrap();
    assert!(fs_err::write(path(view.root()).join("new"), "x").is_err());
    fs_err::write(path(view.root()).join("d/new"), "x").unwrap();
    let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(dir.path().to_str().unwrap()));
    drop(view);
    fs_err::remove_dir_all(dir.path().join("volume")).unwrap();
}

#[test]
fn the_root_can_be_mounted_again_without_what_is_in_it() {
    let store = tempfile::tempdir().unwrap();
    let driver = crate::open(store.path(), None).unwrap();
    driver.prepare("a", None, Lifetime::Durable, None).unwrap();
    let dir = places();
    let mount = ViewMount {
        path: dir.path().join("volume"),
        part: None,
        target: "/v".into(),
        writable: true,
        recursive: false,
    };
    let view = View::new(driver.mount("a", Lifetime::Durable).unwrap(), vec![mount], false).unwrap();
    let root = view.detach_root().unwrap();
    fs_err::write(path(root.as_fd()).join("written"), "x").unwrap();
    assert!(path(view.root()).join("written").exists());
    assert_eq!(fs_err::read_dir(path(root.as_fd()).join("v")).unwrap().count(), 0);
    // It may be attached and used as a root, devices and all.
    rustix::fs::mknodat(&root, "null", FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3))
        .unwrap();
    assert!(resolve(root.as_fd(), b"null", OFlags::RDONLY).is_ok());
    drop(view);
    assert!(path(root.as_fd()).join("written").exists());
}

#[test]
fn what_cannot_be_mounted_is_named() {
    let dir = places();
    let mount = |path: &str, target: &str| ViewMount {
        path: dir.path().join(path),
        part: None,
        target: target.into(),
        writable: true,
        recursive: true,
    };
    let error = view(&dir.path().join("root"), vec![mount("nope", "/d")], false).unwrap_err();
    assert!(error.to_string().contains("nope"), "{error}");
    let error = view(&dir.path().join("root"), vec![mount("volume/file", "/d")], false).unwrap_err();
    assert!(error.to_string().starts_with("mount /d: "), "{error}");
}
