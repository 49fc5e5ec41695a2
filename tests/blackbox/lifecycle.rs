//! Containers from create to remove.

use anyhow::Result;
use serde_json::json;

use crate::{Ran, Test};

#[test]
fn a_container_runs_to_its_end_and_tells_how() -> Result<()> {
    let mut test = Test::new()?;
    let body = Test::body(&["sh", "-c", "echo out; echo err >&2; exit 3"]);
    let id = test.create(&body)?;
    let created = test.inspect(&id)?;
    assert_eq!(created["State"]["Status"], "created");
    assert_eq!(created["State"]["StartedAt"], "0001-01-01T00:00:00Z");
    test.start(&id)?;
    assert_eq!(test.wait(&id)?, 3);
    let ended = test.inspect(&id)?;
    assert_eq!(ended["State"]["Status"], "exited");
    assert_eq!(ended["State"]["ExitCode"], 3);
    assert_eq!(ended["State"]["Running"], false);
    assert_eq!(ended["State"]["Pid"], 0);
    assert_eq!(ended["State"]["OOMKilled"], false);
    assert_eq!(ended["Path"], "sh");
    assert_eq!(ended["Args"], json!(["-c", "echo out; echo err >&2; exit 3"]));
    let (out, err) = test.logs(&id, "stdout=1&stderr=1")?;
    assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
    Ok(())
}

#[test]
fn a_stopped_container_starts_again_on_its_own_files() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.create(&Test::body(&["sh", "-c", "echo line >> /kept; cat /kept"]))?;
    for runs in 1..=3 {
        test.start(&id)?;
        assert_eq!(test.wait(&id)?, 0);
        let (out, _) = test.logs(&id, "stdout=1")?;
        assert_eq!(out.lines().count(), (1..=runs).sum::<usize>());
    }
    Ok(())
}

/// A shell line that sets traps, says so and waits.
fn waiting(traps: &str) -> String {
    format!("{traps}; echo up; while :; do sleep 0.05; done")
}

/// Waits for the line of [`waiting`].
fn until_up(test: &mut Test, id: &str) -> Result<()> {
    test.until("it is up", |test| Ok(test.logs(id, "stdout=1")?.0 == "up\n"))
}

/// A container that has set its traps by the time this returns.
pub(crate) fn trapping(test: &mut Test, traps: &str) -> Result<String> {
    let id = test.up(&Test::body(&["sh", "-c", &waiting(traps)]))?;
    until_up(test, &id)?;
    Ok(id)
}

#[test]
fn stop_asks_first_and_kills_after_the_time() -> Result<()> {
    let mut test = Test::new()?;
    let polite = trapping(&mut test, "trap 'exit 7' TERM")?;
    assert_eq!(test.act(&polite, "stop")?.status, 204);
    assert_eq!(test.inspect(&polite)?["State"]["ExitCode"], 7);
    assert_eq!(test.act(&polite, "stop")?.status, 304);

    let deaf = test.up(&Test::body(&["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"]))?;
    assert_eq!(test.act(&deaf, "stop?t=1")?.status, 204);
    assert_eq!(test.inspect(&deaf)?["State"]["ExitCode"], 137);
    Ok(())
}

#[test]
fn the_stop_signal_is_the_container_s_own() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", &waiting("trap 'exit 9' USR1")]);
    body["StopSignal"] = json!("SIGUSR1");
    let id = test.up(&body)?;
    until_up(&mut test, &id)?;
    test.act(&id, "stop")?.ok()?;
    assert_eq!(test.inspect(&id)?["State"]["ExitCode"], 9);
    Ok(())
}

#[test]
fn kill_sends_the_signal_that_is_named() -> Result<()> {
    let mut test = Test::new()?;
    let id = trapping(&mut test, "trap 'exit 5' HUP")?;
    assert_eq!(test.act(&id, "kill?signal=HUP")?.status, 204);
    assert_eq!(test.wait(&id)?, 5);
    let again = test.act(&id, "kill")?;
    assert_eq!(again.status, 409);
    assert!(again.message().contains("is not running"), "{}", again.message());
    Ok(())
}

#[test]
fn restart_gives_a_new_process() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&Test::body(&["sleep", "1000"]))?;
    let before = test.inspect(&id)?["State"]["Pid"].clone();
    assert_eq!(test.act(&id, "restart?t=0")?.status, 204);
    let after = test.inspect(&id)?;
    assert_eq!(after["State"]["Running"], true);
    assert_ne!(after["State"]["Pid"], before);
    Ok(())
}

#[test]
fn pause_stops_the_clock_of_every_process() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&Test::body(&["sh", "-c", "while :; do echo tick; sleep 0.02; done"]))?;
    assert_eq!(test.act(&id, "pause")?.status, 204);
    assert_eq!(test.inspect(&id)?["State"]["Status"], "paused");
    let twice = test.act(&id, "pause")?;
    assert_eq!(twice.status, 409);
    assert!(twice.message().ends_with("is already paused"), "{}", twice.message());
    // What it had written before may be on its way to the log.
    let mut count = 0;
    test.until("the log stands still", |test| {
        let now = test.logs(&id, "stdout=1")?.0.len();
        Ok(std::mem::replace(&mut count, now) == now)
    })?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(test.logs(&id, "stdout=1")?.0.len(), count);
    assert_eq!(test.act(&id, "unpause")?.status, 204);
    let twice = test.act(&id, "unpause")?;
    assert_eq!(twice.message(), format!("Container {id} is not paused"));
    Ok(())
}

