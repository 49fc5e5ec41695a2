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
        ("ENV A=a\\\nb=c", r#"{"Env":["A=ab=c"]}"#),
        ("ENV A=x \\\n# c\n b=y", r#"{"Env":["A=x","b=y"]}"#),
        ("ENV A=1 A=2", r#"{"Env":["A=2"]}"#),
        ("EXPOSE 80 90-92/udp", r#"{"ExposedPorts":{"80/tcp":{},"90/udp":{},"91/udp":{},"92/udp":{}}}"#),
        ("EXPOSE $X", "{}"),
        ("EXPOSE 1.2.3.4:8080:80/udp", r#"{"ExposedPorts":{"80/udp":{}}}"#),
        ("EXPOSE 8080-8081:80-81", r#"{"ExposedPorts":{"80/tcp":{},"81/tcp":{}}}"#),
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

/// The variables `ENV A=1 P="80 443" E= F=a.b.c` and what comes then.
fn set_after(change: &str) -> Result<serde_json::Value, String> {
    let mut config = ContainerConfig::default();
    let set = r#"ENV A=1 P="80 443" E= F=a.b.c"#.to_owned();
    apply_changes(&mut config, &[set, change.to_owned()]).map_err(|e| e.to_string())?;
    let config = serde_json::to_value(config).unwrap();
    let map = config.as_object().unwrap().iter().filter(|(key, _)| *key != "Env");
    let mut map: serde_json::Map<_, _> = map.map(|(k, v)| (k.clone(), v.clone())).collect();
    let first = ["A=1", "P=80 443", "E=", "F=a.b.c"];
    let env: Vec<_> =
        config["Env"].as_array().unwrap().iter().filter(|e| !first.map(Into::into).contains(*e)).collect();
    if !env.is_empty() {
        map.insert("Env".to_owned(), serde_json::to_value(env).unwrap());
    }
    let empty = serde_json::to_value(ContainerConfig::default()).unwrap();
    map.retain(|key, value| empty.get(key) != Some(value));
    Ok(map.into())
}

#[test]
fn variables_are_what_was_set_before() {
    for (change, want) in [
        ("ENV B=$A/x C=${A}x", r#"{"Env":["B=1/x","C=1x"]}"#),
        ("ENV A=2 B=$A", r#"{"Env":["A=2","B=1"]}"#),
        (
            "ENV B=${N:-y} C=${N:+y} D=${A:+y} G=${E-q} H=${E:-q} I=${N-z}",
            r#"{"Env":["B=y","C=","D=y","G=","H=q","I=z"]}"#,
        ),
        (
            "ENV B=${F#*.} C=${F##*.} D=${F%.*} G=${F%%.*} H=${F/./-} I=${F//./-} J=${F/?.?/}",
            r#"{"Env":["B=b.c","C=c","D=a.b","G=a","H=a-b.c","I=a-b-c","J=.c"]}"#,
        ),
        (r#"ENV B="$A \$A" C='$A' D=$ G=$1 H=$@x"#, r#"{"Env":["B=1 $A","C=$A","D=$","G=","H=x"]}"#),
        (r#"ENV B=${A:-$F} C=${N:-${A}x} D=${N:-"a b"}"#, r#"{"Env":["B=1","C=1x","D=a b"]}"#),
        (r#"ENV B x $A "y""#, r#"{"Env":["B=x 1 y"]}"#),
        ("LABEL x=$N y=$A $A=z", r#"{"Labels":{"x":"","y":"1","1":"z"}}"#),
        ("WORKDIR /$A/${N:-q}", r#"{"WorkingDir":"/1/q"}"#),
        ("USER $A", r#"{"User":"1"}"#),
        ("USER $N", "{}"),
        ("STOPSIGNAL $A", r#"{"StopSignal":"1"}"#),
        (r#"VOLUME ["/$A","'x'"]"#, r#"{"Volumes":{"/1":{},"x":{}}}"#),
        ("EXPOSE $P", r#"{"ExposedPorts":{"80/tcp":{},"443/tcp":{}}}"#),
        ("CMD $A", r#"{"Cmd":["/bin/sh","-c","$A"]}"#),
        (r#"ENTRYPOINT ["$A"]"#, r#"{"Entrypoint":["$A"]}"#),
        ("ONBUILD ENV B=$A", r#"{"OnBuild":["ENV B=$A"]}"#),
    ] {
        let want: serde_json::Value = serde_json::from_str(want).unwrap();
        assert_eq!(set_after(change), Ok(want), "{change}");
    }
    for (change, message) in [
        ("ENV B=${", r#"failed to process "${": syntax error: missing '}'"#),
        ("ENV B=${N:-a", r#"failed to process "${N:-a": syntax error: missing '}'"#),
        ("ENV B=${}", r#"failed to process "${}": syntax error: bad substitution"#),
        ("ENV B=${N:?}", r#"failed to process "${N:?}": N: is not allowed to be unset"#),
        ("ENV B=${E:?}", r#"failed to process "${E:?}": E: is not allowed to be empty"#),
        ("ENV B=${N?msg}", r#"failed to process "${N?msg}": N: msg"#),
        ("ENV B=${A:x}", r#"failed to process "${A:x}": unsupported modifier (:x) in substitution"#),
        (
            "USER 'a",
            r#"failed to process "'a": unexpected end of statement while looking for matching single-quote"#,
        ),
        ("WORKDIR $N", "cannot normalize nothing"),
        ("STOPSIGNAL $N", "invalid signal: "),
        ("VOLUME $N", "VOLUME specified can not be an empty string"),
    ] {
        assert_eq!(set_after(change), Err(message.to_owned()), "{change}");
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
        ("EXPOSE a:80", "Invalid hostPort: a"),
        ("EXPOSE 80:", "No port specified: 80:<empty>"),
        ("CMD [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
        ("VOLUME [null]", "when using JSON array syntax, arrays must be comprised of strings only"),
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
