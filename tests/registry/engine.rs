//! An engine and a registry on one machine: layers change hands as files (ADR 33), and each side's removals are its own.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use skiff_testkit::{Daemon, http::Body, image::Tar};

use super::{digest, noise};

/// Both, in the same namespaces.
struct Pair {
    daemon: Daemon,
    root: PathBuf,
    args: Vec<String>,
    registry: Child,
    address: String,
}

impl Pair {
    /// Starts both; `prepare` may do something where they live before. The registry's directory is beside the engine's.
    fn start(args: &[&str], prepare: impl FnOnce(&Daemon, &Path) -> Result<()>) -> Result<Self> {
        let binary = Path::new(env!("CARGO_BIN_EXE_skiff"));
        let daemon = Daemon::start(binary, &[])?;
        daemon.import_busybox()?;
        let root = daemon.data_root().with_file_name("registry");
        fs_err::create_dir(&root)?;
        prepare(&daemon, &root)?;
        let args = args.iter().map(|a| (*a).to_owned()).collect();
        // A port of its own: nobody else is in this namespace.
        let (registry, address) = (serve(&daemon, &root, &args)?, "127.0.0.1:5000".to_owned());
        Ok(Self { daemon, root, args, registry, address })
    }

    fn restart_registry(&mut self) -> Result<()> {
        self.registry.kill()?;
        self.registry.wait()?;
        self.registry = serve(&self.daemon, &self.root, &self.args)?;
        Ok(())
    }

    fn post(&self, path: &str, body: &Value) -> Result<String> {
        let answer = self.daemon.client().post(path, body)?.ok()?.text();
        ensure!(!answer.contains("\"error\""), "{path}: {answer}");
        Ok(answer)
    }

    /// Pushes busybox under this name.
    fn push(&self, name: &str) -> Result<String> {
        self.push_as(name, "busybox", "")
    }

    /// Pushes an image under this name, with more in the query.
    fn push_as(&self, name: &str, source: &str, more: &str) -> Result<String> {
        let image = format!("{}/{name}", self.address);
        self.post(&format!("/images/{source}/tag?repo={image}&tag=v1"), &Value::Null)?;
        self.post(&format!("/images/{image}/push?tag=v1{more}"), &Value::Null)
    }

