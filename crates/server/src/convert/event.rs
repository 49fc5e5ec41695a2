//! Events.

use skiff_api::model::{Actor, EventMessage};
use skiff_engine::model::{Event, EventKind};

pub(crate) fn message(event: Event) -> EventMessage {
    let Event { kind, action, actor, time } = event;
    let old_style = matches!(kind, EventKind::Container | EventKind::Image);
    let old = |text: &String| if old_style { text.clone() } else { String::new() };
    let image = if kind == EventKind::Container { actor.attributes.get("image") } else { None };
    EventMessage {
        status: old(&action),
        id: old(&actor.id),
        from: image.cloned().unwrap_or_default(),
        r#type: kind.as_str().to_owned(),
        action,
        actor: Actor { id: actor.id, attributes: actor.attributes },
        scope: "local".to_owned(),
        time: time.as_second(),
        time_nano: i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_engine::model;

    /// As Docker 28.5.2 writes it.
    #[test]
    fn containers_and_images_have_the_old_keys_too() {
        let event = |kind| {
            let actor =
                model::Actor { id: "f9".into(), attributes: [("image".to_owned(), "a:1".to_owned())].into() };
            let time = jiff::Timestamp::new(1_795_208_255, 769_423_679).unwrap();
            serde_json::to_string(&message(Event { kind, action: "create".into(), actor, time })).unwrap()
        };
        assert_eq!(
            event(EventKind::Container),
            r#"{"status":"create","id":"f9","from":"a:1","Type":"container","Action":"create","Actor":{"ID":"f9","Attributes":{"image":"a:1"}},"scope":"local","time":1795208255,"timeNano":1795208255769423679}"#
        );
        assert!(event(EventKind::Network).starts_with(r#"{"Type":"network","Action":"create""#));
    }
}
