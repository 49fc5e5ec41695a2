//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container, and its shared memory.

use std::{fmt::Write, net::IpAddr, path::Path};

use skiff_network::{
    Asks, EndpointRecord, HostsFile, NameServers, ResolvConf, hostname_file, resolv_conf_path,
};

use super::parts::Parts;
use crate::{
    Error, Result,
    container::Container,
    model::ContainerRecord,
    validate::{self, NetworkMode},
};

/// Makes the container's directory and those of its files that do not depend on its addresses. Blocks.
pub(super) fn begin(parts: &Parts, record: &ContainerRecord) -> Result<()> {
    let dir = parts.dir(&record.id);
    fs_err::create_dir_all(&dir)?;
    fs_err::write(dir.join("hostname"), hostname_file(&record.config.hostname))?;
    if matches!(validate::network_mode(&record.host.network_mode), NetworkMode::Container(_)) {
        return Ok(());
    }
    if !on_user_network(record) {
        fs_err::write(dir.join("resolv.conf"), resolv_conf(parts, record, false)?)?;
    }
    Ok(())
}

/// Writes the others. Blocks.
pub(super) fn finish(
    parts: &Parts,
    record: &ContainerRecord,
    dir: &Path,
    endpoints: &[EndpointRecord],
    shares_network_of: Option<&Container>,
) -> Result<()> {
    if let Some(other) = shares_network_of {
        // Docker mounts the other container's files; ours are the same at this moment.
        for name in ["hosts", "resolv.conf"] {
            let _ = fs_err::remove_file(dir.join(name));
            let from = parts.dir(&other.id).join(name);
            if fs_err::hard_link(&from, dir.join(name)).is_err() {
                fs_err::copy(&from, dir.join(name))?;
            }
        }
        return Ok(());
    }
    fs_err::write(dir.join("hosts"), hosts(parts, record, endpoints)?)?;
    // Networks may have changed since the beginning.
    let resolv_conf_path = dir.join("resolv.conf");
    if on_user_network(record) || !resolv_conf_path.exists() {
        fs_err::write(resolv_conf_path, resolv_conf(parts, record, on_user_network(record))?)?;
    }
    Ok(())
}

fn hosts(parts: &Parts, record: &ContainerRecord, endpoints: &[EndpointRecord]) -> Result<String> {
    let mut extra = Vec::new();
    for entry in record.host.extra_hosts.iter().flatten() {
        let (name, address) = entry.split_once(':').unwrap_or((entry, ""));
        if address == "host-gateway" {
            let bridge = parts.network.bridge().ok_or_else(|| {
                Error::Internal("unable to derive the IP value for host-gateway".to_owned())
            })?;
            extra.extend(bridge.own_addresses().map(|ip| (name.to_owned(), ip)));
            continue;
        }
        let address = address
            .parse()
            .map_err(|_| Error::Invalid(format!("invalid IP address in add-host: {address:?}")))?;
        extra.push((name.to_owned(), address));
    }
    let addresses = addresses(endpoints);
    let links: Vec<(IpAddr, String)> = record.links.iter().filter_map(|link| link.hosts.clone()).collect();
    let own = HostsFile {
        hostname: &record.config.hostname,
        domainname: &record.config.domainname,
        addresses: &addresses,
        extra: &extra,
        links: &links,
        ipv6_loopback: true,
    };
    if !on_host_network(record) {
        return Ok(own.text());
    }
    // The host's own file, with what was asked for behind it.
    let mut text = fs_err::read_to_string("/etc/hosts").unwrap_or_default();
    for (name, address) in &extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
    Ok(text)
}

/// All addresses that stand for the container in its own file.
fn addresses(endpoints: &[EndpointRecord]) -> Vec<IpAddr> {
    let of = |e: &EndpointRecord| e.ipv4.map(IpAddr::V4).into_iter().chain(e.ipv6.map(IpAddr::V6));
    endpoints.iter().flat_map(of).collect()
}

/// Adds the addresses of an endpoint to the file of a container that runs, whatever became of it. Blocks.
pub(crate) fn add_to_hosts(parts: &Parts, record: &ContainerRecord, endpoint: &EndpointRecord) {
    let mut added = HostsFile {
        hostname: &record.config.hostname,
        domainname: &record.config.domainname,
        addresses: &addresses(std::slice::from_ref(endpoint)),
        ..HostsFile::default()
    }
    .text();
    // The first line is the loopback's.
    let own = added.split_off(added.find('\n').map_or(0, |end| end + 1));
    edit_hosts(parts, record, |text| text + &own);
}

/// Takes them out again. Blocks.
pub(crate) fn take_from_hosts(parts: &Parts, record: &ContainerRecord, endpoint: &EndpointRecord) {
    let gone: Vec<String> =
        addresses(std::slice::from_ref(endpoint)).iter().map(|ip| format!("{ip}\t")).collect();
    let stays = |line: &&str| !gone.iter().any(|address| line.starts_with(address));
    edit_hosts(parts, record, |text| text.split_inclusive('\n').filter(stays).collect());
}

