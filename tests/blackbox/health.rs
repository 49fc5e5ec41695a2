//! Health checks: what is run, what its outcome means, and what is told of it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{Test, events, exec};

/// How long something may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(120);

/// Nanoseconds.
const MILLISECOND: u64 = 1_000_000;

/// Looks at a container until it is as it should be.
pub(crate) fn until(test: &mut Test, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = test.inspect(id)?;
        if is_so(&seen) {
            return Ok(seen);
        }
        ensure!(Instant::now() < end, "not {what}: {}", seen["State"]);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn has_status(status: &'static str) -> impl Fn(&Value) -> bool {
    move |seen| seen["State"]["Health"]["Status"] == status
}

/// A container that sleeps, with this check every so many milliseconds.
fn checked(check: &str, interval: u64, more: &Value) -> Value {
    let mut body = Test::body(&["sleep", "1000"]);
    body["Healthcheck"] = json!({ "Test": ["CMD-SHELL", check], "Interval": interval * MILLISECOND });
    for (key, value) in more.as_object().into_iter().flatten() {
        body["Healthcheck"][key] = value.clone();
    }
    body
}

#[test]
fn a_container_becomes_unhealthy_and_healthy_again() -> Result<()> {
    let mut test = Test::new()?;
    let since = events::now(&mut test)?;
    let id = test.create(&checked("echo out; echo err >&2; test -f /ok", 50, &json!({ "Retries": 2 })))?;
    assert_eq!(test.inspect(&id)?["State"].get("Health"), None, "never started");
    test.start(&id)?;
    let seen = until(&mut test, &id, "unhealthy", has_status("unhealthy"))?;
    let health = &seen["State"]["Health"];
    assert!(health["FailingStreak"].as_u64() >= Some(2), "{health}");
    let first = &health["Log"][0];
    assert_eq!(first["ExitCode"], 1);
    let mut said: Vec<_> = first["Output"].as_str().unwrap_or_default().lines().collect();
    said.sort_unstable();
    assert_eq!(said, ["err", "out"]);
    assert!(first["Start"].as_str() < first["End"].as_str(), "{first}");
    exec::output(&mut test, &id, &["touch", "/ok"])?;
    let seen = until(&mut test, &id, "healthy", has_status("healthy"))?;
    assert_eq!(seen["State"]["Health"]["FailingStreak"], 0);
    let later = until(&mut test, &id, "checked five times", |seen| {
        seen["State"]["Health"]["Log"].as_array().is_some_and(|log| log.len() == 5)
    })?;
    assert_eq!(later["State"]["Health"]["Log"].as_array().map(Vec::len), Some(5));
    let now = events::now(&mut test)?;
    let told = events::events(&test, &id, &since, &now)?;
    let verdicts: Vec<_> = told
        .iter()
        .filter_map(|e| e["Action"].as_str())
        .filter(|action| action.starts_with("health_status"))
        .collect();
    assert_eq!(verdicts, ["health_status: unhealthy", "health_status: healthy"]);
    let check = "exec_create: /bin/sh -c echo out; echo err >&2; test -f /ok";
    assert!(told.iter().any(|e| e["Action"] == check), "{told:?}");
    Ok(())
}

#[test]
fn lists_tell_and_choose_by_health() -> Result<()> {
    let mut test = Test::new()?;
    let healthy = test.up(&checked("true", 50, &json!({})))?;
    let starting = test.up(&checked("true", 1_000_000, &json!({})))?;
    let unchecked = test.up(&Test::body(&["sleep", "1000"]))?;
    until(&mut test, &healthy, "healthy", has_status("healthy"))?;
    let made = [&healthy, &starting, &unchecked];
    for (status, id, shown) in [
        ("healthy", &healthy, " (healthy)"),
        ("starting", &starting, " (health: starting)"),
        ("none", &unchecked, ""),
    ] {
        let filters = format!("%7B%22health%22%3A%5B%22{status}%22%5D%7D");
        let list = test.client.get(&format!("/containers/json?filters={filters}"))?.ok()?.json()?;
        let of_ours = |c: &&Value| made.iter().any(|id| c["Id"] == id.as_str());
        let list: Vec<_> = list.as_array().into_iter().flatten().filter(of_ours).collect();
        assert_eq!(list.len(), 1, "{status}");
        assert_eq!(list[0]["Id"], id.as_str());
        let text = list[0]["Status"].as_str().unwrap_or_default();
        assert!(text.starts_with("Up ") && text.ends_with(shown), "{text}");
        assert_eq!(text.contains('('), !shown.is_empty(), "{text}");
    }
    Ok(())
}

#[test]
fn a_check_that_takes_too_long_is_killed_and_has_failed() -> Result<()> {
    let mut test = Test::new()?;
    let more = json!({ "Timeout": 3000 * MILLISECOND, "Retries": 1 });
    let id = test.up(&checked("echo begun; exec sleep 500", 50, &more))?;
    let seen = until(&mut test, &id, "unhealthy", has_status("unhealthy"))?;
    let first = &seen["State"]["Health"]["Log"][0];
    assert_eq!(first["ExitCode"], -1);
    assert_eq!(first["Output"], "Health check exceeded timeout (3s): begun\n");
    test.act(&id, "pause")?.ok()?;
    test.act(&id, "unpause")?.ok()?;
    // Whichever check runs now, or was about to run at the pause, has an end.
    let pids = exec::output(&mut test, &id, &["sh", "-c", "ps | awk '/[s]leep 500/ { print $1 }'"])?;
    let left = format!("for pid in {}; do ! test -e /proc/$pid || echo $pid; done", pids.replace('\n', " "));
    let deadline = Instant::now() + PATIENCE;
    while let left = exec::output(&mut test, &id, &["sh", "-c", &left])?
        && !left.is_empty()
    {
        assert!(Instant::now() < deadline, "checks are left: {left}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn what_cannot_be_run_has_failed_and_long_output_is_cut() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = checked("", 50, &json!({ "Retries": 1 }));
    body["Healthcheck"]["Test"] = json!(["CMD", "/nonexistent", "x"]);
    let id = test.up(&body)?;
    let seen = until(&mut test, &id, "unhealthy", has_status("unhealthy"))?;
    let first = &seen["State"]["Health"]["Log"][0];
    assert_eq!(first["ExitCode"], -1);
    let text = first["Output"].as_str().unwrap_or_default();
    assert!(
        text.starts_with("OCI runtime exec failed: exec failed: ") && text.contains("/nonexistent"),
        "{text}"
    );
    let id = test.up(&checked("yes | head -c 10000", 50, &json!({})))?;
    let seen = until(&mut test, &id, "healthy", has_status("healthy"))?;
    let text = seen["State"]["Health"]["Log"][0]["Output"].as_str().unwrap_or_default().to_owned();
    assert_eq!((text.len(), text.ends_with("y\n...")), (4096 + 3, true));
    Ok(())
}

#[test]
fn the_start_period_forgives() -> Result<()> {
    let mut test = Test::new()?;
    let more = json!({
        "Retries": 1, "StartPeriod": 1_000_000 * MILLISECOND, "StartInterval": 50 * MILLISECOND,
    });
    let id = test.up(&checked("test -f /ok", 100_000, &more))?;
    let seen = until(&mut test, &id, "checked twice", |seen| {
        seen["State"]["Health"]["Log"].as_array().is_some_and(|log| log.len() > 1)
    })?;
    let health = &seen["State"]["Health"];
    assert_eq!((&health["Status"], &health["FailingStreak"]), (&json!("starting"), &json!(0)));
    exec::output(&mut test, &id, &["touch", "/ok"])?;
    until(&mut test, &id, "healthy", has_status("healthy"))?;
    Ok(())
}

#[test]
fn who_is_not_checked_any_more_counts_as_unhealthy_until_the_next_start() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&checked("true", 50, &json!({})))?;
    until(&mut test, &id, "healthy", has_status("healthy"))?;
    test.act(&id, "pause")?.ok()?;
    assert_eq!(test.inspect(&id)?["State"]["Health"]["Status"], "unhealthy");
    test.act(&id, "unpause")?.ok()?;
    until(&mut test, &id, "healthy", has_status("healthy"))?;
    test.act(&id, "stop?t=0")?.ok()?;
    let ended = test.inspect(&id)?;
    assert_eq!(ended["State"]["Health"]["Status"], "unhealthy");
    let kept = ended["State"]["Health"]["Log"].as_array().map_or(0, Vec::len);
    assert!(kept > 0);
    test.start(&id)?;
    until(&mut test, &id, "healthy", has_status("healthy"))?;
    Ok(())
}
