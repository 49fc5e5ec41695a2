//! Networks under `kill -9`, and a thousand of them.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::{Daemon, http::Client};

use crate::{create, daemon, inspect, kill_at_odd_moments, start, wait};

const KILLS: u32 = 40;

/// What a client was told before a daemon died, and what it had asked for last.
#[derive(Default)]
struct Told {
    /// Networks whose making was acknowledged and whose removal was not asked for.
    made: BTreeSet<String>,
    /// Networks whose removal was acknowledged.
    removed: BTreeSet<String>,
    rounds: u32,
    /// How cycles failed.
    failures: Vec<String>,
}

/// Names of networks that somebody made.
fn names(client: &mut Client) -> Result<BTreeSet<String>> {
    let list = client.get("/networks?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D")?.ok()?.json()?;
    let name = |net: &Value| net["Name"].as_str().map(str::to_owned);
    Ok(list.as_array().context("no list")?.iter().filter_map(name).collect())
}

fn output(daemon: &Daemon, line: &str) -> Result<String> {
    let mut words = line.split(' ');
    let output = daemon.inside(words.next().context("a program")?).args(words).output()?;
    ensure!(output.status.success(), "{line}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The bridges of networks that somebody made.
fn bridges(daemon: &Daemon) -> Result<BTreeSet<String>> {
    let links = output(daemon, "ip -o link show type bridge")?;
    let name = |line: &str| Some(line.split(": ").nth(1)?.to_owned());
    Ok(links.lines().filter_map(name).filter(|name| name != "docker0").collect())
}

/// Makes a network, takes a running container in and out, and removes the network, until told to stop. Every third network stays.
fn load(driver: &str, mut client: Client, container: &str, stop: &AtomicBool) -> Told {
    let mut told = Told::default();
    while !stop.load(Ordering::Relaxed) {
        told.rounds += 1;
        let name = format!("{driver}{}", told.rounds);
        let options = if driver == "macvlan" { json!({ "parent": "cable" }) } else { json!({}) };
        let stays = told.rounds.is_multiple_of(3);
        let cycle = (|| -> Result<()> {
            client
                .post("/networks/create", &json!({ "Name": name, "Driver": driver, "Options": options }))?
                .ok()?;
            told.made.insert(name.clone());
            let act = |client: &mut Client, what: &str| {
                client.post(&format!("/networks/{name}/{what}"), &json!({ "Container": container }))?.ok()
            };
            act(&mut client, "connect")?;
            act(&mut client, "disconnect")?;
            if !stays {
                told.made.remove(&name);
                client.delete(&format!("/networks/{name}"))?.ok()?;
                told.removed.insert(name.clone());
            }
            Ok(())
        })();
        if let Err(error) = cycle {
            told.failures.push(format!("{name}: {error:#}"));
            client = Client::new(client.socket());
            thread::sleep(Duration::from_millis(2));
        }
    }
    told
}

#[test]
fn networks_are_as_acknowledged_whenever_the_daemon_is_killed() -> Result<()> {
    let mut daemon = daemon(&[])?;
    output(&daemon, "ip link add cable type veth peer name far")?;
    let mut client = daemon.client();
    let container = create(&mut client, &["sleep", "1000"], "bridge")?;
    start(&mut client, &container)?;
    let stop = AtomicBool::new(false);
    let socket = daemon.socket().to_owned();
    let told = thread::scope(|scope| -> Result<Vec<Told>> {
        let workers: Vec<_> = ["bridge", "macvlan"]
            .into_iter()
            .map(|driver| {
                let (stop, socket, container) = (&stop, &socket, &container);
                scope.spawn(move || load(driver, Client::new(socket), container, stop))
            })
            .collect();
        let killed = kill_at_odd_moments(&mut daemon, KILLS, 0x9e37_79b9, Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        let told = workers.into_iter().map(|w| w.join().expect("a worker panicked")).collect();
        killed.map(|()| told)
    })?;

    let mut client = daemon.client();
    let there = names(&mut client)?;
    for told in &told {
        ensure!(told.made.is_subset(&there), "lost: {:?}", told.made.difference(&there));
        ensure!(told.removed.is_disjoint(&there), "back: {:?}", told.removed.intersection(&there));
        ensure!(!told.removed.is_empty(), "none of {} rounds got through: {:#?}", told.rounds, told.failures);
    }

    // The container may be in a network whose disconnecting was not acknowledged; then it really is, and in no other.
    let state = inspect(&mut client, &container)?;
    let places: BTreeSet<String> = state["NetworkSettings"]["Networks"]
        .as_object()
        .context("no networks")?
        .keys()
        .filter(|name| *name != "bridge")
        .cloned()
        .collect();
    ensure!(places.is_subset(&there), "{places:?} of {there:?}");
    let pid = state["State"]["Pid"].as_i64().context("no Pid")?;
    let networks = state["NetworkSettings"]["Networks"].as_object().context("no networks")?;
    let known: BTreeSet<String> =
        networks.values().filter_map(|net| Some(net["MacAddress"].as_str()?.to_owned())).collect();
    assert_eq!(known.len(), 1 + places.len(), "a link each");
    // What was made and never acknowledged is removed some time after the start.
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let links = output(&daemon, &format!("nsenter --net=/proc/{pid}/ns/net ip -o link"))?;
        let mac = |line: &str| Some(line.split("link/ether ").nth(1)?.get(..17)?.to_owned());
        let real: BTreeSet<String> = links.lines().filter_map(mac).collect();
        if real == known {
            break;
        }
        let difference: Vec<&str> =
            links.lines().filter(|line| mac(line).is_some_and(|mac| !known.contains(&mac))).collect();
        ensure!(Instant::now() < end, "not known: {difference:#?}, missing: {:?}", known.difference(&real));
        thread::sleep(Duration::from_millis(100));
    }
    for name in &places {
        let body = json!({ "Container": container });
        client.post(&format!("/networks/{name}/disconnect"), &body)?.ok()?;
    }
    for name in &there {
        client.delete(&format!("/networks/{name}"))?.ok()?;
    }
    nothing_is_left(&daemon)
}

/// A start is answered before the store has it.
#[test]
fn the_addresses_of_a_start_outlive_a_daemon_that_is_killed_at_once() -> Result<()> {
    let mut daemon = daemon(&[])?;
    let mut client = daemon.client();
    client.post("/networks/create", &json!({ "Name": "lan" }))?.ok()?;
    for _ in 0..10 {
        let id = create(&mut client, &["sleep", "1000"], "lan")?;
        start(&mut client, &id)?;
        let before = inspect(&mut client, &id)?["NetworkSettings"].clone();
        for _ in 0..2 {
            daemon.kill()?;
            daemon.start_again()?;
            client = daemon.client();
            assert_eq!(inspect(&mut client, &id)?["NetworkSettings"], before);
        }
        client.post(&format!("/containers/{id}/kill"), &Value::Null)?.ok()?;
        wait(&mut client, &id)?;
        // Nothing that an earlier start has noted is taken for the next one's.
        start(&mut client, &id)?;
        let before = inspect(&mut client, &id)?["NetworkSettings"].clone();
        daemon.kill()?;
        daemon.start_again()?;
        client = daemon.client();
        assert_eq!(inspect(&mut client, &id)?["NetworkSettings"], before);
        client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    }
    Ok(())
}

/// No bridge, no rule and no subnet of a network that somebody made.
fn nothing_is_left(daemon: &Daemon) -> Result<()> {
    assert!(!output(daemon, "nft list table inet skiff")?.contains("br-"), "rules");
    // Bridges go behind the answers.
    let end = Instant::now() + Duration::from_secs(180);
    loop {
        let left = bridges(daemon)?;
        if left.is_empty() {
            break;
        }
        ensure!(Instant::now() < end, "left behind: {left:?}");
        thread::sleep(Duration::from_millis(100));
    }
    let mut client = daemon.client();
    let made = client.post("/networks/create", &json!({ "Name": "again" }))?.ok()?.json()?;
    let id = made["Id"].as_str().context("no Id")?;
    let net = client.get(&format!("/networks/{id}"))?.ok()?.json()?;
    assert_eq!(net["IPAM"]["Config"][0]["Subnet"], "172.18.0.0/16", "the first is free again");
    client.delete(&format!("/networks/{id}"))?.ok()?;
    Ok(())
}

#[test]
fn a_thousand_networks_have_a_subnet_each_and_outlive_the_daemon() -> Result<()> {
    const MANY: usize = 1000;
    let mut daemon = daemon(&[])?;
    let mut client = daemon.client();
    for n in 0..MANY {
        client.post("/networks/create", &json!({ "Name": format!("n{n}") }))?.ok()?;
    }
    daemon.kill()?;
    daemon.start_again()?;
    let mut client = daemon.client();
    assert_eq!(names(&mut client)?.len(), MANY);
    assert_eq!(bridges(&daemon)?.len(), MANY);
    let list = client.get("/networks")?.ok()?.json()?;
    let subnet = |net: &Value| net["IPAM"]["Config"][0]["Subnet"].as_str().map(str::to_owned);
    let subnets: BTreeSet<String> = list.as_array().context("no list")?.iter().filter_map(subnet).collect();
    assert_eq!(subnets.len(), MANY + 1, "one each, and docker0's");
    let one = create(&mut client, &["sleep", "1000"], "n999")?;
    start(&mut client, &one)?;
    let ping = create(&mut client, &["ping", "-c", "1", "-W", "10", &one[..12]], "n999")?;
    start(&mut client, &ping)?;
    assert_eq!(wait(&mut client, &ping)?, 0, "the last works as the first");
    for id in [&one, &ping] {
        client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    }
    let pruned = client.post("/networks/prune", &Value::Null)?.ok()?.json()?;
    assert_eq!(pruned["NetworksDeleted"].as_array().map(Vec::len), Some(MANY));
    nothing_is_left(&daemon)
}
