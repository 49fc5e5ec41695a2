//! Images whose content is known: busybox, and a layer with one file of pseudo-random bytes.

use anyhow::Result;
use serde_json::json;
use sha2::{Digest, Sha256};
use skiff_testkit::image::{self, Tar};

/// The file that differs, and how long it is.
pub(crate) const FILE: &str = "/payload";
const LENGTH: usize = 300_000;

/// An image in Docker's archive.
pub(crate) struct Image {
    pub(crate) archive: Vec<u8>,
    /// The id that it must get.
    pub(crate) id: String,
    /// The hash of its file.
    pub(crate) hash: String,
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The image called `name` that is made of `payload`; the same for the same words.
pub(crate) fn build(name: &str, payload: &str) -> Result<Image> {
    let mut content = Vec::with_capacity(LENGTH);
    for n in 0.. {
        content.extend(Sha256::digest(format!("{payload} {n}")));
        if content.len() >= LENGTH {
            break;
        }
    }
    let mut layer = Tar::default();
    layer.entry(FILE.trim_start_matches('/'), b'0', 0o644, "", &content);
    let layers = [image::busybox()?, layer.finish()];
    let diff_ids: Vec<_> = layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect();
    let config = serde_json::to_vec(&json!({
        "architecture": "amd64", "os": "linux", "created": "2024-05-06T07:08:09Z",
        "config": { "Cmd": ["sha256sum", FILE] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    }))?;
    let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["0.tar", "1.tar"] }]);
    let mut archive = Tar::default();
    archive.entry("config.json", b'0', 0o644, "", &config);
    archive.entry("0.tar", b'0', 0o644, "", &layers[0]);
    archive.entry("1.tar", b'0', 0o644, "", &layers[1]);
    archive.entry("manifest.json", b'0', 0o644, "", &serde_json::to_vec(&manifest)?);
    Ok(Image { archive: archive.finish(), id: format!("sha256:{}", hex(&config)), hash: hex(&content) })
}

/// The blobs of an archive as `save` writes it, each of which must be what its name says. How many there are.
pub(crate) fn verify(archive: &[u8]) -> Result<usize> {
    let mut blobs = 0;
    let mut at = 0;
    while let Some(header) = archive.get(at..at + 512).filter(|header| header[0] != 0) {
        let text = |range: std::ops::Range<usize>| {
            let field = &header[range];
            String::from_utf8_lossy(&field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())])
                .into_owned()
        };
        let (name, size) = (text(0..100), usize::from_str_radix(text(124..136).trim(), 8)?);
        let content = archive.get(at + 512..at + 512 + size);
        if let Some(hash) = name.strip_prefix("blobs/sha256/").filter(|hash| hash.len() == 64) {
            let content = content.ok_or_else(|| anyhow::anyhow!("{name} is cut short"))?;
            anyhow::ensure!(hex(content) == hash, "{name} has other content");
            blobs += 1;
        }
        at += 512 + size.next_multiple_of(512);
    }
    Ok(blobs)
}
