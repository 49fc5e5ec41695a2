//! Answers recorded from Docker 28.5.2: reading one and writing it again must give the very same JSON, so the models
//! have every key, and write `null`, empty and zero values where Docker does.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use skiff_api::{decode, model};

fn unchanged<T: DeserializeOwned + Serialize>(name: &str, text: &str) {
    let recorded: Value = serde_json::from_str(text).unwrap();
    let read: T = decode::from_slice(text.as_bytes()).unwrap();
    compare(name, &recorded, &serde_json::to_value(read).unwrap());
}

fn compare(path: &str, recorded: &Value, ours: &Value) {
    match (recorded, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let missing: Vec<_> = theirs.keys().filter(|key| !ours.contains_key(*key)).collect();
            let extra: Vec<_> = ours.keys().filter(|key| !theirs.contains_key(*key)).collect();
            assert!(missing.is_empty() && extra.is_empty(), "{path}: missing {missing:?}, extra {extra:?}");
            theirs.iter().for_each(|(key, value)| compare(&format!("{path}.{key}"), value, &ours[key]));
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            assert_eq!(theirs.len(), ours.len(), "{path}");
            theirs.iter().zip(ours).for_each(|(a, b)| compare(&format!("{path}[]"), a, b));
        }
        (theirs, ours) => assert_eq!(theirs, ours, "{path}"),
    }
}

macro_rules! recorded {
    ($($name:ident: $type:ty;)*) => {$(
        #[test]
        fn $name() {
            unchanged::<$type>(stringify!($name), include_str!(concat!("recorded/", stringify!($name), ".json")));
        }
    )*};
}

recorded! {
    container_inspect: model::ContainerInspect;
    container_list: Vec<model::ContainerSummary>;
    container_top: model::TopResponse;
    events: Vec<model::EventMessage>;
    exec_inspect: model::ExecInspect;
    image_history: Vec<model::HistoryItem>;
    image_inspect: model::ImageInspect;
    image_list: Vec<model::ImageSummary>;
    info: model::Info;
    network_inspect: model::NetworkInspect;
    version: model::Version;
}
