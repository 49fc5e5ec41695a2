//! Options of `create` with wrong values, pairs that conflict, and objects that are missing: what a docker 28.5.2 said to its own
//! engine, kept in `options.jsonl` as arguments, exit code and standard error.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::Test;

#[test]
fn wrong_options_are_refused_as_docker_refuses_them() -> Result<()> {
    let mut test = Test::new()?;
    let other = test.name("other");
    test.run(&["create", "--name", &other, "busybox", "true"])?.ok();
    let mut wrong = Vec::new();
    for line in include_str!("options.jsonl").lines() {
        let line = line.replace("OTHER", &other);
        let (args, code, error): (Vec<String>, i32, String) =
            serde_json::from_str(&line).with_context(|| line.clone())?;
        let mut all = vec!["create"];
        all.extend(args.iter().map(String::as_str));
        let said = test.run(&all)?;
        if (said.code, &said.err, said.out.as_str()) != (code, &error, "") {
            wrong.push(format!("{args:?}: {code} {error:?}, but it is {said:?}"));
            if said.code == 0 {
                test.names.push(said.out.trim().to_owned());
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// What is asked for arrives whole: neither command line leaves out or adds.
#[test]
fn options_arrive_as_they_were_given() -> Result<()> {
    let mut test = Test::new()?;
    let (name, other) = (test.name("options"), test.name("other"));
    test.run(&["create", "--name", &other, "busybox", "true"])?.ok();
    let lender = format!("container:{other}");
    let args = [
        "create",
        "--name",
        &name,
        "--cap-add",
        "net_admin",
        "--cap-drop",
        "NET_ADMIN",
        "--pid",
        &lender,
        "--privileged",
        "--workdir",
        "/a/../b/",
        "busybox",
        "true",
    ];
    test.run(&args)?.ok();
    let seen: Value = serde_json::from_str(&test.run(&["inspect", &name])?.ok())?;
    let of_other: Value = serde_json::from_str(&test.run(&["inspect", &other])?.ok())?;
    let host = &seen[0]["HostConfig"];
    assert_eq!(host["Binds"], Value::Null);
    assert_eq!((&host["CapAdd"][0], &host["CapDrop"][0]), (&"CAP_NET_ADMIN".into(), &"CAP_NET_ADMIN".into()));
    let by_id = format!("container:{}", of_other[0]["Id"].as_str().context("no Id")?);
    assert_eq!(host["PidMode"], by_id, "names change, ids do not");
    assert_eq!(host["SecurityOpt"], serde_json::json!(["label=disable"]));
    assert_eq!(seen[0]["Config"]["WorkingDir"], "/b");
    Ok(())
}
