//! The bridge of a network: made, found, or taken down.

use ipnet::IpNet;
use rustix::io::Errno;

use super::{BridgeOptions, record::NetworkRecord};
use crate::{
    NetworkError,
    endpoint::MacAddr,
    link,
    netlink::{Batch, Failure, Netlink},
    sysctl,
};

/// A network's link as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// Its index.
    pub(crate) index: u32,
    /// Whether we made it, now or earlier.
    pub(crate) ours: bool,
}

/// Makes the bridge of a network, or takes the one that is there, and sees to its addresses.
///
/// # Errors
/// The link of that name is no bridge; what the kernel refuses. A bridge that was made is removed again then.
pub(crate) fn make_bridge(
    route: &mut Netlink,
    record: &NetworkRecord,
    options: &BridgeOptions,
    alias: &str,
) -> Result<Made, NetworkError> {
    let name = &record.link;
    let operation = format!("set up bridge {name}");
    let existing = link::find_by_name(route, name)?;
    if existing.as_ref().is_some_and(|link| link.kind != "bridge") {
        return Err(NetworkError::NotABridge(name.clone()));
    }
    let new = existing.is_none();
    let ours = existing.is_none_or(|link| link.alias == alias);
    if new {
        let mut batch = Batch::default();
        link::create_bridge(&mut batch, name, MacAddr::random(), options.mtu);
        link::set_alias(&mut batch, name, alias);
        link::run(route, batch, &operation)?;
    }
    let set_up = set_up(route, record, options, &operation);
    if set_up.is_err()
        && new
        && let Ok(Some(link)) = link::find_by_name(route, name)
    {
        let mut batch = Batch::default();
        link::delete(&mut batch, link.index);
        // The error that is told is the first one.
        let _ = link::run(route, batch, &operation);
    }
    Ok(Made { index: set_up?, ours })
}

fn set_up(
    route: &mut Netlink,
    record: &NetworkRecord,
    options: &BridgeOptions,
    operation: &str,
) -> Result<u32, NetworkError> {
    let name = &record.link;
    match record.ipv6.is_empty() {
        true => sysctl::disable_ipv6(name)?,
        false => sysctl::enable_ipv6(name, false)?,
    }
    let mut batch = Batch::default();
    link::bring_up(&mut batch, name);
    link::get_by_name(&mut batch, name);
    let index = link::one_link(route, batch, operation)?.index;
    for address in addresses(record, options) {
        let mut batch = Batch::default();
        link::add_address(&mut batch, index, address);
        match route.exchange(batch, |_, _| {}) {
            Ok(()) | Err(Failure { errno: Errno::EXIST, .. }) => {}
            Err(Failure { errno, .. }) => {
                return Err(NetworkError::Kernel { operation: operation.to_owned(), errno });
            }
        }
    }
    Ok(index)
}

/// Takes its addresses from a network's bridge, so that they can be another's at once. The link itself goes later.
pub(crate) fn unmake_bridge(
    route: &mut Netlink,
    record: &NetworkRecord,
    options: &BridgeOptions,
    index: u32,
) -> Result<(), NetworkError> {
    for address in addresses(record, options) {
        let mut batch = Batch::default();
        link::delete_address(&mut batch, index, address);
        match route.exchange(batch, |_, _| {}) {
            // Somebody else was quicker: that is what was wanted.
            Ok(()) | Err(Failure { errno: Errno::NODEV | Errno::ADDRNOTAVAIL, .. }) => {}
            Err(Failure { errno, .. }) => {
                return Err(NetworkError::Kernel { operation: format!("take down {}", record.link), errno });
            }
        }
    }
    Ok(())
}

fn addresses(record: &NetworkRecord, options: &BridgeOptions) -> Vec<IpNet> {
    let v4 = record.first_ipv4().filter(|_| options.has_address(false));
    let v6 = record.first_ipv6().filter(|_| options.has_address(true));
    v4.into_iter().chain(v6).filter_map(super::Pool::gateway_net).collect()
}
