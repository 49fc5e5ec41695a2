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

fn percent_encode(text: &str) -> String {
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
