//! Health checks: when they run and what their outcomes mean.
//!
//! One task for each running container that has a check; it stops when the container ends, is paused or is removed.
//! A change of the verdict is committed. Everything else is noted in the run directory, which costs next to nothing and
//! is all that the next daemon needs if this one is killed. Who is paused or has ended counts as unhealthy, as with Docker.

use std::{path::Path, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use skiff_runtime::monitor::protocol::{Request, Target};
use skiff_types::ExecId;
use tokio::sync::oneshot;

use super::{parts::Parts, policy, probe, stop};
use crate::{
    container::{Container, Live},
    model::{
        ContainerConfig, ContainerRecord, Health, HealthResult, HealthStatus, Status, Timestamp, check::Probe,
    },
    signal,
};

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// The notes' name in the run directory.
const NOTES: &str = "health.json";

/// A health check with its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// What is done.
    pub(super) probe: Probe,
    interval: Duration,
    pub(super) timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl Check {
    /// The check of a container, if it has one.
    fn of(config: &ContainerConfig) -> Option<Self> {
        let check = config.healthcheck.as_ref()?;
        // What is wrong was refused when the container was created, or is an image's: no check then.
        let probe = Probe::of(check, config.shell.as_deref()).ok().flatten()?;
        let or = |nanos: i64, default: Duration| match u64::try_from(nanos) {
            Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos),
            _ => default,
        };
        Some(Self {
            probe,
            interval: or(check.interval, INTERVAL),
            timeout: or(check.timeout, TIMEOUT),
            start_period: or(check.start_period, Duration::ZERO),
            start_interval: or(check.start_interval, START_INTERVAL),
            retries: u32::try_from(check.retries).ok().filter(|n| *n > 0).unwrap_or(RETRIES),
        })
    }

    /// How long until the next check, `up` after the start.
    fn pause(&self, up: Duration, status: HealthStatus) -> Duration {
        match up < self.start_period && status == HealthStatus::Starting {
            true => self.start_interval,
            false => self.interval,
        }
    }

    /// Takes an outcome into account; `up` is how long the container had run when that check began.
    fn judge(&self, health: &mut Health, result: HealthResult, up: Duration) {
        let failed = result.exit_code != 0;
        health.log.push(result);
        let surplus = health.log.len().saturating_sub(Health::KEPT);
        health.log.drain(..surplus);
        if !failed {
            (health.status, health.failing_streak) = (HealthStatus::Healthy, 0);
            return;
        }
        if health.status == HealthStatus::Starting && up < self.start_period {
            return;
        }
        health.failing_streak += 1;
        if health.failing_streak >= self.retries {
            health.status = HealthStatus::Unhealthy;
        }
    }
}

/// A container has started: what former checks said of it does not count any more.
pub(super) fn began(record: &mut ContainerRecord) {
    if Check::of(&record.config).is_none() {
        return;
    }
    let health = record.state.health.get_or_insert_default();
    (health.status, health.failing_streak) = (HealthStatus::Starting, 0);
}

/// A container has ended or is paused.
pub(super) fn nobody_checks(record: &mut ContainerRecord) {
    if let Some(health) = &mut record.state.health {
        health.status = HealthStatus::Unhealthy;
    }
}

/// The daemon is another one than when the container started.
pub(super) fn resumed(record: &mut ContainerRecord, noted: Option<Health>) {
    match noted {
        Some(noted) if record.state.status != Status::Paused => record.state.health = Some(noted),
        _ if record.state.health.is_none() => began(record),
        _ => {}
    }
}

/// What is noted in the run directory.
#[derive(Serialize, Deserialize)]
pub(super) struct Notes {
    health: Health,
    /// The check under way.
    probe: Option<ExecId>,
}

