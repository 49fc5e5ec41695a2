//! Manifests: what a registry must understand of them (OCI image-spec 1.1, Docker image manifest 2.2).
//!
//! The bytes are kept as they came. Read out of them is only what they refer to, so that a manifest is never accepted
//! before its content, and what the referrers API shows.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Error, digest::Digest};

/// Bytes of the longest manifest.
pub(crate) const MAX_MANIFEST: usize = 4 << 20;

/// A kind of manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaType {
    /// OCI image manifest.
    OciManifest,
    /// OCI image index.
    OciIndex,
    /// Docker image manifest 2.2.
    DockerManifest,
    /// Docker manifest list.
    DockerList,
}

impl MediaType {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerList => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// Whether it lists manifests.
    pub fn is_index(self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::OciManifest, Self::OciIndex, Self::DockerManifest, Self::DockerList]
            .into_iter()
            .find(|known| known.as_str() == text)
    }
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Described {
    pub(crate) media_type: MediaType,
    /// Configuration and layers that must be there.
    pub(crate) blobs: Vec<Digest>,
    /// Manifests that must be there.
    pub(crate) manifests: Vec<Digest>,
    /// What it refers to; need not be there.
    pub(crate) subject: Option<Digest>,
    /// For referrers: its own, or its configuration's.
    pub(crate) artifact_type: Option<String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Bytes of configuration and layers, foreign ones included.
    pub(crate) content_size: u64,
}

/// A descriptor, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: i64,
    #[serde(default)]
    pub(crate) urls: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) platform: Option<Platform>,
    #[serde(default, deserialize_with = "annotations")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

/// What an image runs on.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) variant: Option<String>,
    #[serde(default, rename = "os.version")]
    pub(crate) os_version: Option<String>,
}

/// A list. Programs in Go write one that is empty as null, and then it does not say what the document is.
#[derive(Clone, Debug, Default)]
pub(crate) enum List {
    #[default]
    Missing,
    Null,
    Of(Vec<Descriptor>),
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(from)?.map_or(Self::Null, Self::Of))
    }
}

impl List {
    pub(crate) fn entries(&self) -> &[Descriptor] {
        match self {
            Self::Missing | Self::Null => &[],
            Self::Of(entries) => entries,
        }
    }

    fn needed(&self, otherwise: &str) -> Result<&[Descriptor], Error> {
        match self {
            Self::Missing => Err(invalid(otherwise)),
            _ => Ok(self.entries()),
        }
    }

    fn is_given(&self) -> bool {
        matches!(self, Self::Of(_))
    }
}

/// Texts by name; null is an empty text, as in Go.
fn annotations<'de, D: Deserializer<'de>>(from: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let texts = Option::<BTreeMap<String, Option<String>>>::deserialize(from)?;
    Ok(texts.map(|texts| texts.into_iter().map(|(name, text)| (name, text.unwrap_or_default())).collect()))
}

/// A manifest or an index.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    #[serde(default)]
    schema_version: Option<i64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    pub(crate) artifact_type: Option<String>,
    #[serde(default)]
    pub(crate) config: Option<Descriptor>,
    #[serde(default)]
    pub(crate) layers: List,
    #[serde(default)]
    pub(crate) manifests: List,
    #[serde(default)]
    pub(crate) subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "annotations")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::ManifestInvalid { reason: reason.into() }
}

impl Document {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))
    }
}

/// Reads a manifest that was sent as `content_type`.
pub(crate) fn describe(bytes: &[u8], content_type: Option<&str>) -> Result<Described, Error> {
    if bytes.len() > MAX_MANIFEST {
        return Err(Error::ManifestTooLarge { limit: MAX_MANIFEST });
    }
    let sent = content_type.map(|text| text.split(';').next().unwrap_or_default().trim());
    let sent = sent.filter(|text| !text.is_empty() && *text != "application/json");
    let schema_1 = |text: &str| text.starts_with("application/vnd.docker.distribution.manifest.v1+");
    if sent.is_some_and(schema_1) {
        return Err(invalid(SCHEMA_1));
    }
    let document = Document::parse(bytes)?;
    match document.schema_version {
        Some(1) => return Err(invalid(SCHEMA_1)),
        Some(2) => {}
        _ => return Err(invalid("schemaVersion must be 2")),
    }
    let media_type = media_type(&document, sent)?;
    let (mut blobs, mut manifests, mut content_size) = (Vec::new(), Vec::new(), 0u64);
    if media_type.is_index() {
        if document.layers.is_given() || document.config.is_some() {
            return Err(invalid("an index has neither config nor layers"));
        }
        for entry in document.manifests.needed("an index needs manifests")? {
            manifests.push(digest(entry)?);
        }
    } else {
        if document.manifests.is_given() {
            return Err(invalid("an image manifest has no manifests"));
        }
        let config = document.config.as_ref().ok_or_else(|| invalid("config is missing"))?;
        let layers = document.layers.needed("layers are missing")?;
        for entry in std::iter::once(config).chain(layers) {
            let digest = digest(entry)?;
            content_size = content_size.saturating_add(entry.size.unsigned_abs());
            if !foreign(entry) {
                blobs.push(digest);
            }
        }
    }
    blobs.sort();
    blobs.dedup();
    manifests.sort();
    manifests.dedup();
    let subject = document.subject.as_ref().map(digest).transpose()?;
    let of_config = || document.config.as_ref().map(|config| config.media_type.clone());
    let artifact_type = document.artifact_type.clone().filter(|text| !text.is_empty()).or_else(of_config);
    Ok(Described {
        media_type,
        blobs,
        manifests,
        subject,
        artifact_type,
        annotations: document.annotations.unwrap_or_default(),
        content_size,
    })
}