    fn curl(&self, args: &[&str], path: &str) -> Result<String> {
        let url = format!("http://{}{path}", self.address);
        let output = self.daemon.inside("curl").args(["-sSf"]).args(args).arg(url).output()?;
        ensure!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The only layer of a pushed image.
    fn layer(&self, name: &str) -> Result<Value> {
        let text = self.curl(&["-H", ACCEPT], &format!("/v2/{name}/manifests/v1"))?;
        let manifest: Value = serde_json::from_str(&text)?;
        let layers = manifest["layers"].as_array().context("layers")?;
        ensure!(layers.len() == 1, "{text}");
        Ok(layers[0].clone())
    }

    /// The registry's file of a layer.
    fn blob(&self, layer: &Value) -> Result<PathBuf> {
        let digest = layer["digest"].as_str().context("digest")?;
        let hex = digest.strip_prefix("sha256:").context("sha256")?;
        Ok(self.root.join("blobs/sha256").join(&hex[..2]).join(hex))
    }

    /// Removes every image of the engine.
    fn forget_images(&self) -> Result<()> {
        let mut client = self.daemon.client();
        let images = client.get("/images/json")?.ok()?.json()?;
        for image in images.as_array().context("images")? {
            let id = image["Id"].as_str().context("id")?;
            client.delete(&format!("/images/{id}?force=1"))?.ok()?;
        }
        Ok(())
    }

    /// Runs something in a container of an image.
    fn run(&self, image: &str) -> Result<()> {
        let mut client = self.daemon.client();
        let body = json!({ "Image": image, "Cmd": ["sh", "-c", "exit 7"], "NetworkDisabled": true });
        let made = client.post("/containers/create", &body)?.ok()?.json()?;
        let id = made["Id"].as_str().context("id")?.to_owned();
        client.post(&format!("/containers/{id}/start"), &Value::Null)?.ok()?;
        let ended = client.post(&format!("/containers/{id}/wait"), &Value::Null)?.ok()?.json()?;
        ensure!(ended["StatusCode"] == 7, "{ended}");
        client.delete(&format!("/containers/{id}"))?.ok()?;
        Ok(())
    }

    fn is_erofs(&self) -> Result<bool> {
        Ok(self.daemon.client().get("/info")?.ok()?.json()?["Driver"] == "erofs")
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = self.registry.kill();
        let _ = self.registry.wait();
    }
}

/// Starts the registry and waits until it says that it is ready.
fn serve(daemon: &Daemon, root: &Path, args: &Vec<String>) -> Result<Child> {
    let mut child = daemon
        .inside(env!("CARGO_BIN_EXE_skiff"))
        .args(["registry", "serve", "--addr", "127.0.0.1:5000", "--root"])
        .arg(root)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut log = String::new();
    let mut lines = BufReader::new(child.stderr.take().context("a pipe")?);
    while !log.contains("the registry is ready") {
        if lines.read_line(&mut log)? == 0 {
            let status = child.wait()?;
            bail!("the registry ended with {status}:\n{log}");
        }
    }
    // Read on, so that it can say more.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    Ok(child)
}

const ACCEPT: &str = "Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";
const PLAIN: &str = "application/vnd.docker.image.rootfs.diff.tar";
const GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

fn links(path: &Path) -> Result<u64> {
    Ok(fs_err::metadata(path)?.nlink())
}

#[test]
fn a_layer_is_one_file_that_either_side_may_forget() -> Result<()> {
    let mut pair = Pair::start(&["--auth", "none", "--gc-grace", "0"], |_, _| Ok(()))?;
    pair.push("team/app")?;
    let layer = pair.layer("team/app")?;
    // Other drivers have no file to give.
    if !pair.is_erofs()? {
        assert_eq!(layer["mediaType"], GZIP);
        return Ok(());
    }
    assert_eq!(layer["mediaType"], PLAIN);
    let blob = pair.blob(&layer)?;
    assert_eq!(links(&blob)?, 2);
    // Under another name it is there already, and in another repository it is mounted.
    assert!(pair.push("team/app")?.contains("Layer already exists"));
    assert!(pair.push("other/app")?.contains("Mounted from team/app"));
    // The engine forgets it, and gets it back without a copy.
    pair.forget_images()?;
    // What was removed goes behind the answer.
    let end = Instant::now() + Duration::from_secs(60);
    while links(&blob)? != 1 {
        ensure!(Instant::now() < end, "the engine keeps its link");
        std::thread::sleep(Duration::from_millis(10));
    }
    let image = format!("{}/team/app", pair.address);
    pair.post(&format!("/images/create?fromImage={image}&tag=v1"), &Value::Null)?;
    assert_eq!(links(&blob)?, 2);
    pair.run(&format!("{image}:v1"))?;
    // Both are killed; nothing is lost.
    pair.restart_registry()?;
    pair.daemon.kill()?;
    pair.daemon.start_again()?;
    assert_eq!(links(&blob)?, 2);
    pair.run(&format!("{image}:v1"))?;
    // The registry forgets it; the engine's stays.
    let keep = fs_err::File::open(&blob)?;
    for name in ["team/app", "other/app"] {
        let head = pair.curl(&["-I", "-H", ACCEPT], &format!("/v2/{name}/manifests/v1"))?;
        let digest =
            head.lines().find_map(|l| l.strip_prefix("docker-content-digest: ")).context("digest")?;
        pair.curl(&["-X", "DELETE"], &format!("/v2/{name}/manifests/{}", digest.trim()))?;
    }
    let gc = pair
        .daemon
        .inside(env!("CARGO_BIN_EXE_skiff"))
        .args(["registry", "gc", "--root"])
        .arg(&pair.root)
        .output()?;
    ensure!(gc.status.success(), "{}", String::from_utf8_lossy(&gc.stderr));
    assert_eq!(keep.metadata()?.nlink(), 1, "{}", String::from_utf8_lossy(&gc.stdout));
    pair.run(&format!("{image}:v1"))
}

/// Puts the directory on a file system of its own.
fn tmpfs(daemon: &Daemon, root: &Path) -> Result<()> {
    let status = daemon.inside("mount").args(["-t", "tmpfs", "tmpfs"]).arg(root).status()?;
    ensure!(status.success(), "mount: {status}");
    Ok(())
}

#[test]
fn without_a_common_file_system_or_where_it_is_switched_off_bytes_are_sent() -> Result<()> {
    for (args, elsewhere) in
        [(&["--auth", "none"][..], true), (&["--auth", "none", "--handover=false"], false)]
    {
        let prepare = |daemon: &Daemon, root: &Path| if elsewhere { tmpfs(daemon, root) } else { Ok(()) };
        let pair = Pair::start(args, prepare)?;
        pair.push("team/app")?;
        assert_eq!(pair.layer("team/app")?["mediaType"], GZIP);
        pair.forget_images()?;
        let image = format!("{}/team/app", pair.address);
        pair.post(&format!("/images/create?fromImage={image}&tag=v1"), &Value::Null)?;
        pair.run(&format!("{image}:v1"))?;
    }
    Ok(())
}

#[test]
fn a_push_compresses_as_it_is_told_but_never_what_is_there() -> Result<()> {
    let pair = Pair::start(&["--auth", "none"], |_, _| Ok(()))?;
    let (zstd, name) = ("application/vnd.oci.image.layer.v1.tar+zstd", "team/app");
    // Somebody who chooses gets it, although the registry takes files.
    pair.push_as(name, "busybox", "&compression=zstd")?;
    assert_eq!(pair.layer(name)?["mediaType"], zstd);
    // The next push finds it, and calls it what it is; in whatever repository, and whatever is asked for.
    assert!(pair.push(name)?.contains("Layer already exists"));
    assert_eq!(pair.layer(name)?["mediaType"], zstd);
    let told = pair.push_as("other/app", "busybox", "&compression=gzip")?;
    assert!(told.contains("Mounted from team/app"), "{told}");
    assert_eq!(pair.layer("other/app")?["mediaType"], zstd);
    // It comes back, and is known again.
    pair.forget_images()?;
    let image = format!("{}/{name}", pair.address);
    pair.post(&format!("/images/create?fromImage={image}&tag=v1"), &Value::Null)?;
    pair.run(&format!("{image}:v1"))?;
    assert!(pair.push_as(name, &format!("{image}:v1"), "")?.contains("Layer already exists"));
    assert_eq!(pair.layer(name)?["mediaType"], zstd);
    let path = format!("/images/{image}/push?tag=v1&compression=lzma");
    let refused = pair.daemon.client().post(&path, &Value::Null)?;
    assert_eq!(
        (refused.status, refused.message().as_str()),
        (400, "invalid compression \"lzma\": must be gzip, zstd or none")
    );
    Ok(())
}

/// Flips a byte in the middle of a file.
fn damage(path: &Path) -> Result<()> {
    let mut bytes = fs_err::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    Ok(fs_err::write(path, bytes)?)
}

#[test]
fn an_image_is_proved_and_mended() -> Result<()> {
    // Files of its own: what is handed over is damaged on both sides at once.
    let pair = Pair::start(&["--auth", "none", "--handover=false"], |_, _| Ok(()))?;
    pair.push("team/app")?;
    let image = format!("{}/team/app:v1", pair.address);
    let verify = |args: &[&str]| -> Result<(bool, String)> {
        let output = pair.daemon.cli(&["image", "verify"]).args(args).arg(&image).output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8(text)?))
    };
    let (good, told) = verify(&[])?;
    assert!(good && told.contains("is what its digests say, layers: 1"), "{told}");
    let layers = pair.daemon.data_root().join("snapshots").join("erofs/layers");
    if !pair.is_erofs()? {
        return Ok(());
    }
    let layer = fs_err::read_dir(&layers)?.next().context("a layer")??.path();
    for file in ["tar", "index"] {
        damage(&layer.join(file))?;
        let (good, told) = verify(&[])?;
        assert!(!good && told.contains("Damaged: ") && told.contains("damaged parts of image"), "{told}");
        let (good, told) = verify(&["--mend"])?;
        assert!(good && told.contains("Mended") && told.contains("is whole again"), "{told}");
        assert_eq!(told.contains("Fetching from 127.0.0.1:5000/team/app"), file == "tar", "{told}");
        assert!(verify(&["-q"])?.0);
    }
    pair.run(&image)?;
    let configuration = configuration_of(&pair, &image)?;
    damage(&configuration)?;
    let (good, told) = verify(&[])?;
    assert!(!good && told.contains("Damaged: the configuration: "), "{told}");
    let (good, told) = verify(&["--mend"])?;
    assert!(good && told.contains("Fetching from 127.0.0.1:5000/team/app"), "{told}");
    assert!(verify(&["-q"])?.0);
    // Nobody has it any more.
    fs_err::remove_file(pair.blob(&pair.layer("team/app")?)?)?;
    damage(&layer.join("tar"))?;
    let (good, told) = verify(&["--mend"])?;
    assert!(!good && told.contains("Cannot be mended: "), "{told}");
    Ok(())
}

