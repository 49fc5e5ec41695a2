//! Mounting what the options name: mount(2), whose words Docker's users know.

use std::{ffi::CString, net::ToSocketAddrs, path::Path};

use rustix::{
    fs::{AtFlags, CWD, StatxAttributes, StatxFlags},
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, UnmountFlags},
};

use super::Options;
use crate::{Error, Result};

/// A mount, ready to be made.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    flags: MountFlags,
    /// Changes of propagation, which are calls of their own.
    propagation: Vec<MountPropagationFlags>,
    /// What the file system itself is told.
    data: String,
}

/// The flags of mount(8) that are no business of the file system: set (true) or cleared.
const FLAGS: &[(&str, bool, MountFlags)] = &[
    ("ro", true, MountFlags::RDONLY),
    ("rw", false, MountFlags::RDONLY),
    ("nosuid", true, MountFlags::NOSUID),
    ("suid", false, MountFlags::NOSUID),
    ("nodev", true, MountFlags::NODEV),
    ("dev", false, MountFlags::NODEV),
    ("noexec", true, MountFlags::NOEXEC),
    ("exec", false, MountFlags::NOEXEC),
    ("sync", true, MountFlags::SYNCHRONOUS),
    ("async", false, MountFlags::SYNCHRONOUS),
    ("dirsync", true, MountFlags::DIRSYNC),
    ("noatime", true, MountFlags::NOATIME),
    ("atime", false, MountFlags::NOATIME),
    ("nodiratime", true, MountFlags::NODIRATIME),
    ("diratime", false, MountFlags::NODIRATIME),
    ("relatime", true, MountFlags::RELATIME),
    ("norelatime", false, MountFlags::RELATIME),
    ("strictatime", true, MountFlags::STRICTATIME),
    ("nostrictatime", false, MountFlags::STRICTATIME),
    ("bind", true, MountFlags::BIND),
    ("rbind", true, MountFlags::BIND.union(MountFlags::REC)),
    ("defaults", false, MountFlags::empty()),
];

const PROPAGATION: &[(&str, MountPropagationFlags)] = &[
    ("private", MountPropagationFlags::PRIVATE),
    ("rprivate", MountPropagationFlags::PRIVATE.union(MountPropagationFlags::REC)),
    ("shared", MountPropagationFlags::SHARED),
    ("rshared", MountPropagationFlags::SHARED.union(MountPropagationFlags::REC)),
    ("slave", MountPropagationFlags::DOWNSTREAM),
    ("rslave", MountPropagationFlags::DOWNSTREAM.union(MountPropagationFlags::REC)),
    ("unbindable", MountPropagationFlags::UNBINDABLE),
    ("runbindable", MountPropagationFlags::UNBINDABLE.union(MountPropagationFlags::REC)),
];

impl Call {
    fn parse(options: &str) -> Self {
        let mut call = Self { flags: MountFlags::empty(), propagation: Vec::new(), data: String::new() };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            if let Some((_, set, flag)) = FLAGS.iter().find(|(name, ..)| *name == option) {
                call.flags.set(*flag, *set);
            } else if let Some((_, change)) = PROPAGATION.iter().find(|(name, _)| *name == option) {
                call.propagation.push(*change);
            } else {
                if !call.data.is_empty() {
                    call.data.push(',');
                }
                call.data.push_str(option);
            }
        }
        call
    }
}

/// Mounts over `target` what the options say.
pub(super) fn mount(options: &Options, target: &Path) -> Result<()> {
    if options.device.is_empty() {
        return Err(Error::NoDevice);
    }
    let call = Call::parse(&with_address(options)?);
    let failed = |errno| Error::Mount { call: describe(options, target, &call), errno };
    let data = CString::new(call.data.as_str()).map_err(|_| failed(Errno::INVAL))?;
    let Call { flags, propagation, .. } = &call;
    rustix::mount::mount(options.device.as_str(), target, options.kind.as_str(), *flags, data.as_c_str())
        .map_err(failed)?;
    let rest = || {
        // A bind mount takes its attributes only when it is there.
        let attributes = *flags - MountFlags::BIND - MountFlags::REC;
        if flags.contains(MountFlags::BIND) && !attributes.is_empty() {
            rustix::mount::mount_remount(target, MountFlags::BIND | attributes, "")?;
        }
        propagation.iter().try_for_each(|change| rustix::mount::mount_change(target, *change))
    };
    rest().map_err(|errno| {
        // Half of what was asked for is not to be used.
        let _ = unmount(target);
        failed(errno)
    })
}

/// What was tried, as Docker tells it, without secrets.
fn describe(options: &Options, target: &Path, call: &Call) -> String {
    let mut text = format!("mount {}:{}", options.device, target.display());
    if !call.flags.is_empty() {
        text += &format!(", flags: {:#x}", call.flags.bits());
    }
    if !call.data.is_empty() {
        let secret = |option: &str| match option.strip_prefix("password=") {
            Some(_) => "password=********".to_owned(),
            None => option.to_owned(),
        };
        let data: Vec<String> = call.data.split(',').map(secret).collect();
        text += &format!(", data: {}", data.join(","));
    }
    text
}

/// The kernel's network file systems take addresses as numbers only.
fn with_address(options: &Options) -> Result<String> {
    let network = matches!(options.kind.as_str(), "nfs" | "nfs4" | "cifs");
    let mut words: Vec<String> = options.mount.split(',').map(str::to_owned).collect();
    for word in &mut words {
        let Some(host) = word.strip_prefix("addr=").filter(|host| network && !host.is_empty()) else {
            continue;
        };
        if host.parse::<std::net::IpAddr>().is_err() {
            let address = (host, 0).to_socket_addrs().map_err(Error::Address)?.next();
            let address = address.ok_or_else(|| Error::Address(std::io::ErrorKind::NotFound.into()))?;
            *word = format!("addr={}", address.ip());
        }
    }
    Ok(words.join(","))
}

/// Whether something is mounted exactly at `path`.
pub(super) fn is_mounted(path: &Path) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(CWD, path, flags, StatxFlags::TYPE)
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Takes off what is mounted over `target`; whoever still uses it keeps it.
pub(super) fn unmount(target: &Path) -> Result<()> {
    match rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The mount points at or below `path`, in this mount namespace.
pub(super) fn below(path: &Path) -> Result<Vec<std::path::PathBuf>> {
    let text = fs_err::read_to_string("/proc/self/mountinfo")?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(skiff_sys::mountinfo::path);
    Ok(points.filter(|point| point.starts_with(path)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_the_kernels_and_the_rest_is_the_file_systems() {
        let call = Call::parse("rbind,ro,rw,nosuid,rslave,uid=5,size=1m,defaults");
        assert_eq!(call.flags, MountFlags::BIND | MountFlags::REC | MountFlags::NOSUID);
        assert_eq!(call.propagation, [MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC]);
        assert_eq!(call.data, "uid=5,size=1m");
    }

    #[test]
    fn passwords_are_not_told() {
        let options = Options {
            kind: "cifs".into(),
            device: "//host/x".into(),
            mount: "user=a,password=secret,addr=10.0.0.1".into(),
            size: 0,
        };
        let call = Call::parse(&with_address(&options).unwrap());
        assert_eq!(call.data, "user=a,password=secret,addr=10.0.0.1");
        let text = describe(&options, Path::new("/v"), &call);
        assert_eq!(text, "mount //host/x:/v, data: user=a,password=********,addr=10.0.0.1");
    }
}
