//! Stop, kill, restart, pause, unpause: what is done to a running container.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rustix::process::Signal;
use skiff_runtime::{
    cgroups::{Cgroup, CgroupPath},
    monitor::protocol::{Request, RequestError, Target},
};

use super::{
    Containers, StopOptions, health,
    parts::{Parts, blocking, to_the_end},
    start,
};
use crate::{
    Error, Result,
    container::{Container, Live},
    model::{ContainerRecord, Status},
    records::durable,
    signal,
};

/// How long a killed container may take to end before that is an error.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// How often an end that nobody tells us of is looked for.
const LOOKING: Duration = Duration::from_millis(20);

pub(super) async fn stop(parts: &Arc<Parts>, reference: &str, options: StopOptions) -> Result<()> {
    let container = parts.registry.resolve(reference)?;
    if !container.status().is_running() {
        return Err(Error::NotModified);
    }
    // Recorded: Docker answers 500 to a signal that there is not.
    let failed = |e: Error| Error::Internal(format!("cannot stop container: {reference}: {e}"));
    let with = options.signal.as_deref().map(signal::parse_deliverable).transpose().map_err(failed)?;
    let parts = parts.clone();
    to_the_end(async move { stop_running(&parts, &container, with, options.timeout).await }).await
}

async fn stop_running(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    with: Option<i32>,
    timeout: Option<i64>,
) -> Result<()> {
    if !container.status().is_running() {
        return Err(Error::NotModified);
    }
    wanted(parts, container).await?;
    let Ok(live) = container.live() else {
        // Between two runs of a restart policy.
        give_up_restarting(parts, container);
        return Ok(());
    };
    let seconds = timeout.or(container.record().config.stop_timeout);
    end(parts, container, &live, with.unwrap_or_else(|| own_signal(container)), seconds).await?;
    parts.tell(container, "stop", &[]);
    Ok(())
}

/// Notes that a person wants the end, so that no policy acts on it: not this daemon's, and not that of the next, should this one be
/// killed before the end is recorded.
async fn wanted(parts: &Parts, container: &Container) -> Result<()> {
    container.stopping.store(true, Ordering::Release);
    // `always` means that the next daemon starts it in any case.
    let minds = !matches!(container.record().host.restart_policy.name.as_str(), "" | "no" | "always");
    if !minds || container.restarting.load(Ordering::Acquire) {
        return Ok(());
    }
    let note = |record: &mut ContainerRecord| record.stopped_by_user = true;
    let (_, noted) = container.commit(note, |record| parts.records.put(record));
    durable(noted).await
}

/// Ends a container whose health checks failed. Its policy starts it again, because nobody asked for the end.
pub(super) async fn end_unhealthy(parts: Arc<Parts>, container: Arc<Container>, live: Arc<Live>) {
    container.unhealthy.store(true, Ordering::Release);
    let patience = patience(container.record().config.stop_timeout);
    let ended = async {
        send(&parts, &container, &live, own_signal(&container)).await?;
        // Its policy may start the next run at once: this is about this one.
        let runs = || container.live().is_ok_and(|now| Arc::ptr_eq(&now, &live));
        let gone = async {
            while runs() {
                tokio::time::sleep(LOOKING).await;
            }
        };
        if in_time(patience, gone).await || !runs() {
            return Ok(());
        }
        send(&parts, &container, &live, signal::KILL).await
    };
    if let Err(e) = ended.await {
        tracing::warn!(container = container.name(), "cannot end what is unhealthy: {e}");
    }
}

/// How long a container may take to end after it was asked to; none for as long as it likes.
fn patience(seconds: Option<i64>) -> Option<Duration> {
    match seconds {
        None => Some(Containers::STOP_TIMEOUT),
        Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
    }
}

async fn in_time<T>(patience: Option<Duration>, done: impl Future<Output = T>) -> bool {
    match patience {
        Some(patience) => tokio::time::timeout(patience, done).await.is_ok(),
        None => {
            done.await;
            true
        }
    }
}

/// Asks process 1 to end, and kills it if it does not in time.
async fn end(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    live: &Live,
    with: i32,
    seconds: Option<i64>,
) -> Result<()> {
    let mut watch = container.watch();
    send(parts, container, live, with).await?;
    let ended = watch.wait_for(|phase| !phase.running);
    if !in_time(patience(seconds), ended).await {
        kill_and_wait(parts, container).await?;
    }
    Ok(())
}

