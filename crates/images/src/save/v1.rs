//! The description of each layer as Docker before 1.10 wrote it, with the id it computed for it. Docker still puts them
//! into archives.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};
use skiff_snapshots::ChainId;
use skiff_types::Digest;

use crate::{ContainerConfig, ImageConfig, gojson};

/// Go's `image.V1Image`, field by field in its order.
#[derive(Clone, Default, Serialize)]
struct V1Image {
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    parent: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    created: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    container: String,
    container_config: ContainerConfig,
    #[serde(skip_serializing_if = "String::is_empty")]
    docker_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    author: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<ContainerConfig>,
    #[serde(skip_serializing_if = "String::is_empty")]
    architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    os: String,
}

/// The descriptions of an image's layers, lowest first; only the topmost says what the image is.
pub(super) fn descriptions(config: &ImageConfig) -> Vec<Vec<u8>> {
    let chains = ChainId::all(&config.rootfs.diff_ids);
    let mut descriptions = Vec::new();
    let mut parent: Option<Digest> = None;
    for (i, chain) in chains.iter().enumerate() {
        let mut image = match i + 1 == chains.len() {
            true => topmost(config),
            false => V1Image { created: Some(Timestamp::UNIX_EPOCH), ..V1Image::default() },
        };
        let id = id(&image, chain, parent.as_ref());
        image.id = id.hex();
        image.parent = parent.map(|p| p.hex()).unwrap_or_default();
        image.os.clone_from(&config.os);
        descriptions.push(gojson::to_vec(&image));
        parent = Some(id);
    }
    descriptions
}

fn topmost(config: &ImageConfig) -> V1Image {
    let known = |c: &ContainerConfig| ContainerConfig { other: Map::new(), ..c.clone() };
    let text = |key: &str| config.other.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let container_config = config
        .other
        .get("container_config")
        .and_then(|c| serde_json::from_value::<Option<ContainerConfig>>(c.clone()).ok().flatten());
    V1Image {
        id: String::new(),
        parent: String::new(),
        comment: config.comment.clone(),
        created: config.created,
        container: text("container"),
        container_config: container_config.as_ref().map(known).unwrap_or_default(),
        docker_version: config.docker_version.clone(),
        author: config.author.clone(),
        config: config.config.as_ref().map(known),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        os: config.os.clone(),
    }
}

/// The digest of the description with its layer's chain id, keys sorted.
fn id(image: &V1Image, chain: &ChainId, parent: Option<&Digest>) -> Digest {
    let json = gojson::to_vec(image);
    let mut fields: BTreeMap<&str, &RawValue> = serde_json::from_slice(&json).expect("it was just written");
    let quoted = |digest: String| RawValue::from_string(format!("\"{digest}\"")).expect("a string");
    let layer = quoted(chain.to_string());
    fields.insert("layer_id", &layer);
    let parent = parent.map(|p| quoted(p.to_string()));
    if let Some(parent) = &parent {
        fields.insert("parent", parent);
    }
    Digest::of(gojson::to_vec(&fields))
}
