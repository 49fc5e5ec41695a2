//! The index against mkfs.erofs, fsck.erofs and the unpacked tree, on the real kernel.

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufReader,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
    process::Command,
};

use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};

use super::{
    index::{Archive, encode},
    mount::mount,
    tree::Tree,
};
use crate::tar::Reader;

/// A mount that goes away with the test.
struct Mounted(PathBuf);

impl Mounted {
    fn at(fd: &OwnedFd, path: &Path) -> Self {
        fs_err::create_dir_all(path).unwrap();
        move_mount(fd, "", rustix::fs::CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).unwrap();
        Self(path.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

fn run(program: &str, args: &[&std::ffi::OsStr]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program}: {output:?}");
}

macro_rules! run {
    ($program:expr, $($arg:expr),+) => { run($program, &[$(std::ffi::OsStr::new(&$arg)),+]) };
}

/// Writes the index of the archive at `tar`.
fn index(tar: &Path, out: &Path) {
    let mut reader =
        Reader::new(BufReader::with_capacity(1 << 16, File::from(fs_err::File::open(tar).unwrap())));
    let mut tree = Tree::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        tree.apply(entry).unwrap();
    }
    assert!(tree.foreign().is_empty());
    let file: File = fs_err::File::open(tar).unwrap().into();
    let len = file.metadata().unwrap().len();
    fs_err::write(out, encode(&tree, &[Archive { file: &file, len }]).unwrap()).unwrap();
}

fn mounted(index: &Path, tar: &Path, at: &Path) -> Mounted {
    let (index, tar) = (fs_err::File::open(index).unwrap(), fs_err::File::open(tar).unwrap());
    Mounted::at(&mount(index.as_fd(), &[tar.as_fd()]).unwrap(), at)
}

/// Everything that can be told of a file, and names of one inode told apart from copies.
#[derive(Debug, PartialEq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    size: u64,
    mtime: (i64, i64),
    device: u64,
    link: Option<PathBuf>,
    first_name: PathBuf,
    links: u64,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    content: Option<[u8; 32]>,
}

fn see(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut all = BTreeMap::new();
    let mut names = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs_err::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_owned();
        if meta.is_dir() {
            let mut entries: Vec<_> = fs_err::read_dir(&path).unwrap().map(|e| e.unwrap().path()).collect();
            entries.sort();
            todo.extend(entries);
        }
        let special = meta.file_type().is_char_device() || meta.file_type().is_block_device();
        let seen = Seen {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            size: if meta.is_dir() { 0 } else { meta.size() },
            mtime: (meta.mtime(), meta.mtime_nsec()),
            device: if special { meta.rdev() } else { 0 },
            link: meta.is_symlink().then(|| fs_err::read_link(&path).unwrap()),
            first_name: names.entry(meta.ino()).or_insert_with(|| name.clone()).clone(),
            links: if meta.is_dir() { 0 } else { meta.nlink() },
            xattrs: xattrs(&path),
            content: meta.is_file().then(|| hash(&fs_err::read(&path).unwrap())),
        };
        all.insert(name, seen);
    }
    all
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    *skiff_types::Digest::of(bytes).sha256()
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65536];
    let len = rustix::fs::llistxattr(path, &mut names).unwrap();
    names[..len]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let len = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
            value.truncate(len);
            (name.to_vec(), value)
        })
        .collect()
}

/// Indexes the archive and holds the mount against what GNU tar unpacks.
/// Directories that the archive does not describe are left out: there nothing is right or wrong.
fn same_as_unpacked(tar: &Path, work: &Path, undescribed: &[&str]) {
    let image = work.join("index");
    index(tar, &image);
    run!("fsck.erofs", format!("--device={}", tar.display()), image);
    let unpacked = work.join("unpacked");
    fs_err::create_dir(&unpacked).unwrap();
    let selection = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner", "-p"];
    let mut args: Vec<&std::ffi::OsStr> =
        vec!["-xf".as_ref(), tar.as_os_str(), "-C".as_ref(), unpacked.as_os_str()];
    args.extend(selection.map(std::ffi::OsStr::new));
    run("tar", &args);
    let at = work.join("mounted");
    let guard = mounted(&image, tar, &at);
    let (mut want, mut got) = (see(&unpacked), see(&at));
    for path in undescribed {
        assert_eq!(got.remove(Path::new(path)).is_some(), want.remove(Path::new(path)).is_some());
    }
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    for (path, want) in &want {
        assert_eq!(&got[path], want, "{}", path.display());
    }
    drop(guard);
}

