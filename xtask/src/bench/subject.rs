//! An engine that is measured: ours, thrown away afterwards, or another that already runs.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::{
    Daemon,
    http::{Body, Client},
    image,
};

use crate::root;

/// The engine and what the rows keep between their samples.
pub(crate) struct Subject {
    pub(crate) client: Client,
    pub(crate) daemon: Option<Daemon>,
    cli: PathBuf,
    version: String,
    /// Containers that `prepare` of a row made.
    pub(crate) containers: Vec<String>,
    /// The tar that the image rows import, when the user named one.
    pub(crate) rootfs: Option<PathBuf>,
    /// Where image rows keep archives.
    pub(crate) scratch: tempfile::TempDir,
    _run: Option<tempfile::TempDir>,
    /// The registry that the rows about registries move images from and to.
    pub(crate) registry: Option<super::registry::Registry>,
}

/// Builds the release profile; answers where the binary lies.
pub(crate) fn build() -> Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "skiff", "--message-format=json-render-diagnostics"])
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo build")?;
    ensure!(output.status.success(), "the release build failed");
    let text = String::from_utf8(output.stdout)?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let binary = messages.filter_map(|m| m["executable"].as_str().map(PathBuf::from)).next_back();
    binary.context("cargo named no executable")
}

impl Subject {
    pub(crate) fn ours(binary: &Path) -> Result<Self> {
        // As `/run` is nearly everywhere.
        let run = tempfile::tempdir_in("/dev/shm")?;
        let path = run.path().to_str().context("the path of a temporary directory")?;
        let daemon = Daemon::start(binary, &["--exec-root", path])?;
        let ours = Self::new(daemon.client(), binary.to_owned(), Some(daemon))?;
        Ok(Self { _run: Some(run), ..ours })
    }

    pub(crate) fn other(socket: &Path, cli: &Path) -> Result<Self> {
        Self::new(Client::new(socket), cli.to_owned(), None)
    }

    fn new(mut client: Client, cli: PathBuf, daemon: Option<Daemon>) -> Result<Self> {
        let version = client.get("/version")?.ok()?.json()?;
        let name = if daemon.is_some() { "Skiff" } else { "Docker" };
        let version = format!("{name} {}", version["Version"].as_str().unwrap_or("of unknown version"));
        let scratch = tempfile::tempdir()?;
        Ok(Self {
            client,
            daemon,
            cli,
            version,
            containers: Vec::new(),
            rootfs: None,
            scratch,
            _run: None,
            registry: None,
        })
    }

    /// Gives the engine the busybox image.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        let tar = image::busybox()?;
        let path = "/images/create?fromSrc=-&repo=busybox&tag=latest";
        self.client.request("POST", path, &Body::Bytes("application/x-tar", &tar))?.ok()?;
        Ok(())
    }

    pub(crate) fn name(&self) -> &str {
        if self.daemon.is_some() { "Skiff" } else { "the other engine" }
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Creates a container of busybox; answers its id.
    pub(crate) fn create(&mut self, command: &[&str], network: &str) -> Result<String> {
        create(&mut self.client, command, network)
    }

    /// Runs the engine's own command line and answers the milliseconds it took.
    pub(crate) fn cli(&self, args: &[&str]) -> Result<f64> {
        self.cli_with(args, Stdio::null(), Stdio::null())
    }

    /// Its binary: for ours, everything is in it.
    pub(crate) fn program(&self) -> &Path {
        &self.cli
    }

    /// The engine's own command line, to be run.
    pub(crate) fn cli_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.cli);
        command.arg("--host").arg(format!("unix://{}", self.client.socket().display())).args(args);
        command
    }

    /// As [`Subject::cli`], with the standard streams given.
    pub(crate) fn cli_with(&self, args: &[&str], stdin: Stdio, stdout: Stdio) -> Result<f64> {
        let mut command = self.cli_command(args);
        command.stdin(stdin).stdout(stdout);
        let start = Instant::now();
        let status = command.status().with_context(|| format!("cannot run {}", self.cli.display()))?;
        let took = milliseconds(start);
        ensure!(status.success(), "{} {}: {status}", self.cli.display(), args.join(" "));
        Ok(took)
    }

    /// Removes by force what `containers` lists.
    pub(crate) fn remove_containers(&mut self) -> Result<()> {
        for id in std::mem::take(&mut self.containers) {
            self.client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
        }
        Ok(())
    }
}

/// Creates a container of busybox; answers its id.
pub(crate) fn create(client: &mut Client, command: &[&str], network: &str) -> Result<String> {
    let body = json!({ "Image": "busybox", "Cmd": command, "HostConfig": { "NetworkMode": network } });
    let created = client.post("/containers/create", &body)?.ok()?.json()?;
    created["Id"].as_str().map(str::to_owned).context("no Id")
}

/// Milliseconds since `start`.
pub(crate) fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
