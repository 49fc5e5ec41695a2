//! Rows about our registry as a server, beside Debian's docker-registry, with the same client on loopback. Each row has a
//! registry of its own, which begins empty.

mod client;

use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use self::client::{Blob, Client, Image};
use super::{
    Row,
    files::noise,
    memory::pss,
    registry::{Registry, configuration, storage},
    report::Unit,
    rest,
    subject::{Subject, milliseconds},
};

pub(super) const ROWS: &[Row] = &[
    Row::new("registry: 3,000 pulls of a small image, 32 clients", Unit::Milliseconds, 5, pulls)
        .around(with_small_image, stop),
    Row::new("registry: 1,000 pushes of a small image, 32 clients", Unit::Milliseconds, 5, pushes)
        .around(serve, stop),
    Row::new("registry: push of a blob of 256 MiB", Unit::Milliseconds, 5, push_large).around(serve, stop),
    Row::new("registry: pull of a blob of 256 MiB", Unit::Milliseconds, 5, pull_large)
        .around(with_large_blob, stop),
    Row::new("registry: its memory while 100 clients pull 256 MiB (PSS)", Unit::Kibibytes, 5, memory)
        .around(with_large_blob, stop),
    Row::new("registry: _catalog of 10,000 repositories", Unit::Milliseconds, 15, catalog)
        .target(50.0)
        .around(with_many_repositories, stop),
    Row::new("registry: tags/list of 10,000 tags", Unit::Milliseconds, 15, tags)
        .target(50.0)
        .around(with_many_tags, stop),
];

/// Ports that nothing else here uses: both registries run at the same time.
const ADDRESSES: [&str; 2] = ["127.0.0.1:5794", "127.0.0.1:5795"];
/// How long a registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
const CLIENTS: u64 = 32;
const PULLS: u64 = 3000;
const PUSHES: u64 = 1000;
const MANY: u64 = 10_000;
const PAGE: u64 = 1000;
const SMALL: usize = 10_000;
const LARGE: usize = 256 << 20;

/// Where the subject's registry listens.
fn address(subject: &Subject) -> &'static str {
    ADDRESSES[usize::from(subject.daemon.is_none())]
}

/// Starts the subject's registry: ours, or the reference.
fn serve(subject: &mut Subject) -> Result<()> {
    stop(subject)?;
    let mut command = match subject.daemon {
        Some(_) => {
            let mut command = Command::new(subject.program());
            command.args([
                "registry",
                "serve",
                "--auth",
                "none",
                "--log-level",
                "error",
                "--addr",
                address(subject),
            ]);
            command.arg("--root").arg(storage(subject));
            command
        }
        None => {
            let mut command = Command::new("docker-registry");
            command.arg("serve").arg(configuration(subject, address(subject))?);
            command
        }
    };
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut registry = Registry(child.context("install Debian's package docker-registry")?);
    let begun = Instant::now();
    while Client::new(address(subject)).is_err() {
        ensure!(registry.0.try_wait()?.is_none(), "the registry ended at once");
        ensure!(begun.elapsed() < PATIENCE, "the registry does not answer");
        thread::sleep(Duration::from_millis(20));
    }
    subject.registry = Some(registry);
    Ok(())
}

fn stop(subject: &mut Subject) -> Result<()> {
    subject.registry = None;
    let _ = fs_err::remove_dir_all(storage(subject));
    Ok(())
}

fn with_small_image(subject: &mut Subject) -> Result<()> {
    serve(subject)?;
    Client::new(address(subject))?.image("load/small", "v1", &Image::new(noise(SMALL, 1)))
}

fn with_large_blob(subject: &mut Subject) -> Result<()> {
    serve(subject)?;
    Client::new(address(subject))?.blob("load/large", &Blob::new(noise(LARGE, 1)))
}

fn with_many_tags(subject: &mut Subject) -> Result<()> {
    serve(subject)?;
    let image = Image::new("layer");
    Client::new(address(subject))?.image("load/tags", "first", &image)?;
    all(subject, MANY, |client, n| client.tag("load/tags", &format!("t{n}"), &image))
}

