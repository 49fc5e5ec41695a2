//! Our command line against an engine: a daemon of ours, or with `SKIFF_TEST_SOCKET=/path/to/docker.sock` a real
//! Docker.

mod attached;
mod files;
mod images;
mod lists;
mod manifests;
mod networks;
mod options;
mod registries;
mod volumes;
mod watch;

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use skiff_testkit::{Engine, http::Body, image};

/// An engine with the busybox image, and the containers that a test names.
struct Test {
    engine: Engine,
    names: Vec<String>,
    volumes: Vec<String>,
}

/// What a command line said.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn ok(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        self.out
    }
}

/// It ended with exit code 1 and said this.
fn failed(said: &Said, why: &str) {
    assert_eq!((said.code, said.err.trim_end()), (1, why));
}

impl Test {
    fn new() -> Result<Self> {
        let engine = Engine::start(Path::new(env!("CARGO_BIN_EXE_skiff")))?;
        let mut client = engine.client();
        if client.get("/images/busybox/json")?.status != 200 {
            let tar = image::busybox()?;
            let path = "/images/create?fromSrc=-&repo=busybox&tag=latest";
            client.request("POST", path, &Body::Bytes("application/x-tar", &tar))?.ok()?;
        }
        Ok(Self { engine, names: Vec::new(), volumes: Vec::new() })
    }

    /// A container's name that no other test uses; the container is removed in the end.
    fn name(&mut self, stem: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cli-{stem}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        self.names.push(name.clone());
        name
    }

    /// The command line, called `docker`.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        command
            .arg0("docker")
            .args(args)
            .env_remove("DOCKER_CONTEXT")
            .env_remove("DOCKER_API_VERSION")
            .env("DOCKER_CONFIG", "/nonexistent")
            .env("DOCKER_HOST", format!("unix://{}", self.engine.socket().display()))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Result<Said> {
        said(self.command(args).output()?)
    }

    /// The same with this standard input.
    fn run_with(&self, input: &[u8], args: &[&str]) -> Result<Said> {
        run_command(self.command(args), input)
    }
}

/// Runs a command with this standard input.
fn run_command(mut command: Command, input: &[u8]) -> Result<Said> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("piped")?;
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    // A process that does not read its input to the end is no failure of the test.
    let _ = writer.join();
    said(output)
}

fn said(output: std::process::Output) -> Result<Said> {
    Ok(Said {
        code: output.status.code().context("ended by a signal")?,
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

impl Drop for Test {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = self.run(&["rm", "-f", name]);
        }
        for name in &self.volumes {
            let _ = self.run(&["volume", "rm", "-f", name]);
        }
    }
}
