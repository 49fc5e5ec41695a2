//! The parent link of a `macvlan` or `ipvlan` network: found, or made and taken away again.
//!
//! A parent that is missing is made if it is a VLAN of a link that is there (`eth0.50`), or if nobody named one (a dummy link). What was
//! made has the daemon's alias, and goes with the last network that uses it.

use rustix::io::Errno;
use skiff_types::NetworkId;

use super::{child::ChildOptions, links::Made};
use crate::{
    NetworkError,
    error::go_errno,
    link::{self, MAX_NAME},
    netlink::{Batch, Failure, Netlink},
};

/// Why a network cannot have the parent, the mode or the flag that it asks for, or a container no child of it. The texts are Docker's,
/// but where a kernel lacks the kind of link: Docker says only "operation not supported".
#[derive(Debug, thiserror::Error)]
pub enum ParentError {
    /// The kernel has no such mode.
    #[error("requested macvlan mode '{0}' is not valid, 'bridge' mode is the macvlan driver default")]
    MacvlanMode(String),
    /// The same of `ipvlan`.
    #[error("requested ipvlan mode '{0}' is not valid, 'l2' mode is the ipvlan driver default")]
    IpvlanMode(String),
    /// The kernel has no such flag.
    #[error("requested ipvlan flag '{0}' is not valid, 'bridge' is the ipvlan driver default")]
    IpvlanFlag(String),
    /// `lo` has no LAN; the driver.
    #[error("loopback interface is not a valid {0} parent link")]
    Loopback(&'static str),
    /// A network that wants a parent for itself finds it in use.
    #[error("cannot use mode passthru, macvlan network {other} is already using parent interface {parent}")]
    UsedBeforePassthru {
        /// Who uses it.
        other: NetworkId,
        /// The parent.
        parent: String,
    },
    /// Another network has the parent for itself.
    #[error("macvlan network {other} is already using parent interface {parent} in mode passthru")]
    UsedByPassthru {
        /// Which.
        other: NetworkId,
        /// The parent.
        parent: String,
    },
    /// Networks of `ipvlan` do not share parents.
    #[error("network di-{other} is already using parent interface {parent}")]
    UsedByIpvlan {
        /// The short id of the one that has it.
        other: String,
        /// The parent.
        parent: String,
    },
    /// A missing parent that is no VLAN.
    #[error("invalid subinterface vlan name {0}, example formatting is eth0.10")]
    NotAVlan(String),
    /// A name with more than one point.
    #[error("required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received {0}")]
    VlanName(String),
    /// What follows the point is no number.
    #[error("unable to parse a valid vlan id from: {0} (ex. eth0.10 for vlan 10)")]
    VlanNumber(String),
    /// What comes before the point is no link.
    #[error("-o parent interface was not found on the host: {0}")]
    NoMaster(String),
    /// The number is none of a VLAN.
    #[error("vlan id must be between 1-4094, received: {0}")]
    VlanRange(i64),
    /// The kernel does not make the VLAN.
    #[error("failed to create {link} vlan link: {}", lacking(*.errno, "VLANs (8021q)"))]
    Vlan {
        /// Its name.
        link: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The kernel does not make the dummy link.
    #[error("failed to create {link}, the parent of a network without a parent: {}", lacking(*.errno, "dummy links"))]
    Dummy {
        /// Its name.
        link: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The parent went away.
    #[error("the requested parent interface {0} was not found on the Docker host")]
    Lost(String),
    /// The kernel does not make a child.
    #[error("failed to create the {driver} port: {}", lacking(*.errno, &format!("{driver} links")))]
    Child {
        /// The driver.
        driver: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A hardware address was asked for where there is none of one's own.
    #[error(
        "failed to create endpoint {endpoint} on network {network}: ipvlan interfaces do not support custom mac address assignment"
    )]
    OwnMac {
        /// The container's name.
        endpoint: String,
        /// The network's name.
        network: String,
    },
}

/// The kernel's answer, and what it means if the kernel cannot make links of a kind.
fn lacking(errno: Errno, what: &str) -> String {
    match errno {
        Errno::OPNOTSUPP => format!("operation not supported: this kernel has no {what}"),
        other => go_errno(other),
    }
}

/// Finds the parent of a network or makes it.
///
/// # Errors
/// It is not there and cannot be made. Nothing is left then.
pub(crate) fn make_parent(
    route: &mut Netlink,
    options: &ChildOptions,
    alias: &str,
) -> Result<Made, NetworkError> {
    let name = &options.parent;
    if let Some(link) = find(route, name)? {
        return Ok(Made { index: link.index, ours: link.alias == alias });
    }
    let mut batch = Batch::default();
    let failed: fn(String, Errno) -> ParentError = match options.is_dummy {
        true => {
            link::create_dummy(&mut batch, name);
            |link, errno| ParentError::Dummy { link, errno }
        }
        false => {
            let (master, number) = vlan(name)?;
            let master_link = find(route, master)?.ok_or_else(|| ParentError::NoMaster(master.to_owned()))?;
            let number = u16::try_from(number)
                .ok()
                .filter(|n| (1..=4094).contains(n))
                .ok_or(ParentError::VlanRange(number))?;
            link::create_vlan(&mut batch, name, master_link.index, number);
            |link, errno| ParentError::Vlan { link, errno }
        }
    };
    route.exchange(batch, |_, _| {}).map_err(|Failure { errno, .. }| failed(name.clone(), errno))?;
    let mut batch = Batch::default();
    link::set_alias(&mut batch, name, alias);
    link::bring_up(&mut batch, name);
    link::get_by_name(&mut batch, name);
    match link::one_link(route, batch, &format!("failed to enable {name} the parent link")) {
        Ok(link) => Ok(Made { index: link.index, ours: true }),
        Err(error) => {
            if let Ok(Some(link)) = find(route, name) {
                // The error that is told is the first one.
                let _ = unmake_parent(route, name, link.index);
            }
            Err(error)
        }
    }
}

/// Removes a parent that was made.
pub(crate) fn unmake_parent(route: &mut Netlink, name: &str, index: u32) -> Result<(), NetworkError> {
    link::remove(route, index).map_err(NetworkError::kernel(format!("remove {name}")))
}

/// The link of a name; there is none whose name is longer than the kernel allows.
pub(crate) fn find(route: &mut Netlink, name: &str) -> Result<Option<link::Link>, NetworkError> {
    match name.len() {
        1..=MAX_NAME => link::find_by_name(route, name),
        _ => Ok(None),
    }
}

/// The link and the number that the name of a VLAN stands for.
fn vlan(name: &str) -> Result<(&str, i64), ParentError> {
    let (master, number) = name.split_once('.').ok_or_else(|| ParentError::NotAVlan(name.to_owned()))?;
    if number.contains('.') {
        return Err(ParentError::VlanName(name.to_owned()));
    }
    let number = number.parse().map_err(|_| ParentError::VlanNumber(number.to_owned()))?;
    Ok((master, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Docker 28.5.2.
    #[test]
    fn names_of_vlans_are_a_link_and_a_number() {
        assert_eq!(vlan("eth0.50").unwrap(), ("eth0", 50));
        for (name, words) in [
            ("nope", "invalid subinterface vlan name nope, example formatting is eth0.10"),
            ("eth0.x", "unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)"),
            (
                "eth0.1.2",
                "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received eth0.1.2",
            ),
        ] {
            assert_eq!(vlan(name).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn what_the_kernel_lacks_is_said() {
        let error = ParentError::Child { driver: "ipvlan", errno: Errno::OPNOTSUPP };
        let words =
            "failed to create the ipvlan port: operation not supported: this kernel has no ipvlan links";
        assert_eq!(error.to_string(), words);
    }
}
