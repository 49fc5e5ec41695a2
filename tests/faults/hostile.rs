//! Containers that try to lead those who copy out of their root: the classes of CVE-2018-15664, CVE-2019-14271,
//! CVE-2024-21626, CVE-2025-31133 and CVE-2026-41567.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::{
    Daemon,
    http::{Body, Client, Response},
    image::Tar,
};

use crate::{daemon, start};

/// A container that may do anything to itself, running this line for ever.
fn hostile(client: &mut Client, line: &str, host: Value) -> Result<String> {
    let mut body = json!({ "Image": "busybox", "Cmd": ["sh", "-c", line], "HostConfig": host });
    body["HostConfig"]["NetworkMode"] = json!("none");
    let created = client.post("/containers/create", &body)?.ok()?.json()?;
    let id = created["Id"].as_str().context("no Id")?.to_owned();
    start(client, &id)?;
    Ok(id)
}

/// A directory of the host that no container may see or change.
fn secret() -> Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    fs_err::write(dir.path().join("secret"), "of the host")?;
    Ok(dir)
}

fn untouched(dir: &tempfile::TempDir) -> Result<bool> {
    let names: Vec<_> = fs_err::read_dir(dir.path())?.map(|e| Ok(e?.file_name())).collect::<Result<_>>()?;
    Ok(names == ["secret"] && fs_err::read_to_string(dir.path().join("secret"))? == "of the host")
}

fn get(client: &mut Client, id: &str, path: &str) -> Result<Response> {
    client.get(&format!("/containers/{id}/archive?path={path}"))
}

fn put(client: &mut Client, id: &str, path: &str) -> Result<Response> {
    let mut tar = Tar::default();
    tar.entry("planted", b'0', 0o644, "", b"planted");
    tar.entry("sub/planted", b'0', 0o644, "", b"planted");
    let body = tar.finish();
    client.request(
        "PUT",
        &format!("/containers/{id}/archive?path={path}"),
        &Body::Bytes("application/x-tar", &body),
    )
}

fn ready(client: &mut Client, id: &str) -> Result<()> {
    while get(client, id, "/ready")?.status != 200 {}
    Ok(())
}

/// CVE-2018-15664: a directory is swapped for a link out of the root again and again, while others copy in and out.
#[test]
fn links_that_are_swapped_lead_nowhere_else() -> Result<()> {
    let daemon = daemon(&[])?;
    let mut client = daemon.client();
    let outside = secret()?;
    let target = outside.path().display();
    for link in [format!("{target}"), format!("../../../../../../..{target}")] {
        let line = format!(
            "mkdir /a /a/sub; ln -s {link} /l; touch /ready; while :; do mv /a /b; mv /l /a; mv /a /l; mv /b /a; done"
        );
        let id = hostile(&mut client, &line, json!({}))?;
        ready(&mut client, &id)?;
        for _ in 0..300 {
            let out = get(&mut client, &id, "/a/")?;
            assert!(!out.text().contains("of the host"));
            let out = get(&mut client, &id, "/a/secret")?;
            assert!(!out.text().contains("of the host"));
            put(&mut client, &id, "/a")?;
            put(&mut client, &id, "/a/sub")?;
        }
        assert!(untouched(&outside)?);
        client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    }
    Ok(())
}

/// The same with the place where a volume belongs, while its container is not running: CVE-2025-31133's and CVE-2026-41567's
/// class, where what is mounted lands outside.
#[test]
fn volumes_are_mounted_in_the_root_or_not_at_all() -> Result<()> {
    let daemon = daemon(&[])?;
    let mut client = daemon.client();
    let (outside, volume) = (secret()?, tempfile::tempdir()?);
    fs_err::write(volume.path().join("of-volume"), "x")?;
    let bind = format!("{}:/a/v", volume.path().display());
    // The place leads out, absolutely and relatively, to what exists and to what does not.
    let target = outside.path().display().to_string();
    for link in [target.clone(), format!("../../../..{target}"), "/proc/1/root/tmp".into(), "/nowhere".into()]
    {
        let mut tar = Tar::default();
        tar.entry("a", b'2', 0o777, &link, b"");
        let path = "/images/create?fromSrc=-&repo=hostile";
        client.request("POST", path, &Body::Bytes("application/x-tar", &tar.finish()))?.ok()?;
        let body = json!({
            "Image": "hostile", "Cmd": ["x"], "HostConfig": { "NetworkMode": "none", "Binds": [bind] },
        });
        let created = client.post("/containers/create", &body)?.ok()?.json()?;
        let id = created["Id"].as_str().context("no Id")?.to_owned();
        let seen = get(&mut client, &id, "/a/v")?;
        assert_eq!(seen.status, 200, "{link}: {}", seen.message());
        assert!(seen.text().contains("of-volume"), "{link}");
        put(&mut client, &id, "/a/v")?.ok()?;
        assert!(untouched(&outside)?, "{link}");
        client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    }
    assert!(volume.path().join("planted").exists());
    Ok(())
}

