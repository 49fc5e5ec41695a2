//! What a running container's monitor tells, and above all its end.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use skiff_runtime::{
    cgroups::{Cgroup, CgroupPath},
    monitor::{
        protocol::{Event, Exit, UnixTime},
        record::ExitRecord,
    },
};

use super::{
    WaitOutcome, endpoint, etc, health,
    parts::{Parts, blocking},
    policy, reconcile, remove, start,
};
use crate::{
    container::Container,
    execs,
    link::Reader,
    model::{ContainerRecord, Status, Timestamp},
    spec,
};

/// Listens to a monitor until its container has ended. (Boxed, because an end may lead to another start.)
pub(super) fn supervise(
    parts: Arc<Parts>,
    container: Arc<Container>,
    reader: Reader,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(listen(parts, container, reader))
}

async fn listen(parts: Arc<Parts>, container: Arc<Container>, mut reader: Reader) {
    let exit = loop {
        match reader.next().await {
            Some(Event::Exited(record)) => break Ended::from(record),
            Some(event) => on_event(&parts, &container, event),
            // A monitor lets go of a daemon that it does not understand.
            None if reconcile::found_again(&parts, &container).await => return,
            None => break Ended::unseen(&parts, &container).await,
        }
    };
    ended(&parts, &container, exit, Some(reader)).await;
}

/// What is told while the container runs.
fn on_event(parts: &Parts, container: &Arc<Container>, event: Event) {
    match event {
        Event::Hello(hello) => {
            for exec in hello.execs {
                if let Some((exit, _)) = exec.exit {
                    execs::ended(parts, container, exec.id, exit);
                }
            }
            if hello.oom_kills > 0 {
                container.change(|record| record.state.oom_killed = true);
            }
        }
        Event::OomKill { .. } => {
            container.change(|record| record.state.oom_killed = true);
            parts.tell(container, "oom", &memory_figures(parts, container));
        }
        Event::ExecExited { id, exit, .. } => execs::ended(parts, container, id, exit),
        Event::LogTrouble(health) => {
            let name = container.name();
            match health.errno {
                Some(errno) => {
                    tracing::warn!(container = name, errno, lost = health.lost, "log lines are lost")
                }
                None => tracing::info!(container = name, lost = health.lost, "log lines are kept again"),
            }
        }
        Event::ExecStarted { id, pid } => execs::started(container, id, pid),
        Event::Answer { .. } | Event::ExecFailed { .. } | Event::Exited(_) => {}
    }
}

/// What the control group says while it is there: whoever looks later finds it with the event.
fn memory_figures(parts: &Parts, container: &Container) -> Vec<(&'static str, String)> {
    let Ok(live) = container.live() else { return Vec::new() };
    let Ok(path) = CgroupPath::parse(&live.cgroup) else { return Vec::new() };
    let reading = Cgroup::open(&parts.host.facts.cgroups, &path).meter().read();
    let figures = [
        ("memoryLimit", reading.memory_limit),
        ("memoryUsage", reading.memory),
        ("memoryPeak", reading.activity.memory_peak),
        ("oomKills", reading.activity.oom_kills),
    ];
    // Unlimited, or not told by this kernel.
    let known = |n: &u64| *n > 0 && *n < 1 << 62;
    figures.into_iter().filter(|(_, n)| known(n)).map(|(name, n)| (name, n.to_string())).collect()
}

/// How a container ended, as far as anybody knows.
pub(super) struct Ended {
    code: i32,
    at: Timestamp,
    oom_killed: bool,
    error: String,
}

impl From<ExitRecord> for Ended {
    fn from(record: ExitRecord) -> Self {
        Self {
            code: record.exit.code(),
            at: start::timestamp(record.exited_at),
            oom_killed: record.oom_killed,
            error: String::new(),
        }
    }
}

impl Ended {
    /// The monitor went away without a word: either it had written its record already, or it was killed, and its
    /// container with it.
    async fn unseen(parts: &Parts, container: &Container) -> Self {
        let dir = parts.run_dir(&container.id);
        match blocking(move || ExitRecord::load(&dir)).await {
            Ok(Ok(Some(record))) => record.into(),
            _ => Self::lost("the container's monitor was killed"),
        }
    }

    /// Nobody saw it end.
    pub(super) fn lost(error: &str) -> Self {
        Self {
            code: Exit::Signal(crate::signal::KILL).code(),
            at: start::timestamp(UnixTime::now()),
            oom_killed: false,
            error: error.to_owned(),
        }
    }
}

/// As [`ended`] for a container that was lost with the host: nothing acts on its end, the start decides about that.
pub(super) async fn lost(parts: &Arc<Parts>, container: &Arc<Container>, exit: Ended) {
    container.stopping.store(true, Ordering::Release);
    let stopped = container.record().stopped_by_user;
    ended(parts, container, exit, None).await;
    container.change(|record| record.stopped_by_user = stopped);
    container.stopping.store(false, Ordering::Release);
}

