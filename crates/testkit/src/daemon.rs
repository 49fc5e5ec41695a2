//! Throw-away daemons, each in network and mount namespaces of its own, so that several never meet.

use std::{
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::{
    http::{Body, Client},
    image,
};

/// An engine to test: a daemon of ours, or the one that `SKIFF_TEST_SOCKET` names.
pub enum Engine {
    /// Started by the test, ended with it.
    Ours(Daemon),
    /// Already running; the test leaves it as it was.
    Other(PathBuf),
}

impl Engine {
    /// The engine that the environment names, or a new daemon of `binary`.
    ///
    /// # Errors
    /// When a new daemon does not start.
    pub fn start(binary: &Path) -> Result<Self> {
        match std::env::var_os("SKIFF_TEST_SOCKET") {
            Some(socket) => Ok(Self::Other(socket.into())),
            None => Ok(Self::Ours(Daemon::start(binary, &[])?)),
        }
    }

    /// The engine's socket.
    pub fn socket(&self) -> &Path {
        match self {
            Self::Ours(daemon) => daemon.socket(),
            Self::Other(socket) => socket,
        }
    }

    /// A new client.
    pub fn client(&self) -> Client {
        Client::new(self.socket())
    }

    /// A listener on the engine's host, at a loopback port of the system's choice.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or has no loopback.
    pub fn listen(&self) -> Result<TcpListener> {
        match self {
            Self::Ours(daemon) => daemon.listen(),
            Self::Other(_) => Ok(TcpListener::bind("127.0.0.1:0")?),
        }
    }

    /// A command on the engine's host: in the network namespace where it publishes ports.
    pub fn inside(&self, program: impl AsRef<Path>) -> Command {
        match self {
            Self::Ours(daemon) => daemon.inside(program),
            Self::Other(_) => Command::new(program.as_ref()),
        }
    }
}

/// How long a daemon may take to answer: emulated processors are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon and everything it keeps. Dropping it removes its containers, ends it and deletes its files.
pub struct Daemon {
    binary: PathBuf,
    args: Vec<String>,
    dir: tempfile::TempDir,
    socket: PathBuf,
    /// Holds the namespaces while the daemon is down.
    holder: Child,
    process: Option<Child>,
}

impl Daemon {
    /// Starts `binary daemon` with an empty data root and waits for its first answer.
    ///
    /// # Errors
    /// When the daemon ends or does not answer within a minute; with the tail of its log.
    pub fn start(binary: &Path, args: &[&str]) -> Result<Self> {
        Self::start_prepared(binary, args, |_| Ok(()))
    }

    /// As [`Daemon::start`]; `prepare` may run commands in the namespaces before the daemon does.
    ///
    /// # Errors
    /// As [`Daemon::start`], and those of `prepare`.
    pub fn start_prepared(
        binary: &Path,
        args: &[&str],
        prepare: impl FnOnce(&dyn Fn(&str) -> Command) -> Result<()>,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("skiff-test-").tempdir()?;
        let mut holder = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                "ip link set lo up; echo; exec cat",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run unshare")?;
        // The newline says that the namespaces stand.
        let mut ready = [0];
        std::io::Read::read_exact(holder.stdout.as_mut().expect("piped"), &mut ready)
            .context("cannot make namespaces for a daemon")?;
        let socket = dir.path().join("skiff.sock");
        let mut args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        let name = dir.path().file_name().expect("a named directory").to_string_lossy().into_owned();
        for (flag, value) in [
            ("--data-root", dir.path().join("data").display().to_string()),
            ("--exec-root", dir.path().join("run").display().to_string()),
            ("--host", format!("unix://{}", socket.display())),
            ("--cgroup-parent", format!("/skiff/{name}")),
        ] {
            if !args.iter().any(|arg| arg == flag) {
                args.extend([flag.to_owned(), value]);
            }
        }
        let mut daemon = Self { binary: binary.to_owned(), args, dir, socket, holder, process: None };
        prepare(&|program| daemon.inside(program))?;
        daemon.start_again()?;
        Ok(daemon)
    }

    /// Starts the daemon again after [`Daemon::kill`] or [`Daemon::stop`], on the same files and namespaces.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the daemon runs already");
        let log = fs_err::OpenOptions::new().create(true).append(true).open(self.log())?;
        let process = self
            .inside(&self.binary)
            .arg("daemon")
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log.file().try_clone()?)
            .stderr(log.into_parts().0)
            .spawn()
            .with_context(|| format!("cannot run {}", self.binary.display()))?;
        self.process = Some(process);
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if Client::new(&self.socket).get("/_ping").is_ok_and(|r| r.status == 200) {
                return Ok(());
            }
            let process = self.process.as_mut().expect("just started");
            if let Some(status) = process.try_wait()? {
                self.process = None;
                bail!("the daemon ended with {status}:\n{}", self.log_tail());
            }
            thread::sleep(Duration::from_millis(2));
        }
        bail!("the daemon does not answer:\n{}", self.log_tail())
    }

    /// A command that runs inside the daemon's network and mount namespaces.
    pub fn inside(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "--wdns=/", "--target"]).arg(self.holder.id().to_string());
        command.arg("--").arg(program.as_ref());
        command
    }

    /// A listener in the daemon's network namespace, at a loopback port of the system's choice.
    ///
    /// # Errors
    /// As [`Engine::listen`].
    pub fn listen(&self) -> Result<TcpListener> {
        self.within(|| Ok(TcpListener::bind("127.0.0.1:0")?))
    }

    /// Runs something on a thread in the daemon's network namespace, where the threads that it makes are too.
    ///
    /// # Errors
    /// When the namespace cannot be entered; what `run` fails with.
    pub fn within<T: Send + 'static>(&self, run: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let path = format!("/proc/{}/ns/net", self.holder.id());
        // A thread of its own: whoever enters a namespace does not come back.
        let inside = thread::spawn(move || -> Result<T> {
            let namespace = fs_err::File::open(&path)?;
            rustix::thread::move_into_link_name_space(
                std::os::fd::AsFd::as_fd(namespace.file()),
                Some(rustix::thread::LinkNameSpaceType::Network),
            )?;
            run()
        });
        inside.join().map_err(|_| anyhow::anyhow!("the thread in the namespace panicked"))?
    }

    /// The command line against this daemon.
    pub fn cli(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--host").arg(format!("unix://{}", self.socket.display())).args(args);
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        command
    }

    /// Imports the busybox image as `busybox:latest`.
    ///
    /// # Errors
    /// When the import fails.
    pub fn import_busybox(&self) -> Result<()> {
        let tar = image::busybox()?;
        let path = "/images/create?fromSrc=-&repo=busybox&tag=latest";
        self.client().request("POST", path, &Body::Bytes("application/x-tar", &tar))?.ok()?;
        Ok(())
    }

    /// The daemon's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A new client.
    pub fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    /// The daemon's own process; `None` while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Where it keeps what must last.
    pub fn data_root(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where it keeps what does not outlive the boot.
    pub fn exec_root(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// The parent of its containers' control groups, in every hierarchy that is mounted.
    pub fn container_cgroups(&self) -> Vec<PathBuf> {
        let parent = self.args.iter().skip_while(|a| *a != "--cgroup-parent").nth(1).expect("always given");
        let parent = parent.trim_start_matches('/');
        let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
        roots.extend(fs_err::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|e| e.path()));
        roots.into_iter().map(|root| root.join(parent)).filter(|path| path.is_dir()).collect()
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("daemon.log")
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let log = fs_err::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the daemon is down")?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    fn remove_containers(&self) -> Result<()> {
        let mut client = self.client();
        let list = client.get("/containers/json?all=1")?.ok()?.json()?;
        for container in list.as_array().unwrap_or(&json!([]).as_array().cloned().unwrap_or_default()) {
            let id = container["Id"].as_str().unwrap_or_default();
            client.delete(&format!("/containers/{id}?force=1&v=1"))?;
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A daemon that the test killed is needed once more, to end what it left running.
        if self.process.is_none() {
            let _ = self.start_again();
        }
        if let Err(error) = self.remove_containers() {
            let _ = writeln!(std::io::stderr(), "testkit: {error:#}\n{}", self.log_tail());
        }
        if let Some(mut process) = self.process.take() {
            let _ = Command::new("kill").arg(process.id().to_string()).status();
            let end = Instant::now() + Duration::from_secs(5);
            while Instant::now() < end && matches!(process.try_wait(), Ok(None)) {
                thread::sleep(Duration::from_millis(5));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        for cgroup in self.container_cgroups() {
            let _ = fs_err::remove_dir(cgroup);
        }
    }
}