/// The file is mounted into the container: it is written in place. It is a convenience, which fails nobody's request.
fn edit_hosts(parts: &Parts, record: &ContainerRecord, edit: impl FnOnce(String) -> String) {
    let path = parts.dir(&record.id).join("hosts");
    let edited = fs_err::read_to_string(&path).and_then(|text| fs_err::write(&path, edit(text)));
    if let Err(e) = edited {
        tracing::warn!(container = record.name, "cannot bring /etc/hosts up to date: {e}");
    }
}

fn on_host_network(record: &ContainerRecord) -> bool {
    matches!(validate::network_mode(&record.host.network_mode), NetworkMode::Host)
}

/// Whether the container has names served to it.
fn on_user_network(record: &ContainerRecord) -> bool {
    let mode = validate::network_mode(&record.host.network_mode);
    let own =
        !matches!(mode, NetworkMode::Host | NetworkMode::Container(_)) && !record.config.network_disabled;
    own && record.network.networks.keys().any(|name| !matches!(name.as_str(), "bridge" | "host" | "none"))
}

/// Whom a container asks for what its networks do not know.
pub(crate) fn asks(parts: &Parts, record: &ContainerRecord) -> Result<Asks> {
    let (file, _, servers) = configured(parts, record)?;
    let servers = if servers.is_empty() { NameServers::Host } else { NameServers::Given(servers) };
    Ok(Asks { servers, ndots_set: file.sets_ndots() })
}

/// Names the embedded server in the file of a running container that has joined its first user-defined network, unless
/// somebody has changed the file. Blocks.
pub(crate) fn name_embedded_server(parts: &Parts, record: &ContainerRecord) {
    let path = parts.dir(&record.id).join("resolv.conf");
    let named = resolv_conf(parts, record, false).and_then(|plain| {
        if fs_err::read_to_string(&path)? == plain {
            fs_err::write(&path, resolv_conf(parts, record, true)?)?;
        }
        Ok(())
    });
    if let Err(e) = named {
        tracing::warn!(container = record.name, "cannot bring /etc/resolv.conf up to date: {e}");
    }
}

fn resolv_conf(parts: &Parts, record: &ContainerRecord, embedded: bool) -> Result<String> {
    let (file, path, _) = configured(parts, record)?;
    let file = match embedded {
        true => file.for_internal_resolver(),
        false if on_host_network(record) => file,
        false => file.for_own_network(false),
    };
    Ok(file.text(path))
}

/// The host's file with what the user says in its place, where it lies, and the servers that the user names.
fn configured(parts: &Parts, record: &ContainerRecord) -> Result<(ResolvConf, &'static str, Vec<IpAddr>)> {
    let of_host = fs_err::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let path = resolv_conf_path(&of_host);
    let text = match path {
        "/etc/resolv.conf" => of_host,
        other => fs_err::read_to_string(other).unwrap_or_default(),
    };
    let mut dns = Vec::new();
    for server in record.host.dns.iter().flatten() {
        dns.push(server.parse().map_err(|_| {
            Error::Internal(format!(
                "bad nameserver address {server}: ParseAddr({server:?}): unable to parse IP"
            ))
        })?);
    }
    let or = |mine: &Option<Vec<String>>, daemons: &[String]| match mine {
        Some(mine) if !mine.is_empty() => mine.clone(),
        _ => daemons.to_vec(),
    };
    let config = &parts.config;
    let servers = if dns.is_empty() { config.dns.clone() } else { dns };
    let search = or(&record.host.dns_search, &config.dns_search);
    let options = or(&record.host.dns_options, &config.dns_options);
    Ok((ResolvConf::parse(&text).with_overrides(&servers, &search, &options), path, servers))
}

/// Mounts the memory that other containers may share. It stays in the host's mount namespace while the container runs.
pub(super) fn mount_shm(dir: &Path, size: i64) -> Result<()> {
    use rustix::mount::MountFlags;
    let shm = dir.join("shm");
    unmount_shm(dir);
    fs_err::create_dir_all(&shm)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let options = std::ffi::CString::new(format!("mode=1777,size={size}")).expect("digits have no NUL");
    rustix::mount::mount("shm", &shm, "tmpfs", flags, options.as_c_str())
        .map_err(|e| Error::Internal(format!("mounting shm tmpfs: {e}")))
}

/// Takes it away; it may not be there.
pub(super) fn unmount_shm(dir: &Path) {
    let flags = rustix::mount::UnmountFlags::DETACH | rustix::mount::UnmountFlags::NOFOLLOW;
    let _ = rustix::mount::unmount(dir.join("shm"), flags);
}
