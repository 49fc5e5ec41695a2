//! Sending link messages and making one thing of the answers.

use std::{thread, time::Duration};

use rustix::io::Errno;

use super::{Link, delete, get_by_index, get_by_name, parse_link};
use crate::{
    NetworkError,
    netlink::{Batch, Failure, Netlink},
};

/// How often, and how many times, to look whether a new port of a bridge forwards already: before, what the container
/// sends is lost, the announcement of its address first of all. Since 6.8 the kernel sees to that when it is asked;
/// before, soon after.
const POLL: Duration = Duration::from_micros(100);
const POLLS: usize = 200;

/// Sends messages whose answers do not matter; `operation` says in an error what was tried.
pub(crate) fn run(route: &mut Netlink, batch: Batch, operation: &str) -> Result<(), NetworkError> {
    route.exchange(batch, |_, _| {}).map_err(|failure| failed(operation, failure))
}

/// Sends messages of which the last asks for links; `each` gets every answer with its type.
pub(crate) fn dump(
    route: &mut Netlink,
    batch: Batch,
    operation: &str,
    each: impl FnMut(u16, &[u8]),
) -> Result<(), NetworkError> {
    route.exchange(batch, each).map_err(|failure| failed(operation, failure))
}

/// Sends messages of which the last asks for one link, and gives that.
pub(crate) fn one_link(route: &mut Netlink, batch: Batch, operation: &str) -> Result<Link, NetworkError> {
    let mut link = None;
    dump(route, batch, operation, |kind, body| link = parse_link(kind, body))?;
    link.ok_or_else(|| failed(operation, Errno::NODEV.into()))
}

/// Removes a link. One that is gone already is no error.
pub(crate) fn remove(route: &mut Netlink, index: u32) -> Result<(), Errno> {
    let mut batch = Batch::default();
    delete(&mut batch, index);
    match route.exchange(batch, |_, _| {}) {
        Ok(()) | Err(Failure { errno: Errno::NODEV, .. }) => Ok(()),
        Err(Failure { errno, .. }) => Err(errno),
    }
}

/// The link of an index, if there is one.
pub(crate) fn find(route: &mut Netlink, index: u32) -> Result<Option<Link>, Errno> {
    let mut batch = Batch::default();
    let mut link = None;
    get_by_index(&mut batch, index);
    match route.exchange(batch, |kind, body| link = parse_link(kind, body)) {
        Ok(()) => Ok(link),
        Err(Failure { errno: Errno::NODEV, .. }) => Ok(None),
        Err(Failure { errno, .. }) => Err(errno),
    }
}

/// The link of a name, if there is one.
pub(crate) fn find_by_name(route: &mut Netlink, name: &str) -> Result<Option<Link>, NetworkError> {
    let mut batch = Batch::default();
    let mut link = None;
    get_by_name(&mut batch, name);
    match route.exchange(batch, |kind, body| link = parse_link(kind, body)) {
        Ok(()) => Ok(link),
        Err(Failure { errno: Errno::NODEV, .. }) => Ok(None),
        Err(failure) => Err(failed(&format!("look for link {name}"), failure)),
    }
}

/// Waits a moment for a link to become as it should be; what it is like then is for others to find out.
pub(crate) fn wait_until(
    route: &mut Netlink,
    index: u32,
    ready: impl Fn(&Link) -> bool,
) -> Result<(), NetworkError> {
    for _ in 0..POLLS {
        let mut batch = Batch::default();
        get_by_index(&mut batch, index);
        if ready(&one_link(route, batch, "look at a new link")?) {
            break;
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn failed(operation: &str, Failure { errno, .. }: Failure) -> NetworkError {
    NetworkError::Kernel { operation: operation.to_owned(), errno }
}
