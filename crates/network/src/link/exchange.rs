//! Sending link messages and making one thing of the answers.

use rustix::io::Errno;

use super::{Link, get_by_index, parse_link};
use crate::{
    NetworkError,
    netlink::{Batch, Failure, Netlink},
};

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

fn failed(operation: &str, Failure { errno, .. }: Failure) -> NetworkError {
    NetworkError::Kernel { operation: operation.to_owned(), errno }
}
