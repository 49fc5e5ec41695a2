//! Held against what Docker 28.5 answers to `import --change`.

use super::*;

fn changed(change: &str) -> Result<ContainerConfig, String> {
    let mut config = ContainerConfig::default();
    apply_changes(&mut config, &[change.to_owned()]).map(|()| config).map_err(|e| e.to_string())
}

/// What the change sets, as JSON.
fn set(change: &str) -> serde_json::Value {
    let config = serde_json::to_value(changed(change).unwrap_or_else(|e| panic!("{change}: {e}"))).unwrap();
    let empty = serde_json::to_value(ContainerConfig::default()).unwrap();
    let map = config.as_object().unwrap().iter().filter(|(k, v)| empty.get(k) != Some(v));
    map.map(|(k, v)| (k.clone(), v.clone())).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn instructions_change_what_docker_changes() {
    for (change, want) in [
        ("CMD echo hi there", r#"{"Cmd":["/bin/sh","-c","echo hi there"]}"#),
        (r#"CMD ["a",]"#, r#"{"Cmd":["/bin/sh","-c","[\"a\",]"]}"#),
        (r#"cmd ["x"]"#, r#"{"Cmd":["x"]}"#),
        ("ENTRYPOINT", "{}"),
        ("ENTRYPOINT /bin/x -y", r#"{"Entrypoint":["/bin/sh","-c","/bin/x -y"]}"#),
        ("ENV A b c", r#"{"Env":["A=b c"]}"#),
        (r#"ENV A="x y" B='q $A'"#, r#"{"Env":["A=x y","B=q $A"]}"#),
        ("ENV A=1 A=2", r#"{"Env":["A=2"]}"#),
        ("EXPOSE 80 90-92/udp", r#"{"ExposedPorts":{"80/tcp":{},"90/udp":{},"91/udp":{},"92/udp":{}}}"#),
        ("EXPOSE $X", "{}"),
        ("LABEL a b", r#"{"Labels":{"a":"b"}}"#),
        (r#"VOLUME ["/a","/b"]"#, r#"{"Volumes":{"/a":{},"/b":{}}}"#),
        ("VOLUME /a /b", r#"{"Volumes":{"/a":{},"/b":{}}}"#),
        ("WORKDIR rel", r#"{"WorkingDir":"/rel"}"#),
        ("WORKDIR /x/../y", r#"{"WorkingDir":"/y"}"#),
        ("WORKDIR a b", r#"{"WorkingDir":"/a b"}"#),
        ("USER a b", r#"{"User":"a b"}"#),
        ("STOPSIGNAL 9", r#"{"StopSignal":"9"}"#),
        ("HEALTHCHECK NONE", r#"{"Healthcheck":{"Test":["NONE"]}}"#),
        (
            r#"HEALTHCHECK --interval=5s --retries=3 CMD ["a","b"]"#,
            r#"{"Healthcheck":{"Test":["CMD","a","b"],"Interval":5000000000,"Retries":3}}"#,
        ),
        ("HEALTHCHECK CMD true", r#"{"Healthcheck":{"Test":["CMD-SHELL","true"]}}"#),
        ("ONBUILD ENV a=b", r#"{"OnBuild":["ENV a=b"]}"#),
    ] {
        assert_eq!(set(change), serde_json::from_str::<serde_json::Value>(want).unwrap(), "{change}");
    }
}

#[test]
fn wrong_instructions_are_refused_in_dockers_words() {
    for (change, message) in [
        ("FROM x", "FROM is not a valid change command"),
        ("RUN x", "RUN is not a valid change command"),
        ("SHELL [\"/bin/x\"]", "SHELL is not a valid change command"),
        ("", "file with no instructions"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV =x", "ENV names can not be blank"),
        ("EXPOSE x", "Invalid containerPort: x"),
        ("EXPOSE 80/xyz", "Invalid proto: xyz"),
        ("STOPSIGNAL NOPE", "invalid signal: NOPE"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("USER", "USER requires exactly one argument"),
        ("LABEL", "LABEL requires at least one argument"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK --interval=x CMD a", "time: invalid duration \"x\""),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
    ] {
        assert_eq!(changed(change).unwrap_err(), message, "{change}");
    }
}

#[test]
fn durations_are_gos() {
    assert_eq!(duration("1h2m3.5s"), Some(3_723_500_000_000));
    assert_eq!(duration("250ms"), Some(250_000_000));
    for bad in ["", "5", "s", "1x", "-1s"] {
        assert_eq!(duration(bad), None, "{bad}");
    }
}
