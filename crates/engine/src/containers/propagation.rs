//! Whether what a bind mount asks to share can be shared: its source must lie on a mount that does. See mount_namespaces(7).

use std::path::{Path, PathBuf};

use crate::{
    Error, Result,
    model::{MountKind, MountPoint},
};

/// Checks every bind mount that shares with the host or receives from it. Blocks.
///
/// # Errors
/// The first whose source lies on a mount that does not, in Docker's words.
pub(super) fn check(mounts: &[MountPoint]) -> Result<()> {
    let asking = |mount: &&MountPoint| mount.kind == MountKind::Bind && Wanted::of(mount).is_some();
    if !mounts.iter().any(|mount| asking(&mount)) {
        return Ok(());
    }
    let mountinfo = fs_err::read_to_string("/proc/self/mountinfo")?;
    for mount in mounts.iter().filter(asking) {
        let source = fs_err::canonicalize(&mount.source)?;
        let Some(below) = Mounted::holding(&mountinfo, &source) else { continue };
        let lacks = match Wanted::of(mount) {
            Some(Wanted::Shared) if !below.shared => "shared",
            Some(Wanted::Slave) if !below.shared && !below.slave => "shared or slave",
            _ => continue,
        };
        return Err(Error::Internal(format!(
            "path {} is mounted on {} but it is not a {lacks} mount",
            mount.source,
            below.path.display()
        )));
    }
    Ok(())
}

enum Wanted {
    Shared,
    Slave,
}

impl Wanted {
    fn of(mount: &MountPoint) -> Option<Self> {
        match mount.propagation.as_str() {
            "shared" | "rshared" => Some(Self::Shared),
            "slave" | "rslave" => Some(Self::Slave),
            _ => None,
        }
    }
}

/// A line of mountinfo, see proc_pid_mountinfo(5).
#[derive(Debug, PartialEq)]
struct Mounted {
    path: PathBuf,
    shared: bool,
    slave: bool,
}

impl Mounted {
    /// The mount that a path without links lies on: of those stacked on one place the last.
    fn holding(mountinfo: &str, path: &Path) -> Option<Self> {
        let all = mountinfo.lines().filter_map(Self::parse).filter(|mount| path.starts_with(&mount.path));
        all.max_by_key(|mount| mount.path.as_os_str().len())
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let path = skiff_sys::mountinfo::path(words.nth(4)?);
        let optional: Vec<&str> = words.skip(1).take_while(|word| *word != "-").collect();
        let has = |tag: &str| optional.iter().any(|word| word.starts_with(tag));
        Some(Self { path, shared: has("shared:"), slave: has("master:") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 21 0:20 / /srv/a\\040b rw,relatime shared:8 - tmpfs a rw
31 21 0:21 / /srv/slave rw,relatime master:8 propagate_from:2 - tmpfs b rw
32 30 0:22 / /srv/a\\040b/c rw,relatime - tmpfs c rw
33 21 0:23 / /srv/slave rw,relatime shared:9 master:8 - tmpfs d rw
";

    #[test]
    fn the_mount_below_a_path_is_the_longest_and_the_last() {
        let at = |path: &str| Mounted::holding(MOUNTINFO, Path::new(path)).unwrap();
        let mounted = |path: &str, shared, slave| Mounted { path: path.into(), shared, slave };
        assert_eq!(at("/srv"), mounted("/", false, false));
        assert_eq!(at("/srv/a b"), mounted("/srv/a b", true, false));
        assert_eq!(at("/srv/a b/x"), mounted("/srv/a b", true, false));
        assert_eq!(at("/srv/a b/c/d"), mounted("/srv/a b/c", false, false));
        assert_eq!(at("/srv/slave"), mounted("/srv/slave", true, true));
        assert_eq!(at("/srv/slaves"), mounted("/", false, false));
    }
}
