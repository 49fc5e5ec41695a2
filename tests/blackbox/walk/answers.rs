//! Answers of every endpoint, from an engine in which something of everything goes on.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use skiff_testkit::{
    Daemon, Engine,
    http::{Body, Client, Response},
    registry::Registry,
};

use super::create;
use crate::Test;

/// What each endpoint and part (`answer`, `answer header`) answered.
pub(super) type Samples = BTreeMap<(&'static str, &'static str), Vec<Value>>;

/// A registry that knows one user, `walker`, by the password `secret`.
pub(super) fn guarded(test: &Test) -> Result<Registry> {
    let basic = format!("Basic {}", BASE64.encode("walker:secret"));
    Registry::start(test.engine.listen()?, Some((&basic, "Basic realm=\"here\"")))
}

pub(super) struct Collector<'a> {
    pub(super) test: &'a mut Test,
    samples: Samples,
}

pub(super) fn collect(test: &mut Test) -> Result<Samples> {
    let mut all = Collector { test, samples: Samples::new() };
    let name = all.test.name("walk");
    all.made(&name)?;
    let busy = all.busy(&name)?;
    all.all_options()?;
    all.containers(&busy)?;
    all.exec(&busy)?;
    all.volumes(&name)?;
    all.images()?;
    all.system()?;
    all.login()?;
    if matches!(all.test.engine, Engine::Ours(_)) {
        all.configured()?;
    }
    all.ends(&busy)?;
    Ok(all.samples)
}

