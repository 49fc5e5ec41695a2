//! Restart policies: who is started again, how often, and what is told of it.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{Test, health::until};

fn with_policy(command: &[&str], name: &str, most: u32) -> Value {
    let mut body = Test::body(command);
    body["HostConfig"]["RestartPolicy"] = json!({ "Name": name, "MaximumRetryCount": most });
    body
}

#[test]
fn failures_are_tried_again_so_often_and_no_more() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&with_policy(&["sh", "-c", "echo run; exit 3"], "on-failure", 2))?;
    let seen = until(&mut test, &id, "given up", |seen| {
        seen["State"]["Status"] == "exited" && seen["RestartCount"] == 2
    })?;
    assert_eq!(seen["State"]["ExitCode"], 3);
    assert_eq!(test.logs(&id, "stdout=1")?.0, "run\n".repeat(3));
    // Somebody who starts it begins to count anew.
    test.start(&id)?;
    test.until("it has been tried again as often", |test| {
        Ok(test.logs(&id, "stdout=1")?.0.lines().count() == 6)
    })?;
    until(&mut test, &id, "given up", |seen| {
        seen["State"]["Status"] == "exited" && seen["RestartCount"] == 2
    })?;
    Ok(())
}

#[test]
fn success_is_no_failure() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&with_policy(&["true"], "on-failure", 0))?;
    assert_eq!(test.wait(&id)?, 0);
    let seen = until(&mut test, &id, "ended", |seen| seen["State"]["Status"] == "exited")?;
    assert_eq!(seen["RestartCount"], 0);
    Ok(())
}

#[test]
fn always_means_until_somebody_stops_it() -> Result<()> {
    let mut test = Test::new()?;
    for name in ["always", "unless-stopped"] {
        let id = test.up(&with_policy(&["sh", "-c", "echo run"], name, 0))?;
        until(&mut test, &id, "restarted", |seen| seen["RestartCount"].as_u64() >= Some(3))?;
        let waiting = until(&mut test, &id, "restarting", |seen| seen["State"]["Status"] == "restarting")?;
        assert_eq!((&waiting["State"]["Running"], &waiting["State"]["Pid"]), (&json!(true), &json!(0)));
        test.act(&id, "stop?t=0")?.ok()?;
        let seen = until(&mut test, &id, "stopped", |seen| seen["State"]["Status"] == "exited")?;
        let runs = |out: &str| out.lines().filter(|line| *line == "run").count() as u64;
        let (out, _) = test.logs(&id, "stdout=1")?;
        let count = seen["RestartCount"].as_u64().unwrap_or(0);
        assert!([count, count + 1].contains(&runs(&out)), "{count} {out}");
    }
    Ok(())
}

#[test]
fn an_updated_policy_holds_at_once() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&with_policy(&["sleep", "1000"], "no", 0))?;
    let path = format!("/containers/{id}/update");
    let policy = json!({ "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 1 } });
    test.client.post(&path, &policy)?.ok()?;
    let pid = test.inspect(&id)?["State"]["Pid"].clone();
    // Process 1 of a pid namespace ignores what it has no handler for: the host ends it.
    std::process::Command::new("kill").args(["-9", &pid.to_string()]).status()?;
    let seen = until(&mut test, &id, "restarted", |seen| {
        seen["RestartCount"] == 1 && seen["State"]["Status"] == "running"
    })?;
    assert_ne!(seen["State"]["Pid"], pid);
    Ok(())
}