fn give_up_restarting(parts: &Parts, container: &Container) {
    let change = |record: &mut ContainerRecord| {
        record.state.status = Status::Exited;
        record.stopped_by_user = true;
    };
    let (record, committed) = container.commit(change, |record| parts.records.put(record));
    committed.detach();
    let exit_code = record.state.exit_code.into();
    container.ended(super::WaitOutcome { exit_code, error: None });
}

/// Kills what runs, and waits until that is known.
pub(super) async fn kill_and_wait(parts: &Arc<Parts>, container: &Arc<Container>) -> Result<()> {
    let mut watch = container.watch();
    match container.live() {
        Ok(live) => send(parts, container, &live, signal::KILL).await?,
        Err(_) if container.status() == Status::Restarting => give_up_restarting(parts, container),
        // Its end is being recorded at this moment, or there never was a beginning.
        Err(_) if !container.status().is_running() => return Ok(()),
        Err(_) => {}
    }
    let ended = watch.wait_for(|phase| !phase.running);
    match tokio::time::timeout(KILL_PATIENCE, ended).await {
        Ok(_) => Ok(()),
        Err(_) => {
            Err(Error::Internal(format!("container {} does not end although it was killed", container.id)))
        }
    }
}

/// Sends a signal to process 1, and thaws it if it could not act on the signal otherwise.
async fn send(parts: &Arc<Parts>, container: &Arc<Container>, live: &Live, number: i32) -> Result<()> {
    let failed =
        |e: &dyn std::fmt::Display| Error::Internal(format!("cannot signal process {}: {e}", live.pid));
    match Signal::from_named_raw(number).filter(|_| !live.foreign) {
        Some(signal) => match rustix::process::pidfd_send_signal(&live.pidfd, signal) {
            // It has ended just now: what the signal was for has happened.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(e) => return Err(failed(&e)),
        },
        // Real-time signals have no names; the monitor sends those, and knows how another runtime does.
        None => {
            let request = Request::Signal { target: Target::Init, signal: number };
            match live.link.ask(request, &[]).await {
                // It has ended just now, and with it perhaps its monitor, before that could answer.
                Err(_) | Ok(Ok(()) | Err(RequestError::NoSuchProcess)) => {}
                Ok(Err(e)) => return Err(failed(&e)),
            }
        }
    }
    parts.tell(container, "kill", &[("signal", number.to_string())]);
    if container.status() == Status::Paused {
        thaw(parts, live).await?;
        resumed(parts, container).await?;
    }
    Ok(())
}

/// A thawed container runs again.
async fn resumed(parts: &Arc<Parts>, container: &Arc<Container>) -> Result<()> {
    let change = |record: &mut ContainerRecord| {
        if record.state.status == Status::Paused {
            record.state.status = Status::Running;
        }
    };
    let (_, committed) = container.commit(change, |record| parts.records.put(record));
    parts.tell(container, "unpause", &[]);
    health::keep_checking(parts, container);
    durable(committed).await
}

pub(super) async fn kill(parts: &Arc<Parts>, reference: &str, asked: Option<&str>) -> Result<()> {
    let label = format!("cannot kill container: {reference}");
    let number = match asked.filter(|s| !s.is_empty()) {
        None => signal::KILL,
        Some(asked) => signal::parse_deliverable(asked).map_err(|e| e.labelled(&label))?,
    };
    let container = parts.registry.resolve(reference).map_err(|e| e.labelled(&label))?;
    let parts = parts.clone();
    to_the_end(async move {
        let live = container.live().map_err(|e| e.labelled(label))?;
        if number == signal::KILL {
            wanted(&parts, &container).await?;
            return kill_and_wait(&parts, &container).await;
        }
        if number == own_signal(&container) {
            wanted(&parts, &container).await?;
        }
        send(&parts, &container, &live, number).await
    })
    .await
}

fn own_signal(container: &Container) -> i32 {
    let record = container.record();
    record.config.stop_signal.as_deref().and_then(|s| signal::parse(s).ok()).unwrap_or(signal::TERM)
}

