//! `ps`, `inspect`, `--format`, `port`, `top`, `events`, `rm` and their kin.

use anyhow::Result;

use super::Test;

#[test]
fn ps_shows_what_was_asked_for() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("ps");
    let id = test
        .run(&[
            "run",
            "-d",
            "--name",
            &name,
            "-l",
            "a.b-c=1",
            "--network",
            "none",
            "busybox",
            "sleep",
            "100",
        ])?
        .ok();
    let filter = format!("name={name}");
    let ps = |more: &[&str]| -> Result<String> {
        let args: Vec<&str> =
            ["ps", "-a", "--filter", &filter].into_iter().chain(more.iter().copied()).collect();
        Ok(test.run(&args)?.ok())
    };
    assert_eq!(ps(&["-q"])?, format!("{}\n", &id[..12]));
    assert_eq!(ps(&["-q", "--no-trunc"])?, id);
    assert_eq!(
        ps(&["--format", "{{.Names}} {{.Image}} {{.State}} {{.Command}} {{.Label \"a.b-c\"}}"])?,
        format!("{name} busybox running \"sleep 100\" 1\n")
    );
    let table = ps(&[])?;
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    assert!(header.starts_with("CONTAINER ID   IMAGE     COMMAND       CREATED"), "{header}");
    assert!(header.ends_with("PORTS     NAMES"), "{header}");
    assert!(lines.next().is_some_and(|line| line.starts_with(&id[..12]) && line.ends_with(&name)), "{table}");
    let table = ps(&["--format", "table {{.Label \"a.b-c\"}}\t{{.Names}}"])?;
    assert_eq!(table, format!("b c       NAMES\n1         {name}\n"));
    let said = test.run(&["ps", "--format", "{{.Foo}}"])?;
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            1,
            "failed to execute template: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.ContainerContext\n"
        )
    );
    Ok(())
}

#[test]
fn inspect_takes_go_s_names_and_json_s() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("inspect");
    test.run(&[
        "create",
        "--name",
        &name,
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "-e",
        "A=b",
        "-l",
        "k=v",
        "--network",
        "none",
        "busybox",
        "true",
    ])?
    .ok();
    let inspect = |format: &str| test.run(&["inspect", "-f", format, &name]);
    assert_eq!(
        inspect("{{.Name}} {{.State.Status}} {{.State.Running}}")?.ok(),
        format!("/{name} created false\n")
    );
    assert_eq!(
        inspect("{{.HostConfig.Memory}} {{.HostConfig.NanoCPUs}} {{.HostConfig.NetworkMode}}")?.ok(),
        "67108864 500000000 none\n"
    );
    assert_eq!(inspect("{{.HostConfig.NanoCpus}}")?.ok(), "500000000\n");
    assert_eq!(
        inspect("{{if .State.Health}}y{{else}}n{{end}} {{index .Config.Labels \"k\"}} {{.Config.Cmd}}")?.ok(),
        "n v [true]\n"
    );
    assert_eq!(inspect("{{range .Config.Env}}{{if eq . \"A=b\"}}{{.}}{{end}}{{end}}")?.ok(), "A=b\n");
    let said = inspect("{{.State.Foo}}")?;
    assert_eq!(
        (said.code, said.out.as_str(), said.err.as_str()),
        (
            1,
            "\n",
            "template parsing error: template: :1:8: executing \"\" at <.State.Foo>: map has no entry for key \"Foo\"\n"
        )
    );
    let said = test.run(&["inspect", "-f", "{{foo}}", &name])?;
    assert_eq!(
        (said.code, said.err.as_str()),
        (64, "template parsing error: template: :1: function \"foo\" not defined\n")
    );
    let said = test.run(&["inspect", "no-such-thing"])?;
    assert_eq!((said.code, said.out.as_str()), (1, "[]\n"));
    assert!(said.err.contains("no-such-thing"), "{}", said.err);
    let whole = test.run(&["inspect", &name])?.ok();
    assert!(whole.starts_with("[\n    {\n        \"Id\": \""), "{whole}");
    Ok(())
}