#[test]
fn a_lost_layer_below_others_is_brought_back() -> Result<()> {
    let mut pair = Pair::start(&["--auth", "none"], |_, _| Ok(()))?;
    let body = json!({ "Image": "busybox", "Cmd": ["touch", "/above"], "NetworkDisabled": true });
    let mut client = pair.daemon.client();
    let made = client.post("/containers/create", &body)?.ok()?.json()?;
    let id = made["Id"].as_str().context("id")?.to_owned();
    client.post(&format!("/containers/{id}/start"), &Value::Null)?.ok()?;
    client.post(&format!("/containers/{id}/wait"), &Value::Null)?.ok()?;
    client.post(&format!("/commit?container={id}&repo=two"), &Value::Null)?.ok()?;
    client.delete(&format!("/containers/{id}"))?.ok()?;
    pair.push_as("team/app", "two", "")?;
    let image = format!("{}/team/app:v1", pair.address);
    let driver = client.get("/info")?.ok()?.json()?["Driver"].as_str().context("driver")?.to_owned();
    let layers = pair.daemon.data_root().join("snapshots").join(driver).join("layers");
    let lose_lowest = |pair: &mut Pair| -> Result<()> {
        for layer in fs_err::read_dir(&layers)? {
            let meta = layer?.path().join("meta");
            let record: Value = serde_json::from_slice(&fs_err::read(&meta)?)?;
            if record["parent"].is_null() {
                fs_err::write(meta, "{")?;
            }
        }
        pair.daemon.kill()?;
        pair.daemon.start_again()?;
        ensure!(pair.run(&image).is_err(), "nothing was lost");
        Ok(())
    };
    lose_lowest(&mut pair)?;
    let told = pair.post(&format!("/images/create?fromImage={image}"), &Value::Null)?;
    assert!(told.contains("Pull complete") && told.contains("Already exists"), "{told}");
    pair.run(&image)?;
    lose_lowest(&mut pair)?;
    let mended = pair.daemon.cli(&["image", "verify", "--mend", &image]).output()?;
    let told = String::from_utf8([mended.stdout, mended.stderr].concat())?;
    assert!(mended.status.success() && told.contains("layers mended: 1"), "{told}");
    pair.run(&image)
}

