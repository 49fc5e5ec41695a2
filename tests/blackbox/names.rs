//! Names on user-defined networks: what a container's programs are told by 127.0.0.11.

use std::{net::UdpSocket, os::fd::AsFd};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{Test, exec::output};

/// A network of the test's own.
fn network(test: &mut Test, body: &Value) -> Result<String> {
    let name = test.name("net");
    let mut asked = json!({ "Name": name });
    for (key, value) in body.as_object().into_iter().flatten() {
        asked[key] = value.clone();
    }
    test.client.post("/networks/create", &asked)?.ok()?;
    test.networks.push(name.clone());
    Ok(name)
}

/// A sleeping container on a network.
fn up(
    test: &mut Test,
    stem: &str,
    network: &str,
    endpoint: &Value,
    host: &Value,
) -> Result<(String, String)> {
    let name = test.name(stem);
    let mut body = Test::body(&["sleep", "1000"]);
    body["HostConfig"] = json!({ "NetworkMode": network });
    for (key, value) in host.as_object().into_iter().flatten() {
        body["HostConfig"][key] = value.clone();
    }
    body["NetworkingConfig"] = json!({ "EndpointsConfig": { network: endpoint } });
    let id = test.create_named(&name, &body)?;
    test.start(&id)?;
    Ok((name, id))
}

fn address(test: &mut Test, container: &str, network: &str) -> Result<String> {
    let seen = test.inspect(container)?;
    let address = seen["NetworkSettings"]["Networks"][network]["IPAddress"].as_str();
    address.filter(|a| !a.is_empty()).map(str::to_owned).context("no address")
}

/// What a program in the container is told about a name: addresses or a name, sorted; the error's name alone if there is one.
fn ask(test: &mut Test, container: &str, kind: &str, name: &str) -> Result<Vec<String>> {
    let text =
        output(test, container, &["sh", "-c", &format!("nslookup -type={kind} {name} 127.0.0.11 2>&1")])?;
    if let Some(line) = text.lines().find(|line| line.starts_with("** server can't find")) {
        return Ok(vec![line.rsplit(' ').next().unwrap_or_default().to_owned()]);
    }
    // An authoritative answer has no heading.
    let (_, answer) =
        text.split_once("answer:").or_else(|| text.split_once("\n\n")).with_context(|| text.clone())?;
    let told = answer
        .lines()
        .filter_map(|line| line.strip_prefix("Address: ").or_else(|| line.split("name = ").nth(1)));
    let mut told: Vec<String> = told.map(str::to_owned).collect();
    told.sort_unstable();
    Ok(told)
}

#[test]
fn containers_find_each_other_by_every_name_on_their_own_network() -> Result<()> {
    let mut test = Test::new()?;
    let (front, back) = (network(&mut test, &json!({}))?, network(&mut test, &json!({}))?);
    let (web, web_id) =
        up(&mut test, "web", &front, &json!({ "Aliases": ["Service", "only-web"] }), &json!({}))?;
    let (api, api_id) = up(&mut test, "api", &front, &json!({ "Aliases": ["service"] }), &json!({}))?;
    let (db, db_id) = up(&mut test, "db", &back, &json!({}), &json!({}))?;
    let (at_web, at_api) = (address(&mut test, &web, &front)?, address(&mut test, &api, &front)?);
    for name in [&web, &web.to_uppercase(), &format!("{web}.{front}"), "only-web", &web_id[..12]] {
        assert_eq!(ask(&mut test, &api_id, "a", name)?, [at_web.as_str()], "{name}");
    }
    let mut both = vec![at_web.clone(), at_api];
    both.sort_unstable();
    assert_eq!(ask(&mut test, &web_id, "a", "service")?, both);
    // Its own name, another family, another type; another network's name.
    assert_eq!(ask(&mut test, &web_id, "a", &web)?, [at_web.as_str()]);
    assert_eq!(ask(&mut test, &web_id, "aaaa", &api)?, [""; 0]);
    assert_eq!(ask(&mut test, &web_id, "mx", &api)?, [""; 0]);
    assert_ne!(ask(&mut test, &web_id, "a", &format!("{db}.{back}"))?, [address(&mut test, &db, &back)?]);
    assert_ne!(ask(&mut test, &db_id, "a", &web)?, [at_web.as_str()]);
    let mut reverse: Vec<&str> = at_web.split('.').collect();
    reverse.reverse();
    let reverse = format!("{}.in-addr.arpa", reverse.join("."));
    assert_eq!(ask(&mut test, &api_id, "ptr", &reverse)?, [format!("{web}.{front}")]);
    Ok(())
}

