//! What the last daemon left behind: containers that run, that have ended meanwhile, and acts half done.

use std::{collections::BTreeSet, io, path::Path, sync::Arc};

use skiff_runtime::monitor::{
    connection::MonitorConnection,
    protocol::{Event, Hello},
    record::ExitRecord,
};
use skiff_types::{ContainerId, ExecId};

use super::{
    create, endpoint, etc,
    exit::{self, Ended},
    forwarding, health, links,
    parts::{Parts, blocking},
    policy, remove, start, stop,
};
use crate::{
    Error, Result, Runtime,
    container::{Container, Live},
    link::link,
    model::{ContainerRecord, Status, Timestamp},
    networks::rejoin,
    spec,
};

/// Seconds within which a monitor says what it knows.
const HELLO: u32 = 5;

pub(super) async fn reconcile(parts: &Arc<Parts>) -> Result<()> {
    restore_snapshots(parts);
    let mut to_start = Vec::new();
    for container in parts.registry.all() {
        if let Some(again) = take_over(parts, &container).await {
            to_start.push(again);
        }
    }
    parts.records.reconciled(&parts.boot).detach();
    let parts = parts.clone();
    tokio::spawn(async move {
        let _ = blocking({
            let parts = parts.clone();
            move || forwarding::resume(&parts)
        })
        .await;
        for container in links::in_order(to_start) {
            if let Err(e) = start::run(&parts, &container, start::Reason::Asked).await {
                tracing::warn!(container = container.name(), "cannot start again: {e}");
            }
        }
        let _ = blocking(move || sweep(&parts)).await;
    });
    Ok(())
}

/// A snapshot that was never written to need not have reached the disk before a power cut: it is made again.
fn restore_snapshots(parts: &Parts) {
    let snapshots: BTreeSet<String> = parts.snapshots.snapshots().into_iter().collect();
    for container in parts.registry.all() {
        if snapshots.contains(&container.id.to_string()) {
            continue;
        }
        let record = container.record();
        if record.driver != parts.snapshots.name() {
            tracing::error!(
                container = record.name,
                "its file system is kept by the storage driver {}",
                record.driver
            );
            continue;
        }
        let image = parts.images.by_id(&record.image);
        if let Err(e) = image.map_err(Error::from).and_then(|image| create::prepare(parts, &record, &image)) {
            tracing::error!(container = record.name, "its file system is lost: {e}");
        }
    }
}

/// What the run directory says of a container.
enum Found {
    Running(Box<(MonitorConnection, Hello, std::os::fd::OwnedFd)>),
    Ended(ExitRecord),
    Nothing,
}

/// Brings a container's record up to date. Answers it if its restart policy wants it started.
async fn take_over(parts: &Arc<Parts>, container: &Arc<Container>) -> Option<Arc<Container>> {
    let status = container.status();
    let found = look(&parts.run_dir(&container.id));
    match found {
        Found::Running(found) => {
            let (connection, hello, pidfd) = *found;
            if let Err(e) = resume(parts, container, connection, &hello, pidfd) {
                tracing::error!(container = container.name(), "cannot watch: {e}");
            }
            None
        }
        Found::Ended(record) => {
            remember_start(parts, container, &record);
            // Counts as running until its end is recorded, the usual way.
            exit::ended(parts, container, record.into(), None).await;
            None
        }
        // It has ended and waits for its policy's next try: nothing was lost.
        Found::Nothing if status == Status::Restarting => {
            parts.network.release(&container.id);
            endpoint::part_later(parts, container);
            let change = |record: &mut ContainerRecord| record.state.status = Status::Exited;
            container.commit(change, |record| parts.records.put(record)).1.detach();
            policy::starts_with_daemon(&container.record()).then(|| container.clone())
        }
        Found::Nothing if status.is_running() || status == Status::Starting => {
            parts.network.release(&container.id);
            let mounts = container.record().mounts.clone();
            parts.volumes.release(&container.id, &mounts);
            // After a power cut nothing says how far a start got; it may have been acknowledged.
            let was_up = status != Status::Starting
                || parts.boot.is_new
                || container.record().state.started_at.is_some();
            match was_up {
                true => {
                    container.change(|record| {
                        record.state.started_at.get_or_insert_with(Timestamp::now);
                    });
                    exit::lost(parts, container, Ended::lost("")).await;
                }
                false => {
                    endpoint::part_later(parts, container);
                    let change = |record: &mut ContainerRecord| record.state.status = Status::Created;
                    container.commit(change, |record| parts.records.put(record)).1.detach();
                }
            }
            policy::starts_with_daemon(&container.record()).then(|| container.clone())
        }
        Found::Nothing => {
            // Somebody may have to be told yet of its last end.
            parts.network.release(&container.id);
            endpoint::part_later(parts, container);
            if container.record().host.auto_remove && status == Status::Exited {
                let (parts, container) = (parts.clone(), container.clone());
                tokio::spawn(async move { remove::quietly(&parts, &container).await });
                return None;
            }
            policy::starts_with_daemon(&container.record()).then(|| container.clone())
        }
    }
}