/// The engine's file of an image's configuration.
fn configuration_of(pair: &Pair, image: &str) -> Result<PathBuf> {
    let inspected = pair.daemon.client().get(&format!("/images/{image}/json"))?.ok()?.json()?;
    let id = inspected["Id"].as_str().and_then(|id| id.strip_prefix("sha256:")).context("id")?;
    let driver = inspected["GraphDriver"]["Name"].as_str().context("driver")?;
    Ok(pair.daemon.data_root().join("images").join(driver).join("blobs/sha256").join(id))
}

#[test]
fn an_image_whose_configuration_is_damaged_is_in_nobodys_way() -> Result<()> {
    let mut pair = Pair::start(&["--auth", "none"], |_, _| Ok(()))?;
    pair.import("other", 1 << 10)?;
    pair.push_as("team/app", "other", "")?;
    let image = format!("{}/team/app:v1", pair.address);
    let listed =
        |pair: &Pair| -> Result<String> { Ok(pair.daemon.client().get("/images/json")?.ok()?.text()) };
    let again = |pair: &mut Pair| -> Result<()> {
        damage(&configuration_of(pair, &image)?)?;
        pair.daemon.kill()?;
        pair.daemon.start_again()?;
        assert!(!listed(pair)?.contains("team/app"));
        pair.run("busybox")
    };
    let pull = format!("/images/create?fromImage={image}");
    let restored = |pair: &Pair| -> Result<()> {
        assert!(listed(pair)?.contains("team/app"));
        let verified = pair.daemon.cli(&["image", "verify", "-q", &image]).output()?;
        ensure!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        Ok(())
    };
    again(&mut pair)?;
    let mended = pair.daemon.cli(&["image", "verify", "--mend", &image]).output()?;
    ensure!(mended.status.success(), "{}", String::from_utf8_lossy(&mended.stdout));
    restored(&pair)?;
    // Its layers were kept: the pull has nothing to fetch but the configuration.
    again(&mut pair)?;
    let told = pair.post(&pull, &Value::Null)?;
    assert!(told.contains("Already exists"), "{told}");
    restored(&pair)?;
    // While it is in use, what is damaged is no reason to say that all is well.
    damage(&configuration_of(&pair, &image)?)?;
    let told = pair.post(&pull, &Value::Null)?;
    assert!(told.contains("Already exists"), "{told}");
    restored(&pair)?;
    // Nobody misses it.
    again(&mut pair)?;
    for name in [&image, "other"] {
        pair.daemon.client().delete(&format!("/images/{name}"))?.ok()?;
    }
    assert_eq!(pair.daemon.client().get(&format!("/images/{image}/json"))?.status, 404);
    Ok(())
}