/// Records the end, tells everybody, and lets go of what the container held. The monitor, if there is one, is about to end.
pub(super) async fn ended(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    exit: Ended,
    monitor: Option<Reader>,
) {
    // Whoever restarts it goes on as soon as he is told of the end.
    let restarting = container.restarting.load(Ordering::Acquire);
    drop(container.take_live());
    container.checked_by(None);
    execs::container_ended(parts, container);
    parts.network.release(&container.id);
    let by_hand = container.stopping.load(Ordering::Acquire) || policy::was_stopped(&container.record());
    let lasted =
        container.record().state.started_at.map_or(0, |at| exit.at.duration_since(at).as_secs()).max(0);
    let end = policy::End { code: exit.code, unhealthy: container.unhealthy.swap(false, Ordering::AcqRel) };
    let restart = {
        let record = container.record();
        !by_hand
            && !container.is_being_removed()
            && policy::wants_restart(&record.host.restart_policy, end, record.restart_count)
    };
    // Told before the record changes: the record still says which networks it leaves.
    endpoint::tell(parts, container, "disconnect");
    let change = |record: &mut ContainerRecord| {
        record.state.status = if restart { Status::Restarting } else { Status::Exited };
        record.state.pid = 0;
        record.state.exit_code = exit.code;
        record.state.oom_killed |= exit.oom_killed;
        record.state.error.clone_from(&exit.error);
        record.state.finished_at = Some(exit.at);
        record.stopped_by_user |= by_hand;
        record.restart_count += u32::from(restart);
        health::nobody_checks(record);
        endpoint::ended(record);
    };
    let (record, committed) = container.commit(change, |record| {
        parts.records.put_with_endpoints(record, &parts.network.leaving(&record.id))
    });
    // Until then the exit record says it, but not that a person wanted it.
    let committed = if by_hand { committed.at_once() } else { committed.unhurried() };
    parts.volumes.tell_released(&record);
    parts.last_use.of_container(&record);
    parts.budget.look();
    parts.forwarders.ended(&container.id);
    let die = [("exitCode", exit.code.to_string()), ("execDuration", lasted.to_string())];
    parts.tell(container, "die", &die);
    tidy_up(parts, container, committed, monitor);
    if restart {
        let lasted = Duration::from_secs(u64::try_from(lasted).unwrap_or(0));
        let delay = container.back_off(|quick| policy::delay(lasted, quick));
        tokio::spawn(restart_later(parts.clone(), container.clone(), delay));
        return;
    }
    let error = (!exit.error.is_empty()).then_some(exit.error);
    container.ended(WaitOutcome { exit_code: exit.code.into(), error });
    if record.host.auto_remove && !restarting {
        let (parts, container) = (parts.clone(), container.clone());
        tokio::spawn(async move { remove::quietly(&parts, &container).await });
    }
}

/// Removes what is left of the run, in the background: processes that outlived process 1 (they can, in a shared pid
/// namespace), the control group, and the run directory once the record is durable. It is over when the monitor has ended, with
/// its hold on the file system; one that waits for a client who does not read is not waited for.
fn tidy_up(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    committed: skiff_state::Pending,
    monitor: Option<Reader>,
) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let (parts, id, of) = (parts.clone(), container.id, container.clone());
    let cgroup = spec::own_cgroup(&container.record(), &parts.config);
    let mounts = container.record().mounts.clone();
    let secrets = container.record().host.secrets.clone();
    let shares_memory = container.record().host.ipc_mode == "shareable";
    container.tidy(tokio::spawn(async move {
        let durable = committed.await.is_ok();
        if let Some(mut monitor) = monitor {
            let gone = async { while monitor.next().await.is_some() {} };
            let _ = tokio::time::timeout(PATIENCE, gone).await;
        }
        let work = move || {
            remove_cgroup(&parts, &cgroup);
            endpoint::part(&parts, &of);
            parts.volumes.release(&id, &mounts);
            parts.secrets.ended(&id, &secrets);
            if shares_memory {
                etc::unmount_shm(&parts.dir(&id));
            }
            // While the store cannot be written (a full disk) the exit record stays, for the next daemon.
            if durable {
                let _ = fs_err::remove_dir_all(parts.run_dir(&id));
            }
        };
        let _ = blocking(work).await;
    }));
}

/// Kills what is left in a control group and removes it. Blocks.
pub(super) fn remove_cgroup(parts: &Parts, path: &str) {
    let removed = CgroupPath::parse(path).and_then(|path| {
        let group = Cgroup::open(&parts.host.facts.cgroups, &path);
        if !group.exists() {
            return Ok(());
        }
        group.remove().or_else(|_| group.kill_all().and_then(|()| group.remove()))
    });
    if let Err(e) = removed {
        tracing::warn!("cannot remove control group {path}: {e}");
    }
}

async fn restart_later(parts: Arc<Parts>, container: Arc<Container>, delay: Duration) {
    tokio::time::sleep(delay).await;
    let unwanted = || container.stopping.load(Ordering::Acquire) || container.is_being_removed();
    if unwanted() || container.status() != Status::Restarting {
        return;
    }
    if let Err(e) = start::run(&parts, &container, start::Reason::Policy).await {
        tracing::warn!(container = container.name(), "cannot restart: {e}");
        let exit_code = container.record().state.exit_code.into();
        container.ended(WaitOutcome { exit_code, error: Some(e.to_string()) });
    }
}
