//! `kill -9` of the daemon while volumes are made, filled and removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::{
    Daemon,
    http::{Body, Client},
    image::{self, Tar},
};

use crate::kill_at_odd_moments;

const KILLS: u32 = 60;
/// Files that the image has where the volume is mounted.
const FILES: usize = 40;

/// What a client was told.
#[derive(Default)]
struct Told {
    /// Volumes that were acknowledged, and whether they were to be filled.
    made: BTreeMap<String, bool>,
    /// Volumes whose removal was asked for; acknowledged or not.
    removing: BTreeSet<String>,
    removed: BTreeSet<String>,
}

/// A daemon with an image that has files where volumes are mounted.
fn daemon() -> Result<Daemon> {
    let daemon = Daemon::start(Path::new(env!("CARGO_BIN_EXE_skiff")), &[])?;
    let mut tar = image::busybox()?;
    tar.truncate(tar.len() - 1024);
    let mut more = Tar::default();
    more.entry("srv/", b'5', 0o750, "", b"");
    for n in 0..FILES {
        more.entry(&format!("srv/{n}"), b'0', 0o640, "", format!("{n}\n").repeat(500).as_bytes());
    }
    tar.extend(more.finish());
    let path = "/images/create?fromSrc=-&repo=filled&tag=latest";
    daemon.client().request("POST", path, &Body::Bytes("application/x-tar", &tar))?.ok()?;
    Ok(daemon)
}

fn data(daemon: &Daemon, name: &str) -> std::path::PathBuf {
    daemon.data_root().join("volumes").join(name).join("_data")
}

/// All files of the image, whole.
fn is_filled(dir: &Path) -> bool {
    (0..FILES).all(|n| {
        fs_err::read_to_string(dir.join(n.to_string())).is_ok_and(|t| t == format!("{n}\n").repeat(500))
    })
}

