//! Security modules of the kernel. Where it has none a Docker engine ignores what is asked of them (recorded from
//! Docker 28.5.2 on such a kernel).

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::apparmor::{self, Profile};

use crate::{Test, exec};

const TOUCH: &str =
    "cat /proc/self/attr/current 2>/dev/null; touch /tmp/secret 2>/dev/null || echo no secret";

fn with_profile(command: &[&str], profile: &str) -> Value {
    let mut body = Test::body(command);
    body["HostConfig"]["SecurityOpt"] = json!([format!("apparmor={profile}")]);
    body
}

#[test]
fn a_profile_confines_the_container_and_its_execs() -> Result<()> {
    let mut test = Test::new()?;
    let name = "skiff-blackbox-test";
    let _profile = apparmor::is_enabled().then(|| Profile::load(name)).transpose()?;
    let id =
        test.create(&with_profile(&["sh", "-c", &format!("{TOUCH}; touch /tmp/ready; sleep 60")], name))?;
    assert_eq!(test.inspect(&id)?["AppArmorProfile"], name);
    test.start(&id)?;
    let line = format!("while ! [ -e /tmp/ready ]; do sleep 0.05; done; {TOUCH}");
    let inside = exec::output(&mut test, &id, &["sh", "-c", &line])?;
    let (profile, output) = match apparmor::is_enabled() {
        true => (name, format!("{name} (enforce)\nno secret\n")),
        false => ("", String::new()),
    };
    assert_eq!(inside, output);
    let seen = test.inspect(&id)?;
    assert_eq!(seen["AppArmorProfile"], profile);
    assert_eq!(seen["HostConfig"]["SecurityOpt"], json!([format!("apparmor={name}")]));
    test.act(&id, "kill")?.ok()?;
    assert_eq!(test.logs(&id, "stdout=1")?.0, output);
    Ok(())
}

#[test]
fn a_profile_that_is_not_loaded_is_an_error() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.create(&with_profile(&["true"], "skiff-not-loaded"))?;
    let started = test.act(&id, "start")?;
    if !apparmor::is_enabled() {
        assert_eq!(started.status, 204);
        return Ok(());
    }
    let message = started.message();
    assert!(
        message.contains("unable to apply apparmor profile: apparmor failed to apply profile: write "),
        "{message}"
    );
    assert!(message.ends_with("attr/apparmor/exec: no such file or directory"), "{message}");
    let state = &test.inspect(&id)?["State"];
    assert_eq!(
        (started.status, state["Status"].as_str(), state["ExitCode"].as_i64()),
        (500, Some("created"), Some(128))
    );
    Ok(())
}

#[test]
fn a_privileged_container_is_unconfined() -> Result<()> {
    let mut test = Test::new()?;
    let mut body =
        with_profile(&["sh", "-c", "cat /proc/self/attr/current 2>/dev/null || true"], "skiff-not-loaded");
    body["HostConfig"]["Privileged"] = json!(true);
    let ran = test.run(&body)?;
    let expected = if apparmor::is_enabled() { "unconfined\n" } else { "" };
    assert_eq!((ran.code, ran.out.as_str()), (0, expected));
    let last = test.made.last().context("a container was made")?.clone();
    assert_eq!(test.inspect(&last)?["AppArmorProfile"], expected.trim_end());
    Ok(())
}

#[test]
fn security_options_tell_what_the_kernel_has() -> Result<()> {
    let mut test = Test::new()?;
    let info = test.client.get("/info")?.ok()?.json()?;
    let options = info["SecurityOptions"].as_array().context("no options")?;
    assert_eq!(options.contains(&json!("name=apparmor")), apparmor::is_enabled());
    let v2 = info["CgroupVersion"] == "2";
    assert_eq!(options.contains(&json!("name=cgroupns")), v2);
    // The default is the private one on v2.
    let id = test.create(&Test::body(&["true"]))?;
    let mode = if v2 { "private" } else { "host" };
    assert_eq!(test.inspect(&id)?["HostConfig"]["CgroupnsMode"], mode);
    Ok(())
}
