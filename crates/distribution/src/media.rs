//! What registries hold: media types, descriptors, manifests and indexes (OCI image-spec; Docker's schema 2).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use skiff_types::{Digest, ParseDigestError};

use crate::{Error, Result};

/// Docker's manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's list of manifests.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's compressed layer.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's layer as it is.
pub const DOCKER_PLAIN_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// A layer that registries do not pass on.
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
/// The OCI's manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The OCI's index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The OCI's image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The OCI's layer, compressed by gzip.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The OCI's layer as it is.
pub const OCI_PLAIN_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The OCI's layer, compressed by zstd.
pub const OCI_ZSTD_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// What schema 1 was called.
const SCHEMA_1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// What is accepted as a manifest.
pub(crate) const MANIFESTS: [&str; 4] = [DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX];

/// The most entries of a manifest or index.
const MOST_ENTRIES: usize = 4096;

/// A blob or manifest, as others refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default, deserialize_with = "null_is_default")]
    pub media_type: String,
    /// Its bytes.
    pub digest: Digest,
    /// How many; at most [`i64::MAX`], so that those of a manifest can be added.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Where else it may be had.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What else is known.
    #[serde(default, deserialize_with = "annotations", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Its bytes in base64, if whoever refers to it put them there. They are not believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What an artifact is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// A platform, as an index has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// CPU architecture by Go's name.
    #[serde(deserialize_with = "null_is_default")]
    pub architecture: String,
    /// Operating system by Go's name.
    #[serde(deserialize_with = "null_is_default")]
    pub os: String,
    /// Its version.
    #[serde(
        rename = "os.version",
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// Its features.
    #[serde(
        rename = "os.features",
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The CPU's variant.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// A manifest of one image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
}

/// A list of manifests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Entries")]
pub struct Index {
    /// In its order, without those that follow.
    pub manifests: Vec<Descriptor>,
    /// How many it has whose digests are of another algorithm: nobody here can have those.
    pub unsupported: usize,
}

#[derive(Deserialize)]
struct Entries {
    #[serde(default, deserialize_with = "null_is_default")]
    manifests: Vec<Entry>,
}

/// None if its digest is of another algorithm.
struct Entry(Option<Descriptor>);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(d)?;
        match value["digest"].as_str().map(str::parse::<Digest>) {
            Some(Err(ParseDigestError::Unsupported)) => Ok(Self(None)),
            _ => Descriptor::deserialize(value)
                .map(|entry| Self(Some(entry)))
                .map_err(serde::de::Error::custom),
        }
    }
}

impl From<Entries> for Index {
    fn from(entries: Entries) -> Self {
        let all = entries.manifests.len();
        let manifests: Vec<_> = entries.manifests.into_iter().filter_map(|Entry(entry)| entry).collect();
        Self { unsupported: all - manifests.len(), manifests }
    }
}

/// A manifest or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// Images for several platforms.
    Index(Index),
}

/// A manifest or index as a registry gave it.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its media type, digest and size.
    pub descriptor: Descriptor,
    /// Its bytes, whose digest has been verified where it was asked for by digest.
    pub bytes: bytes::Bytes,
    /// What they say.
    pub document: Document,
}

impl Descriptor {
    /// A descriptor with nothing but this.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        let media_type = media_type.to_owned();
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            platform: None,
            annotations: BTreeMap::new(),
            data: None,
            artifact_type: None,
        }
    }
}

/// Go's decoder leaves a field alone when the value is `null`.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// Go's sizes are signed, and `null` is none.
fn size<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    let size = null_is_default::<_, i64>(d)?;
    u64::try_from(size).map_err(|_| serde::de::Error::custom(format!("size {size} is negative")))
}

fn annotations<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map = null_is_default::<_, BTreeMap<String, Option<String>>>(d)?;
    Ok(map.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// Whether this media type is schema 1, which nobody reads any more.
pub(crate) fn is_schema_1(media_type: &str) -> bool {
    SCHEMA_1.contains(&media_type)
}

/// The media type of a header without its parameters.
pub(crate) fn essence(header: &str) -> &str {
    header.split(';').next().unwrap_or_default().trim()
}

/// Reads a manifest or index. `announced` is what the registry called it; what the document itself says must agree.
///
/// # Errors
/// [`Error::Untrue`] for what is none, is schema 1, or contradicts itself.
pub fn parse(announced: &str, bytes: &[u8]) -> Result<(String, Document)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        #[serde(default, deserialize_with = "null_is_default")]
        schema_version: i64,
        #[serde(default, deserialize_with = "null_is_default")]
        media_type: String,
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        config: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        layers: Option<serde::de::IgnoredAny>,
    }
    let invalid = |e: serde_json::Error| Error::Untrue(format!("invalid manifest: {e}"));
    let head: Head = serde_json::from_slice(bytes).map_err(invalid)?;
    if is_schema_1(announced) || is_schema_1(&head.media_type) || head.schema_version == 1 {
        return Err(Error::Untrue(SCHEMA_1_REFUSED.to_owned()));
    }
    if head.schema_version != 2 {
        return Err(Error::Untrue(format!("unsupported manifest schema version {}", head.schema_version)));
    }
    let known = |media_type: &str| MANIFESTS.contains(&media_type);
    let media_type = match (known(announced), head.media_type.as_str()) {
        (true, "") => announced.to_owned(),
        (true, said) if said == announced => announced.to_owned(),
        (true, said) => {
            return Err(Error::Untrue(format!(
                "the registry calls the manifest {announced}, but the manifest calls itself {said}"
            )));
        }
        (false, said) if known(said) => said.to_owned(),
        (false, "") if head.manifests.is_some() => OCI_INDEX.to_owned(),
        (false, "") => OCI_MANIFEST.to_owned(),
        (false, said) => return Err(Error::Untrue(format!("unsupported manifest media type {said}"))),
    };
    let is_index = matches!(media_type.as_str(), DOCKER_LIST | OCI_INDEX);
    // A document that is both would be one thing to us and another to somebody else.
    if is_index && (head.config.is_some() || head.layers.is_some()) {
        return Err(Error::Untrue(
            "media-type: an index should not have \"config\" or \"layers\"".to_owned(),
        ));
    }
    if !is_index && head.manifests.is_some() {
        return Err(Error::Untrue("media-type: a manifest should not have \"manifests\"".to_owned()));
    }
    let document = match is_index {
        true => Document::Index(serde_json::from_slice(bytes).map_err(invalid)?),
        false => Document::Manifest(serde_json::from_slice(bytes).map_err(invalid)?),
    };
    let entries = match &document {
        Document::Index(index) => index.manifests.len() + index.unsupported,
        Document::Manifest(manifest) => manifest.layers.len(),
    };
    if entries > MOST_ENTRIES {
        return Err(Error::Untrue(format!("the manifest has {entries} entries, more than {MOST_ENTRIES}")));
    }
    Ok((media_type, document))
}

