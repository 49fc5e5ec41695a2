//! Rows about registries: pull and push, with Debian's docker-registry as the other side.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    Row,
    images::{LAYERED, archive, forget_archive, remove_image, save_archive},
    report::Unit,
    rest,
    subject::Subject,
};

pub(super) const ROWS: &[Row] = &[
    Row::new("CLI pull of a 304 MB image, 4 layers", Unit::Milliseconds, 5, pull)
        .target(900.0)
        .around(prepare, finish),
    Row::new("CLI push of it, layers unknown to the registry", Unit::Milliseconds, 5, push)
        .target(1200.0)
        .around(prepare, finish),
];

/// A port that nothing else here uses.
const PORT: u16 = 5793;
/// How long a registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

fn image() -> String {
    format!("127.0.0.1:{PORT}/bench/layers:latest")
}

/// A registry of its own, empty.
pub(crate) struct Registry(pub(super) Child);

impl Drop for Registry {
    fn drop(&mut self) {
        // It holds nothing that has to be written.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn storage(subject: &Subject) -> PathBuf {
    subject.scratch.path().join("registry")
}

/// Writes the configuration of Debian's registry; answers where it is.
pub(super) fn configuration(subject: &Subject, address: &str) -> Result<PathBuf> {
    let path = subject.scratch.path().join("registry.yml");
    let text = format!(
        "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"{address}\" }}\n",
        storage(subject).display()
    );
    fs_err::write(&path, text)?;
    Ok(path)
}

/// Starts the registry where the engine reaches it.
fn serve(subject: &mut Subject) -> Result<()> {
    subject.registry = None;
    let _ = fs_err::remove_dir_all(storage(subject));
    let config = configuration(subject, &format!("127.0.0.1:{PORT}"))?;
    let mut command = subject.inside("docker-registry");
    command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().context("install Debian's package docker-registry")?;
    subject.registry = Some(Registry(child));
    let begun = Instant::now();
    let probe = format!("exec 3<>/dev/tcp/127.0.0.1/{PORT}");
    while !subject.inside("bash").args(["-c", &probe]).stderr(Stdio::null()).status()?.success() {
        ensure!(begun.elapsed() < PATIENCE, "the registry does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn prepare(subject: &mut Subject) -> Result<()> {
    save_archive(subject)?;
    let path = archive(subject);
    subject.cli(&["load", "-q", "-i", path.to_str().context("not UTF-8")?])?;
    subject.cli(&["tag", LAYERED, &image()])?;
    serve(subject)?;
    subject.cli(&["push", "-q", &image()])?;
    Ok(())
}

fn finish(subject: &mut Subject) -> Result<()> {
    subject.registry = None;
    let _ = subject.client.delete(&format!("/images/{}?force=1", image()))?;
    forget_archive(subject)
}

fn pull(subject: &mut Subject) -> Result<f64> {
    for name in [image(), LAYERED.to_owned()] {
        // Not there any more after the first time.
        let _ = remove_image(subject, &name);
    }
    rest::wait()?;
    subject.cli(&["pull", "-q", &image()])
}

fn push(subject: &mut Subject) -> Result<f64> {
    serve(subject)?;
    rest::wait()?;
    subject.cli(&["push", "-q", &image()])
}

impl Subject {
    /// A command where the engine's ports are.
    fn inside(&self, program: &str) -> Command {
        match &self.daemon {
            Some(daemon) => daemon.inside(program),
            None => Command::new(program),
        }
    }
}
