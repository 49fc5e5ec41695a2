//! Restart policies: whether a container that ended is started again, and how soon.
//!
//! `no`, `always`, `unless-stopped` and `on-failure[:N]` are Docker's. `on-unhealthy[:N]` is ours: as `on-failure`, and a
//! container whose health checks fail is ended too, and then started again.

use std::time::Duration;

use crate::model::{ContainerRecord, RestartPolicy};

/// The policy that acts on health checks.
pub(crate) const ON_UNHEALTHY: &str = "on-unhealthy";

/// A container that ran this long before it ended begins its back-off anew.
const SETTLED: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// How a container ended, as far as policies care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: i32,
    /// We ended it because its health checks failed.
    pub(super) unhealthy: bool,
}

/// Whether a container that ended, and nobody wanted it to, is started again; `count` is how often it has been.
pub(super) fn wants_restart(policy: &RestartPolicy, end: End, count: u32) -> bool {
    let most = u32::try_from(policy.maximum_retry_count).unwrap_or(0);
    let may = most == 0 || count < most;
    match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => end.code != 0 && may,
        ON_UNHEALTHY => (end.code != 0 || end.unhealthy) && may,
        _ => false,
    }
}

/// Whether its health checks' verdict ends this container.
pub(super) fn ends_when_unhealthy(record: &ContainerRecord) -> bool {
    let policy = &record.host.restart_policy;
    policy.name == ON_UNHEALTHY
        && wants_restart(policy, End { code: 0, unhealthy: true }, record.restart_count)
}

/// Whether a person stopped it under a daemon that did not live to record the end.
pub(super) fn was_stopped(record: &ContainerRecord) -> bool {
    record.stopped_by_user && record.host.restart_policy.name != "always"
}

/// Whether a container that does not run is started together with the daemon.
pub(super) fn starts_with_daemon(record: &ContainerRecord) -> bool {
    let policy = &record.host.restart_policy;
    let end = End { code: record.state.exit_code, unhealthy: false };
    record.state.started_at.is_some()
        && match policy.name.as_str() {
            "unless-stopped" => !record.stopped_by_user,
            ON_UNHEALTHY => !record.stopped_by_user && wants_restart(policy, end, record.restart_count),
            _ => wants_restart(policy, end, record.restart_count),
        }
}

/// How long until the next start of a container that has lasted so long, and after how many ends in a row that came soon.
pub(super) fn delay(lasted: Duration, quick: &mut u32) -> Duration {
    if lasted >= SETTLED {
        *quick = 0;
    }
    let delay = FIRST_DELAY.saturating_mul(1 << (*quick).min(16)).min(LONGEST_DELAY);
    *quick += 1;
    delay
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{container::tests::record, model::Timestamp};

    fn policy(name: &str, maximum_retry_count: i64) -> RestartPolicy {
        RestartPolicy { name: name.into(), maximum_retry_count }
    }

    #[test]
    fn policies_decide_as_dockers_do() {
        for (policy, code, count, again) in [
            (policy("no", 0), 1, 0, false),
            (policy("", 0), 1, 0, false),
            (policy("always", 0), 0, 99, true),
            (policy("unless-stopped", 0), 1, 0, true),
            (policy("on-failure", 0), 0, 0, false),
            (policy("on-failure", 0), 1, 99, true),
            (policy("on-failure", 2), 1, 1, true),
            (policy("on-failure", 2), 1, 2, false),
            (policy("on-unhealthy", 0), 0, 0, false),
            (policy("on-unhealthy", 0), 1, 9, true),
        ] {
            let end = End { code, unhealthy: false };
            assert_eq!(wants_restart(&policy, end, count), again, "{policy:?} {code} {count}");
        }
        let unhealthy = End { code: 0, unhealthy: true };
        assert!(wants_restart(&policy("on-unhealthy", 1), unhealthy, 0));
        assert!(!wants_restart(&policy("on-unhealthy", 1), unhealthy, 1));
    }

    #[test]
    fn the_delay_doubles_to_a_minute_and_begins_anew_after_ten_seconds() {
        let mut quick = 0;
        let soon = Duration::from_secs(9);
        let delays: Vec<_> = (0..12).map(|_| delay(soon, &mut quick).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!(delay(Duration::from_secs(10), &mut quick).as_millis(), 100);
        assert_eq!(delay(soon, &mut quick).as_millis(), 200);
    }

    #[test]
    fn what_a_person_stopped_starts_with_the_daemon_only_always() {
        let mut record = record(&"a".repeat(64), "c");
        record.state.started_at = Some(Timestamp::UNIX_EPOCH);
        record.stopped_by_user = true;
        for (name, code, starts) in [
            ("always", 0, true),
            ("unless-stopped", 0, false),
            ("on-failure", 0, false),
            ("on-failure", 137, true),
            ("on-unhealthy", 137, false),
            ("no", 137, false),
        ] {
            record.host.restart_policy = policy(name, 0);
            record.state.exit_code = code;
            assert_eq!(starts_with_daemon(&record), starts, "{name} {code}");
        }
        record.stopped_by_user = false;
        record.host.restart_policy = policy("unless-stopped", 0);
        assert!(starts_with_daemon(&record));
        record.state.started_at = None;
        assert!(!starts_with_daemon(&record), "it was never started");
    }
}
