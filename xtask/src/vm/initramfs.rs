//! The initramfs: a cpio archive (newc) with a shell and the modules that lead to the disk, where everything else is.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::packages::Installed;

/// What the machine and the tests need and Debian builds as modules. What they depend on is added.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "crc32c_generic",
    "ext4",
    "quota_v2",
    "xfs",
    "overlay",
    "erofs",
    "loop",
    "veth",
    "bridge",
    "br_netfilter",
    "dummy",
    "macvlan",
    "ipvlan",
    "8021q",
    "nf_tables",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_nat",
    "nft_chain_nat",
    "nft_ct",
    "nft_nat",
    "nft_masq",
    "nft_fib_inet",
    "nft_redir",
    "nft_reject_inet",
    "nfnetlink_log",
    "nft_log",
];

/// The first process, until the disk is there: the command line says what is run from it.
const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /proc /dev /root
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
for module in $(cat /modules/order); do insmod /modules/$module || echo "cannot load $module"; done
mount -t ext4 /dev/vda /root || echo "there is no disk"
[ -e /journal ] && cp /journal /root/journal
for word in $(cat /proc/cmdline); do case $word in run=*) run=${word#run=} ;; esac; done
umount /dev
umount /proc
exec switch_root /root /bin/sh "/$run"
"#;

/// Writes the archive. `journal` is handed on to the disk, as the file `/journal`.
pub(crate) fn write(to: &Path, installed: &Installed, journal: Option<&str>) -> Result<()> {
    let mut archive = Archive::default();
    for directory in ["bin", "modules"] {
        archive.add(directory, 0o040_755, &[]);
    }
    archive.add("bin/busybox", 0o100_755, &fs_err::read("/bin/busybox")?);
    archive.add("init", 0o100_755, INIT.as_bytes());
    if let Some(journal) = journal {
        archive.add("journal", 0o100_644, journal.as_bytes());
    }
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
