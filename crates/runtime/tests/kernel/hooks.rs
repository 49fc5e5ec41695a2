//! Hooks: when and where they run, what they are told, and what their failure means.

use serde_json::{Value, json};

use crate::bundle::Bundle;

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn shell(script: &str) -> Value {
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin", "GREETING=hello"]}])
}

#[test]
fn each_kind_runs_at_its_moment_with_the_state() {
    let mut bundle = Bundle::new("echo program >> /log");
    let log = bundle.root("log").display().to_string();
    for kind in KINDS {
        let place = if kind == "startContainer" { "/log".to_owned() } else { log.clone() };
        let script = format!("read state; echo \"{kind} $GREETING $state\" >> {place}");
        bundle.set(&format!("/hooks/{kind}"), shell(&script));
    }
    bundle.set("/annotations", json!({"key": "value"}));
    bundle.run().ok();
    let log = fs_err::read_to_string(bundle.root("log")).unwrap();
    let told: Vec<(&str, Value)> = log
        .lines()
        .filter(|line| *line != "program")
        .map(|line| {
            let (kind, rest) = line.split_once(" hello ").unwrap();
            (kind, serde_json::from_str(rest).unwrap())
        })
        .collect();
    let statuses = ["creating", "creating", "creating", "created", "running", "stopped"];
    // The program and what follows its start are not ordered among each other.
    for (kind, status) in KINDS.iter().zip(statuses) {
        let (_, state) =
            told.iter().find(|(told, _)| told == kind).unwrap_or_else(|| panic!("no {kind} in {log}"));
        assert_eq!((&state["status"], &state["id"]), (&json!(status), &json!(bundle.id)), "{kind}");
        assert_eq!(state["annotations"]["key"], "value");
        assert_eq!(state["pid"].is_null(), *kind == "poststop", "{kind}: {state}");
    }
    let order: Vec<&str> = told.iter().map(|(kind, _)| *kind).filter(|kind| *kind != "poststart").collect();
    assert_eq!(order, ["prestart", "createRuntime", "createContainer", "startContainer", "poststop"]);
}

#[test]
fn hooks_run_in_the_namespaces_of_their_kind() {
    let mut bundle = Bundle::new("true");
    for (kind, same) in [("createRuntime", true), ("createContainer", false)] {
        let file = bundle.path(kind).display().to_string();
        bundle.set(&format!("/hooks/{kind}"), shell(&format!("readlink /proc/self/ns/mnt > {file}")));
        bundle.run().ok();
        let seen = fs_err::read_to_string(bundle.path(kind)).unwrap();
        let host = fs_err::read_link("/proc/self/ns/mnt").unwrap();
        assert_eq!(seen.trim() == host.to_str().unwrap(), same, "{kind}");
    }
}

#[test]
fn a_failing_hook_of_creation_ends_it() {
    for kind in &KINDS[..4] {
        let mut bundle = Bundle::new("echo program > /log");
        bundle.set(&format!("/hooks/{kind}"), shell("echo because >&2; exit 3"));
        bundle.run().refused(&format!("error running {kind} hook #0: /bin/sh: exit status 3: because"));
        assert!(!bundle.root("log").exists(), "{kind}");
        assert_eq!(bundle.left_overs(), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn a_failing_hook_after_the_end_is_only_told() {
    let mut bundle = Bundle::new("exit 4");
    bundle.set("/hooks/poststop", shell("exit 3"));
    let answer = bundle.run();
    assert_eq!(answer.code, 4, "{answer:?}");
    assert!(answer.err.contains("error running poststop hook #0"), "{answer:?}");
}

#[test]
fn a_hook_that_takes_too_long_is_killed() {
    let mut bundle = Bundle::new("true");
    let mut hook = shell("exec sleep 60");
    hook[0]["timeout"] = json!(1);
    bundle.set("/hooks/createRuntime", hook);
    bundle.run().refused("ran past specified timeout of 1.0s");
}

#[test]
fn a_hook_that_is_not_there_is_an_error() {
    let mut bundle = Bundle::new("true");
    bundle.set("/hooks/prestart", json!([{"path": "/nowhere/hook"}]));
    bundle.run().refused("/nowhere/hook: No such file or directory");
}