fn is_empty(dir: &Path) -> bool {
    fs_err::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

#[test]
fn volumes_are_whole_or_not_there_when_the_daemon_is_killed() -> Result<()> {
    let mut daemon = daemon()?;
    let (stop, socket) = (AtomicBool::new(false), daemon.socket().to_owned());
    let told = thread::scope(|scope| -> Result<Told> {
        let worker = scope.spawn(|| load(Client::new(&socket), &stop));
        let killed = kill_at_odd_moments(&mut daemon, KILLS, 0x1234_5678, Duration::from_millis(60));
        stop.store(true, Ordering::Relaxed);
        let told = worker.join().expect("the worker panicked");
        killed.map(|()| told)
    })?;
    daemon.kill()?;
    daemon.start_again()?;
    let mut client = daemon.client();
    let listed = client.get("/volumes")?.ok()?.json()?;
    let listed: BTreeSet<String> = listed["Volumes"]
        .as_array()
        .context("no Volumes")?
        .iter()
        .filter_map(|v| v["Name"].as_str().map(str::to_owned))
        .collect();
    ensure!(!told.made.is_empty() && !told.removed.is_empty(), "the load never got through");
    for (name, filled) in &told.made {
        if told.removed.contains(name) {
            ensure!(!listed.contains(name), "{name} was removed and is back");
            ensure!(!data(&daemon, name).exists(), "{name} was removed and its files are there");
        } else if !told.removing.contains(name) {
            ensure!(listed.contains(name), "{name} was acknowledged and is gone");
            ensure!(!filled || is_filled(&data(&daemon, name)), "{name} was acknowledged and is not whole");
        }
    }
    // Whatever nobody was told of is whole too, or empty.
    for name in &listed {
        let dir = data(&daemon, name);
        ensure!(is_filled(&dir) || is_empty(&dir), "{name} is half filled");
    }
    // What the last daemon had begun goes behind the first answers.
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let left = fs_err::read_dir(daemon.data_root().join("volumes"))?;
        let left: Vec<_> = left.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        if !left.iter().any(|name| name.starts_with(".new-") || name.starts_with(".fill")) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "half-done acts are left: {left:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Makes volumes, new and filled, empty and filled afterwards, or empty, and removes every other one.
fn load(mut client: Client, stop: &AtomicBool) -> Told {
    let mut told = Told::default();
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let name = format!("vol-{round}");
        let cycle = (|| -> Result<()> {
            if round % 3 != 0 {
                client.post("/volumes/create", &json!({ "Name": name }))?.ok()?;
                told.made.insert(name.clone(), false);
            }
            if round % 3 != 1 {
                let body = json!({ "Image": "filled", "Cmd": ["true"],
                    "HostConfig": { "NetworkMode": "none", "Binds": [format!("{name}:/srv")] } });
                let made = client.post("/containers/create", &body)?.ok()?.json()?;
                told.made.insert(name.clone(), true);
                let id = made["Id"].as_str().context("no Id")?;
                client.delete(&format!("/containers/{id}"))?.ok()?;
            }
            if round % 2 == 0 {
                told.removing.insert(name.clone());
                client.delete(&format!("/volumes/{name}"))?.ok()?;
                told.removed.insert(name.clone());
            }
            Ok(())
        })();
        if cycle.is_err() {
            client = Client::new(client.socket());
            thread::sleep(Duration::from_millis(2));
        }
    }
    told
}

#[test]
fn mounted_volumes_and_their_users_outlive_the_daemon() -> Result<()> {
    let mut daemon = daemon()?;
    let mut client = daemon.client();
    let options = json!({ "type": "tmpfs", "device": "tmpfs", "o": "size=1m" });
    client.post("/volumes/create", &json!({ "Name": "memory", "DriverOpts": options }))?.ok()?;
    let body = json!({ "Image": "filled", "Cmd": ["sh", "-c", "echo kept > /data/file; sleep 1000"],
        "HostConfig": { "NetworkMode": "none", "Binds": ["memory:/data"] } });
    let id =
        client.post("/containers/create", &body)?.ok()?.json()?["Id"].as_str().context("no Id")?.to_owned();
    crate::start(&mut client, &id)?;
    let look = json!({ "Image": "filled", "Cmd": ["sh", "-c", "until [ -e /data/file ]; do sleep 0.02; done"],
        "HostConfig": { "NetworkMode": "none", "Binds": ["memory:/data"] } });
    let run = |client: &mut Client, body: &Value| -> Result<i64> {
        let made = client.post("/containers/create", body)?.ok()?.json()?;
        let id = made["Id"].as_str().context("no Id")?.to_owned();
        crate::start(client, &id)?;
        let code = crate::wait(client, &id)?;
        client.delete(&format!("/containers/{id}"))?.ok()?;
        Ok(code)
    };
    assert_eq!(run(&mut client, &look)?, 0);
    daemon.kill()?;
    daemon.start_again()?;
    let mut client = daemon.client();
    assert_eq!(client.delete("/volumes/memory")?.status, 409);
    // The same memory, not another.
    let seen = json!({ "Image": "filled", "Cmd": ["grep", "kept", "/data/file"],
        "HostConfig": { "NetworkMode": "none", "Binds": ["memory:/data"] } });
    assert_eq!(run(&mut client, &seen)?, 0);
    assert!(is_mounted(&daemon)?);
    // It ends while nobody looks.
    let pid = crate::inspect(&mut client, &id)?["State"]["Pid"].as_i64().context("no Pid")?;
    daemon.kill()?;
    Command::new("kill").args(["-9", &pid.to_string()]).status()?;
    daemon.start_again()?;
    let mut client = daemon.client();
    client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    client.delete("/volumes/memory")?.ok()?;
    assert!(!is_mounted(&daemon)?);
    Ok(())
}

/// Whether anything is mounted on a volume, where the daemon is.
fn is_mounted(daemon: &Daemon) -> Result<bool> {
    let mounts = daemon.inside("cat").arg("/proc/self/mountinfo").output()?;
    Ok(String::from_utf8_lossy(&mounts.stdout).contains("/volumes/memory/_data"))
}
