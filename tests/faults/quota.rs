//! Limits of the disk: `--storage-opt size=` and volumes with `size`, on file systems that enforce project quotas.
//!
//! A kernel may be without them; there the options must be refused. `cargo xtask vm` sets `SKIFF_TEST_QUOTAS`: its kernels must have
//! them.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::{
    Daemon,
    http::{self, Body, Client},
    image::{self, Tar},
};

use crate::{start, wait};

/// A daemon whose data root lies on a new file system, and whether that enforces project quotas.
struct Disk {
    daemon: Daemon,
    limits: bool,
    dir: tempfile::TempDir,
}

/// `ext4` or `xfs`.
fn disk(kind: &str, args: &[&str]) -> Result<Disk> {
    let dir = tempfile::Builder::new().prefix("skiff-quota-").tempdir()?;
    let (file, data) = (dir.path().join("disk"), dir.path().join("data"));
    fs_err::File::create(&file)?.set_len(400 << 20)?;
    fs_err::create_dir(&data)?;
    let data = data.to_str().context("not UTF-8")?.to_owned();
    let mut limits = false;
    let args = [&["--data-root", &data], args].concat();
    let daemon = Daemon::start_prepared(Path::new(env!("CARGO_BIN_EXE_skiff")), &args, |inside| {
        let mount = |options| inside("mount").args(["-o", options]).arg(&file).arg(&data).output();
        let quotas: &[&str] = if kind == "ext4" { &["-O", "quota,project"] } else { &[] };
        make(kind, &file, quotas)?;
        limits = mount("loop,prjquota")?.status.success();
        if !limits {
            make(kind, &file, &[])?;
            ensure!(mount("loop")?.status.success(), "{kind} cannot be mounted");
        }
        Ok(())
    })?;
    ensure!(limits || std::env::var_os("SKIFF_TEST_QUOTAS").is_none(), "{kind} has no project quotas here");
    daemon.import_busybox()?;
    Ok(Disk { daemon, limits, dir })
}

fn make(kind: &str, file: &Path, options: &[&str]) -> Result<()> {
    let program = format!("mkfs.{kind}");
    let force = if kind == "ext4" { "-F" } else { "-f" };
    let made =
        Command::new(&program).args(["-q", force]).args(options).arg(file).status().context(program)?;
    ensure!(made.success(), "mkfs.{kind}: {made}");
    Ok(())
}

/// Runs a shell command; its exit code and what it said.
fn run(client: &mut Client, line: &str, host: Value) -> Result<(i64, String)> {
    let body = json!({ "Image": "busybox", "Cmd": ["sh", "-c", line], "HostConfig": host });
    let created = client.post("/containers/create", &body)?.ok()?.json()?;
    let id = created["Id"].as_str().context("no Id")?;
    start(client, id)?;
    let code = wait(client, id)?;
    let said = client.get(&format!("/containers/{id}/logs?stdout=1"))?.ok()?;
    let (said, _) = http::frames(&mut said.body.as_slice())?;
    client.delete(&format!("/containers/{id}?v=1"))?.ok()?;
    Ok((code, String::from_utf8(said)?))
}

/// Writes 32 MiB to the file and tells how many KiB fitted, and how large `df` says that the place is, in KiB.
fn filled(client: &mut Client, file: &str, host: Value) -> Result<(u64, u64)> {
    let place = Path::new(file).parent().and_then(Path::to_str).context("a path")?;
    let line = format!(
        "dd if=/dev/zero of={file} bs=64k count=512 2>/dev/null && echo all || sync -f {file}; du -k {file}; df -k {place} | tail -n 1"
    );
    let (_, said) = run(client, &line, host)?;
    let mut lines = said.lines();
    let first =
        |line: Option<&str>, n: usize| -> Option<u64> { line?.split_whitespace().nth(n)?.parse().ok() };
    match lines.next() {
        Some("all") => anyhow::bail!("no limit: {said}"),
        line => first(line, 0).zip(first(lines.next(), 1)).with_context(|| said.clone()),
    }
}

#[test]
fn what_a_container_writes_is_limited() -> Result<()> {
    for kind in ["ext4", "xfs"] {
        let Disk { daemon, limits, dir: _dir } = disk(kind, &[])?;
        let mut client = daemon.client();
        let limited = json!({ "StorageOpt": { "size": "8M" }, "NetworkMode": "none" });
        if !limits {
            let body = json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": limited });
            let answer = client.post("/containers/create", &body)?;
            assert_eq!(answer.status, 500);
            let words = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option";
            assert!(answer.message().starts_with(words), "{}", answer.message());
            continue;
        }
        let privileged = json!({ "StorageOpt": { "SIZE": "8m" }, "NetworkMode": "none", "Privileged": true });
        // One after the other of the same kind: the next ones have what was made ahead.
        for host in [&limited, &limited, &limited, &privileged] {
            let (fitted, size) = filled(&mut client, "/full", host.clone())?;
            assert!((6 << 10..=8 << 10).contains(&fitted), "{kind}: {fitted} KiB with {host}");
            assert_eq!(size, 8 << 10, "{kind}: {host}");
        }
        let (code, said) = run(&mut client, "dd if=/dev/zero of=/x bs=1M count=9", json!({}))?;
        assert_eq!(code, 0, "{kind}, without a limit: {said}");
    }
    Ok(())
}

