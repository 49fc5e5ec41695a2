//! The machine's disk: an ext4 image with programs of this machine, their libraries, what cargo has built, and the scripts that run it.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Programs that tests run and busybox has not, or not with the options they use.
const PROGRAMS: &[&str] = &[
    "busybox",
    "unshare",
    "nsenter",
    "ip",
    "nft",
    "mkfs.ext4",
    "mkfs.xfs",
    "mount",
    "umount",
    "openssl",
    "setfattr",
    "getfattr",
];

/// The size of the disk's file, most of which is a hole.
const SIZE: &str = "3G";

/// What every script begins with: a system as `init` would make it, on cgroup v2 alone.
const BOOT: &str = r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
mount --make-rshared /
ln -sf /proc/self/fd /dev/fd
ip link set lo up
mkdir /sys/fs/cgroup/init
echo $$ > /sys/fs/cgroup/init/cgroup.procs
"#;

/// A file tree that becomes a disk.
pub(crate) struct Disk {
    tree: tempfile::TempDir,
    libraries: BTreeSet<PathBuf>,
}

impl Disk {
    /// A tree with a shell and what tests run.
    pub(crate) fn new() -> Result<Self> {
        let mut disk = Self {
            tree: tempfile::Builder::new().prefix("skiff-vm-").tempdir()?,
            libraries: BTreeSet::new(),
        };
        for directory in [
            "bin", "dev", "etc", "proc", "root", "run", "sbin", "sys", "tmp", "usr/bin", "usr/sbin",
            "var/tmp",
        ] {
            fs_err::create_dir_all(disk.path(directory))?;
        }
        fs_err::set_permissions(disk.path("tmp"), PermissionsExt::from_mode(0o1777))?;
        for program in PROGRAMS {
            let path = find(program)?;
            disk.add_program(&path, &Path::new("/bin").join(program))?;
        }
        let applets = Command::new("busybox").arg("--list").output().context("cannot run busybox")?;
        for applet in String::from_utf8(applets.stdout)?.lines() {
            let link = disk.path("bin").join(applet);
            if !link.exists() {
                symlink("/bin/busybox", link)?;
            }
        }
        disk.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")?;
        disk.write("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")?;
        disk.write("etc/hosts", "127.0.0.1 localhost\n")?;
        // Of openssl, which does not do without.
        disk.write("usr/lib/ssl/openssl.cnf", "[req]\ndistinguished_name = name\nx509_extensions = ca\n[name]\n[ca]\nbasicConstraints = critical,CA:true\n")?;
        disk.write("etc/os-release", "PRETTY_NAME=\"Skiff test machine\"\n")?;
        Ok(disk)
    }

    /// Adds a program, and the libraries it is linked with.
    pub(crate) fn add_program(&mut self, from: &Path, to: &Path) -> Result<()> {
        let to = self.path(to.strip_prefix("/").unwrap_or(to));
        fs_err::create_dir_all(to.parent().context("a program is in a directory")?)?;
        fs_err::copy(from, &to)?;
        // Cargo's have debug information, which only makes the disk large; others have none.
        let stripped =
            Command::new("strip").arg("--strip-debug").arg(&to).status().context("cannot run strip")?;
        if !stripped.success() {
            bail!("{} cannot be stripped", to.display());
        }
        let linked = Command::new("ldd").arg(from).output().context("cannot run ldd")?;
        for word in String::from_utf8_lossy(&linked.stdout)
            .split_ascii_whitespace()
            .filter(|word| word.starts_with('/'))
        {
            let library = PathBuf::from(word);
            if library != from && self.libraries.insert(library.clone()) {
                let to = self.path(library.strip_prefix("/")?);
                fs_err::create_dir_all(to.parent().context("a library is in a directory")?)?;
                fs_err::copy(&library, to)?;
            }
        }
        Ok(())
    }

    /// Adds a file at a path without the leading slash.
    pub(crate) fn write(&self, path: &str, content: &str) -> Result<()> {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().context("a file is in a directory")?)?;
        fs_err::write(path, content)?;
        Ok(())
    }

    /// Adds a script that the machine may be told to run.
    pub(crate) fn script(&self, name: &str, body: &str) -> Result<()> {
        self.write(name, &format!("{BOOT}{body}"))
    }

    /// Makes the image.
    pub(crate) fn finish(self, image: &Path) -> Result<()> {
        if image.exists() {
            fs_err::remove_file(image)?;
        }
        let mut command = Command::new("mke2fs");
        command.args(["-q", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=1", "-d"]);
        let made =
            command.arg(self.tree.path()).arg(image).arg(SIZE).status().context("cannot run mke2fs")?;
        if made.success() { Ok(()) } else { bail!("mke2fs: {made}") }
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.tree.path().join(below)
    }
}

fn find(program: &str) -> Result<PathBuf> {
    let directories = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let mut paths = directories.iter().map(|directory| Path::new(directory).join(program));
    paths.find(|path| path.exists()).with_context(|| format!("{program} is not installed here"))
}