/// CVE-2019-14271: the image brings libraries and programs that those who copy might load or run.
#[test]
fn nothing_of_the_image_is_run_or_loaded() -> Result<()> {
    let daemon = daemon(&[])?;
    let mut client = daemon.client();
    let line = "mkdir -p /lib/x86_64-linux-gnu /usr/lib /sbin /etc; \
        for f in /lib/libnss_files.so.2 /lib/x86_64-linux-gnu/libnss_files.so.2 /usr/lib/libnss_compat.so.2 \
        /sbin/ldconfig /bin/tar /bin/xz /bin/unpigz /bin/gzip /etc/ld.so.preload; do \
        rm -f $f; echo '#!/bin/sh' >$f; echo 'echo run >>/traces' >>$f; chmod 755 $f; done; \
        echo 'passwd: files compat evil' >/etc/nsswitch.conf; touch /ready; exec sleep 10000";
    let id = hostile(&mut client, line, json!({}))?;
    ready(&mut client, &id)?;
    // The daemon has no file of the container mapped afterwards, and nothing was run.
    let gzip = {
        let mut tar = Tar::default();
        tar.entry("planted", b'0', 0o644, "", b"planted");
        packed("xz", &tar.finish())?
    };
    let path = format!("/containers/{id}/archive?path=/tmp&copyUIDGID=1");
    client.request("PUT", &path, &Body::Bytes("application/x-tar", &gzip))?.ok()?;
    get(&mut client, &id, "/tmp/planted")?.ok()?;
    client.get(&format!("/containers/{id}/export"))?.ok()?;
    assert_eq!(get(&mut client, &id, "/traces")?.status, 404);
    let maps = fs_err::read_to_string(format!("/proc/{}/maps", daemon.pid().context("no pid")?))?;
    assert!(!maps.contains("libnss") && !maps.contains("evil"), "{maps}");
    client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    Ok(())
}

fn packed(program: &str, input: &[u8]) -> Result<Vec<u8>> {
    use std::io::Write;
    let mut child = std::process::Command::new(program)
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    child.stdin.take().context("piped")?.write_all(input)?;
    Ok(child.wait_with_output()?.stdout)
}

/// CVE-2024-21626: magic links of a `/proc` that the container has been given lead to other roots.
#[test]
fn magic_links_are_not_followed() -> Result<()> {
    let daemon = daemon(&[])?;
    let mut client = daemon.client();
    let outside = secret()?;
    let target = outside.path().display();
    let line = format!(
        "ln -s /hostproc/1/root{target} /l; ln -s /hostproc/1/cwd /c; ln -s /hostproc/self/fd/1 /f; touch /ready; \
         exec sleep 10000"
    );
    let id = hostile(&mut client, &line, json!({ "Binds": ["/proc:/hostproc"] }))?;
    ready(&mut client, &id)?;
    for path in
        ["/l/", "/l/secret", "/c/", &format!("/hostproc/1/root{target}/secret"), "/hostproc/self/root/"]
    {
        let out = get(&mut client, &id, path)?;
        assert_ne!(out.status, 200, "{path}");
        assert!(!out.text().contains("of the host"), "{path}");
    }
    for path in ["/l", "/c", &format!("/hostproc/1/root{target}"), "/f"] {
        assert_ne!(put(&mut client, &id, path)?.status, 200, "{path}");
    }
    assert!(untouched(&outside)?);
    client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    Ok(())
}

/// A privileged process 1 mounts over its own root, and over what is copied.
#[test]
fn what_a_container_has_mounted_itself_is_not_looked_at() -> Result<()> {
    let daemon = daemon(&[])?;
    let mut client = daemon.client();
    let line = "mkdir /new /a; echo real >/a/file; mount -t tmpfs none /new; mkdir -p /new/a; echo false >/new/a/file; \
        mount --bind /new/a /a; touch /ready; mount --move /new / 2>/dev/null; exec sleep 10000";
    let id = hostile(&mut client, line, json!({ "Privileged": true }))?;
    ready(&mut client, &id)?;
    let out = get(&mut client, &id, "/a/file")?.ok()?;
    assert!(out.text().contains("real"), "{}", out.text());
    put(&mut client, &id, "/a")?.ok()?;
    let changes = client.get(&format!("/containers/{id}/changes"))?.ok()?.text();
    assert!(changes.contains("/a/planted"), "{changes}");
    client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    Ok(())
}

/// Pipes nobody writes to and devices are copied as what they are: to open one would block, or do something.
#[test]
fn pipes_and_devices_are_never_opened() -> Result<()> {
    let daemon = daemon(&[])?;
    let mut client = daemon.client();
    let line = "mkdir /a; mknod /a/pipe p; mknod /a/disk b 254 0; mknod /a/tty c 5 0; touch /ready; \
        while :; do mv /a/pipe /a/x; echo f >/a/pipe; rm /a/pipe; mv /a/x /a/pipe; done";
    let id = hostile(&mut client, line, json!({ "Privileged": true }))?;
    ready(&mut client, &id)?;
    for _ in 0..200 {
        get(&mut client, &id, "/a")?.ok()?;
        get(&mut client, &id, "/a/disk")?.ok()?;
    }
    client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    leaves_nothing(&daemon)
}

/// No mount, thread or descriptor of a view is left.
fn leaves_nothing(daemon: &Daemon) -> Result<()> {
    let links = fs_err::read_dir(format!("/proc/{}/fd", daemon.pid().context("no pid")?))?
        .filter_map(|e| fs_err::read_link(e.ok()?.path()).ok())
        .filter(|l| l.to_string_lossy().starts_with("mnt:"))
        .count();
    assert_eq!(links, 0);
    Ok(())
}
