//! The image that tests run: Debian's static busybox with a link per applet.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Where Debian's busybox-static puts its program.
const BUSYBOX: &str = "/bin/busybox";

/// The root file system as a tar for `import`: `/bin/busybox`, its applets as hard links, `/etc/passwd` and
/// `/etc/group` with root, a user `app` (1000) and a group `extra` (2000), `/tmp`, `/root`, `/proc`, `/sys`, `/dev`.
///
/// # Errors
/// When Debian's package busybox-static is missing.
pub fn busybox() -> Result<Vec<u8>> {
    let program = fs_err::read(BUSYBOX).context("install Debian's package busybox-static")?;
    let listing = Command::new(BUSYBOX).arg("--list").output().context("busybox --list")?;
    ensure!(listing.status.success(), "busybox --list: {}", listing.status);

    let mut tar = Tar::default();
    for dir in ["bin/", "dev/", "etc/", "proc/", "root/", "sys/", "usr/", "usr/bin/", "var/"] {
        tar.entry(dir, b'5', 0o755, "", b"");
    }
    tar.entry("tmp/", b'5', 0o1777, "", b"");
    tar.entry("bin/busybox", b'0', 0o755, "", &program);
    for applet in String::from_utf8(listing.stdout)?.lines().filter(|a| *a != "busybox") {
        tar.entry(&format!("bin/{applet}"), b'1', 0o755, "bin/busybox", b"");
    }
    tar.entry(
        "etc/passwd",
        b'0',
        0o644,
        "",
        b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/tmp:/bin/sh\n",
    );
    tar.entry("etc/group", b'0', 0o644, "", b"root:x:0:\napp:x:1000:\nextra:x:2000:app\n");
    Ok(tar.finish())
}

/// Writes ustar archives whose bytes depend on nothing but what is put in.
#[derive(Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    /// Adds an entry owned by root and dated 1970. `kind` is the type flag: `0` file, `1` hard link, `2` symbolic
    /// link, `5` directory.
    ///
    /// # Panics
    /// When a name is longer than 100 bytes.
    pub fn entry(&mut self, name: &str, kind: u8, mode: u32, link: &str, content: &[u8]) {
        let mut header = [0u8; 512];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        assert!(name.len() <= 100 && link.len() <= 100, "{name} is too long for this writer");
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000000\x000000000\0");
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    /// The archive, with its two closing blocks.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}
