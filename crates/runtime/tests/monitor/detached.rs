//! What a container is given as descriptors: a root file system that is mounted nowhere, and namespaces.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};
use serde_json::json;
use skiff_runtime::plan::Rootfs;
use skiff_runtime::spec::LinuxNamespaceType;

use crate::fixture::{Fixture, Test, code};

pub(crate) const TESTS: &[Test] = &[
    ("detached::a_root_file_system_needs_no_place_on_the_host", root),
    ("detached::a_detached_root_may_share_mounts_with_the_host", shared),
    ("detached::a_detached_root_goes_with_mapped_ids", mapped),
    ("detached::a_namespace_is_joined_by_its_descriptor", namespace),
    ("detached::a_detached_root_can_be_moved_instead_of_pivoted", moved),
];

/// The fixture's root file system under a fresh upper layer, mounted nowhere.
fn overlay(fixture: &Fixture) -> OwnedFd {
    let dir = fixture.dir.path();
    for name in ["upper", "work"] {
        fs_err::create_dir_all(dir.join(name)).unwrap();
    }
    let filesystem = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for (key, name) in [("lowerdir", "rootfs"), ("upperdir", "upper"), ("workdir", "work")] {
        rustix::mount::fsconfig_set_string(&filesystem, key, dir.join(name).as_path()).unwrap();
    }
    rustix::mount::fsconfig_create(&filesystem).unwrap();
    let none = MountAttrFlags::empty();
    rustix::mount::fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, none).unwrap()
}

fn root() {
    let fixture = Fixture::new();
    let mut container = fixture.sh("echo text > /new; echo $(cat /proc/self/mountinfo)");
    container.fds = vec![overlay(&fixture)];
    container.options.rootfs = Some(Rootfs::Fd(0));
    let running = container.start();
    assert_eq!(running.wait().exit, code(0));
    let mounts = &running.logged()[0].1;
    assert!(mounts.contains("/ / rw") && !mounts.contains(" /proc/fs "), "{mounts}");
    assert_eq!(fs_err::read_to_string(fixture.dir.path().join("upper/new")).unwrap(), "text\n");
    let host = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!host.contains(fixture.dir.path().to_str().unwrap()), "{host}");
}

fn shared() {
    let fixture = Fixture::new();
    let mut container = fixture.sh("cat /proc/self/mountinfo").spec(|spec| {
        spec["linux"]["rootfsPropagation"] = json!("rshared");
    });
    container.fds = vec![overlay(&fixture)];
    container.options.rootfs = Some(Rootfs::Fd(0));
    let running = container.start();
    assert_eq!(running.wait().exit, code(0));
    assert!(running.logged()[0].1.contains("shared:"), "{:?}", running.logged());
    let host = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = fixture.dir.path().to_str().unwrap();
    assert!(!host.contains("/proc/fs ") && !host.contains(ours), "{host}");
}

fn mapped() {
    let fixture = Fixture::new();
    let mut container = fixture.sh("cat /proc/self/uid_map; echo x > /dev/null").spec(|spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        for map in ["uidMappings", "gidMappings"] {
            spec["linux"][map] = json!([{"containerID": 0, "hostID": 300_000, "size": 100}]);
        }
    });
    container.fds = vec![overlay(&fixture)];
    container.options.rootfs = Some(Rootfs::Fd(0));
    let running = container.start();
    assert_eq!(running.wait().exit, code(0));
    let words: Vec<String> = running.logged()[0].1.split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["0", "300000", "100"]);
}

fn namespace() {
    let fixture = Fixture::new();
    let other = fixture.sh("sleep 1000").spec(|spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "network"}));
    });
    let other = other.start();
    let path = format!("/proc/{}/ns/net", other.started.pid);
    let expected = fs_err::read_link(&path).unwrap().display().to_string();
    let netns = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let mut container = fixture.sh("exec ls -l /proc/self/ns/net");
    fs_err::os::unix::fs::symlink("busybox", fixture.dir.path().join("rootfs/bin/ls")).unwrap();
    container.fds = vec![netns];
    container.options.namespace_fds = vec![(LinuxNamespaceType::Network, 0)];
    let running = container.start();
    assert_eq!(running.wait().exit, code(0));
    assert!(running.logged()[0].1.contains(&expected), "{:?} {expected}", running.logged());
}

fn moved() {
    let fixture = Fixture::new();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, fixture.dir.path().join("rootfs"), flags).unwrap();
    let mut container = fixture.sh("test -d /bin && cat /proc/1/cmdline");
    fs_err::os::unix::fs::symlink("busybox", fixture.dir.path().join("rootfs/bin/test")).unwrap();
    container.fds = vec![tree];
    container.options.rootfs = Some(Rootfs::Fd(0));
    container.options.no_pivot = true;
    let running = container.start();
    assert_eq!(running.wait().exit, code(0), "{:?}", running.logged());
}
