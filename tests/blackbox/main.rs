//! What any Docker engine must do, seen from outside: the same tests run against a daemon of ours and, with
//! `SKIFF_TEST_SOCKET=/path/to/docker.sock`, against a real Docker, which keeps them honest.

mod clients;
mod commit;
mod drivers;
mod errors;
mod events;
mod exec;
mod files;
mod health;
mod images;
mod lans;
mod lifecycle;
mod limits;
mod links;
mod list;
mod log_drivers;
mod logs;
mod membership;
mod mounts;
mod names;
mod network;
mod networks;
mod own;
mod plugins;
mod prune;
mod registries;
mod restart;
mod security;
mod stats;
mod streams;
mod volumes;
mod walk;

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::{
    Engine,
    http::{Body, Client, Response},
    image,
};

/// An engine with the busybox image, and what one test made in it.
struct Test {
    client: Client,
    made: Vec<String>,
    images: Vec<String>,
    networks: Vec<String>,
    /// Links on the engine's host.
    links: Vec<String>,
    volumes: Vec<String>,
    // Dropped last: it ends the daemon.
    engine: Engine,
}

/// How a container ended and what it printed.
#[derive(Debug, PartialEq)]
struct Ran {
    code: i64,
    out: String,
    err: String,
}

impl Test {
    fn new() -> Result<Self> {
        let engine = Engine::start(Path::new(env!("CARGO_BIN_EXE_skiff")))?;
        let mut test = Self {
            client: engine.client(),
            made: Vec::new(),
            images: Vec::new(),
            networks: Vec::new(),
            links: Vec::new(),
            volumes: Vec::new(),
            engine,
        };
        if test.client.get("/images/busybox/json")?.status != 200 {
            let tar = image::busybox()?;
            let path = "/images/create?fromSrc=-&repo=busybox&tag=latest";
            test.client.request("POST", path, &Body::Bytes("application/x-tar", &tar))?.ok()?;
        }
        Ok(test)
    }

    /// A name that no other test uses.
    fn name(&self, stem: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("bb-{stem}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// A body for `create`: busybox with this command and no network.
    fn body(command: &[&str]) -> Value {
        json!({ "Image": "busybox", "Cmd": command, "HostConfig": { "NetworkMode": "none" } })
    }

    fn create(&mut self, body: &Value) -> Result<String> {
        self.create_named("", body)
    }

    fn create_named(&mut self, name: &str, body: &Value) -> Result<String> {
        let query = if name.is_empty() { String::new() } else { format!("?name={name}") };
        let created = self.client.post(&format!("/containers/create{query}"), body)?.ok()?;
        assert_eq!(created.status, 201);
        let id = created.json()?["Id"].as_str().context("no Id")?.to_owned();
        self.made.push(id.clone());
        Ok(id)
    }

    fn start(&mut self, id: &str) -> Result<()> {
        let started = self.act(id, "start")?.ok()?;
        assert_eq!(started.status, 204);
        Ok(())
    }

    /// Creates and starts.
    fn up(&mut self, body: &Value) -> Result<String> {
        let id = self.create(body)?;
        self.start(&id)?;
        Ok(id)
    }

    /// `POST /containers/{id}/{action}` without a body.
    fn act(&mut self, id: &str, action: &str) -> Result<Response> {
        self.client.post(&format!("/containers/{id}/{action}"), &Value::Null)
    }

    fn wait(&mut self, id: &str) -> Result<i64> {
        self.act(id, "wait")?.ok()?.json()?["StatusCode"].as_i64().context("no StatusCode")
    }

    fn inspect(&mut self, id: &str) -> Result<Value> {
        self.client.get(&format!("/containers/{id}/json"))?.ok()?.json()
    }

    /// Runs a container to its end, with standard output and error from its log.
    fn run(&mut self, body: &Value) -> Result<Ran> {
        let id = self.up(body)?;
        let code = self.wait(&id)?;
        let (out, err) = self.logs(&id, "stdout=1&stderr=1")?;
        Ok(Ran { code, out, err })
    }

    fn logs(&mut self, id: &str, query: &str) -> Result<(String, String)> {
        let answer = self.client.get(&format!("/containers/{id}/logs?{query}"))?.ok()?;
        let (out, err) = skiff_testkit::http::frames(&mut answer.body.as_slice())?;
        Ok((String::from_utf8(out)?, String::from_utf8(err)?))
    }

    /// Waits until something is so, for as long as a slow machine may need.
    fn until(&mut self, what: &str, mut so: impl FnMut(&mut Self) -> Result<bool>) -> Result<()> {
        for _ in 0..2400 {
            if so(self)? {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        anyhow::bail!("not within two minutes: {what}")
    }

    /// Runs a shell line in busybox; answers its standard output, and fails when its exit code is not 0.
    fn shell(&mut self, line: &str) -> Result<String> {
        self.shell_with(line, &json!({}))
    }

    /// As [`Test::shell`], with members of `HostConfig` changed.
    fn shell_with(&mut self, line: &str, host: &Value) -> Result<String> {
        let mut body = Self::body(&["sh", "-c", line]);
        for (key, value) in host.as_object().context("not an object")? {
            body["HostConfig"][key] = value.clone();
        }
        let ran = self.run(&body)?;
        anyhow::ensure!(ran.code == 0, "{line}: {ran:?}");
        Ok(ran.out)
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        for id in &self.made {
            let _ = self.client.delete(&format!("/containers/{id}?force=1&v=1"));
        }
        // The last first: a configuration is in use until its networks are gone.
        for id in self.networks.iter().rev() {
            let _ = self.client.delete(&format!("/networks/{id}"));
        }
        for link in &self.links {
            let _ = self.engine.inside("ip").args(["link", "delete", link]).status();
        }
        for name in &self.volumes {
            let _ = self.client.delete(&format!("/volumes/{name}?force=1"));
        }
        for name in &self.images {
            let _ = self.client.delete(&format!("/images/{name}?force=1"));
        }
    }
}