#[test]
fn the_daemon_limits_containers_that_say_nothing() -> Result<()> {
    let refused = |args: &[&str]| disk("ext4", args).err().map(|e| format!("{e:#}"));
    let here = disk("ext4", &[])?.limits;
    if !here {
        let message = refused(&["--storage-opt", "overlay2.size=8M"]).context("it has no quotas")?;
        assert!(message.contains("Storage option overlay2.size not supported"), "{message}");
        return Ok(());
    }
    let Disk { mut daemon, dir: _dir, .. } = disk("ext4", &["--storage-opt", "overlay2.size=8M"])?;
    for host in [json!({}), json!({ "AutoRemove": false, "StorageOpt": { "size": "4M" } })] {
        let most = if host["StorageOpt"].is_null() { 8 << 10 } else { 4 << 10 };
        let (fitted, size) = filled(&mut daemon.client(), "/full", host)?;
        assert!(fitted <= most && fitted > most / 2, "{fitted} KiB");
        assert_eq!(size, most);
        daemon.kill()?;
        daemon.start_again()?;
    }
    let (code, said) = run(
        &mut daemon.client(),
        "dd if=/dev/zero of=/x bs=1M count=9",
        json!({ "StorageOpt": { "size": "0" } }),
    )?;
    assert_eq!(code, 0, "{said}");
    Ok(())
}

#[test]
fn what_a_volume_holds_is_limited() -> Result<()> {
    for kind in ["ext4", "xfs"] {
        let Disk { mut daemon, limits, dir } = disk(kind, &[])?;
        let mut client = daemon.client();
        let volume = |name: &str, size: &str| json!({ "Name": name, "DriverOpts": { "size": size } });
        if !limits {
            let answer = client.post("/volumes/create", &volume("small", "8m"))?;
            assert!(
                answer.message().contains("quota size requested but no quota support"),
                "{}",
                answer.message()
            );
            continue;
        }
        import_with_files(&mut client)?;
        for name in ["small", "other", "filled"] {
            client.post("/volumes/create", &volume(name, "8m"))?.ok()?;
        }
        let at = |name: &str, path: &str| json!({ "Binds": [format!("{name}:{path}")] });
        for round in 0..2 {
            for name in ["small", "other"] {
                let (fitted, size) = filled(&mut client, "/v/full", at(name, "/v"))?;
                assert!((6 << 10..=8 << 10).contains(&fitted), "{kind} {round} {name}: {fitted} KiB");
                assert_eq!(size, 8 << 10);
            }
            daemon.kill()?;
            daemon.start_again()?;
            client = daemon.client();
        }
        // An image's files go into an empty volume, and count.
        let body =
            json!({ "Image": "files", "Cmd": ["ls", "-l", "/srv"], "HostConfig": at("filled", "/srv") });
        let id = client.post("/containers/create", &body)?.ok()?.json()?;
        start(&mut client, id["Id"].as_str().context("no Id")?)?;
        let (fitted, _) = filled(&mut client, "/srv/full", at("filled", "/srv"))?;
        assert!((3 << 10..=4 << 10).contains(&fitted), "{kind}: beside 4 MiB of the image {fitted} KiB");
        // Files that do not fit leave the volume as it was.
        client.post("/volumes/create", &volume("tiny", "1m"))?.ok()?;
        let body = json!({ "Image": "files", "Cmd": ["true"], "HostConfig": at("tiny", "/srv") });
        let answer = client.post("/containers/create", &body)?;
        assert_eq!(answer.status, 500, "{}", answer.text());
        let words = ["no space left on device", "disk quota exceeded"];
        assert!(words.iter().any(|word| answer.message().contains(word)), "{}", answer.message());
        let data = dir.path().join("data/volumes/tiny/_data");
        let left = daemon.inside("ls").arg("-A").arg(data).output()?;
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "{kind}");
        // Without its directory, as after a power cut, or restored from a copy: the limit is there again.
        daemon.kill()?;
        let gone = daemon.inside("rm").arg("-r").arg(dir.path().join("data/volumes/small")).status()?;
        assert!(gone.success());
        daemon.start_again()?;
        client = daemon.client();
        let (_, size) = filled(&mut client, "/v/full", at("small", "/v"))?;
        assert_eq!(size, 8 << 10, "{kind}");
        client.delete("/volumes/small")?.ok()?;
    }
    Ok(())
}

/// An image with 4 MiB in `/srv`.
fn import_with_files(client: &mut Client) -> Result<()> {
    let mut tar = image::busybox()?;
    tar.truncate(tar.len() - 1024);
    let mut more = Tar::default();
    more.entry("srv/", b'5', 0o755, "", b"");
    for n in 0..4 {
        more.entry(&format!("srv/{n}"), b'0', 0o644, "", &vec![b'x'; 1 << 20]);
    }
    tar.extend(more.finish());
    let path = "/images/create?fromSrc=-&repo=files&tag=latest";
    client.request("POST", path, &Body::Bytes("application/x-tar", &tar))?.ok()?;
    Ok(())
}
