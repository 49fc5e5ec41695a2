//! How a layer's tar is encoded in a registry, and what that is called in manifests.

use std::{
    io::{self, Read},
    str::FromStr,
};

use bytes::Bytes;
use skiff_distribution::{Descriptor, media};
use skiff_images::{gzip, zstd};
use skiff_types::Digest;

use crate::{Error, Result};

/// Bytes of a tar that are passed on at once.
const PIECE: usize = 256 << 10;

/// An encoding of a tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The tar itself.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl FromStr for Encoding {
    type Err = Error;

    /// As people choose it: `gzip`, `zstd`, `none`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            "none" => Ok(Self::Plain),
            _ => Err(Error::Invalid(format!("invalid compression {text:?}: must be gzip, zstd or none"))),
        }
    }
}

impl Encoding {
    /// Gives the tar in this encoding to `output`, piece by piece in order.
    ///
    /// # Errors
    /// Those of both.
    pub(super) fn encode(
        self,
        tar: &mut (dyn Read + Send),
        output: &mut dyn FnMut(Bytes) -> io::Result<()>,
    ) -> io::Result<()> {
        match self {
            Self::Gzip => gzip(tar, output),
            Self::Zstd => zstd(tar, output),
            Self::Plain => loop {
                let mut piece = Vec::with_capacity(PIECE);
                if tar.take(PIECE as u64).read_to_end(&mut piece)? == 0 {
                    return Ok(());
                }
                output(piece.into())?;
            },
        }
    }

    /// The encoding of a blob by its media type. What says nothing has always been gzip.
    pub(super) fn of(media_type: &str) -> Self {
        match media_type {
            kind if kind.ends_with("zstd") => Self::Zstd,
            kind if kind.ends_with(".tar") => Self::Plain,
            _ => Self::Gzip,
        }
    }

    /// A blob of this encoding, under the name that manifests of the same family have for it: Docker's have none for
    /// zstd that everybody knows.
    pub(super) fn blob(self, digest: Digest, size: u64) -> Descriptor {
        let media_type = match self {
            Self::Plain => media::DOCKER_PLAIN_LAYER,
            Self::Gzip => media::DOCKER_LAYER,
            Self::Zstd => media::OCI_ZSTD_LAYER,
        };
        Descriptor::new(media_type, digest, size)
    }

    fn in_oci(self) -> &'static str {
        match self {
            Self::Plain => media::OCI_PLAIN_LAYER,
            Self::Gzip => media::OCI_LAYER,
            Self::Zstd => media::OCI_ZSTD_LAYER,
        }
    }
}

/// The manifest of an image with these layers, lowest first, and its media type: Docker's where that has words for it.
pub(super) fn manifest(config: &Descriptor, layers: &[Descriptor]) -> (&'static str, Vec<u8>) {
    let oci = layers.iter().any(|l| Encoding::of(&l.media_type) == Encoding::Zstd);
    let (kind, config_kind) = match oci {
        true => (media::OCI_MANIFEST, media::OCI_CONFIG),
        false => (media::DOCKER_MANIFEST, media::DOCKER_CONFIG),
    };
    let layer = |blob: &Descriptor| WrittenBlob {
        media_type: match oci {
            true => Encoding::of(&blob.media_type).in_oci().to_owned(),
            false => blob.media_type.clone(),
        },
        size: blob.size,
        digest: blob.digest,
    };
    let written = WrittenManifest {
        schema_version: 2,
        media_type: kind,
        config: WrittenBlob { media_type: config_kind.to_owned(), size: config.size, digest: config.digest },
        layers: layers.iter().map(layer).collect(),
    };
    // As Docker writes it.
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(&written, &mut serializer).expect("texts and numbers, written to memory");
    (kind, out)
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenManifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    config: WrittenBlob,
    layers: Vec<WrittenBlob>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenBlob {
    media_type: String,
    size: u64,
    digest: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_tell_encodings() {
        for (kind, encoding) in [
            (media::DOCKER_LAYER, Encoding::Gzip),
            (media::DOCKER_FOREIGN_LAYER, Encoding::Gzip),
            (media::DOCKER_PLAIN_LAYER, Encoding::Plain),
            (media::OCI_LAYER, Encoding::Gzip),
            (media::OCI_PLAIN_LAYER, Encoding::Plain),
            (media::OCI_ZSTD_LAYER, Encoding::Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", Encoding::Zstd),
            ("", Encoding::Gzip),
        ] {
            assert_eq!(Encoding::of(kind), encoding, "{kind}");
        }
    }

    #[test]
    fn a_manifest_is_dockers_unless_a_layer_is_zstd() {
        let digest = Digest::from_sha256([7; 32]);
        let config = Descriptor::new(media::DOCKER_CONFIG, digest, 2);
        let (gzip, plain, zstd) =
            (Encoding::Gzip.blob(digest, 1), Encoding::Plain.blob(digest, 3), Encoding::Zstd.blob(digest, 4));
        let kinds = |layers: &[Descriptor]| {
            let (kind, bytes) = manifest(&config, layers);
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value["mediaType"], kind);
            let of = |v: &serde_json::Value| v["mediaType"].as_str().unwrap().to_owned();
            let mut kinds = vec![of(&value["config"])];
            kinds.extend(value["layers"].as_array().unwrap().iter().map(of));
            kinds
        };
        assert_eq!(
            kinds(&[gzip.clone(), plain.clone()]),
            [media::DOCKER_CONFIG, media::DOCKER_LAYER, media::DOCKER_PLAIN_LAYER]
        );
        assert_eq!(
            kinds(&[gzip, plain, zstd]),
            [media::OCI_CONFIG, media::OCI_LAYER, media::OCI_PLAIN_LAYER, media::OCI_ZSTD_LAYER]
        );
    }
}
