//! A container's link in a `macvlan` or `ipvlan` network: a child of the parent, made in the container's namespace itself.
//!
//! The host sees nothing of it. It is known by its name inside, and goes with the namespace.

use std::{
    os::fd::BorrowedFd,
    thread,
    time::{Duration, Instant},
};

use rustix::io::Errno;

use crate::{
    EndpointRecord, NetworkError, ParentError,
    endpoint::Way,
    link::{self, Link},
    netlink::{Batch, Failure, Netlink},
    networks::{self, ChildKind, ChildOptions},
    plug::Plug,
    sandbox,
};

/// How long a parent is asked again that has another child, and how often.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);

/// Makes a child of the network's parent in a container's namespace and configures it.
///
/// # Errors
/// The parent is gone, or can have no such child; what the kernel refuses. A child that was made goes with the endpoint.
pub(crate) fn insert(
    netns: BorrowedFd<'_>,
    plug: &Plug,
    options: &ChildOptions,
    ways: &[Way],
) -> Result<(), NetworkError> {
    let record = &plug.record;
    let name = &record.interface;
    let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
    // It may be another link of that name than when the network was made.
    let parent = networks::find_parent(&mut route, &options.parent)?
        .ok_or_else(|| ParentError::Lost(options.parent.clone()))?;
    create(netns, record, parent.index, options.kind, &mut route)?;
    sandbox::inside(netns, || {
        let mut inside = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        sandbox::prepare_interface(record, &plug.sysctls)?;
        let mut batch = Batch::default();
        link::set_alias(&mut batch, name, link::ALIAS);
        // One without a hardware address of its own is switched on when it has its addresses.
        if record.mac.is_some() {
            link::bring_up(&mut batch, name);
        }
        link::get_by_name(&mut batch, name);
        let index = link::one_link(&mut inside, batch, &format!("bring up {name}"))?.index;
        sandbox::configure(&mut inside, index, record, ways)
    })
}

/// Makes the child. A parent that wants no other beside it is asked again for a moment: the kernel takes a namespace down some time after
/// its last process, and until then a child in it is there.
fn create(
    netns: BorrowedFd<'_>,
    record: &EndpointRecord,
    parent: u32,
    kind: ChildKind,
    route: &mut Netlink,
) -> Result<(), ParentError> {
    let driver = kind.driver();
    let until = Instant::now() + PATIENCE;
    loop {
        let mut batch = Batch::default();
        link::create_child(&mut batch, &record.interface, parent, kind, record.mac, netns);
        match route.exchange(batch, |_, _| {}) {
            Ok(()) => return Ok(()),
            Err(Failure { errno: Errno::INVAL | Errno::BUSY, .. }) if Instant::now() < until => {
                thread::sleep(PAUSE);
            }
            Err(Failure { errno, .. }) => return Err(ParentError::Child { driver, errno }),
        }
    }
}

/// Whether a link in a container's namespace is a child that we made.
fn is_ours(link: &Link) -> bool {
    matches!(link.kind.as_str(), "macvlan" | "ipvlan")
        && (link.alias == link::ALIAS || link.group == link::UNFINISHED)
}

/// Removes the children that we made in a namespace and whose names are not among the `known`: a daemon was killed while it made or removed
/// one. Answers the names of those that are there. `inside` is a socket of the namespace.
pub(crate) fn remove_strays(inside: &mut Netlink, known: &[&str]) -> Result<Vec<String>, NetworkError> {
    let mut batch = Batch::default();
    link::get_all(&mut batch);
    let mut ours = Vec::new();
    link::dump(inside, batch, "list a container's links", |kind, body| {
        ours.extend(link::parse_link(kind, body).filter(is_ours));
    })?;
    let (there, strays): (Vec<_>, Vec<_>) =
        ours.into_iter().partition(|link| known.contains(&link.name.as_str()));
    for stray in strays {
        let mut batch = Batch::default();
        link::delete(&mut batch, stray.index);
        link::run(inside, batch, &format!("remove {}", stray.name))?;
    }
    Ok(there.into_iter().map(|link| link.name).collect())
}

/// Takes the child of an endpoint away whose container goes on; `inside` is a socket of its namespace. There is nothing to do if the
/// container has called it otherwise, removed it itself, or has one of its own of that name.
pub(crate) fn remove(record: &EndpointRecord, inside: &mut Netlink) -> Result<(), NetworkError> {
    let there = link::find_by_name(inside, &record.interface)?;
    let Some(child) = there.filter(is_ours) else { return Ok(()) };
    link::remove(inside, child.index).map_err(NetworkError::kernel(format!("remove {}", record.interface)))
}
