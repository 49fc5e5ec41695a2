//! Opening the sockets, before anything slow happens: clients that come early wait in the kernel's queue.

use std::{
    io,
    net::{TcpListener, ToSocketAddrs},
    os::{
        fd::OwnedFd,
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{fs::Mode, net::AddressFamily, process::Gid};

use super::hosts::Host;

/// An open socket.
#[derive(Debug)]
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Every open socket, and the files to remove in the end.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) sockets: Vec<Listener>,
    files: Vec<PathBuf>,
}

/// First descriptor of socket activation (sd_listen_fds(3)).
const FIRST_INHERITED: i32 = 3;

impl Listeners {
    /// Opens what `host` says. `group` is the group of Unix sockets.
    ///
    /// # Errors
    /// The address is in use or not ours, systemd passed no such socket, the group does not exist.
    pub(super) fn open(&mut self, host: &Host, group: Option<&str>) -> Result<(), String> {
        match host {
            Host::Unix(path) => {
                let listener = unix(path, group)
                    .map_err(|e| format!("can't create unix socket {}: {e}", path.display()))?;
                self.files.push(path.clone());
                self.sockets.push(Listener::Unix(listener));
            }
            Host::Tcp(name, port) => {
                let failed = |e| format!("failed to listen on tcp://{name}:{port}: {e}");
                let addresses: Vec<_> = (name.as_str(), *port).to_socket_addrs().map_err(failed)?.collect();
                let listener = TcpListener::bind(addresses.as_slice()).map_err(failed)?;
                self.sockets.push(Listener::Tcp(listener));
            }
            Host::Inherited(which) => self.sockets.extend(inherited(which.as_deref())?),
        }
        Ok(())
    }

    /// Removes the files of Unix sockets.
    pub(super) fn remove_files(files: &[PathBuf]) {
        for file in files {
            let _ = fs_err::remove_file(file);
        }
    }

    pub(super) fn into_parts(self) -> (Vec<Listener>, Vec<PathBuf>) {
        (self.sockets, self.files)
    }
}

fn unix(path: &Path, group: Option<&str>) -> Result<UnixListener, String> {
    let text = |e: io::Error| e.to_string();
    if let Some(directory) = path.parent() {
        fs_err::create_dir_all(directory).map_err(text)?;
    }
    if path.exists() {
        if UnixStream::connect(path).is_ok() {
            return Err("another daemon listens there".to_owned());
        }
        fs_err::remove_file(path).map_err(text)?;
    }
    let gid = match group {
        Some(group) => group_id(group)?.ok_or_else(|| format!("group {group} not found"))?,
        None => group_id("docker")?.unwrap_or(Gid::ROOT),
    };
    // Nobody but us may connect before the group is set.
    let umask = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(umask);
    let listener = bound.map_err(text)?;
    rustix::fs::chown(path, Some(rustix::process::geteuid()), Some(gid)).map_err(|e| e.to_string())?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(text)?;
    Ok(listener)
}

/// The id of a group by name or number, from /etc/group: no other source is asked.
fn group_id(group: &str) -> Result<Option<Gid>, String> {
    let text = match fs_err::read_to_string("/etc/group") {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.to_string()),
    };
    Ok(find_group(&text, group).map(Gid::from_raw))
}

fn find_group(file: &str, group: &str) -> Option<u32> {
    let by_name = file.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(group);
        found.then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    by_name.or_else(|| group.parse().ok())
}

/// Sockets that systemd opened for this process: all, or one by number or name.
fn inherited(which: Option<&str>) -> Result<Vec<Listener>, String> {
    let variable = |name| std::env::var(name).ok();
    let ours = variable("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
    let count = variable("LISTEN_FDS").filter(|_| ours).and_then(|n| n.parse::<i32>().ok()).unwrap_or(0);
    if count < 1 {
        return Err(
            "no sockets found via socket activation: make sure the service was started by systemd".to_owned()
        );
    }
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut listeners = Vec::new();
    for number in FIRST_INHERITED..FIRST_INHERITED + count {
        let name = names.next().unwrap_or_default();
        if which.is_none_or(|wanted| wanted == name || wanted == number.to_string()) {
            let fd = skiff_sys::fd::adopt(number).map_err(|e| format!("socket {number} of systemd: {e}"))?;
            listeners.push(listener(fd).map_err(|e| format!("socket {number} of systemd: {e}"))?);
        }
    }
    match (listeners.is_empty(), which) {
        (true, Some(which)) => Err(format!("failed to find socket activated {which}")),
        _ => Ok(listeners),
    }
}

fn listener(fd: OwnedFd) -> io::Result<Listener> {
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(match rustix::net::sockopt::socket_domain(&fd)? {
        AddressFamily::UNIX => Listener::Unix(fd.into()),
        _ => Listener::Tcp(fd.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name_and_number() {
        let file = "root:x:0:\ndocker:x:997:alice,bob\nbroken\n1000:x:5:\n";
        assert_eq!(find_group(file, "docker"), Some(997));
        assert_eq!(find_group(file, "42"), Some(42));
        assert_eq!(find_group(file, "1000"), Some(5));
        assert_eq!(find_group(file, "nobody"), None);
        assert_eq!(find_group(file, "broken"), None);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/skiff.sock");
        let mut listeners = Listeners::default();
        listeners.open(&Host::Unix(path.clone()), Some("0")).unwrap();
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let message = Listeners::default().open(&Host::Unix(path.clone()), None).unwrap_err();
        assert!(message.contains("another daemon listens there"), "{message}");
        drop(listeners);
        assert!(path.exists());
        Listeners::default().open(&Host::Unix(path.clone()), None).unwrap();
        let message = Listeners::default().open(&Host::Unix(path), Some("no-such-group")).unwrap_err();
        assert!(message.ends_with("group no-such-group not found"), "{message}");
    }
}
