//! Debian's kernels, and what only the machine needs, downloaded with apt into a directory of our own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;

/// A kernel to test on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// 6.1, of bookworm.
    Stable,
    /// 6.12, of bookworm-backports: it mounts EROFS from files.
    Backports,
}

impl Kernel {
    fn suite(self) -> &'static str {
        match self {
            Self::Stable => "bookworm",
            Self::Backports => "bookworm-backports",
        }
    }
}

impl FromStr for Kernel {
    type Err = anyhow::Error;

    fn from_str(version: &str) -> Result<Self> {
        match version {
            "6.1" => Ok(Self::Stable),
            "6.12" => Ok(Self::Backports),
            other => bail!("there is no kernel {other:?}, only 6.1 and 6.12"),
        }
    }
}

/// A kernel with its modules, unpacked.
pub(crate) struct Installed {
    /// As `uname -r` says it.
    pub(crate) version: String,
    /// What QEMU boots.
    pub(crate) image: PathBuf,
    /// Below this are the modules.
    pub(crate) modules: PathBuf,
}

/// Downloads and unpacks what is not in the cache yet.
pub(crate) fn fetch(cache: &Path, kernel: Kernel) -> Result<Installed> {
    let unpacked = cache.join(kernel.suite());
    unless_there(cache, &unpacked, |apt| {
        let package = apt.depended_on("linux-image-cloud-amd64", kernel.suite())?;
        apt.unpack(&package, &unpacked)
    })?;
    let modules = unpacked.join("lib/modules");
    let entry = fs_err::read_dir(&modules)?.next().context("the package has no modules")??;
    let version = entry.file_name().into_string().ok().context("the kernel's version is no text")?;
    Ok(Installed { image: unpacked.join(format!("boot/vmlinuz-{version}")), modules: entry.path(), version })
}

/// Where AppArmor's parser is, unpacked: the engine never runs it, tests load profiles with it.
pub(crate) fn apparmor(cache: &Path) -> Result<PathBuf> {
    let unpacked = cache.join("apparmor");
    unless_there(cache, &unpacked, |apt| apt.unpack("apparmor", &unpacked))?;
    Ok(unpacked.join("sbin/apparmor_parser"))
}

/// Unpacks something unless that was done before. Machines are made at the same time, and want the same: one after the other.
fn unless_there(cache: &Path, unpacked: &Path, unpack: impl FnOnce(&Apt) -> Result<()>) -> Result<()> {
    let done = unpacked.join("all-unpacked");
    if done.exists() {
        return Ok(());
    }
    let apt = Apt::new(cache)?;
    if done.exists() {
        return Ok(());
    }
    apt.run("apt-get", &["update", "-qq"])?;
    unpack(&apt)
}

/// apt with sources, lists and cache of its own, beside the machine's. Only one is there at a time.
struct Apt {
    home: PathBuf,
    /// Locked as long as it is open.
    _lock: fs_err::File,
    options: Vec<String>,
}

impl Apt {
    fn new(cache: &Path) -> Result<Self> {
        let home = cache.join("apt");
        for directory in ["lists/partial", "cache/archives/partial", "archives"] {
            fs_err::create_dir_all(home.join(directory))?;
        }
        let lock = fs_err::File::create(home.join("lock"))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        let uri = archive_uri()?;
        let line = |suite| {
            format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {uri} {suite} main\n")
        };
        fs_err::write(home.join("sources.list"), line("bookworm") + &line("bookworm-backports"))?;
        let here = home.display();
        let settings = [
            format!("Dir::Etc::sourcelist={here}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={here}/lists"),
            format!("Dir::Cache={here}/cache"),
            "APT::Sandbox::User=root".to_owned(),
        ];
        let options = settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect();
        Ok(Self { home, _lock: lock, options })
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.args(&self.options).args(args).current_dir(self.home.join("archives"));
        let output = command.output().with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() {
            bail!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The package behind a meta package: `linux-image-6.1.0-50-cloud-amd64`.
    fn depended_on(&self, meta: &str, suite: &str) -> Result<String> {
        let shown = self.run("apt-cache", &["show", &format!("{meta}/{suite}")])?;
        let depends =
            shown.lines().find_map(|line| line.strip_prefix("Depends: ")).context("it depends on nothing")?;
        let first = depends.split([' ', ',']).next().context("it depends on nothing")?;
        Ok(first.to_owned())
    }

    /// Downloads a package and unpacks it into a directory.
    fn unpack(&self, package: &str, to: &Path) -> Result<()> {
        let archive = self.download(package)?;
        fs_err::create_dir_all(to)?;
        let unpacked =
            Command::new("dpkg").arg("-x").arg(&archive).arg(to).status().context("cannot run dpkg")?;
        if !unpacked.success() {
            bail!("{} cannot be unpacked: {unpacked}", archive.display());
        }
        fs_err::write(to.join("all-unpacked"), "")?;
        Ok(())
    }

    /// Where the archive now is.
    fn download(&self, package: &str) -> Result<PathBuf> {
        self.run("apt-get", &["download", package])?;
        let prefix = format!("{package}_");
        let mut entries = fs_err::read_dir(self.home.join("archives"))?.filter_map(Result::ok);
        let found = entries.find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
        found.map(|entry| entry.path()).with_context(|| format!("apt-get says it has downloaded {package}"))
    }
}

/// The Debian archive that this machine's own apt uses, in either of the two formats of its sources.
fn archive_uri() -> Result<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs_err::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
    }
    let texts = files.iter().filter_map(|file| fs_err::read_to_string(file).ok());
    let words = texts.flat_map(|text| {
        let lines = text.lines().filter(|line| line.starts_with("URIs:") || line.starts_with("deb "));
        lines.flat_map(str::split_ascii_whitespace).map(str::to_owned).collect::<Vec<_>>()
    });
    let is_archive = |word: &String| word.trim_end_matches('/').ends_with("/debian");
    words.into_iter().find(is_archive).context("this machine's apt sources name no Debian archive")
}