impl Pair {
    /// Gives the engine an image of one layer that takes a while to hash.
    fn import(&self, name: &str, size: usize) -> Result<()> {
        let mut tar = Tar::default();
        tar.entry("file", b'0', 0o644, "", &noise(size));
        let path = format!("/images/create?fromSrc=-&repo={name}&tag=latest");
        let body = Body::Bytes("application/x-tar", &tar.finish());
        self.daemon.client().request("POST", &path, &body)?.ok()?;
        Ok(())
    }

    /// Kills one of the two while a request to the engine is answered, and starts it again.
    fn kill_during(&mut self, path: String, after: Duration, engine: bool) -> Result<()> {
        let mut client = self.daemon.client();
        let asked = std::thread::spawn(move || client.post(&path, &Value::Null).is_ok());
        std::thread::sleep(after);
        if engine {
            self.daemon.kill()?;
            self.daemon.start_again()?;
        } else {
            self.restart_registry()?;
        }
        // What it was answered does not matter.
        let _ = asked.join();
        Ok(())
    }
}

#[test]
fn the_command_line_searches_the_registry() -> Result<()> {
    let pair = Pair::start(&["--auth", "none"], |_, _| Ok(()))?;
    pair.push("team/app")?;
    let search = |term: &str| -> Result<String> {
        let term = format!("{}/{term}", pair.address);
        let output = pair.daemon.cli(&["search", "--format", "{{.Name}}", &term]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    assert_eq!(search("app")?, "team/app\n");
    assert_eq!(search("nothing")?, "");
    Ok(())
}

#[test]
fn a_kill_in_the_middle_of_a_handover_costs_nothing() -> Result<()> {
    let mut pair = Pair::start(&["--auth", "none"], |_, _| Ok(()))?;
    for round in 0..6u32 {
        let (engine, after) = (round % 2 == 1, Duration::from_millis(15 + 30 * u64::from(round)));
        let name = format!("big{round}");
        pair.import(&name, (16 << 20) + round as usize)?;
        let image = format!("{}/team/{name}", pair.address);
        pair.post(&format!("/images/{name}/tag?repo={image}&tag=v1"), &Value::Null)?;
        let push = format!("/images/{image}/push?tag=v1");
        pair.kill_during(push.clone(), after, engine)?;
        pair.post(&push, &Value::Null)?;
        let layer = pair.layer(&format!("team/{name}"))?;
        // What was not taken as a file was sent.
        ensure!(layer["mediaType"] == GZIP || layer["mediaType"] == PLAIN, "{layer}");
        let blob = pair.blob(&layer)?;
        assert_eq!(digest(&fs_err::read(&blob)?), layer["digest"].as_str().unwrap_or_default());
        // And the way back.
        for forgotten in [&image, &name] {
            let tag = if forgotten == &image { "v1" } else { "latest" };
            pair.daemon.client().delete(&format!("/images/{forgotten}:{tag}"))?.ok()?;
        }
        let pull = format!("/images/create?fromImage={image}&tag=v1");
        pair.kill_during(pull.clone(), after, !engine)?;
        pair.post(&pull, &Value::Null)?;
        let verified = pair.daemon.cli(&["image", "verify", "-q", &format!("{image}:v1")]).output()?;
        ensure!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        // What was removed goes in the background.
        let begun = Instant::now();
        while links(&blob)? > 2 && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(10));
        }
        ensure!((1..=2).contains(&links(&blob)?), "{} names", links(&blob)?);
    }
    pair.restart_registry()?;
    assert_eq!(fs_err::read_dir(pair.root.join("staging"))?.count(), 0);
    Ok(())
}
