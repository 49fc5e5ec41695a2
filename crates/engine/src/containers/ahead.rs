//! What is made of a container before anybody starts it. Whoever creates a container starts it at once, most of the time, and
//! there is nothing else to do while its record is flushed: its root file system is mounted, its directory gets the
//! files that can be known, and a monitor makes its cgroup. When no start comes, all of it is let go of; none of it outlives the daemon.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use skiff_runtime::launcher::Starting;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    etc, exit, files,
    parts::{Parts, blocking},
    spare::Spare,
    start,
};
use crate::{Result, container::Container, model::ContainerRecord, spec};

/// For so many containers at the same time.
pub(crate) const MOST: usize = 4;

/// How long a start may be in coming.
const PATIENCE: Duration = Duration::from_secs(1);

/// Dropping it takes it back: blocks, and flushes what the file system holds.
pub(crate) struct Ahead {
    pub(super) root: OwnedFd,
    pub(super) starting: Starting,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Makes it, if there is room for it. Blocks.
pub(super) fn make(parts: &Parts, container: &Container, record: &ContainerRecord) -> Option<Ahead> {
    let permit = parts.ahead.clone().try_acquire_owned().ok()?;
    let cgroup = spec::cgroup_path(record, &parts.config);
    // A start that finds nothing tries again, and tells why it cannot.
    let (root, starting) = make_now(parts, container, record, &cgroup).ok()?;
    Some(Ahead { root, starting, _permit: Some(permit) })
}

/// What a spare has of it. Blocks.
pub(super) fn adopt(parts: &Parts, record: &ContainerRecord, spare: Spare) -> Option<Ahead> {
    let (root, starting) = spare.hand_over()?;
    etc::begin(parts, record).ok()?;
    Some(Ahead { root, starting, _permit: None })
}

/// The root file system and the start of a container, made ahead or now. Blocks.
pub(super) fn take_or_make(
    parts: &Parts,
    container: &Container,
    record: &ContainerRecord,
) -> Result<(OwnedFd, Starting)> {
    if let Some(Ahead { root, starting, _permit }) = container.ahead().take() {
        if starting.is_waiting() {
            return Ok((root, starting));
        }
        // Its monitor was killed, and has left its cgroup.
        drop((root, starting));
        exit::remove_cgroup(parts, &record.state.cgroup);
    }
    make_now(parts, container, record, &record.state.cgroup)
}

/// The monitor works while the rest is done here.
fn make_now(
    parts: &Parts,
    container: &Container,
    record: &ContainerRecord,
    cgroup: &str,
) -> Result<(OwnedFd, Starting)> {
    let starting = start::begin(parts, cgroup)?;
    let root = files::mount(parts, container, record)?;
    etc::begin(parts, record)?;
    Ok((root, starting))
}

/// Lets go of it in a while. A start that comes at this moment waits: its own monitor would make the same cgroup, which the
/// old one removes.
pub(super) async fn let_go(container: Arc<Container>) {
    tokio::time::sleep(PATIENCE).await;
    if container.ahead().is_some() {
        // A panic has been printed.
        let _ = blocking(move || drop(container.ahead().take())).await;
    }
}