#[test]
fn names_follow_what_becomes_of_containers() -> Result<()> {
    let mut test = Test::new()?;
    let (net, other) = (network(&mut test, &json!({}))?, network(&mut test, &json!({}))?);
    let (_, asking) = up(&mut test, "asking", &net, &json!({}), &json!({}))?;
    let (web, web_id) = up(&mut test, "web", &net, &json!({}), &json!({}))?;
    let first = address(&mut test, &web, &net)?;
    assert_eq!(ask(&mut test, &asking, "a", &web)?, [first.as_str()]);
    // Stopped: nobody is called that. Started: wherever it is now.
    test.act(&web_id, "stop?t=0")?.ok()?;
    assert_ne!(ask(&mut test, &asking, "a", &web)?, [first.as_str()]);
    let (_, taker) = up(&mut test, "taker", &net, &json!({}), &json!({}))?;
    test.start(&web_id)?;
    let second = address(&mut test, &web, &net)?;
    assert_eq!(ask(&mut test, &asking, "a", &web)?, [second.as_str()]);
    test.act(&taker, "kill")?.ok()?;
    // Renamed.
    let renamed = test.name("renamed");
    test.act(&web_id, &format!("rename?name={renamed}"))?.ok()?;
    assert_eq!(ask(&mut test, &asking, "a", &renamed)?, [second.as_str()]);
    assert_ne!(ask(&mut test, &asking, "a", &web)?, [second.as_str()]);
    // Joining and leaving networks while it runs.
    let (far, far_id) = up(&mut test, "far", &other, &json!({}), &json!({}))?;
    let connect = json!({ "Container": far_id, "EndpointConfig": { "Aliases": ["visitor"] } });
    test.client.post(&format!("/networks/{net}/connect"), &connect)?.ok()?;
    let at_far = address(&mut test, &far, &net)?;
    assert_eq!(ask(&mut test, &asking, "a", "visitor")?, [at_far.as_str()]);
    assert_eq!(ask(&mut test, &far_id, "a", &renamed)?, [second.as_str()]);
    let disconnect = json!({ "Container": far_id });
    test.client.post(&format!("/networks/{net}/disconnect"), &disconnect)?.ok()?;
    assert_ne!(ask(&mut test, &asking, "a", "visitor")?, [at_far.as_str()]);
    assert_ne!(ask(&mut test, &far_id, "a", &renamed)?, [second.as_str()]);
    Ok(())
}

#[test]
fn a_container_of_the_default_bridge_gets_names_with_its_first_network() -> Result<()> {
    let mut test = Test::new()?;
    let net = network(&mut test, &json!({}))?;
    let (web, _) = up(&mut test, "web", &net, &json!({}), &json!({}))?;
    let (_, late) = up(&mut test, "late", "bridge", &json!({}), &json!({}))?;
    assert!(!output(&mut test, &late, &["cat", "/etc/resolv.conf"])?.contains("127.0.0.11"));
    test.client.post(&format!("/networks/{net}/connect"), &json!({ "Container": late }))?.ok()?;
    assert_eq!(ask(&mut test, &late, "a", &web)?, [address(&mut test, &web, &net)?]);
    assert!(output(&mut test, &late, &["cat", "/etc/resolv.conf"])?.contains("nameserver 127.0.0.11\n"));
    Ok(())
}

#[test]
fn links_are_names_of_ones_own() -> Result<()> {
    let mut test = Test::new()?;
    let net = network(&mut test, &json!({}))?;
    let (web, _) = up(&mut test, "web", &net, &json!({}), &json!({}))?;
    let links = json!({ "Links": [format!("{web}:backend")] });
    let (_, linking) = up(&mut test, "linking", &net, &links, &json!({}))?;
    let (_, other) = up(&mut test, "other", &net, &json!({}), &json!({}))?;
    let at = address(&mut test, &web, &net)?;
    assert_eq!(ask(&mut test, &linking, "a", "backend")?, [at.as_str()]);
    assert_eq!(ask(&mut test, &linking, "a", &format!("backend.{net}"))?, [at.as_str()]);
    assert_ne!(ask(&mut test, &other, "a", "backend")?, [at.as_str()]);
    Ok(())
}