/// What schema 1 is answered with.
const SCHEMA_1_REFUSED: &str = "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. Ask the author of the image to upgrade it to the OCI Format or Docker Image manifest v2, schema 2";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: &str = r#""config":{"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":2}"#;

    fn refused(announced: &str, text: &str) -> String {
        parse(announced, text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_manifest_is_what_it_and_the_registry_say_it_is() {
        let manifest = format!(r#"{{"schemaVersion":2,{CONFIG},"layers":null}}"#);
        for announced in [OCI_MANIFEST, DOCKER_MANIFEST] {
            let (media_type, document) = parse(announced, manifest.as_bytes()).unwrap();
            assert_eq!(media_type, announced);
            assert!(matches!(document, Document::Manifest(m) if m.layers.is_empty()));
        }
        assert_eq!(parse("application/json", manifest.as_bytes()).unwrap().0, OCI_MANIFEST);
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert_eq!(parse("text/plain", index.as_bytes()).unwrap().0, OCI_INDEX);
        let called = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
        assert!(refused(OCI_MANIFEST, &called).contains("calls itself"));
        let both = format!(r#"{{"schemaVersion":2,{CONFIG},"manifests":[]}}"#);
        assert!(refused(OCI_INDEX, &both).contains("should not have"));
        assert!(refused(OCI_MANIFEST, &both).contains("should not have"));
        assert!(refused(OCI_MANIFEST, r#"{"schemaVersion":1}"#).contains("schema 1"));
        assert!(refused(OCI_MANIFEST, r#"{"schemaVersion":3}"#).contains("version 3"));
        assert!(refused(OCI_MANIFEST, "{").contains("invalid manifest"));
    }

    #[test]
    fn an_index_may_have_entries_for_others() {
        let zeros = "0".repeat(64);
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":null,"manifests":[
                {{"mediaType":null,"digest":"sha256:{zeros}","size":null,"annotations":{{"a":null}},"data":null,
                  "platform":{{"os":"linux","architecture":"amd64","os.version":null,"variant":null,"os.features":null}}}},
                {{"digest":"sha512:{zeros}{zeros}","size":-1,"platform":{{"os":"linux","architecture":"arm64"}}}}]}}"#
        );
        let (_, Document::Index(index)) = parse(OCI_INDEX, text.as_bytes()).unwrap() else { panic!() };
        assert_eq!((index.manifests.len(), index.unsupported), (1, 1));
        assert_eq!(index.manifests[0].annotations["a"], "");
        assert_eq!(index.manifests[0].platform.as_ref().unwrap().variant, "");
        let sized = |size: &str| format!(r#"{{"digest":"sha256:{zeros}","size":{size}}}"#);
        let wrong = [r#"{"digest":"sha256:0","size":1}"#, r#"{"size":1}"#, "1"].map(str::to_owned);
        for entry in wrong.into_iter().chain([sized("-1"), sized("18446744073709551615")]) {
            let text = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
            assert!(refused(OCI_INDEX, &text).contains("invalid manifest"), "{entry}");
        }
    }

    proptest! {
        /// Whatever is done to a good document, reading it answers, and what is read is one thing only.
        #[test]
        fn damage_is_answered(index: bool, at in 0usize..400, bytes in "[\\x00-\\x7f]{0,12}", cut in 0usize..8) {
            let text = match index {
                true => format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{{},"platform":{{"os":"linux"}}}}]}}"#, &CONFIG[10..CONFIG.len() - 1]),
                false => format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}",{CONFIG},"layers":[]}}"#),
            };
            let mut text = text.into_bytes();
            let at = at % text.len();
            let end = (at + cut).min(text.len());
            text.splice(at..end, bytes.into_bytes());
            if let Ok((kind, document)) = parse("application/json", &text) {
                prop_assert_eq!(matches!(kind.as_str(), OCI_INDEX | DOCKER_LIST), matches!(document, Document::Index(_)));
            }
        }
    }
}
