//! Rows about images: moving them in and out, and reading what is in them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use rustix::fs::{Dir, FileType, Mode, OFlags};
use serde_json::{Value, json};
use skiff_testkit::image::Tar;

use super::{
    Row,
    report::Unit,
    subject::{Subject, milliseconds},
};

pub(super) const ROWS: &[Row] = &[
    Row::new("CLI import of a 200 MB rootfs", Unit::Milliseconds, 5, import).target(300.0),
    Row::new("CLI load of a 304 MB image, 4 layers", Unit::Milliseconds, 5, load)
        .target(500.0)
        .around(save_archive, forget_archive),
    Row::new("CLI save of it", Unit::Milliseconds, 5, save)
        .target(250.0)
        .around(save_archive, forget_archive),
    Row::new("rmi of it", Unit::Milliseconds, 5, rmi).target(5.0).around(save_archive, forget_archive),
    Row::new("reading every file of the rootfs in a new container, warm", Unit::Milliseconds, 5, read_all)
        .around(|s| import_as(s, READ).map(drop), |s| remove_image(s, READ)),
    Row::new("reading every file, cold, beside an unpacked ext4 directory", Unit::Ratio, 5, |s| {
        reading_ratio(s, drop_caches)
    })
    .target(0.6)
    .around(prepare_reading, finish_reading),
    Row::new("reading every file, warm, beside an unpacked ext4 directory", Unit::Ratio, 5, |s| {
        reading_ratio(s, || Ok(()))
    })
    .target(1.0)
    .around(prepare_reading, finish_reading),
];

const READ: &str = "bench-read";

pub(super) const LAYERED: &str = "bench-layers";

/// A generated root file system: 8,000 files of text-like bytes, 200 MB in all.
fn rootfs(subject: &Subject) -> Result<PathBuf> {
    if let Some(path) = &subject.rootfs {
        return Ok(path.clone());
    }
    let path = subject.scratch.path().join("rootfs.tar");
    if !path.exists() {
        let mut tar = Tar::default();
        tar.entry("bin/", b'5', 0o755, "", b"");
        tar.entry("bin/busybox", b'0', 0o755, "", &fs_err::read("/bin/busybox")?);
        add_files(&mut tar, "data", 8_000, 25_000, 1);
        fs_err::write(&path, tar.finish())?;
    }
    Ok(path)
}

/// Files of `size` bytes that compress about as programs do: half of them random.
fn add_files(tar: &mut Tar, dir: &str, count: usize, size: usize, seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    tar.entry(&format!("{dir}/"), b'5', 0o755, "", b"");
    for number in 0..count {
        if number % 100 == 0 {
            tar.entry(&format!("{dir}/{}/", number / 100), b'5', 0o755, "", b"");
        }
        let mut content = Vec::with_capacity(size + 16);
        while content.len() < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            content.extend_from_slice(&state.to_le_bytes());
            content.extend_from_slice(b"abcdefgh");
        }
        content.truncate(size);
        tar.entry(&format!("{dir}/{}/{number}", number / 100), b'0', 0o644, "", &content);
    }
}

fn import_as(subject: &mut Subject, name: &str) -> Result<f64> {
    let path = rootfs(subject)?;
    let path = path.to_str().context("not UTF-8")?;
    subject.cli(&["import", path, name])
}

fn import(subject: &mut Subject) -> Result<f64> {
    let took = import_as(subject, "bench-import")?;
    remove_image(subject, "bench-import")?;
    Ok(took)
}

pub(super) fn remove_image(subject: &mut Subject, name: &str) -> Result<()> {
    subject.client.delete(&format!("/images/{name}?force=1"))?.ok()?;
    Ok(())
}

/// An archive with an image of four layers of 76 MB, in the form of `docker save`.
pub(super) fn save_archive(subject: &mut Subject) -> Result<()> {
    use std::io::Write;
    let path = archive(subject);
    if path.exists() {
        return Ok(());
    }
    let mut file = std::io::BufWriter::new(fs_err::File::create(path)?);
    let mut diff_ids = Vec::new();
    let mut names = Vec::new();
    for layer in 0..4u64 {
        let mut tar = Tar::default();
        add_files(&mut tar, &format!("layer{layer}"), 3_000, 25_000, layer + 7);
        let bytes = tar.finish();
        let name = format!("{layer}/layer.tar");
        diff_ids.push(format!("sha256:{}", sha256(&bytes)?));
        file.write_all(&member(&name, &bytes))?;
        names.push(name);
    }
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {}, "history": [],
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = serde_json::to_vec(&config)?;
    let config_name = format!("{}.json", sha256(&config)?);
    file.write_all(&member(&config_name, &config))?;
    let manifest =
        json!([{ "Config": config_name, "RepoTags": [format!("{LAYERED}:latest")], "Layers": names }]);
    file.write_all(&member("manifest.json", &serde_json::to_vec(&manifest)?))?;
    file.write_all(&[0; 1024])?;
    Ok(file.flush()?)
}

pub(super) fn archive(subject: &Subject) -> PathBuf {
    subject.scratch.path().join("layers.tar")
}

pub(super) fn forget_archive(subject: &mut Subject) -> Result<()> {
    let _ = subject.client.delete(&format!("/images/{LAYERED}?force=1"))?;
    Ok(())
}

