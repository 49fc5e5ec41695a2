//! `explain`: why a container is as it is, in sentences. (Ours: docker has no such command.)
//!
//! Everything comes from `inspect` and from the events that the engine keeps, so it works against any engine, for as far
//! back as that remembers.

use serde::Deserialize;
use skiff_client::Client;

use super::Call;
use crate::{
    failure::{Failure, Outcome},
    format::{size, time},
    options::filters,
    say,
};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Container {
    id: String,
    name: String,
    restart_count: i64,
    state: State,
    config: Config,
    host_config: HostConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    status: String,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    exit_code: i64,
    error: String,
    started_at: String,
    finished_at: String,
    health: Option<Health>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Health {
    status: String,
    failing_streak: i64,
    log: Option<Vec<Check>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Check {
    exit_code: i64,
    output: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    image: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    memory: i64,
    restart_policy: Policy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Policy {
    name: String,
    maximum_retry_count: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    time: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Actor {
    #[serde(rename = "Attributes")]
    attributes: std::collections::BTreeMap<String, String>,
}

impl Event {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.actor.attributes.get(name).map(String::as_str)
    }

    fn bytes(&self, name: &str) -> Option<String> {
        let bytes: f64 = self.attribute(name)?.parse().ok()?;
        Some(size::binary(bytes))
    }
}

/// `skiff explain`.
pub(super) async fn explain(call: Call<'_>) -> Outcome {
    let client = call.session.engine().await?;
    for (at, name) in call.args.iter().enumerate() {
        let bytes = client.container_inspect(name, false).await?;
        let container: Container =
            serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("decoding the answer: {e}")))?;
        let events = events(&client, &container).await?;
        if at > 0 {
            say::line("");
        }
        say::line(&sentences(&container, &events).join("\n"));
    }
    Ok(())
}

/// What happened to the container since its last run began: what is told of its log may come long after its end.
async fn events(client: &Client, container: &Container) -> Result<Vec<Event>, Failure> {
    let moment = |text: &str| text.parse::<jiff::Timestamp>().ok().filter(|at| at.as_second() > 0);
    let shown = |at: jiff::Timestamp| format!("{}.{:09}", at.as_second(), at.subsec_nanosecond());
    let Some(since) = moment(&container.state.started_at) else { return Ok(Vec::new()) };
    let (since, until) = (shown(since), shown(jiff::Timestamp::now()));
    let filters = filters::to_json(&[format!("container={}", container.id)]);
    let mut stream = client.events(Some(&since), Some(&until), filters.as_deref()).await?;
    let mut out = Vec::new();
    while let Some(event) = stream.next::<Event>().await? {
        out.push(event);
    }
    Ok(out)
}

fn sentences(container: &Container, events: &[Event]) -> Vec<String> {
    let state = &container.state;
    let mut out = vec![headline(container)];
    if !state.error.is_empty() {
        out.push(format!("  It could not be started, or was lost: {}", state.error));
    }
    if state.status == "exited" || state.status == "restarting" || state.status == "dead" {
        out.extend(why(container, events));
    }
    out.extend(state.health.as_ref().and_then(|health| health_line(health, &state.status)));
    out.extend(log_line(events));
    out.extend(policy_line(container));
    out
}

/// What its log driver could not pass on.
fn log_line(events: &[Event]) -> Option<String> {
    let told = || events.iter().filter(|event| event.action == "log_lost");
    let last = told().next_back()?;
    let lines: u64 = told().filter_map(|event| event.attribute("lines")?.parse::<u64>().ok()).sum();
    let driver = last.attribute("driver").unwrap_or("its log driver");
    let reason = last.attribute("reason").unwrap_or("it is not known why");
    let what = if lines == 1 { "A line".to_owned() } else { format!("{lines} lines") };
    Some(format!("  {what} of its log never reached {driver}: {reason}."))
}

fn headline(container: &Container) -> String {
    let state = &container.state;
    let who = format!(
        "{} ({}, {})",
        container.name.trim_start_matches('/'),
        &short(&container.id),
        container.config.image
    );
    let ago = |text: &str| {
        let moment = text.parse::<jiff::Timestamp>().map_or(0, |t| t.as_second());
        time::since(moment) + " ago"
    };
    match state.status.as_str() {
        "created" => format!("{who} was never started."),
        "running" => format!("{who} runs since {}.", ago(&state.started_at)),
        "paused" => format!("{who} is paused. It was started {}.", ago(&state.started_at)),
        "restarting" => {
            format!(
                "{who} ended {} with exit code {} and will be started again.",
                ago(&state.finished_at),
                state.exit_code
            )
        }
        "exited" | "dead" => {
            format!("{who} ended {} with exit code {}.", ago(&state.finished_at), state.exit_code)
        }
        other => format!("{who} is {other}."),
    }
}

fn short(id: &str) -> String {
    id.get(..12).unwrap_or(id).to_owned()
}

/// Why it ended, most telling first.
fn why(container: &Container, events: &[Event]) -> Vec<String> {
    let state = &container.state;
    let mut out = vec![format!("  {}", code(state.exit_code))];
    if state.oom_killed {
        out.push(memory(container, events));
    }
    let signals: Vec<&Event> = events.iter().filter(|event| event.action == "kill").collect();
    let stopped = events.iter().any(|event| event.action == "stop" || event.action == "restart");
    let signal = |event: &Event| event.attribute("signal").map_or("a signal".to_owned(), signal_name);
    let unhealthy = events.iter().rev().find(|event| event.action.starts_with("health_status"));
    match signals.as_slice() {
        [] if state.exit_code > 128 && !state.oom_killed => {
            out.push("  Nobody asked the engine for that: the signal came from the program itself, or from another process of the host.".to_owned());
        }
        [] => {}
        [first, rest @ ..] => {
            let asker = match (stopped, container.host_config.restart_policy.name.as_str()) {
                (true, _) => "Somebody stopped it through the engine",
                (false, "on-unhealthy") if unhealthy.is_some_and(|e| e.action.ends_with("unhealthy")) => {
                    "Its health checks failed, and its policy ends it then"
                }
                (false, _) => "Somebody sent it a signal through the engine",
            };
            let mut text = format!("  {asker}: {} {} ago", signal(first), time::since(first.time));
            for event in rest {
                text.push_str(&format!(", {} {} s later", signal(event), event.time - first.time));
            }
            out.push(text + ".");
        }
    }
    out
}

/// What an exit code says.
fn code(code: i64) -> String {
    match code {
        0 => "0 means success: the program ended by itself, or as it was asked to.".to_owned(),
        125 => "125 means that the engine could not start it.".to_owned(),
        126 => "126 means that its program is there but cannot be executed (or a shell said so).".to_owned(),
        127 => "127 means that its program was not found (or a shell said so).".to_owned(),
        129..=192 => format!(
            "It was killed by {} (128 + {}), or its program says so.",
            signal_name(&(code - 128).to_string()),
            code - 128
        ),
        code => format!("{code} is its program's own: its log may say more."),
    }
}

fn memory(container: &Container, events: &[Event]) -> String {
    let told = events.iter().rev().find(|event| event.action == "oom");
    let figure = |name: &str| told.and_then(|event| event.bytes(name));
    let limit = figure("memoryLimit").or_else(|| {
        let limit = container.host_config.memory;
        (limit > 0).then(|| size::binary(limit as f64))
    });
    let mut text = "  The kernel killed a process of it because memory ran out".to_owned();
    match limit {
        Some(limit) => text.push_str(&format!(": its limit is {limit}")),
        None => text.push_str(": it has no limit of its own, the host ran short"),
    }
    if let Some(usage) = figure("memoryUsage") {
        text.push_str(&format!(", {usage} were in use"));
    }
    if let Some(peak) = figure("memoryPeak") {
        text.push_str(&format!(", {peak} at most"));
    }
    text + "."
}

fn health_line(health: &Health, status: &str) -> Option<String> {
    let last = health.log.iter().flatten().next_back()?;
    let said = last.output.trim().lines().next_back().unwrap_or_default();
    let said = if said.is_empty() { String::new() } else { format!(", and said: {said}") };
    let verdict = match status {
        "running" => format!("Its health: {}. ", health.status),
        _ => String::new(),
    };
    let streak = match health.failing_streak {
        0 => String::new(),
        n => format!(" ({n} failed in a row)"),
    };
    Some(format!("  {verdict}The last health check ended with {}{streak}{said}", last.exit_code))
}

fn policy_line(container: &Container) -> Option<String> {
    let policy = &container.host_config.restart_policy;
    if matches!(policy.name.as_str(), "" | "no") {
        return None;
    }
    let most = if policy.maximum_retry_count > 0 {
        format!(":{}", policy.maximum_retry_count)
    } else {
        String::new()
    };
    let times = match container.restart_count {
        0 => "has not started it again".to_owned(),
        1 => "has started it again once".to_owned(),
        n => format!("has started it again {n} times"),
    };
    Some(format!("  Its restart policy {}{most} {times}.", policy.name))
}

fn signal_name(number: &str) -> String {
    let name = match number {
        "1" => "HUP",
        "2" => "INT",
        "3" => "QUIT",
        "4" => "ILL",
        "6" => "ABRT",
        "7" => "BUS",
        "8" => "FPE",
        "9" => "KILL",
        "10" => "USR1",
        "11" => "SEGV",
        "12" => "USR2",
        "13" => "PIPE",
        "14" => "ALRM",
        "15" => "TERM",
        other => return format!("signal {other}"),
    };
    format!("SIG{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(json: &str) -> Container {
        serde_json::from_str(json).unwrap()
    }

    fn event(action: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Event { action: action.to_owned(), actor: Actor { attributes }, time: 100 }
    }

    #[test]
    fn memory_that_ran_out_is_told_with_figures() {
        let ended = container(
            r#"{"Name":"/web","Id":"0123456789abcdef","State":{"Status":"exited","ExitCode":137,"OOMKilled":true},
                "HostConfig":{"Memory":16777216,"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}},"RestartCount":2}"#,
        );
        let told = [event("oom", &[("memoryLimit", "16777216"), ("memoryPeak", "16777216")])];
        let text = sentences(&ended, &told).join("\n");
        assert!(text.starts_with("web (0123456789ab, ) ended "), "{text}");
        assert!(text.contains("It was killed by SIGKILL (128 + 9)"), "{text}");
        assert!(text.contains("memory ran out: its limit is 16MiB, 16MiB at most."), "{text}");
        assert!(text.contains("Its restart policy on-failure:3 has started it again 2 times."), "{text}");
        assert!(!text.contains("Nobody asked"), "{text}");
    }

    #[test]
    fn lines_that_never_arrived_are_counted() {
        let running = container(r#"{"State":{"Status":"running"}}"#);
        let lost = |lines| {
            let attributes =
                [("lines", lines), ("driver", "syslog"), ("reason", "the space for them was used up")];
            event("log_lost", &attributes)
        };
        let text = sentences(&running, &[lost("3"), lost("4")]).join("\n");
        assert!(
            text.contains("  7 lines of its log never reached syslog: the space for them was used up."),
            "{text}"
        );
        assert!(!sentences(&running, &[]).join("\n").contains("log"));
    }

    #[test]
    fn who_stopped_it_is_told_from_who_did_not() {
        let ended = container(r#"{"State":{"Status":"exited","ExitCode":137}}"#);
        let text = sentences(&ended, &[]).join("\n");
        assert!(text.contains("Nobody asked the engine for that"), "{text}");
        let told =
            [event("kill", &[("signal", "15")]), event("kill", &[("signal", "9")]), event("stop", &[])];
        let text = sentences(&ended, &told).join("\n");
        assert!(text.contains("Somebody stopped it through the engine: SIGTERM "), "{text}");
        assert!(text.contains(", SIGKILL 0 s later."), "{text}");
    }
}
