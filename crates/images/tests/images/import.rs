//! Import, held against what Docker 28.5.2 made of the same.

use skiff_images::{Error, ImportOptions, Platform};
use skiff_snapshots::conformance::Archive;

use crate::archives::{Dir, layer, unpack};

/// The configuration that Docker wrote, with this test's layer, time and version in it.
const DOCKER: &str = r#"{"architecture":"amd64","comment":"a <message>","config":{"Hostname":"","Domainname":"","User":"1:2","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"ExposedPorts":{"80/tcp":{}},"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":["A=b","C=d e"],"Cmd":["/bin/sh","-c","x"],"Healthcheck":{"Test":["CMD-SHELL","true"]},"Image":"","Volumes":{"/v":{}},"WorkingDir":"/w","Entrypoint":["/e"],"OnBuild":["RUN x"],"Labels":{"x":"y"},"StopSignal":"SIGTERM"},"container_config":{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null},"created":"2026-11-20T20:50:26.515228729Z","docker_version":"28.5.2+dfsg4","history":[{"created":"2026-11-20T20:50:26.515228729Z","comment":"a <message>"}],"os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:LAYER"]}}"#;

fn options() -> ImportOptions {
    let changes = [
        r#"CMD ["/bin/sh","-c","x"]"#,
        r#"ENV A=b C="d e""#,
        "EXPOSE 80/tcp",
        "LABEL x=y",
        "VOLUME /v",
        "WORKDIR /w",
        "USER 1:2",
        r#"ENTRYPOINT ["/e"]"#,
        "STOPSIGNAL SIGTERM",
        "ONBUILD RUN x",
        "HEALTHCHECK CMD true",
    ];
    ImportOptions {
        reference: Some("imported:1".parse().unwrap()),
        changes: changes.map(str::to_owned).to_vec(),
        message: "a <message>".to_owned(),
        platform: Some("linux/amd64".parse().unwrap()),
        created: Some("2026-11-20T20:50:26.515228729Z".parse().unwrap()),
        engine_version: "28.5.2+dfsg4".to_owned(),
    }
}

#[test]
fn the_configuration_is_dockers_byte_for_byte() {
    let dir = Dir::new();
    let store = dir.open();
    let id = store.import(&mut &layer("a")[..], &options()).unwrap();
    let want = DOCKER
        .replace("LAYER", &crate::archives::hex(&layer("a")))
        .replace('<', "\\u003c")
        .replace('>', "\\u003e");
    assert_eq!(String::from_utf8(store.config_bytes(&id).unwrap()).unwrap(), want);
    assert_eq!(store.resolve("imported:1").unwrap(), id);
    assert_eq!(store.get("imported:1").unwrap().size, 1);
    let mut saved = Vec::new();
    store.save(&["imported:1".to_owned()], None, &mut saved).unwrap();
    assert!(unpack(&saved).iter().any(|(_, contents)| *contents == layer("a")));
}

#[test]
fn imports_may_be_compressed_and_need_no_name() {
    let dir = Dir::new();
    let store = dir.open();
    let packed = zstd::encode_all(&layer("a")[..], 3).unwrap();
    let arm = ImportOptions { platform: Some("linux/arm64/v8".parse().unwrap()), ..ImportOptions::default() };
    let id = store.import(&mut &packed[..], &arm).unwrap();
    let image = store.by_id(&id).unwrap();
    assert_eq!((image.config.architecture.as_str(), image.config.variant.as_str()), ("arm64", "v8"));
    assert_eq!(image.config.comment, "Imported from -");
    assert!(image.is_untagged());
}

#[test]
fn what_is_refused_leaves_nothing() {
    let dir = Dir::new();
    let store = dir.open();
    let before = dir.paths(&store);
    let wrong_change = ImportOptions { changes: vec!["RUN x".to_owned()], ..ImportOptions::default() };
    let error = store.import(&mut &layer("a")[..], &wrong_change).unwrap_err();
    assert!(matches!(error, Error::Change(_)), "{error}");
    let windows =
        ImportOptions { platform: Some("windows/amd64".parse().unwrap()), ..ImportOptions::default() };
    let error = store.import(&mut &layer("a")[..], &windows).unwrap_err();
    assert_eq!(error.to_string(), "operating system is not supported");
    for bad in [&layer("a")[..300], b"garbage"] {
        let error = store.import(&mut &bad[..], &ImportOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), "unexpected EOF");
    }
    let digest = format!("a@sha256:{}", "a".repeat(64)).parse().unwrap();
    let with_digest = ImportOptions { reference: Some(digest), ..ImportOptions::default() };
    let error = store.import(&mut &layer("a")[..], &with_digest).unwrap_err();
    assert_eq!(error.to_string(), "cannot import digest reference");
    for (archive, message) in [
        (Archive::new().file("../../esc", "x"), "invalid entry name \"../../esc\""),
        (Archive::new().link("h", "../../etc/passwd"), "invalid hardlink target \"../../etc/passwd\""),
    ] {
        let error = store.import(&mut &archive.finish()[..], &ImportOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    assert_eq!(dir.paths(&store), before);
}

#[test]
fn platforms_are_parsed_as_docker_does() {
    for (text, platform) in
        [("linux/x86_64", "linux/amd64"), ("aarch64", "linux/arm64"), ("linux/armhf", "linux/arm/v7")]
    {
        assert_eq!(text.parse::<Platform>().unwrap().to_string(), platform);
    }
    let error = "a/b/c/d".parse::<Platform>().unwrap_err();
    assert_eq!(error.to_string(), "\"a/b/c/d\": cannot parse platform specifier: invalid argument");
}