impl Notes {
    /// What the last daemon noted: the outcomes so far, and the check that was under way. Notes that cannot be read are none.
    pub(super) fn read(dir: &Path) -> (Option<Health>, Option<ExecId>) {
        let text = fs_err::read(dir.join(NOTES)).unwrap_or_default();
        let notes: Option<Self> = serde_json::from_slice(&text).ok();
        notes.map_or((None, None), |notes| (Some(notes.health), notes.probe))
    }
}

/// Notes how things stand. A note that cannot be written is worth no more than a line: it is read only after a crash.
pub(super) fn note(parts: &Parts, container: &Container, probe: Option<ExecId>) {
    let Some(health) = container.record().state.health.clone() else { return };
    let notes = serde_json::to_vec(&Notes { health, probe }).expect("records are plain data");
    let path = parts.run_dir(&container.id).join(NOTES);
    let new = path.with_extension("new");
    // A daemon that is killed meanwhile leaves the older notes.
    if let Err(e) = fs_err::write(&new, notes).and_then(|()| fs_err::rename(&new, &path)) {
        tracing::debug!("cannot note a health check: {e}");
    }
}

/// Ends the check that the last daemon left running.
pub(super) fn end_left_probe(container: &Container, probe: Option<ExecId>) {
    let (Some(probe), Ok(live)) = (probe, container.live()) else { return };
    tokio::spawn(async move {
        let kill = Request::Signal { target: Target::Exec(probe), signal: signal::KILL };
        // It may have ended by itself.
        let _ = live.link.ask(kill, &[]).await;
    });
}

/// Checks a running container from now on, if it has a check. A former task stops.
pub(super) fn keep_checking(parts: &Arc<Parts>, container: &Arc<Container>) {
    let Some(check) = Check::of(&container.record().config) else { return };
    let Ok(live) = container.live() else { return };
    if container.status() != Status::Running {
        return;
    }
    let (stop, stopped) = oneshot::channel();
    container.checked_by(Some(stop));
    let first = first_pause(&check, &container.record());
    tokio::spawn(run(parts.clone(), container.clone(), live, check, first, stopped));
}

/// A container that a former daemon started is checked when that one would have.
fn first_pause(check: &Check, record: &ContainerRecord) -> Duration {
    let state = &record.state;
    let Some(health) = &state.health else { return check.interval };
    let pause = check.pause(up_at(record, Timestamp::now()), health.status);
    match health.log.last() {
        Some(last) if state.started_at.is_some_and(|at| last.start > at) => {
            pause.saturating_sub(since(last.end, Timestamp::now()))
        }
        _ => pause,
    }
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

fn up_at(record: &ContainerRecord, moment: Timestamp) -> Duration {
    record.state.started_at.map_or(Duration::ZERO, |at| since(at, moment))
}

async fn run(
    parts: Arc<Parts>,
    container: Arc<Container>,
    live: Arc<Live>,
    check: Check,
    first: Duration,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut pause = first;
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            () = tokio::time::sleep(pause) => {}
        }
        let Some(result) = probe::run(&parts, &container, &live, &check, &mut stopped).await else { return };
        parts.counters.checked(result.exit_code < 0);
        let Some(status) = took_place(&parts, &container, &live, &check, result) else { return };
        pause = check.pause(up_at(&container.record(), Timestamp::now()), status);
    }
}