/// One member of an archive, without the archive's end.
fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = Tar::default();
    tar.entry(name, b'0', 0o644, "", content);
    let mut bytes = tar.finish();
    bytes.truncate(bytes.len() - 1024);
    bytes
}

fn sha256(bytes: &[u8]) -> Result<String> {
    use sha2::{Digest, Sha256};
    Ok(Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect())
}

fn load(subject: &mut Subject) -> Result<f64> {
    let path = archive(subject);
    let took = subject.cli(&["load", "-q", "-i", path.to_str().context("not UTF-8")?])?;
    remove_image(subject, LAYERED)?;
    Ok(took)
}

fn save(subject: &mut Subject) -> Result<f64> {
    let path = archive(subject);
    subject.cli(&["load", "-q", "-i", path.to_str().context("not UTF-8")?])?;
    let out = subject.scratch.path().join("saved.tar");
    let took = subject.cli(&["save", "-o", out.to_str().context("not UTF-8")?, LAYERED])?;
    fs_err::remove_file(out)?;
    Ok(took)
}

fn rmi(subject: &mut Subject) -> Result<f64> {
    let path = archive(subject);
    subject.cli(&["load", "-q", "-i", path.to_str().context("not UTF-8")?])?;
    let start = Instant::now();
    remove_image(subject, LAYERED)?;
    Ok(milliseconds(start))
}

/// Reads every file in a container; the start of the container is part of it, as it is for users.
fn read_all(subject: &mut Subject) -> Result<f64> {
    // The generated root file system has busybox alone, a distribution its own tools.
    let busybox = if subject.rootfs.is_some() { "" } else { "/bin/busybox " };
    let read = format!("{busybox}find / -xdev -type f -exec {busybox}cat {{}} + >/dev/null");
    let shell = format!("{busybox}sh");
    let mut args = vec!["run", "--rm", "--network", "none", READ];
    args.extend(shell.split(' '));
    args.extend(["-c", &read]);
    subject.cli_with(&args, Stdio::null(), Stdio::null())
}

/// A container of the image that stays, and the same tree unpacked beside it.
fn prepare_reading(subject: &mut Subject) -> Result<()> {
    import_as(subject, READ)?;
    let body = json!({
        "Image": READ, "Entrypoint": [if subject.rootfs.is_some() { "sleep" } else { "/bin/busybox" }],
        "Cmd": if subject.rootfs.is_some() { json!(["100000"]) } else { json!(["sleep", "100000"]) },
    });
    let created = subject.client.post("/containers/create", &body)?.ok()?.json()?;
    let id = created["Id"].as_str().context("no Id")?.to_owned();
    subject.client.post(&format!("/containers/{id}/start"), &Value::Null)?.ok()?;
    subject.containers.push(id);
    let unpacked = unpacked(subject);
    fs_err::create_dir_all(&unpacked)?;
    let tar = rootfs(subject)?;
    let status = Command::new("tar").arg("-xf").arg(tar).arg("-C").arg(&unpacked).status()?;
    ensure!(status.success(), "tar: {status}");
    rustix::fs::sync();
    Ok(())
}

fn unpacked(subject: &Subject) -> PathBuf {
    subject.scratch.path().join("unpacked")
}

fn finish_reading(subject: &mut Subject) -> Result<()> {
    fs_err::remove_dir_all(unpacked(subject))?;
    subject.remove_containers()?;
    remove_image(subject, READ)
}

/// How long every file of the container takes, divided by how long the unpacked ones take.
fn reading_ratio(subject: &mut Subject, before: impl Fn() -> Result<()>) -> Result<f64> {
    let id = subject.containers.first().context("no container")?;
    let shown = subject.client.get(&format!("/containers/{id}/json"))?.ok()?.json()?;
    let root = PathBuf::from(format!("/proc/{}/root", shown["State"]["Pid"]));
    let mut took = Vec::new();
    for root in [root, unpacked(subject)] {
        before()?;
        let start = Instant::now();
        let bytes = read_below(&root)?;
        took.push(milliseconds(start));
        ensure!(bytes > 50_000_000, "only {bytes} bytes in {}", root.display());
    }
    Ok(took[0] / took[1])
}

/// Reads every regular file below a directory, what a container has mounted there left out; the number of bytes. Names are
/// looked up from their own directory, so that both trees take the same steps.
fn read_below(root: &Path) -> Result<u64> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = vec![0; 128 << 10];
    let mut bytes = 0;
    let mut pending = vec![(root, true)];
    while let Some((directory, is_root)) = pending.pop() {
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let mounted = is_root && [c"dev", c"proc", c"sys"].contains(&name);
            match entry.file_type() {
                FileType::Directory if mounted || [c".", c".."].contains(&name) => {}
                FileType::Directory => {
                    let below =
                        rustix::fs::openat(&directory, name, flags | OFlags::DIRECTORY, Mode::empty())?;
                    pending.push((below, false));
                }
                FileType::RegularFile => {
                    let file = rustix::fs::openat(&directory, name, flags, Mode::empty())?;
                    loop {
                        match rustix::io::read(&file, &mut buffer)? {
                            0 => break,
                            read => bytes += read as u64,
                        }
                    }
                }
                _ => {}
            }
        }
    }
    Ok(bytes)
}

fn drop_caches() -> Result<()> {
    rustix::fs::sync();
    Ok(fs_err::write("/proc/sys/vm/drop_caches", "3")?)
}
