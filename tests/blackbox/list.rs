//! Listing containers by every kind of filter.

use anyhow::Result;
use serde_json::{Value, json};

use crate::Test;

/// Ids of what the list answers, of those that this test made, in the list's order.
fn list(test: &mut Test, query: &str, filters: &Value) -> Result<Vec<String>> {
    let filters = percent_encode(&filters.to_string());
    let answer = test.client.get(&format!("/containers/json?{query}&filters={filters}"))?.ok()?.json()?;
    let ids = answer.as_array().into_iter().flatten().filter_map(|c| c["Id"].as_str().map(str::to_owned));
    Ok(ids.filter(|id| test.made.contains(id)).collect())
}

pub(crate) fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[test]
fn filters_choose_and_the_newest_comes_first() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("list");
    let mut body = Test::body(&["sleep", "1000"]);
    body["Labels"] = json!({ "tier": "front", "id": name });
    let running = test.create_named(&format!("{name}-a"), &body)?;
    test.start(&running)?;
    body["Labels"]["tier"] = json!("back");
    body["Cmd"] = json!(["sh", "-c", "exit 3"]);
    let ended = test.create_named(&format!("{name}-b"), &body)?;
    test.start(&ended)?;
    test.wait(&ended)?;
    let created = test.create_named(&format!("{name}-c"), &body)?;

    let all = [created.clone(), ended.clone(), running.clone()];
    assert_eq!(list(&mut test, "all=1", &json!({}))?, all);
    assert_eq!(list(&mut test, "", &json!({}))?, std::slice::from_ref(&running));
    for (filters, want) in [
        (json!({ "status": ["exited"] }), vec![&ended]),
        (json!({ "status": ["exited", "created"] }), vec![&created, &ended]),
        (json!({ "exited": ["3"] }), vec![&ended]),
        (json!({ "label": ["tier=back"] }), vec![&created, &ended]),
        (json!({ "label": ["tier=back", "nothing"] }), vec![]),
        (json!({ "name": [format!("{name}-a")] }), vec![&running]),
        (json!({ "name": [format!("^/{name}-[ab]$")] }), vec![&ended, &running]),
        (json!({ "id": [&created[..12]] }), vec![&created]),
        (json!({ "ancestor": ["busybox"] }), vec![&created, &ended, &running]),
        (json!({ "before": [&ended] }), vec![&running]),
        (json!({ "since": [&ended] }), vec![&created]),
        (json!({ "network": ["none"], "status": ["running"] }), vec![&running]),
    ] {
        let found = list(&mut test, "all=1", &filters)?;
        assert_eq!(found.iter().collect::<Vec<_>>(), want, "{filters}");
    }
    Ok(())
}

#[test]
fn limit_counts_ended_ones_too() -> Result<()> {
    let mut test = Test::new()?;
    let first = test.create(&Test::body(&["true"]))?;
    let second = test.create(&Test::body(&["true"]))?;
    let found = list(&mut test, "limit=1", &json!({ "id": [first, second] }))?;
    assert_eq!(found, [second]);
    Ok(())
}

#[test]
fn wrong_filters_are_refused_in_dockers_words() -> Result<()> {
    let mut test = Test::new()?;
    for (filters, words) in [
        (r#"{"nonsense":["x"]}"#, "invalid filter 'nonsense'"),
        (
            r#"{"status":["asleep"]}"#,
            "invalid filter 'status=asleep': invalid value for state (asleep): must be one of created, running, paused, \
             restarting, removing, exited, dead",
        ),
        (r#"{"exited":["x"]}"#, "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"),
        ("{", "invalid filter"),
    ] {
        let answer = test.client.get(&format!("/containers/json?filters={}", percent_encode(filters)))?;
        assert_eq!(answer.status, 400, "{filters}");
        assert_eq!(answer.message(), words, "{filters}");
    }
    Ok(())
}

#[test]
fn ports_are_those_of_this_moment() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sleep", "1000"]);
    body["ExposedPorts"] = json!({ "80/tcp": {}, "81/udp": {}, "98/tcp": {} });
    body["HostConfig"] = json!({ "PortBindings": {
        "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "28731" }],
        "81/udp": [{ "HostIp": "127.0.0.1", "HostPort": "28732" }],
    } });
    let id = test.create(&body)?;
    assert!(list(&mut test, "all=1", &json!({ "expose": ["98"] }))?.is_empty(), "it does not run yet");
    test.start(&id)?;
    for (filters, found) in [
        (json!({ "publish": ["28731"] }), true),
        (json!({ "publish": ["28731/tcp"] }), true),
        (json!({ "publish": ["28700-28800/udp"] }), true),
        (json!({ "publish": ["28732"] }), false),
        (json!({ "publish": ["80"] }), false),
        (json!({ "expose": ["80"] }), true),
        (json!({ "expose": ["90-99"] }), true),
        (json!({ "expose": ["28731"] }), false),
        (json!({ "expose": ["98"], "publish": ["1"] }), true),
    ] {
        let list = list(&mut test, "", &filters)?;
        assert_eq!(list.contains(&id), found, "{filters}");
    }
    Ok(())
}