impl Collector<'_> {
    pub(super) fn note(&mut self, endpoint: &'static str, part: &'static str, answer: Value) {
        self.samples.entry((endpoint, part)).or_default().push(answer);
    }

    pub(super) fn get(&mut self, endpoint: &'static str, path: &str) -> Result<Value> {
        let answer = self.test.client.get(path)?.ok()?.json()?;
        self.note(endpoint, "answer", answer.clone());
        Ok(answer)
    }

    pub(super) fn post(&mut self, endpoint: &'static str, path: &str, body: &Value) -> Result<Value> {
        let answer = self.test.client.post(path, body)?.ok()?.json()?;
        self.note(endpoint, "answer", answer.clone());
        Ok(answer)
    }

    fn headers(&mut self, endpoint: &'static str, answer: &Response) {
        let headers = answer.headers.iter().map(|(name, value)| (name.clone(), json!(value)));
        self.note(endpoint, "answer header", Value::Object(headers.collect()));
    }

    /// A network with everything, and a volume.
    fn made(&mut self, name: &str) -> Result<()> {
        let config =
            json!([{ "Subnet": "10.198.0.0/24", "Gateway": "10.198.0.1" }, { "Subnet": "fd98::/64" }]);
        let body = json!({ "Name": name, "EnableIPv6": true, "IPAM": { "Config": config } });
        self.test.client.post("/networks/create", &body)?.ok()?;
        self.test.networks.push(name.to_owned());
        let body = json!({ "Name": name, "Labels": { "a": "b" } });
        self.post("POST /volumes/create", "/volumes/create", &body)?;
        self.test.volumes.push(name.to_owned());
        let optioned = format!("{name}-options");
        let options = json!({ "type": "tmpfs", "device": "tmpfs", "o": "size=1m" });
        let body = json!({ "Name": optioned, "DriverOpts": options, "Labels": { "a": "b" } });
        self.post("POST /volumes/create", "/volumes/create", &body)?;
        self.test.volumes.push(optioned);
        Ok(())
    }

    /// A container that runs, with a network, ports, mounts, limits and a health check.
    fn busy(&mut self, name: &str) -> Result<String> {
        let check = json!({ "Test": ["CMD-SHELL", "echo well"], "Interval": 1_000_000_000 });
        let host = json!({
            "NetworkMode": name, "Binds": [format!("{name}:/v")], "Memory": 64 << 20, "Annotations": { "a": "b" },
            "PortBindings": { "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "" }] }, "PidsLimit": 50,
        });
        let endpoint = json!({
            "Aliases": ["x"], "DriverOpts": { "a": "b" }, "Links": [], "IPAMConfig": { "IPv4Address": "10.198.0.9", "IPv6Address": "fd98::9" },
        });
        let body = json!({
            "Image": "busybox", "Cmd": ["sh", "-c", "echo x >/new; while :; do sleep 0.2; done"], "Labels": { "a": "b" },
            "ExposedPorts": { "80/tcp": {} }, "Healthcheck": check, "HostConfig": host, "NetworkingConfig": { "EndpointsConfig": { name: endpoint } },
        });
        let created = self.post("POST /containers/create", "/containers/create", &body)?;
        let id = created["Id"].as_str().context("no Id")?.to_owned();
        self.test.made.push(id.clone());
        self.test.start(&id)?;
        let path = format!("/containers/{id}/json");
        self.test.until("its health has been checked", |test| {
            let seen = test.client.get(&path)?.ok()?.json()?;
            Ok(seen["State"]["Health"]["Log"].as_array().is_some_and(|log| !log.is_empty()))
        })?;
        Ok(id)
    }

    /// Containers that have all the options of the walk through `create`, only to be looked at.
    fn all_options(&mut self) -> Result<()> {
        let setting = super::Setting::new(self.test, 2)?;
        for probe in create::probes() {
            let created = self.test.client.post("/containers/create", &setting.body(&probe, "true"))?;
            if created.status != 201 {
                continue;
            }
            let created = created.json()?;
            self.note("POST /containers/create", "answer", created.clone());
            let id = created["Id"].as_str().context("no Id")?.to_owned();
            self.get("GET /containers/{id}/json", &format!("/containers/{id}/json"))?;
            self.test.client.delete(&format!("/containers/{id}?v=1"))?.ok()?;
        }
        Ok(())
    }

    fn containers(&mut self, id: &str) -> Result<()> {
        self.get("GET /containers/json", "/containers/json?all=1&size=1")?;
        let path = |what: &str| format!("/containers/{id}/{what}");
        self.get("GET /containers/{id}/changes", &path("changes"))?;
        self.get("GET /containers/{id}/top", &path("top"))?;
        self.get("GET /containers/{id}/stats", &path("stats?stream=0"))?;
        self.post("POST /containers/{id}/update", &path("update"), &json!({ "CpuShares": 512 }))?;
        let unlimited = json!({ "OomKillDisable": true });
        self.post("POST /containers/{id}/update", &path("update"), &unlimited)?;
        let stat = self.test.client.request("HEAD", &path("archive?path=/etc"), &Body::Empty)?.ok()?;
        self.headers("HEAD /containers/{id}/archive", &stat);
        Ok(())
    }

    fn exec(&mut self, id: &str) -> Result<()> {
        let body = json!({ "Cmd": ["sleep", "60"], "User": "0", "DetachKeys": "ctrl-a" });
        let path = format!("/containers/{id}/exec");
        let exec = self.post("POST /containers/{id}/exec", &path, &body)?["Id"].clone();
        let exec = exec.as_str().context("no Id")?;
        self.test.client.post(&format!("/exec/{exec}/start"), &json!({ "Detach": true }))?.ok()?;
        self.get("GET /exec/{id}/json", &format!("/exec/{exec}/json"))?;
        self.get("GET /containers/{id}/json", &format!("/containers/{id}/json?size=1"))?;
        let done =
            self.test.client.post(&path, &json!({ "Cmd": ["true"], "AttachStdout": true }))?.ok()?.json()?;
        let done = done["Id"].as_str().context("no Id")?.to_owned();
        self.test.client.hijack(&format!("/exec/{done}/start"), &Body::Json(&json!({})))?.read_raw()?;
        self.get("GET /exec/{id}/json", &format!("/exec/{done}/json"))?;
        Ok(())
    }

    fn volumes(&mut self, name: &str) -> Result<()> {
        self.get("GET /volumes", "/volumes")?;
        self.get("GET /volumes/{name}", &format!("/volumes/{name}"))?;
        self.get("GET /volumes/{name}", &format!("/volumes/{name}-options"))?;
        let body = json!({ "Name": format!("{name}-prune"), "Labels": { name: "" } });
        self.test.client.post("/volumes/create", &body)?.ok()?;
        let path =
            format!("/volumes/prune?filters=%7B%22label%22:%5B%22{name}%22%5D,%22all%22:%5B%221%22%5D%7D");
        self.post("POST /volumes/prune", &path, &Value::Null)?;
        Ok(())
    }

    fn system(&mut self) -> Result<()> {
        self.get("GET /info", "/info")?;
        self.get("GET /version", "/version")?;
        self.get("GET /system/df", "/system/df")?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let told = self.test.client.get(&format!("/events?since=1&until={now}"))?.ok()?;
        for line in told.text().lines() {
            self.note("GET /events", "answer", serde_json::from_str(line)?);
        }
        let ping = self.test.client.get("/_ping")?.ok()?;
        self.headers("GET /_ping", &ping);
        let ping = self.test.client.request("HEAD", "/_ping", &Body::Empty)?.ok()?;
        self.headers("HEAD /_ping", &ping);
        Ok(())
    }

    fn login(&mut self) -> Result<()> {
        let registry = guarded(self.test)?;
        let body = json!({ "username": "walker", "password": "secret", "serveraddress": registry.address() });
        self.post("POST /auth", "/auth", &body)?;
        Ok(())
    }

    /// A daemon with what only its start can give it.
    fn configured(&mut self) -> Result<()> {
        let options = [
            "--label=a=b",
            "--registry-mirror=https://mirror.example",
            "--default-address-pool=base=10.199.0.0/16,size=24",
        ];
        let daemon = Daemon::start(Path::new(env!("CARGO_BIN_EXE_skiff")), &options)?;
        let info = Client::new(daemon.socket()).get("/info")?.ok()?.json()?;
        self.note("GET /info", "answer", info);
        Ok(())
    }

    fn ends(&mut self, busy: &str) -> Result<()> {
        self.test.act(busy, "kill")?.ok()?;
        self.post("POST /containers/{id}/wait", &format!("/containers/{busy}/wait"), &Value::Null)?;
        let label = self.test.name("label");
        let mut body = Test::body(&["true"]);
        body["Labels"] = json!({ &label: "" });
        self.test.create(&body)?;
        let path = format!("/containers/prune?filters=%7B%22label%22:%5B%22{label}%22%5D%7D");
        self.post("POST /containers/prune", &path, &Value::Null)?;
        let path = "/build/prune?filters=%7B%22id%22:%5B%22nosuch%22%5D%7D";
        self.post("POST /build/prune", path, &Value::Null)?;
        Ok(())
    }
}