const SCHEMA_1: &str =
    "image manifests of schema version 1 are not supported: push the image with a client of this decade";

/// What the manifest says it is, what the client says it is, or what its form shows.
fn media_type(document: &Document, sent: Option<&str>) -> Result<MediaType, Error> {
    let known = |text: &str| {
        MediaType::parse(text).ok_or_else(|| invalid(format!("media type {text:?} is not supported")))
    };
    let said = document.media_type.as_deref().filter(|text| !text.is_empty());
    match (said, sent) {
        (Some(said), Some(sent)) if said != sent => {
            Err(invalid(format!("mediaType {said:?} does not match the Content-Type {sent:?}")))
        }
        (Some(said), _) => known(said),
        (None, Some(sent)) => known(sent),
        (None, None) if document.manifests.is_given() => Ok(MediaType::OciIndex),
        (None, None) => Ok(MediaType::OciManifest),
    }
}

fn digest(descriptor: &Descriptor) -> Result<Digest, Error> {
    if descriptor.size < 0 {
        return Err(invalid(format!("the size of {} is negative", descriptor.digest)));
    }
    descriptor.digest.parse().map_err(|_| invalid(format!("{:?} is not a digest", descriptor.digest)))
}

/// Layers that are fetched from elsewhere.
fn foreign(descriptor: &Descriptor) -> bool {
    let elsewhere = descriptor.urls.as_ref().is_some_and(|urls| !urls.is_empty());
    elsewhere
        || descriptor.media_type.contains("foreign.diff")
        || descriptor.media_type.contains(".nondistributable.")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn descriptor(kind: &str, byte: char) -> serde_json::Value {
        json!({ "mediaType": kind, "digest": format!("sha256:{}", byte.to_string().repeat(64)), "size": 5 })
    }

    fn image() -> serde_json::Value {
        json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OciManifest.as_str(),
            "config": descriptor("application/vnd.oci.image.config.v1+json", 'a'),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", 'b')],
            "annotations": { "k": "v" },
        })
    }

    fn read(value: &serde_json::Value, sent: Option<&str>) -> Result<Described, Error> {
        describe(value.to_string().as_bytes(), sent)
    }

    #[test]
    fn an_image_refers_to_its_configuration_and_layers() {
        let described = read(&image(), Some(MediaType::OciManifest.as_str())).unwrap();
        assert_eq!(described.blobs.len(), 2);
        assert_eq!(described.content_size, 10);
        assert_eq!(described.artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
        assert_eq!(described.annotations["k"], "v");
        assert_eq!(described.subject, None);
    }

    #[test]
    fn foreign_layers_need_not_be_there() {
        let mut image = image();
        image["layers"][0]["urls"] = json!(["https://elsewhere/layer"]);
        assert_eq!(read(&image, None).unwrap().blobs.len(), 1);
    }

    #[test]
    fn an_index_refers_to_manifests() {
        let index =
            json!({ "schemaVersion": 2, "manifests": [descriptor(MediaType::OciManifest.as_str(), 'c')] });
        let described = read(&index, Some(MediaType::OciIndex.as_str())).unwrap();
        assert_eq!((described.manifests.len(), described.blobs.len()), (1, 0));
        assert_eq!(read(&index, None).unwrap().media_type, MediaType::OciIndex);
    }

    #[test]
    fn what_go_writes_for_nothing_is_nothing() {
        let mut image = image();
        for key in ["layers", "manifests", "subject"] {
            image[key] = json!(null);
        }
        image["annotations"] = json!({ "k": null });
        image["config"]["annotations"] = json!({ "k": null });
        let described = read(&image, None).unwrap();
        assert_eq!((described.media_type, described.blobs.len()), (MediaType::OciManifest, 1));
        assert_eq!(described.annotations["k"], "");
        let index = json!({ "schemaVersion": 2, "manifests": null, "layers": null, "config": null });
        let described = read(&index, Some(MediaType::OciIndex.as_str())).unwrap();
        assert_eq!(described.manifests, []);
    }

    #[test]
    fn what_is_not_a_manifest_says_why() {
        let changed = |key: &str, value: serde_json::Value| {
            let mut image = image();
            image[key] = value;
            image
        };
        for (value, sent, reason) in [
            (changed("schemaVersion", json!(1)), None, "schema version 1"),
            (image(), Some("application/vnd.docker.distribution.manifest.v1+prettyjws"), "schema version 1"),
            (changed("schemaVersion", json!(3)), None, "schemaVersion must be 2"),
            (image(), Some(MediaType::DockerManifest.as_str()), "does not match"),
            (changed("mediaType", json!("text/html")), None, "not supported"),
            (changed("config", json!(null)), None, "config is missing"),
            (changed("manifests", json!([])), None, "no manifests"),
            (changed("config", json!({ "digest": "x", "size": 1 })), None, "not a digest"),
        ] {
            let error = read(&value, sent).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let mut without = image();
        without.as_object_mut().unwrap().remove("layers");
        assert!(read(&without, None).unwrap_err().to_string().contains("layers are missing"));
        let mut negative = image();
        negative["layers"][0]["size"] = json!(-1);
        assert!(read(&negative, None).is_err());
        assert!(matches!(describe(&vec![b' '; MAX_MANIFEST + 1], None), Err(Error::ManifestTooLarge { .. })));
    }

    proptest! {
        /// A cheap fuzzer: whatever is done to a good manifest, reading it answers.
        #[test]
        fn damage_is_answered(at in 0usize..400, byte: u8, cut in 0usize..400) {
            let mut bytes = image().to_string().into_bytes();
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(length - cut % length);
            if let Ok(described) = describe(&bytes, None) {
                prop_assert!(described.blobs.len() <= 2);
            }
        }
    }
}