fn with_many_repositories(subject: &mut Subject) -> Result<()> {
    serve(subject)?;
    let image = Image::new("layer");
    Client::new(address(subject))?.image("zz/base", "first", &image)?;
    all(subject, MANY, |client, n| {
        let name = format!("many/r{n:05}");
        for blob in [&image.config, &image.layer] {
            let mount = format!("/v2/{name}/blobs/uploads/?mount={}&from=zz/base", blob.digest);
            client.ask("POST", &mount, "", b"")?;
        }
        client.tag(&name, "v1", &image)
    })
}

/// Does something so many times, from all clients together.
fn all(subject: &Subject, times: u64, work: impl Fn(&mut Client, u64) -> Result<()> + Sync) -> Result<()> {
    let (address, next) = (address(subject), AtomicU64::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut client = Client::new(address)?;
                    loop {
                        match next.fetch_add(1, Ordering::Relaxed) {
                            n if n < times => work(&mut client, n)?,
                            _ => return Ok(()),
                        }
                    }
                })
            })
            .collect();
        clients.into_iter().try_for_each(|c| c.join().map_err(|_| anyhow!("a client panicked"))?)
    })
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(milliseconds(start))
}

fn pulls(subject: &mut Subject) -> Result<f64> {
    let image = Image::new(noise(SMALL, 1));
    timed(|| {
        all(subject, PULLS, |client, _| {
            client.get("/v2/load/small/manifests/v1")?;
            client.get(&format!("/v2/load/small/blobs/{}", image.config.digest))?;
            client.get(&format!("/v2/load/small/blobs/{}", image.layer.digest)).map(drop)
        })
    })
}

/// A number that no sample had before.
fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed) << 32
}

fn pushes(subject: &mut Subject) -> Result<f64> {
    let run = fresh();
    let images: Vec<_> = (0..PUSHES).map(|n| Image::new(noise(SMALL, run + n))).collect();
    // The other registry leaves what it got to the kernel, and a sync of ours would wait for that.
    rest::wait()?;
    timed(|| {
        all(subject, PUSHES, |client, n| {
            client.image(&format!("load/push{}", n % CLIENTS), &format!("v{}", run + n), &images[n as usize])
        })
    })
}

fn push_large(subject: &mut Subject) -> Result<f64> {
    let blob = Blob::new(noise(LARGE, fresh()));
    let mut client = Client::new(address(subject))?;
    rest::wait()?;
    timed(|| client.blob("load/large", &blob))
}

fn large() -> String {
    format!("/v2/load/large/blobs/{}", Blob::new(noise(LARGE, 1)).digest)
}

fn pull_large(subject: &mut Subject) -> Result<f64> {
    let path = large();
    let mut client = Client::new(address(subject))?;
    timed(|| {
        let bytes = client.get(&path)?;
        ensure!(bytes == LARGE as u64, "{bytes} bytes came");
        Ok(())
    })
}

/// The most that it has while all of them pull.
fn memory(subject: &mut Subject) -> Result<f64> {
    let path = large();
    let address = address(subject);
    let process = subject.registry.as_ref().context("no registry")?.0.id();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..100).map(|_| scope.spawn(|| Client::new(address)?.get(&path))).collect();
        let mut most: f64 = 0.0;
        while clients.iter().any(|client| !client.is_finished()) {
            most = most.max(pss(process)?);
            thread::sleep(Duration::from_millis(50));
        }
        for client in clients {
            client.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        Ok(most)
    })
}

/// All of it, in pages as large as docker-registry gives them.
fn catalog(subject: &mut Subject) -> Result<f64> {
    let mut client = Client::new(address(subject))?;
    timed(|| {
        (0..MANY / PAGE)
            .map(|page| match page {
                0 => String::new(),
                page => format!("&last=many/r{:05}", page * PAGE - 1),
            })
            .try_for_each(|last| client.get(&format!("/v2/_catalog?n={PAGE}{last}")).map(drop))
    })
}

fn tags(subject: &mut Subject) -> Result<f64> {
    let mut client = Client::new(address(subject))?;
    timed(|| client.get("/v2/load/tags/tags/list").map(drop))
}