fn pack(from: &Path, tar: &Path, paths: &[&str]) {
    let mut args: Vec<&std::ffi::OsStr> = vec!["-C".as_ref(), from.as_os_str(), "--format=pax".as_ref()];
    args.extend(
        ["--xattrs", "--xattrs-include=*", "-S", "--one-file-system", "-cf"].map(std::ffi::OsStr::new),
    );
    args.push(tar.as_os_str());
    args.extend(paths.iter().map(std::ffi::OsStr::new));
    run("tar", &args);
}

#[test]
fn every_kind_of_file_reads_as_if_unpacked() {
    let work = tempfile::tempdir().unwrap();
    let tree = work.path().join("tree");
    let script = r#"
        mkdir -p "$1/many" "$1/deep/a/b/c" && cd "$1"
        for i in $(seq 700); do echo $i > "many/file with a name of some length $i"; done
        : > empty; head -c 511 /dev/urandom > b511; head -c 512 /dev/urandom > b512; head -c 100001 /dev/urandom > big
        ln big deep/a/link; ln -s ../../big deep/short; ln -s "$(head -c 900 /dev/zero | tr '\0' x)" longlink
        mknod char c 5 260; mknod block b 259 70000; mkfifo fifo
        chmod 4755 b511; chmod 1777 many; chown 70000:70001 b512; touch -d @1.123456789 b512; touch -d @-5 empty
        setfattr -n user.note -v hello big; setfattr -n user.long -v "$(head -c 3000 /dev/zero | tr '\0' y)" big
        setfattr -n user.note -v dir many; setcap cap_net_raw+ep b511
        truncate -s 3000000 sparse; echo middle | dd of=sparse bs=1 seek=1000000 conv=notrunc 2>/dev/null
        truncate -s 1000 hole; mkdir -- '-dash' '#hash' "$(printf 'utf\303\251')"
    "#;
    run!("sh", "-ec", script, "sh", tree);
    let tar = work.path().join("layer.tar");
    pack(&tree, &tar, &["."]);
    same_as_unpacked(&tar, work.path(), &[]);
}

#[test]
fn a_real_distribution_reads_as_if_unpacked() {
    let work = tempfile::tempdir().unwrap();
    let tar = work.path().join("layer.tar");
    pack(Path::new("/"), &tar, &["bin", "etc", "usr/sbin", "usr/share/perl5", "var/lib/dpkg"]);
    same_as_unpacked(&tar, work.path(), &["", "usr", "usr/share", "var", "var/lib"]);
}

#[test]
fn mkfs_erofs_indexes_the_same_tree() {
    let work = tempfile::tempdir().unwrap();
    let tar = work.path().join("layer.tar");
    pack(Path::new("/etc"), &tar, &["."]);
    let image = work.path().join("index");
    index(&tar, &image);
    let theirs = work.path().join("theirs");
    run!("mkfs.erofs", "--quiet", "--tar=i", theirs, tar);
    let ours = mounted(&image, &tar, &work.path().join("ours"));
    let reference = mounted(&theirs, &tar, &work.path().join("reference"));
    let (mut got, mut want) = (see(&ours.0), see(&reference.0));
    // mkfs.erofs 1.8 misreads fractions of fewer than nine digits.
    got.values_mut().chain(want.values_mut()).for_each(|seen| seen.mtime.1 = 0);
    assert_eq!(got.len(), want.len());
    for (path, want) in &want {
        assert_eq!(&got[path], want, "{}", path.display());
    }
}