#[test]
fn wait_knows_three_conditions() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", "read x; exit 4"]);
    body["OpenStdin"] = json!(true);
    body["HostConfig"]["AutoRemove"] = json!(true);
    let id = test.create(&body)?;
    let socket = test.client.socket().to_owned();
    let waiters: Vec<_> = ["next-exit", "removed"]
        .map(|condition| {
            let (socket, path) = (socket.clone(), format!("/containers/{id}/wait?condition={condition}"));
            std::thread::spawn(move || skiff_testkit::http::Client::new(socket).post(&path, &json!(null)))
        })
        .into_iter()
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let path = format!("/containers/{id}/attach?stream=1&stdin=1");
    let mut stdin = test.client.hijack(&path, &skiff_testkit::http::Body::Empty)?;
    test.start(&id)?;
    stdin.send(b"\n")?;
    for waiter in waiters {
        assert_eq!(waiter.join().expect("the waiter")?.ok()?.json()?["StatusCode"], 4);
    }
    assert_eq!(test.client.get(&format!("/containers/{id}/json"))?.status, 404);
    Ok(())
}

#[test]
fn a_running_container_is_removed_only_by_force() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("rm");
    let id = test.create_named(&name, &Test::body(&["sleep", "1000"]))?;
    test.start(&id)?;
    let refused = test.client.delete(&format!("/containers/{id}"))?;
    assert_eq!(refused.status, 409);
    assert_eq!(
        refused.message(),
        format!(
            "cannot remove container \"{id}\": container is running: stop the container before removing or force \
             remove"
        )
    );
    assert_eq!(test.client.delete(&format!("/containers/{id}?force=1"))?.status, 204);
    assert_eq!(test.client.delete(&format!("/containers/{id}"))?.status, 404);
    Ok(())
}

#[test]
fn names_are_unique_and_can_change() -> Result<()> {
    let mut test = Test::new()?;
    let (first, second) = (test.name("name"), test.name("name"));
    let id = test.create_named(&first, &Test::body(&["true"]))?;
    let taken = test.client.post(&format!("/containers/create?name={first}"), &Test::body(&["true"]))?;
    assert_eq!(taken.status, 409);
    assert_eq!(
        taken.message(),
        format!(
            "Conflict. The container name \"/{first}\" is already in use by container \"{id}\". You have to remove (or \
             rename) that container to be able to reuse that name."
        )
    );
    assert_eq!(test.act(&first, &format!("rename?name={second}"))?.status, 204);
    assert_eq!(test.inspect(&second)?["Name"], format!("/{second}"));
    assert_eq!(test.client.get(&format!("/containers/{first}/json"))?.status, 404);
    assert_eq!(test.inspect(&id[..12])?["Id"], id);
    Ok(())
}

#[test]
fn what_the_container_sees_is_what_was_asked_for() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", "id -u; id -G; pwd; hostname; echo $GREETING; echo $$; exit 0"]);
    body["User"] = json!("app:extra");
    body["WorkingDir"] = json!("/made/by/engine");
    body["Hostname"] = json!("vessel");
    body["Env"] = json!(["GREETING=ahoy"]);
    let ran = test.run(&body)?;
    let out = "1000\n2000\n/made/by/engine\nvessel\nahoy\n1\n".to_owned();
    assert_eq!(ran, Ran { code: 0, out, err: String::new() });
    Ok(())
}

#[test]
fn a_read_only_root_takes_no_writes_but_its_tmpfs_does() -> Result<()> {
    let mut test = Test::new()?;
    let host = json!({ "ReadonlyRootfs": true, "Tmpfs": { "/scratch": "size=1m" } });
    let out = test.shell_with("touch /x 2>/dev/null && echo bad; touch /scratch/x && echo good", &host)?;
    assert_eq!(out, "good\n");
    Ok(())
}

#[test]
fn capabilities_follow_the_rules() -> Result<()> {
    let mut test = Test::new()?;
    let line = "grep CapEff /proc/self/status | cut -f2";
    assert_eq!(test.shell(line)?, "00000000a80425fb\n");
    assert_eq!(test.shell_with(line, &json!({ "CapDrop": ["ALL"] }))?, "0000000000000000\n");
    let host = json!({ "CapDrop": ["ALL"], "CapAdd": ["NET_ADMIN"] });
    assert_eq!(test.shell_with(line, &host)?, "0000000000001000\n");
    Ok(())
}

#[test]
fn a_start_that_cannot_work_says_why() -> Result<()> {
    let mut test = Test::new()?;
    for (command, code, words) in [
        ("/nowhere", 127, "no such file or directory"),
        ("nowhere", 127, "executable file not found in $PATH"),
        ("/etc/passwd", 126, "permission denied"),
    ] {
        let id = test.create(&Test::body(&[command]))?;
        let refused = test.act(&id, "start")?;
        assert_eq!(refused.status, 400, "{command}: {}", refused.message());
        assert!(refused.message().contains(words), "{command}: {}", refused.message());
        let state = test.inspect(&id)?["State"].clone();
        assert_eq!((&state["Status"], &state["ExitCode"]), (&json!("created"), &json!(code)), "{command}");
    }
    Ok(())
}

#[test]
fn a_container_knows_that_it_is_one() -> Result<()> {
    let mut test = Test::new()?;
    assert_eq!(test.shell("stat -c '%F %a %u %s' /.dockerenv")?, "regular empty file 755 0 0\n");
    let read_only = json!({ "ReadonlyRootfs": true });
    assert_eq!(test.shell_with("test -f /.dockerenv && echo yes", &read_only)?, "yes\n");
    Ok(())
}