/// A name server at port 53 of a container, which answers every question with 192.0.2.9 until the test ends. It is a thread of
/// the test's process, for busybox has none.
fn serve(test: &mut Test, container: &str) -> Result<()> {
    let pid = test.inspect(container)?["State"]["Pid"].as_i64().context("no pid")?;
    let netns = fs_err::File::open(format!("/proc/{pid}/ns/net"))?;
    let (ready, started) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let kind = rustix::thread::LinkNameSpaceType::Network;
        let bound = rustix::thread::move_into_link_name_space(netns.as_fd(), Some(kind))
            .map_err(std::io::Error::from)
            .and_then(|()| UdpSocket::bind("0.0.0.0:53"));
        drop(netns);
        let Ok(socket) = bound else {
            let _ = ready.send(false);
            return;
        };
        let _ = ready.send(true);
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let name = buffer[12..length].iter().position(|&byte| byte == 0).unwrap_or_default();
            let mut answer = buffer[..12 + name + 5].to_vec();
            answer[2..12].copy_from_slice(&[0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9]);
            let _ = socket.send_to(&answer, client);
        }
    });
    anyhow::ensure!(started.recv()?, "port 53 of the container is taken");
    Ok(())
}

#[test]
fn a_container_may_serve_port_53_itself_and_be_asked_for_others() -> Result<()> {
    let mut test = Test::new()?;
    let net = network(&mut test, &json!({}))?;
    let (server, server_id) = up(&mut test, "server", &net, &json!({}), &json!({}))?;
    serve(&mut test, &server_id)?;
    let at = address(&mut test, &server, &net)?;
    // Asked from the container that wants to know, whose network it is on.
    let (_, asking) = up(&mut test, "asking", &net, &json!({}), &json!({ "Dns": [at] }))?;
    assert_eq!(ask(&mut test, &asking, "a", "far.example")?, ["192.0.2.9"]);
    assert_eq!(ask(&mut test, &asking, "a", &server)?, [at.as_str()]);
    // And where it is served, both are there.
    assert_eq!(ask(&mut test, &server_id, "a", &server)?, [at.as_str()]);
    let own = output(&mut test, &server_id, &["sh", "-c", "nslookup -type=a far.example 127.0.0.1 2>&1"])?;
    assert!(own.contains("192.0.2.9"), "{own}");
    Ok(())
}

#[test]
fn an_internal_network_asks_nobody() -> Result<()> {
    let mut test = Test::new()?;
    let net = network(&mut test, &json!({ "Internal": true }))?;
    let (web, web_id) = up(&mut test, "web", &net, &json!({}), &json!({}))?;
    assert_eq!(ask(&mut test, &web_id, "a", &web)?, [address(&mut test, &web, &net)?]);
    for (kind, name) in
        [("a", "nobody"), ("a", "far.example"), ("aaaa", "far.example"), ("ptr", "4.3.2.1.in-addr.arpa")]
    {
        assert_eq!(ask(&mut test, &web_id, kind, name)?, ["SERVFAIL"], "{name}");
    }
    Ok(())
}

#[test]
fn the_resolvers_file_names_the_embedded_server_and_says_why() -> Result<()> {
    let mut test = Test::new()?;
    let net = network(&mut test, &json!({}))?;
    for (host, servers_to_overrides) in [
        (
            json!({ "Dns": ["127.0.0.1", "192.0.2.53"], "DnsSearch": ["a.b", "c.d"], "DnsOptions": ["timeout:1"] }),
            "nameserver 127.0.0.11\nsearch a.b c.d\noptions timeout:1 ndots:0\n\n\
             # Based on host file: '/etc/resolv.conf' (internal resolver)\n# ExtServers: [127.0.0.1 192.0.2.53]\n\
             # Overrides: [nameservers search options]\n# Option ndots from: internal\n",
        ),
        (
            json!({ "Dns": ["192.0.2.53"], "DnsSearch": ["."], "DnsOptions": ["ndots:2", "edns0"] }),
            "nameserver 127.0.0.11\noptions ndots:2 edns0\n\n\
             # Based on host file: '/etc/resolv.conf' (internal resolver)\n# ExtServers: [192.0.2.53]\n\
             # Overrides: [nameservers search options]\n# Option ndots from: override\n",
        ),
    ] {
        let (_, id) = up(&mut test, "c", &net, &json!({}), &host)?;
        let text = output(&mut test, &id, &["cat", "/etc/resolv.conf"])?;
        let lines: Vec<&str> = text.splitn(5, '\n').collect();
        assert_eq!(lines[4], servers_to_overrides);
    }
    Ok(())
}
