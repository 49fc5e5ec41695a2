//! Registries that lie, break off or never end, and daemons that are killed while they pull.

use std::{
    io::Write,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use skiff_testkit::{
    Daemon,
    image::Tar,
    registry::{Asked, MANIFEST, OCI_INDEX, Registry, answer, digest, gzip},
};

/// More than a connection's buffers hold, and hard to compress.
fn large_layer() -> Vec<u8> {
    let mut noise = 0x9e37_79b9_7f4a_7c15u64;
    let content: Vec<u8> = (0..400_000)
        .flat_map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise.to_le_bytes()
        })
        .collect();
    let mut tar = Tar::default();
    tar.entry("noise", b'0', 0o644, "", &content);
    tar.finish()
}

struct World {
    daemon: Daemon,
    registry: Registry,
    image: String,
    /// The layer as the registry has it.
    blob: Vec<u8>,
}

impl World {
    fn new() -> Result<Self> {
        let daemon = Daemon::start(std::path::Path::new(env!("CARGO_BIN_EXE_skiff")), &[])?;
        let registry = Registry::start(daemon.listen()?, None)?;
        let tar = large_layer();
        registry.put_image("a", "v1", std::slice::from_ref(&tar), "amd64");
        let image = format!("{}/a", registry.address());
        Ok(Self { daemon, registry, image, blob: gzip(&tar) })
    }

    /// The error of a pull; empty if there was none.
    fn pull(&self, tag: &str) -> Result<String> {
        let path = format!("/images/create?fromImage={}&tag={tag}", self.image);
        let answer = self.daemon.client().post(&path, &Value::Null)?;
        if answer.status != 200 {
            return Ok(answer.message());
        }
        let text = answer.text();
        let last: Value = serde_json::from_str(text.lines().last().context("no progress")?)?;
        Ok(last["error"].as_str().unwrap_or_default().to_owned())
    }

    /// Every blob is answered with this instead.
    fn lie(
        &self,
        lie: impl Fn(&Asked, &mut std::net::TcpStream) -> std::io::Result<bool> + Send + Sync + 'static,
    ) {
        let layer = digest(&self.blob);
        self.registry.hook(move |asked, out| match asked.path.ends_with(&format!("/blobs/{layer}")) {
            true => lie(asked, out),
            false => Ok(false),
        });
    }

    fn tell_the_truth(&self) {
        self.registry.hook(|_, _| Ok(false));
    }

    /// Names of files below the data root that only a pull leaves.
    fn leftovers(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut directories =
            vec![self.daemon.data_root().join("images"), self.daemon.data_root().join("snapshots")];
        while let Some(directory) = directories.pop() {
            for entry in fs_err::read_dir(directory)? {
                let entry = entry?;
                let path = entry.path();
                let inside = |name: &str| path.parent().is_some_and(|p| p.ends_with(name));
                if inside("partial") || inside("tmp") || inside("sha256") || inside("layers") {
                    names.push(path.display().to_string());
                }
                if entry.file_type()?.is_dir() && !inside("layers") {
                    directories.push(path);
                }
            }
        }
        Ok(names)
    }
}

#[test]
fn a_layer_that_is_not_what_it_should_be_leaves_nothing() -> Result<()> {
    let world = World::new()?;
    let good = world.blob.clone();
    let mut garbled = good.clone();
    garbled[1000] ^= 1;
    let longer: Vec<u8> = good.iter().copied().chain([0]).collect();
    let shorter = good[..good.len() - 1].to_vec();
    for (what, bytes, why) in [
        ("garbled", garbled, "verification failed for digest"),
        ("longer", longer, "sends more of"),
        ("shorter", shorter, "sends less of"),
    ] {
        world.lie(move |_, out| answer(out, "200 OK", &[], &bytes).map(|()| true));
        let error = world.pull("v1")?;
        ensure!(error.contains(why), "{what}: {error:?}");
        ensure!(world.leftovers()?.is_empty(), "{what}: {:?}", world.leftovers()?);
    }
    // Without a length, and without an end.
    world.lie(|_, out| {
        out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            out.write_all(b"10000\r\n")?;
            out.write_all(&[7; 0x10000])?;
            out.write_all(b"\r\n")?;
        }
    });
    let error = world.pull("v1")?;
    ensure!(error.contains("sends more of"), "{error:?}");
    world.tell_the_truth();
    assert_eq!(world.pull("v1")?, "");
    Ok(())
}

