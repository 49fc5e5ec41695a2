//! An image of a list: what docker keeps of it and shows of it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{ser::PrettyFormatter, value::RawValue};
use skiff_distribution::{
    Fetched, Platform,
    media::{DOCKER_LIST, OCI_INDEX, OCI_MANIFEST},
};
use skiff_types::Digest;

use crate::{failure::Failure, format::json};

/// An image, as its file has it and `--verbose` shows it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Image {
    /// Its name in full.
    #[serde(rename = "Ref")]
    pub(super) reference: String,
    pub(super) descriptor: Descriptor,
    /// Its manifest, in base64.
    raw: String,
    /// Its manifest to look at, if it is docker's.
    #[serde(rename = "SchemaV2Manifest", skip_serializing_if = "Option::is_none")]
    schema_2: Option<Box<RawValue>>,
    /// The same if it is the OCI's.
    #[serde(rename = "OCIManifest", skip_serializing_if = "Option::is_none")]
    oci: Option<Box<RawValue>>,
}

/// Its manifest, and for whom it is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
}

impl Image {
    /// What a registry gave.
    pub(super) fn new(
        reference: String,
        fetched: &Fetched,
        platform: Option<Platform>,
    ) -> Result<Self, Failure> {
        let unreadable =
            |e: &dyn std::fmt::Display| Failure::new(format!("{reference}: invalid manifest: {e}"));
        let text = std::str::from_utf8(&fetched.bytes).map_err(|e| unreadable(&e))?;
        let manifest = RawValue::from_string(json::compact(text)).map_err(|e| unreadable(&e))?;
        let descriptor = &fetched.descriptor;
        let (schema_2, oci) = match descriptor.media_type == OCI_MANIFEST {
            true => (None, Some(manifest)),
            false => (Some(manifest), None),
        };
        Ok(Self {
            descriptor: Descriptor {
                media_type: descriptor.media_type.clone(),
                digest: descriptor.digest,
                size: descriptor.size,
                platform,
            },
            raw: STANDARD.encode(&fetched.bytes),
            schema_2,
            oci,
            reference,
        })
    }

    /// The manifest's own bytes, which are those of its digest.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, Failure> {
        let damaged = || Failure::new(format!("the local manifest of {} is damaged", self.reference));
        let bytes = STANDARD.decode(&self.raw).map_err(|_| damaged())?;
        let digest = Digest::of(&bytes);
        if digest == self.descriptor.digest { Ok(bytes) } else { Err(damaged()) }
    }

    /// The manifest as text.
    pub(super) fn manifest(&self) -> Result<String, Failure> {
        String::from_utf8(self.bytes()?).map_err(|e| Failure::new(e.to_string()))
    }

    /// All of it, in one line.
    ///
    /// # Panics
    /// Never: it is plain data.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }
}

/// The list of these images: its media type and its text. It is the OCI's if its first image is.
///
/// # Panics
/// Never: it is plain data.
pub(super) fn list_of(images: &[Image]) -> (&'static str, String) {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct List<'a> {
        schema_version: u8,
        media_type: &'static str,
        manifests: Vec<Entry<'a>>,
    }
    // In docker's order: the text has a digest.
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry<'a> {
        media_type: &'a str,
        size: u64,
        digest: Digest,
        #[serde(skip_serializing_if = "Option::is_none")]
        platform: Option<&'a Platform>,
    }
    let is_oci = images.first().is_some_and(|image| image.descriptor.media_type == OCI_MANIFEST);
    let media_type = if is_oci { OCI_INDEX } else { DOCKER_LIST };
    let manifests = images
        .iter()
        .map(|image| &image.descriptor)
        .map(|d| Entry {
            media_type: &d.media_type,
            size: d.size,
            digest: d.digest,
            platform: d.platform.as_ref(),
        })
        .collect();
    let mut text = Vec::new();
    let mut out = serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"   "));
    List { schema_version: 2, media_type, manifests }.serialize(&mut out).expect("plain data");
    (media_type, String::from_utf8(text).expect("JSON is text"))
}
