//! Network plugins while the daemon is killed: whatever they were asked to make they are asked to unmake.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::{Daemon, http::Client, plugin::Plugin};

use crate::{create, daemon, inspect, start};

/// A plugin that makes no links, and hangs where it is told to.
struct Net {
    name: String,
    plugin: Plugin,
    hangs_at: Arc<Mutex<String>>,
}

impl Net {
    fn start() -> Result<Self> {
        let hangs_at = Arc::<Mutex<String>>::default();
        let (hangs, next) = (hangs_at.clone(), AtomicU32::new(2));
        let name = format!("skiff-faults-{}", std::process::id());
        let plugin = Plugin::install(&name, move |method, _| {
            while *hangs.lock().expect("no panic") == method {
                thread::sleep(Duration::from_millis(5));
            }
            let answer = match method {
                "Plugin.Activate" => json!({ "Implements": ["NetworkDriver", "IpamDriver"] }),
                "NetworkDriver.GetCapabilities" => json!({ "Scope": "local" }),
                "IpamDriver.RequestPool" => json!({ "PoolID": "pool", "Pool": "10.97.0.0/24" }),
                "IpamDriver.RequestAddress" => {
                    json!({ "Address": format!("10.97.0.{}/24", next.fetch_add(1, Ordering::Relaxed)) })
                }
                _ => json!({}),
            };
            (200, answer.to_string())
        })?;
        Ok(Self { name, plugin, hangs_at })
    }

    fn hang(&self, method: &str) {
        *self.hangs_at.lock().expect("no panic") = method.to_owned();
    }

    fn count(&self, method: &str) -> usize {
        self.plugin.asked(method).len()
    }

    /// What it was asked to do, without questions about itself.
    fn acts(&self) -> usize {
        let about_itself = |method: &String| method.contains("Activate") || method.contains("Capabilities");
        self.plugin.methods().iter().filter(|method| !about_itself(method)).count()
    }

    /// Waits until it was asked something so many times.
    fn until(&self, method: &str, count: usize) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        while self.count(method) < count {
            ensure!(
                Instant::now() < end,
                "{method} was asked {} times: {:?}",
                self.count(method),
                self.plugin.methods()
            );
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Whether all endpoints and their addresses were given back; the gateway's stays with the network.
    fn is_clean(&self) -> bool {
        let ids = |method: &str, key: &str| -> Vec<Value> {
            let mut all: Vec<Value> =
                self.plugin.asked(method).iter().map(|body| body[key].clone()).collect();
            all.sort_by_key(Value::to_string);
            all.dedup();
            all
        };
        ids("NetworkDriver.CreateEndpoint", "EndpointID") == ids("NetworkDriver.DeleteEndpoint", "EndpointID")
            && self.count("IpamDriver.RequestAddress") - 1
                == ids("IpamDriver.ReleaseAddress", "Address").len()
    }

    fn until_clean(&self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        while !self.is_clean() {
            ensure!(Instant::now() < end, "not all was given back: {:?}", self.plugin.methods());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

fn restart(daemon: &mut Daemon) -> Result<Client> {
    daemon.kill()?;
    daemon.start_again()?;
    Ok(daemon.client())
}

/// Asks for something and does not wait for the answer.
fn in_the_background(daemon: &Daemon, path: String) -> thread::JoinHandle<()> {
    let socket = daemon.socket().to_owned();
    thread::spawn(move || {
        // The daemon dies before it answers.
        let _ = Client::new(&socket).post(&path, &Value::Null);
    })
}

#[test]
fn plugins_are_told_of_every_end_whenever_the_daemon_is_killed() -> Result<()> {
    let net = Net::start()?;
    let mut daemon = daemon(&[])?;
    let mut client = daemon.client();
    let body = json!({ "Name": "lan", "Driver": net.name, "IPAM": { "Driver": net.name } });
    client.post("/networks/create", &body)?.ok()?;
    let id = create(&mut client, &["sleep", "1000"], "lan")?;

    // While it is joined.
    net.hang("NetworkDriver.Join");
    let asking = in_the_background(&daemon, format!("/containers/{id}/start"));
    net.until("NetworkDriver.Join", 1)?;
    daemon.kill()?;
    net.hang("");
    daemon.start_again()?;
    asking.join().expect("no panic");
    net.until_clean()?;
    let mut client = daemon.client();
    assert_eq!(inspect(&mut client, &id)?["State"]["Status"], "created");

    // A container that runs is not bothered.
    start(&mut client, &id)?;
    let before = (inspect(&mut client, &id)?["NetworkSettings"].clone(), net.acts());
    let mut client = restart(&mut daemon)?;
    assert_eq!((inspect(&mut client, &id)?["NetworkSettings"].clone(), net.acts()), before);

    // It ends while there is no daemon.
    let pid = inspect(&mut client, &id)?["State"]["Pid"].as_i64().unwrap_or_default();
    daemon.kill()?;
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    daemon.start_again()?;
    net.until_clean()?;

    // While its end is told.
    let mut client = daemon.client();
    start(&mut client, &id)?;
    let told = net.count("NetworkDriver.Leave");
    net.hang("NetworkDriver.Leave");
    let asking = in_the_background(&daemon, format!("/containers/{id}/stop?t=0"));
    net.until("NetworkDriver.Leave", told + 1)?;
    daemon.kill()?;
    net.hang("");
    daemon.start_again()?;
    asking.join().expect("no panic");
    net.until_clean()?;

    let mut client = daemon.client();
    start(&mut client, &id)?;
    client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    assert!(net.is_clean(), "a removal waits");
    client.delete("/networks/lan")?.ok()?;
    assert_eq!(net.count("NetworkDriver.DeleteNetwork"), 1);
    let left = fs_err::read_dir(daemon.exec_root().join("netns"))?.count();
    assert_eq!(left, 0, "paths of namespaces");
    Ok(())
}

/// A plugin that was started anew, elsewhere than before, is found again.
#[test]
fn a_plugin_may_be_killed_and_come_back() -> Result<()> {
    let mut net = Net::start()?;
    let daemon = daemon(&[])?;
    let mut client = daemon.client();
    let body = json!({ "Name": "lan", "Driver": net.name, "IPAM": { "Driver": net.name } });
    client.post("/networks/create", &body)?.ok()?;
    let id = create(&mut client, &["sleep", "1000"], "lan")?;
    start(&mut client, &id)?;
    let name = net.name.clone();
    drop(net);
    let other = create(&mut client, &["true"], "lan")?;
    let refused = client.post(&format!("/containers/{other}/start"), &Value::Null)?;
    ensure!(refused.message().ends_with(&format!("plugin {name:?} not found")), "{}", refused.message());
    // What cannot be told is not told, and keeps nobody.
    client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    net = Net::start()?;
    let id = create(&mut client, &["sleep", "1000"], "lan")?;
    start(&mut client, &id)?;
    client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    assert_eq!(net.count("NetworkDriver.DeleteEndpoint"), 1);
    Ok(())
}
