//! Work inside a container's network namespace: its interfaces, addresses and routes.

use std::{io, os::fd::BorrowedFd, thread};

use rustix::thread::LinkNameSpaceType;

use crate::{
    NetworkError,
    endpoint::{EndpointRecord, Way},
    link,
    netlink::{Batch, Failure, Netlink},
    sysctl,
};

/// Does something in a network namespace, on a thread of its own: whatever happens there, nobody else is left in it.
///
/// # Errors
/// The namespace cannot be entered, no thread can be made, or what `work` answers.
pub(crate) fn inside<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T, NetworkError> + Send,
) -> Result<T, NetworkError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".to_owned()).stack_size(128 << 10);
        let thread = thread.spawn_scoped(scope, || {
            rustix::thread::move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
                .map_err(NetworkError::kernel("enter a container's network namespace"))?;
            work()
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("work in a network namespace panicked").into()))
    })
}

/// A routing socket of a network namespace.
pub(crate) fn route(netns: BorrowedFd<'_>) -> Result<Netlink, NetworkError> {
    inside(netns, || Netlink::route().map_err(NetworkError::kernel("open a routing socket")))
}

/// The kernel parameters of an interface that is to have these addresses, set from inside its namespace.
pub(crate) fn prepare_interface(
    record: &EndpointRecord,
    sysctls: &[(String, String)],
) -> Result<(), NetworkError> {
    let name = &record.interface;
    match record.addresses().iter().any(|net| net.addr().is_ipv6()) {
        // Who is on a LAN listens to its routers.
        true => sysctl::enable_ipv6(name, record.driver.is_child())?,
        false => sysctl::disable_ipv6(name)?,
    }
    sysctl::announce_addresses(name)?;
    set_sysctls(record, sysctls)
}

/// The kernel parameters that somebody asks for, set from inside the interface's namespace.
pub(crate) fn set_sysctls(record: &EndpointRecord, sysctls: &[(String, String)]) -> Result<(), NetworkError> {
    let name = &record.interface;
    for (path, value) in sysctls {
        let path = path.replace("IFNAME", name);
        sysctl::set(&path, value).map_err(|error| match error {
            NetworkError::Io(e) if e.kind() == io::ErrorKind::NotFound => NetworkError::NoSuchSysctl {
                interface: match record.host_interface.as_str() {
                    "" => name.clone(),
                    outer => outer.to_owned(),
                },
                path: format!("/proc/sys/{path}"),
            },
            other => other,
        })?;
    }
    Ok(())
}

/// Gives an interface its addresses and the default routes that lead through it, one system call in the container's
/// namespace. The hardware address comes after the addresses and is set even if it stays the same: with the change the
/// kernel announces both. An interface without one of its own is switched on only then, to the same effect.
pub(crate) fn configure(
    route: &mut Netlink,
    index: u32,
    record: &EndpointRecord,
    ways: &[Way],
) -> Result<(), NetworkError> {
    let mut batch = Batch::default();
    let addresses = record.addresses();
    addresses.iter().for_each(|net| link::add_address(&mut batch, index, *net));
    match record.mac {
        Some(mac) => link::set_mac(&mut batch, index, mac),
        None => link::bring_up_index(&mut batch, index),
    }
    ways.iter().for_each(|way| link::add_default_route(&mut batch, index, *way));
    route.exchange(batch, |_, _| {}).map_err(|Failure { message, errno }| {
        let what = match (message as usize).checked_sub(addresses.len()) {
            None => "its address",
            Some(0) => "its hardware address",
            Some(_) => "its default route",
        };
        NetworkError::Kernel {
            operation: format!("give {} of the container {what}", record.interface),
            errno,
        }
    })
}

/// Leads the default routes through these interfaces, by name.
pub(crate) fn redirect(route: &mut Netlink, ways: &[(String, Way)]) -> Result<(), NetworkError> {
    for (interface, way) in ways {
        let Some(link) = link::find_by_name(route, interface)? else { continue };
        let mut batch = Batch::default();
        link::add_default_route(&mut batch, link.index, *way);
        link::run(route, batch, &format!("lead the default route through {interface}"))?;
    }
    Ok(())
}