/// Takes an outcome into the record. None if the container that was checked does not run any more.
fn took_place(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    live: &Arc<Live>,
    check: &Check,
    result: HealthResult,
) -> Option<HealthStatus> {
    let still = || container.live().is_ok_and(|now| Arc::ptr_eq(&now, live));
    let mut verdict = None;
    let change = |record: &mut ContainerRecord| {
        if record.state.status != Status::Running || !still() {
            return;
        }
        let up = up_at(record, result.start);
        let health = record.state.health.get_or_insert_default();
        let before = health.status;
        check.judge(health, result, up);
        verdict = Some((before, health.status));
    };
    container.change(change);
    let (before, status) = verdict?;
    note(parts, container, None);
    if before != status {
        // A crash is survived by the notes, a power cut ends what was checked.
        container.commit(|_| {}, |record| parts.records.put(record)).1.unhurried().detach();
        parts.tell(container, format!("health_status: {}", status.as_str()), &[]);
        if status == HealthStatus::Unhealthy && policy::ends_when_unhealthy(&container.record()) {
            tokio::spawn(stop::end_unhealthy(parts.clone(), container.clone(), live.clone()));
        }
    }
    Some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HealthConfig;

    const SECOND: i64 = 1_000_000_000;

    fn check(config: HealthConfig) -> Check {
        Check::of(&ContainerConfig { healthcheck: Some(config), ..ContainerConfig::default() }).unwrap()
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    fn outcome(exit_code: i32) -> HealthResult {
        let now = Timestamp::UNIX_EPOCH;
        HealthResult { start: now, end: now, exit_code, output: String::new() }
    }

    #[test]
    fn commands_run_directly_or_in_the_containers_shell() {
        let config = |test: &[&str], shell: Option<&[&str]>| ContainerConfig {
            healthcheck: Some(HealthConfig { test: words(test), ..HealthConfig::default() }),
            shell: shell.map(words),
            ..ContainerConfig::default()
        };
        let command = |config: &ContainerConfig| match Check::of(config)?.probe {
            Probe::Program(command) => Some(command.join("|")),
            other => panic!("{other:?}"),
        };
        assert_eq!(command(&config(&["CMD", "a", "b"], None)).unwrap(), "a|b");
        assert_eq!(command(&config(&["CMD-SHELL", "a b"], None)).unwrap(), "/bin/sh|-c|a b");
        assert_eq!(command(&config(&["CMD-SHELL", "a b"], Some(&["/ash", "-e"]))).unwrap(), "/ash|-e|a b");
        for none in [&["NONE"][..], &[], &["OTHER", "x"]] {
            assert_eq!(command(&config(none, None)), None, "{none:?}");
        }
    }

    #[test]
    fn so_many_failures_in_a_row_are_too_many_and_one_success_is_enough() {
        let check = check(HealthConfig { test: words(&["CMD", "x"]), retries: 2, ..HealthConfig::default() });
        let mut health = Health::default();
        let mut seen = Vec::new();
        for code in [1, 0, 1, -1, 0] {
            check.judge(&mut health, outcome(code), Duration::from_secs(9));
            seen.push((health.status.as_str(), health.failing_streak));
        }
        let expected = [("starting", 1), ("healthy", 0), ("healthy", 1), ("unhealthy", 2), ("healthy", 0)];
        assert_eq!(seen, expected);
        check.judge(&mut health, outcome(7), Duration::from_secs(9));
        let codes: Vec<_> = health.log.iter().map(|result| result.exit_code).collect();
        assert_eq!(codes, [0, 1, -1, 0, 7], "five are kept");
    }

    #[test]
    fn failures_of_the_start_period_do_not_count_until_a_check_succeeds() {
        let config = HealthConfig {
            test: words(&["CMD", "x"]),
            retries: 1,
            start_period: 10 * SECOND,
            start_interval: SECOND,
            interval: 60 * SECOND,
            ..HealthConfig::default()
        };
        let check = check(config);
        let seconds = Duration::from_secs;
        let mut health = Health::default();
        check.judge(&mut health, outcome(1), seconds(9));
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Starting, 0));
        assert_eq!(check.pause(seconds(9), health.status), seconds(1));
        assert_eq!(check.pause(seconds(10), health.status), seconds(60));
        assert_eq!(check.pause(seconds(9), HealthStatus::Healthy), seconds(60));
        check.judge(&mut health, outcome(0), seconds(9));
        check.judge(&mut health, outcome(1), seconds(9));
        assert_eq!(health.status, HealthStatus::Unhealthy, "it had been healthy");
    }
}