#[test]
fn names_come_back_from_what_is_done_to_them() -> Result<()> {
    let mut test = Test::new()?;
    let (one, two) = (test.name("one"), test.name("two"));
    for name in [&one, &two] {
        test.run(&["run", "-d", "--name", name, "--network", "none", "busybox", "sleep", "100"])?.ok();
    }
    let both = format!("{one}\n{two}\n");
    for command in
        [&["pause"][..], &["unpause"], &["restart", "-t", "0"], &["stop", "-t", "0"], &["start"], &["kill"]]
    {
        let args: Vec<&str> = command.iter().copied().chain([one.as_str(), two.as_str()]).collect();
        assert_eq!(test.run(&args)?.ok(), both, "{command:?}");
    }
    let said = test.run(&["rm", &one, "no-such-container", &two])?;
    assert_eq!((said.code, said.out.as_str()), (1, both.as_str()));
    assert_eq!(said.err, "Error response from daemon: No such container: no-such-container\n");
    assert_eq!(test.run(&["rm", "-f", "no-such-container"])?.code, 0);
    Ok(())
}

#[test]
fn events_tell_a_container_s_life() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("events");
    let since = jiff::Timestamp::now().as_second().to_string();
    test.run(&["run", "--name", &name, "--network", "none", "busybox", "true"])?.ok();
    test.run(&["rm", &name])?.ok();
    let filter = format!("container={name}");
    let until = (jiff::Timestamp::now().as_second() + 1).to_string();
    let said = test.run(&[
        "events",
        "--since",
        &since,
        "--until",
        &until,
        "--filter",
        &filter,
        "--format",
        "{{.Action}}",
    ])?;
    let actions: Vec<&str> = said.out.lines().collect();
    for action in ["create", "start", "die", "destroy"] {
        assert!(actions.contains(&action), "{action} in {actions:?}");
    }
    Ok(())
}

#[test]
fn top_and_networks_are_tables() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("top");
    test.run(&["run", "-d", "--name", &name, "--network", "none", "busybox", "sleep", "100"])?.ok();
    let top = test.run(&["top", &name])?.ok();
    assert!(top.starts_with("UID                 PID                 PPID"), "{top}");
    assert!(top.trim_end().ends_with("sleep 100"), "{top}");
    let networks = test.run(&["network", "ls"])?.ok();
    assert!(networks.starts_with("NETWORK ID     NAME"), "{networks}");
    let names = test.run(&["network", "ls", "--format", "{{.Name}}"])?.ok();
    for name in ["bridge", "host", "none"] {
        assert!(names.lines().any(|line| line == name), "{name} in {names}");
    }
    Ok(())
}

#[test]
fn options_reach_the_engine_as_docker_sends_them() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("caps");
    let said = test.run(&[
        "create",
        "--name",
        &name,
        "--cap-add",
        "net_admin",
        "--cap-add",
        "CAP_NET_ADMIN",
        "--cap-add",
        "chown",
        "--cap-drop",
        "chown",
        "--cap-drop",
        "mknod",
        "--mac-address",
        "02:42:ac:11:00:99",
        "busybox",
        "true",
    ])?;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "no warning: {said:?}");
    let format =
        "{{.HostConfig.CapAdd}} {{.HostConfig.CapDrop}} {{.NetworkSettings.Networks.bridge.MacAddress}}";
    let shown = test.run(&["inspect", "-f", format, &name])?.ok();
    assert_eq!(shown, "[CAP_CHOWN CAP_NET_ADMIN] [CAP_CHOWN CAP_MKNOD] 02:42:ac:11:00:99\n");
    Ok(())
}

#[test]
fn an_image_s_configuration_leaves_out_what_is_empty() -> Result<()> {
    let test = Test::new()?;
    assert_eq!(test.run(&["image", "inspect", "-f", "{{json .Config}}", "busybox"])?.ok(), "{}\n");
    let whole = test.run(&["image", "inspect", "busybox"])?.ok();
    assert!(whole.starts_with("[\n    {\n        \"Id\": \"sha256:"), "{whole}");
    Ok(())
}

#[test]
fn a_group_without_a_command_is_helped_on_the_error_stream() -> Result<()> {
    let test = Test::new()?;
    let said = test.run(&["container"])?;
    assert_eq!((said.code, said.out.as_str()), (0, ""));
    assert!(said.err.starts_with("Usage:  docker container COMMAND\n\nManage containers\n"), "{}", said.err);
    Ok(())
}
