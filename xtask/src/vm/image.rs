//! The initramfs: a cpio archive (newc) with a few programs, modules, tests, and two scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Executable;
use super::packages::Installed;

/// What the tests may need and Debian builds as modules. What they depend on is added.
const MODULES: &[&str] = &[
    "overlay",
    "erofs",
    "loop",
    "veth",
    "bridge",
    "br_netfilter",
    "dummy",
    "macvlan",
    "ipvlan",
    "nf_tables",
    "nf_conntrack",
    "nf_nat",
    "nft_chain_nat",
    "nft_ct",
    "nft_nat",
    "nft_masq",
    "nft_fib_inet",
    "nft_redir",
    "nft_reject_inet",
];

/// The first process. An initramfs cannot be the old root of pivot_root, so everything moves into a tmpfs.
const INIT: &str = "\
#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /proc /new
/bin/busybox --install -s /bin 2>/dev/null # what is there already stays
mount -t proc proc /proc
for module in $(cat /modules/order); do insmod /modules/$module || echo \"@@note cannot load $module\"; done
mount -t tmpfs -o mode=755,size=80% tmpfs /new
for entry in /*; do
  case $entry in /init|/modules|/new|/proc|/dev|/root|/bin) ;; *) mv $entry /new ;; esac
done
mv /bin /new
/new/bin/busybox umount /proc
exec /new/bin/busybox switch_root /new /run-tests
";

/// The second life of the first process. The loop mirrors nextest: a process for each test.
const RUN_TESTS: &str = r#"#!/bin/sh
export PATH=/bin HOME=/ RUST_BACKTRACE=0 TMPDIR=/tmp
mkdir -p /proc /sys /dev /tmp /run /var/tmp /usr/bin /sbin /root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
ln -s /proc/self/fd /dev/fd
ip link set lo up
mkdir /sys/fs/cgroup/init
echo $$ > /sys/fs/cgroup/init/cgroup.procs
while read -r name binary; do
  $binary --list --format terse $(cat /etc/filters) 2>/dev/null | sed -n 's/: test$//p' > /tmp/list
  $binary --list --format terse --ignored 2>/dev/null | sed -n 's/: test$//p' > /tmp/ignored
  while read -r test; do
    grep -qxF "$test" /tmp/ignored && continue
    echo "@@begin $name $test"
    if $binary --exact "$test" > /tmp/log 2>&1 < /dev/null; then echo "@@pass $name $test"; else cat /tmp/log; echo "@@fail $name $test"; fi
  done < /tmp/list
done < /etc/tests
echo "@@done"
poweroff -f
"#;

/// Writes the archive.
pub(crate) fn write(
    to: &Path,
    installed: &Installed,
    executables: &[Executable],
    filters: &[String],
) -> Result<()> {
    let mut archive = Archive::default();
    for directory in ["modules", "etc", "dev"] {
        archive.add(directory, 0o040_755, &[]);
    }
    for (name, path) in &installed.programs {
        archive.add_below(Path::new("/").join(name).as_path(), &fs_err::read(path)?)?;
    }
    archive.add("init", 0o100_755, INIT.as_bytes());
    archive.add("run-tests", 0o100_755, RUN_TESTS.as_bytes());
    archive.add("etc/filters", 0o100_644, filters.join(" ").as_bytes());
    archive.add("etc/passwd", 0o100_644, b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n");
    archive.add("etc/group", 0o100_644, b"root:x:0:\ntty:x:5:\nnogroup:x:65534:\n");
    archive.add("etc/hosts", 0o100_644, b"127.0.0.1 localhost\n");

    let mut modules = Modules::find(&installed.modules)?;
    for name in MODULES {
        modules.load(name)?;
    }
    let mut order = String::new();
    for (name, code) in &modules.loaded {
        archive.add(&format!("modules/{name}.ko"), 0o100_644, code);
        order.push_str(&format!("{name}.ko\n"));
    }
    archive.add("modules/order", 0o100_644, order.as_bytes());
    let mut list = String::new();
    for Executable { name, path, is_test } in executables {
        archive.add_below(path, &fs_err::read(path)?)?;
        if *is_test {
            list.push_str(&format!("{name} {}\n", path.display()));
        }
    }
    archive.add("etc/tests", 0o100_644, list.as_bytes());
    fs_err::write(to, archive.finish())?;
    Ok(())
}

/// The modules of one kernel: where they are, and those wanted, with what they depend on before them.
struct Modules {
    files: BTreeMap<String, std::path::PathBuf>,
    loaded: Vec<(String, Vec<u8>)>,
}

impl Modules {
    fn find(directory: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut pending = vec![directory.to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in fs_err::read_dir(directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    pending.push(entry.path());
                } else if let Some((name, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
                    files.insert(name.replace('-', "_"), entry.path());
                }
            }
        }
        Ok(Self { files, loaded: Vec::new() })
    }

    /// Built-in modules are not among the files, and need nothing.
    fn load(&mut self, name: &str) -> Result<()> {
        let Some(path) = self.files.get(name).cloned() else { return Ok(()) };
        if self.loaded.iter().any(|(loaded, _)| loaded == name) {
            return Ok(());
        }
        let code = read_module(&path)?;
        for dependency in dependencies(&code) {
            self.load(&dependency.replace('-', "_"))?;
        }
        self.loaded.push((name.to_owned(), code));
        Ok(())
    }
}

fn read_module(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return Ok(fs_err::read(path)?);
    }
    let output =
        Command::new("xz").args(["--decompress", "--stdout"]).arg(path).output().context("cannot run xz")?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        bail!("{} cannot be decompressed", path.display())
    }
}

/// The line `depends=a,b` of a module's `.modinfo` section, whose lines end with NUL.
fn dependencies(code: &[u8]) -> Vec<String> {
    let lines = code.split(|byte| *byte == 0);
    let line = lines.filter_map(|line| line.strip_prefix(b"depends=")).next().unwrap_or_default();
    let names = String::from_utf8_lossy(line);
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A cpio archive of the kind the kernel unpacks; see its driver-api/early-userspace/buffer-format.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let (inode, links) = (self.entries, 1);
        let fields =
            [inode, mode, 0, 0, links, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    /// Adds a program at its absolute path, with the directories above it.
    fn add_below(&mut self, path: &Path, content: &[u8]) -> Result<()> {
        let path =
            path.to_str().and_then(|path| path.strip_prefix('/')).context("cargo gives absolute paths")?;
        for (at, _) in path.match_indices('/') {
            if self.directories.insert(path[..at].to_owned()) {
                self.add(&path[..at], 0o040_755, &[]);
            }
        }
        self.add(path, 0o100_755, content);
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_aligned_and_end() {
        let mut archive = Archive::default();
        archive.add("a", 0o100_644, b"hello");
        let bytes = archive.finish();
        assert!(bytes.len().is_multiple_of(4));
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[110..112], b"a\0");
        assert_eq!(&bytes[112..117], b"hello");
        assert!(bytes.windows(10).any(|window| window == b"TRAILER!!!"));
    }

    #[test]
    fn dependencies_are_read_from_a_module() {
        let code = b"\x7fELF\0license=GPL\0depends=nf_conntrack,nf-nat\0intree=Y\0";
        assert_eq!(dependencies(code), ["nf_conntrack", "nf-nat"]);
        assert!(dependencies(b"depends=\0").is_empty());
    }
}
