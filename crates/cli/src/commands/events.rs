//! `events`.

use super::Call;
use crate::{
    failure::{Failure, Outcome},
    format::time,
    options::filters,
    say,
    shapes::system::EVENT,
    template::{self, Functions, Json, MissingKey, Template, Value},
};

/// `docker events`.
pub(super) async fn events(call: Call<'_>) -> Outcome {
    let Call { session, matches, .. } = call;
    let template = template(matches.text("format"))
        .map_err(|e| Failure::new(format!("Error parsing format: {e}")).code(64))?;
    let moment = |option: &str| matches.some(option).map(time::to_timestamp).transpose();
    let (since, until) = (moment("since")?, moment("until")?);
    let filters = filters::to_json(&matches.all("filter"));
    let client = session.engine().await?;
    let mut events = client.events(since.as_deref(), until.as_deref(), filters.as_deref()).await?;
    while let Some(event) = events.next::<Json>().await? {
        match &template {
            None => say::line(&pretty(&event)),
            Some(template) => say::line(&run(template, &event)?),
        }
    }
    Ok(())
}

/// A template that has been tried on an empty event.
fn template(format: &str) -> Result<Option<Template>, String> {
    let text = match format {
        "" => return Ok(None),
        "json" => "{{json .}}",
        text => text,
    };
    let template = template::parse(text, Functions::Values)?;
    run(&template, &Json::Object(Vec::new()))?;
    Ok(Some(template))
}

fn run(template: &Template, event: &Json) -> Result<String, String> {
    let value = EVENT.value(event).unwrap_or_else(|| Value::untyped(event));
    template::execute(template, &value, Functions::Values, MissingKey::NoValue)
}

/// `2026-11-20T21:00:00.000000000Z container start 4af… (image=busybox, name=web)`.
fn pretty(event: &Json) -> String {
    let text = |json: Option<&Json>| match json {
        Some(Json::Str(text)) => text.clone(),
        _ => String::new(),
    };
    let number = |key: &str| match event.get(key) {
        Some(Json::Int(value)) => *value,
        _ => 0,
    };
    let actor = event.get("Actor");
    let mut line = match (number("timeNano"), number("time")) {
        (0, 0) => String::new(),
        (0, seconds) => time::rfc3339_nano_local(seconds * 1_000_000_000) + " ",
        (nanos, _) => time::rfc3339_nano_local(nanos) + " ",
    };
    let id = text(actor.and_then(|actor| actor.get("ID")));
    line.push_str(&format!("{} {} {id}", text(event.get("Type")), text(event.get("Action"))));
    if let Some(Json::Object(attributes)) = actor.and_then(|actor| actor.get("Attributes"))
        && !attributes.is_empty()
    {
        let mut pairs: Vec<String> =
            attributes.iter().map(|(key, value)| format!("{key}={}", text(Some(value)))).collect();
        pairs.sort();
        line.push_str(&format!(" ({})", pairs.join(", ")));
    }
    line
}