#[test]
fn what_describes_an_image_must_fit_together() -> Result<()> {
    let world = World::new()?;
    let put = |tag: &str, media_type: &str, text: &str| {
        world.registry.put_manifest("a", tag, media_type, text.as_bytes())
    };
    let honest = world.registry.manifest("a", "v1").context("no manifest")?;
    let honest: Value = serde_json::from_slice(&honest)?;
    put("kind", OCI_INDEX, &honest.to_string());
    ensure!(world.pull("kind")?.contains("calls itself"), "{}", world.pull("kind")?);
    put("old", "application/vnd.docker.distribution.manifest.v1+prettyjws", r#"{"schemaVersion":1}"#);
    ensure!(world.pull("old")?.contains("schema 1"), "{}", world.pull("old")?);
    put("none", MANIFEST, "{");
    ensure!(world.pull("none")?.contains("invalid manifest"), "{}", world.pull("none")?);
    let mut more = honest.clone();
    more["layers"] = serde_json::json!([honest["layers"][0], honest["layers"][0]]);
    put("more", MANIFEST, &more.to_string());
    let error = world.pull("more")?;
    ensure!(error == "layers from manifest don't match image configuration", "{error}");
    let mut config: Value = serde_json::from_slice(
        &world.registry.blob("a", honest["config"]["digest"].as_str().context("digest")?).context("blob")?,
    )?;
    config["rootfs"]["diff_ids"][0] = digest(b"another").into();
    let config = config.to_string();
    let mut other = honest.clone();
    other["config"]["digest"] = world.registry.put_blob("a", config.as_bytes()).into();
    other["config"]["size"] = config.len().into();
    put("other", MANIFEST, &other.to_string());
    let error = world.pull("other")?;
    ensure!(error.contains("wrong diff id"), "{error}");
    ensure!(world.leftovers()?.is_empty(), "{:?}", world.leftovers()?);
    Ok(())
}

#[test]
fn what_a_broken_pull_has_left_goes_with_a_prune() -> Result<()> {
    let world = World::new()?;
    let (blob, asked) = (world.blob.clone(), AtomicUsize::new(0));
    world.lie(move |_, out| {
        if asked.fetch_add(1, Ordering::Relaxed) > 0 {
            return answer(out, "404 Not Found", &[], b"").map(|()| true);
        }
        let half = &blob[..blob.len() / 2];
        answer(out, "200 OK", &[("Content-Length", &blob.len().to_string())], half)?;
        out.shutdown(std::net::Shutdown::Both)?;
        Ok(true)
    });
    ensure!(!world.pull("v1")?.is_empty());
    ensure!(world.leftovers()?.iter().any(|name| name.contains("/partial/")), "{:?}", world.leftovers()?);
    let mut client = world.daemon.client();
    // Labels are what it has none of, and it is new.
    for filters in [r#"{"label":["x"]}"#, r#"{"until":["1h"]}"#] {
        let path = format!("/images/prune?filters={}", filters.replace('"', "%22"));
        let pruned = client.post(&path, &Value::Null)?.ok()?.json()?;
        ensure!(pruned["SpaceReclaimed"] == 0, "{filters}: {pruned}");
    }
    let pruned = client.post("/images/prune", &Value::Null)?.ok()?.json()?;
    ensure!(pruned["SpaceReclaimed"].as_u64() > Some(0), "{pruned}");
    ensure!(world.leftovers()?.is_empty(), "{:?}", world.leftovers()?);
    Ok(())
}

#[test]
fn a_manifest_without_end_costs_no_memory() -> Result<()> {
    let world = World::new()?;
    world.registry.hook(|asked, out| {
        if !asked.path.contains("/manifests/") || asked.method != "GET" {
            return Ok(false);
        }
        out.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        for _ in 0..1600 {
            out.write_all(b"10000\r\n")?;
            out.write_all(&[b' '; 0x10000])?;
            out.write_all(b"\r\n")?;
        }
        Ok(true)
    });
    let error = world.pull("v1")?;
    ensure!(error.contains("is larger than 4194304 bytes"), "{error}");
    let status =
        fs_err::read_to_string(format!("/proc/{}/status", world.daemon.pid().context("no daemon")?))?;
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    ensure!(peak < 96 << 10, "the daemon took {peak} KiB");
    Ok(())
}

#[test]
fn a_cut_connection_and_a_killed_daemon_go_on_where_they_stopped() -> Result<()> {
    let mut world = World::new()?;
    let half = world.blob.len() / 2;
    // Each answer is cut short, whatever is asked for.
    let cuts = Arc::new(AtomicUsize::new(0));
    let (blob, counted) = (world.blob.clone(), Arc::clone(&cuts));
    world.lie(move |asked, out| {
        if counted.fetch_add(1, Ordering::Relaxed) > 0 {
            return Ok(false);
        }
        assert_eq!(asked.header("range"), None);
        answer(out, "200 OK", &[("Content-Length", &blob.len().to_string())], &blob[..half])?;
        out.shutdown(std::net::Shutdown::Both)?;
        Ok(true)
    });
    world.registry.asked();
    assert_eq!(world.pull("v1")?, "");
    let ranges = |world: &World| -> Vec<String> {
        let asked = world.registry.asked();
        asked.iter().filter_map(|a| a.header("range").map(str::to_owned)).collect()
    };
    let asked = ranges(&world);
    ensure!(asked.len() == 1 && asked[0].starts_with("bytes="), "{asked:?}");
    let removed = world.daemon.client().delete(&format!("/images/{}:v1", world.image))?;
    assert_eq!(removed.status, 200);

    // Half of it comes, then nothing; then the daemon is killed.
    let stuck = Arc::new((Mutex::new(false), Condvar::new()));
    let (blob, told) = (world.blob.clone(), Arc::clone(&stuck));
    world.lie(move |_, out| {
        answer(out, "200 OK", &[("Content-Length", &blob.len().to_string())], &blob[..half])?;
        *told.0.lock().expect("no panic") = true;
        told.1.notify_all();
        // The connection stays open until the daemon has gone.
        let _ = std::io::Read::read(out, &mut [0; 1]);
        Ok(true)
    });
    let path = format!("/images/create?fromImage={}&tag=v1", world.image);
    let client = world.daemon.client();
    let pulling = std::thread::spawn(move || {
        drop(client.stream("POST", &path, &skiff_testkit::http::Body::Empty).map(|mut s| {
            let _ = std::io::copy(&mut s, &mut std::io::sink());
        }))
    });
    let arrived = stuck.1.wait_while(stuck.0.lock().expect("no panic"), |sent| !*sent).expect("no panic");
    drop(arrived);
    let partial = || -> Result<u64> {
        let left = world.leftovers()?;
        let file = left.iter().find(|name| name.contains("/partial/"));
        Ok(file.map_or(Ok(0), |f| fs_err::metadata(f).map(|m| m.len()))?)
    };
    // What was sent is on its way.
    while partial()? < half as u64 {
        std::thread::sleep(Duration::from_millis(5));
    }
    world.daemon.kill()?;
    pulling.join().map_err(|_| anyhow::anyhow!("the client panicked"))?;
    world.daemon.start_again()?;
    world.tell_the_truth();
    world.registry.asked();
    assert_eq!(world.pull("v1")?, "");
    assert_eq!(ranges(&world), [format!("bytes={half}-")]);
    let left: Vec<String> =
        world.leftovers()?.into_iter().filter(|name| name.contains("/partial/")).collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn pulls_of_the_same_layer_share_it() -> Result<()> {
    let world = World::new()?;
    let open = Arc::new((Mutex::new(false), Condvar::new()));
    let gate = Arc::clone(&open);
    world.lie(move |_, _| {
        drop(gate.1.wait_while(gate.0.lock().expect("no panic"), |open| !*open).expect("no panic"));
        Ok(false)
    });
    let honest = world.registry.manifest("a", "v1").context("no manifest")?;
    world.registry.put_manifest("a", "v2", MANIFEST, &honest);
    let layer = digest(&world.blob);
    let mut asked = Vec::new();
    let (first, second) = std::thread::scope(|scope| {
        let world = &world;
        let pulls = ["v1", "v2"].map(|tag| scope.spawn(move || world.pull(tag)));
        // Both have asked for their configuration, and the layer is next.
        let is_config = |a: &&Asked| a.path.contains("/blobs/") && !a.path.ends_with(&layer);
        while asked.iter().filter(is_config).count() < 2 {
            std::thread::sleep(Duration::from_millis(5));
            asked.extend(world.registry.asked());
        }
        std::thread::sleep(Duration::from_millis(200));
        *open.0.lock().expect("no panic") = true;
        open.1.notify_all();
        let [a, b] = pulls.map(|pull| pull.join().expect("no panic"));
        (a, b)
    });
    assert_eq!((first?.as_str(), second?.as_str()), ("", ""));
    asked.extend(world.registry.asked());
    assert_eq!(asked.iter().filter(|a| a.path.ends_with(&layer)).count(), 1);
    Ok(())
}

#[test]
fn credentials_stay_with_the_registry_they_are_for() -> Result<()> {
    let world = World::new()?;
    let other = Arc::new(Registry::start(world.daemon.listen()?, None)?);
    other.put_blob("a", &world.blob);
    let basic = "Basic dTpw";
    let guarded = Registry::start(world.daemon.listen()?, Some((basic, "Basic realm=\"x\"")))?;
    guarded.put_image("a", "v1", &[large_layer()], "amd64");
    let (elsewhere, layer) = (other.address(), digest(&world.blob));
    guarded.hook(move |asked, out| match asked.path.ends_with(&layer) {
        true => answer(
            out,
            "307 Temporary Redirect",
            &[("Location", &format!("http://{elsewhere}{}", asked.path))],
            b"",
        )
        .map(|()| true),
        false => Ok(false),
    });
    // {"username":"u","password":"p"}
    let mut client =
        world.daemon.client().with_header("X-Registry-Auth", "eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InAifQ==");
    let pulled = client
        .post(&format!("/images/create?fromImage={}/a&tag=v1", guarded.address()), &Value::Null)?
        .ok()?;
    ensure!(pulled.text().contains("Status: Downloaded"), "{}", pulled.text());
    let asked = other.asked();
    ensure!(!asked.is_empty() && asked.iter().all(|a| a.header("authorization").is_none()), "{asked:?}");

    // A token server somewhere else is not told the password.
    let leaked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&leaked);
    other.hook(move |asked, _| {
        seen.fetch_or(asked.header("authorization").is_some(), Ordering::Relaxed);
        Ok(false)
    });
    let challenge = "Bearer realm=\"https://tokens.example.net/token\",service=\"s\"";
    let lying = Registry::start(world.daemon.listen()?, Some(("Bearer t", challenge)))?;
    let refused =
        client.post(&format!("/images/create?fromImage={}/a&tag=v1", lying.address()), &Value::Null)?;
    ensure!(refused.message().contains("which is another host: refused"), "{}", refused.message());
    ensure!(!leaked.load(Ordering::Relaxed));
    Ok(())
}