pub(super) async fn restart(parts: &Arc<Parts>, reference: &str, options: StopOptions) -> Result<()> {
    let container = parts.registry.resolve(reference)?;
    let failed = |e: Error| Error::Internal(format!("Cannot restart container {reference}: {e}"));
    let with = options.signal.as_deref().map(signal::parse_deliverable).transpose().map_err(failed)?;
    let parts = parts.clone();
    to_the_end(async move {
        container.restarting.store(true, Ordering::Release);
        let stopped = stop_running(&parts, &container, with, options.timeout).await;
        container.restarting.store(false, Ordering::Release);
        match stopped {
            Ok(()) | Err(Error::NotModified) => {}
            Err(e) => {
                return Err(Error::Internal(format!("Cannot restart container {}: {e}", container.name())));
            }
        }
        start::run(&parts, &container, start::Reason::Asked).await?;
        parts.tell(&container, "restart", &[]);
        Ok(())
    })
    .await
}

pub(super) async fn pause(parts: &Arc<Parts>, reference: &str) -> Result<()> {
    let container = parts.registry.resolve(reference)?;
    let parts = parts.clone();
    to_the_end(async move {
        let _order = container.order.lock().await;
        let id = container.id;
        match container.status() {
            Status::Paused => return Err(Error::Conflict(format!("Container {id} is already paused"))),
            Status::Restarting => {
                return Err(Error::Conflict(format!(
                    "Container {id} is restarting, wait until the container is running"
                )));
            }
            _ => {}
        }
        let live = container.live()?;
        freeze(&parts, &live).await?;
        container.checked_by(None);
        let change = |record: &mut ContainerRecord| {
            record.state.status = Status::Paused;
            health::nobody_checks(record);
        };
        let (_, committed) = container.commit(change, |record| parts.records.put(record));
        // The next daemon lets run what its record says runs.
        if let Err(e) = durable(committed).await {
            thaw(&parts, &live).await?;
            container.change(|record| record.state.status = Status::Running);
            health::keep_checking(&parts, &container);
            return Err(e);
        }
        parts.tell(&container, "pause", &[]);
        Ok(())
    })
    .await
}

/// Freezes a running container for a moment, without recording it.
pub(super) async fn hold(parts: &Arc<Parts>, container: &Container) -> Result<()> {
    let _order = container.order.lock().await;
    if container.status() != Status::Running {
        return Err(Error::NotRunning(container.id.to_string()));
    }
    freeze(parts, &container.live()?).await?;
    container.change(|record| record.state.status = Status::Paused);
    parts.tell(container, "pause", &[]);
    Ok(())
}

/// Lets a container run that its record says runs: the last daemon may have been killed while it held it.
pub(super) fn let_run(parts: &Parts, container: &Container) {
    let Ok(live) = container.live() else { return };
    if live.foreign {
        // Most were not frozen, and their runtimes say so.
        tokio::spawn(async move { live.link.ask(Request::Resume, &[]).await });
    } else if let Err(e) = thaw_own(parts, &live) {
        tracing::warn!(container = container.name(), "{e}");
    }
}

pub(super) async fn unpause(parts: &Arc<Parts>, reference: &str) -> Result<()> {
    let container = parts.registry.resolve(reference)?;
    let parts = parts.clone();
    to_the_end(async move {
        let _order = container.order.lock().await;
        if container.status() != Status::Paused {
            // Recorded: Docker answers 500 here.
            return Err(Error::Internal(format!("Container {} is not paused", container.id)));
        }
        let live = container.live()?;
        thaw(&parts, &live).await?;
        resumed(&parts, &container).await
    })
    .await
}

fn group(parts: &Parts, live: &Live) -> Result<Cgroup> {
    let path = CgroupPath::parse(&live.cgroup).map_err(|e| Error::Internal(e.to_string()))?;
    Ok(Cgroup::open(&parts.host.facts.cgroups, &path))
}

async fn freeze(parts: &Arc<Parts>, live: &Arc<Live>) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| Error::Internal(format!("cannot pause container: {e}"));
    if live.foreign {
        return live.link.ask(Request::Pause, &[]).await?.map_err(|e| failed(&e));
    }
    let group = group(parts, live)?;
    blocking(move || group.freeze()).await?.map_err(|e| failed(&e))
}

async fn thaw(parts: &Parts, live: &Live) -> Result<()> {
    if live.foreign {
        let resumed = live.link.ask(Request::Resume, &[]).await?;
        return resumed.map_err(|e| Error::Internal(format!("cannot unpause container: {e}")));
    }
    thaw_own(parts, live)
}

fn thaw_own(parts: &Parts, live: &Live) -> Result<()> {
    group(parts, live)?.thaw().map_err(|e| Error::Internal(format!("cannot unpause container: {e}")))
}