/// A start that the last daemon did not live to record.
fn remember_start(parts: &Parts, container: &Container, record: &ExitRecord) {
    let (last_checks, _) = health::Notes::read(&parts.run_dir(&container.id));
    container.change(|r| {
        health::resumed(r, last_checks);
        let at = start::timestamp(record.started_at);
        if r.state.started_at != Some(at) {
            r.state.started_at = Some(at);
        }
        r.state.status = Status::Running;
    });
}

fn look(dir: &Path) -> Found {
    let connection = match MonitorConnection::connect(dir) {
        Ok(connection) => connection,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return ended(dir);
        }
        Err(e) => {
            tracing::error!("cannot reach the monitor in {}: {e}", dir.display());
            return ended(dir);
        }
    };
    match connection.recv(HELLO) {
        Ok((Event::Hello(hello), mut fds)) => match (&hello.exit, fds.pop()) {
            (None, Some(pidfd)) => Found::Running(Box::new((connection, hello, pidfd))),
            (Some(exit), _) => Found::Ended(*exit),
            (None, None) => ended(dir),
        },
        _ => ended(dir),
    }
}

fn ended(dir: &Path) -> Found {
    match ExitRecord::load(dir) {
        Ok(Some(record)) => Found::Ended(record),
        _ => Found::Nothing,
    }
}

/// Whether the monitor of a container whose connection was closed is there all the same; it is listened to again then.
pub(super) async fn found_again(parts: &Arc<Parts>, container: &Arc<Container>) -> bool {
    let dir = parts.run_dir(&container.id);
    let Ok(Found::Running(found)) = blocking(move || look(&dir)).await else { return false };
    let (connection, hello, pidfd) = *found;
    let resumed = resume(parts, container, connection, &hello, pidfd);
    if let Err(e) = &resumed {
        tracing::error!(container = container.name(), "cannot watch: {e}");
    }
    resumed.is_ok()
}

fn resume(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    connection: MonitorConnection,
    hello: &Hello,
    pidfd: std::os::fd::OwnedFd,
) -> io::Result<()> {
    let (link, reader) = link(connection)?;
    let (last_checks, probe) = health::Notes::read(&parts.run_dir(&container.id));
    let change = |record: &mut ContainerRecord| {
        let at = start::timestamp(hello.started_at);
        let state = &mut record.state;
        // A start that was not recorded yet; a pause or an older start stays as it is.
        if state.pid != hello.pid || !matches!(state.status, Status::Running | Status::Paused) {
            state.status = Status::Running;
            state.pid = hello.pid;
            state.exit_code = 0;
            state.started_at = Some(at);
            let endpoints = parts.network.endpoints_of(&record.id);
            endpoint::began(record, parts, &endpoints);
        }
        record.state.oom_killed |= hello.oom_kills > 0;
        health::resumed(record, last_checks);
    };
    let (record, committed) = container.commit(change, |record| parts.records.put(record));
    let cgroup = spec::own_cgroup(&record, &parts.config);
    // One that is not configured any more is none of ours.
    let foreign = parts.config.runtime(&record.host.runtime) != Some(Runtime::Own);
    let live = Arc::new(Live { pid: hello.pid, pidfd, link, cgroup, foreign });
    rejoin(parts, container, &record, &live);
    endpoint::take_over_names(parts, &record, &live);
    container.began(live);
    if record.state.status == Status::Running {
        stop::let_run(parts, container);
    }
    committed.detach();
    let is_left = |probe: &ExecId| hello.execs.iter().any(|exec| exec.id == *probe && exec.exit.is_none());
    health::end_left_probe(container, probe.filter(is_left));
    health::keep_checking(parts, container);
    tokio::spawn(exit::supervise(parts.clone(), container.clone(), reader));
    Ok(())
}

/// Removes what belongs to nobody: snapshots and directories of containers that are gone. Blocks, for as long as it takes.
fn sweep(parts: &Parts) {
    let known = |name: &str| name.parse::<ContainerId>().is_ok_and(|id| parts.registry.get(&id).is_some());
    for key in parts.snapshots.snapshots() {
        // A container may have come into being since the list was made: its record comes first.
        if key.parse::<ContainerId>().is_ok() && !known(&key) && !parts.registry.is_reserved(&key) {
            let _ = parts.snapshots.remove(&key);
        }
    }
    let (data, run) = (&parts.config.root, &parts.config.run);
    for dir in [data.join("containers"), run.join("containers"), run.join("secrets")] {
        let Ok(entries) = fs_err::read_dir(dir) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.parse::<ContainerId>().is_ok() && !known(&name) && !parts.registry.is_reserved(&name) {
                // One that was removed while its last run was still being tidied up.
                exit::remove_cgroup(parts, &spec::cgroup_below(&parts.config.cgroup_parent, &name));
                etc::unmount_shm(&entry.path());
                let _ = fs_err::remove_dir_all(entry.path());
            }
        }
    }
    if let Err(e) = parts.snapshots.collect_garbage() {
        tracing::warn!("cannot collect garbage of snapshots: {e}");
    }
    parts.spares.open();
}
