//! A container's files.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};

/// What is at a path, as the header `X-Docker-Container-Path-Stat` tells it: base64 of JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PathStat {
    pub name: String,
    pub size: i64,
    pub mode: u32,
    pub mtime: String,
    pub link_target: String,
}

impl PathStat {
    /// Go's `fs.ModeDir`.
    pub const DIRECTORY: u32 = 1 << 31;
    /// Go's `fs.ModeSymlink`.
    pub const SYMLINK: u32 = 1 << 27;
    /// Go's `fs.ModeDevice`.
    pub const DEVICE: u32 = 1 << 26;
    /// Go's `fs.ModeIrregular`.
    pub const IRREGULAR: u32 = 1 << 19;

    /// The header's value.
    pub fn to_header(&self) -> String {
        BASE64.encode(serde_json::to_vec(self).expect("a flat structure"))
    }

    /// Reads the header's value; nothing for what is none.
    pub fn from_header(value: &str) -> Option<Self> {
        serde_json::from_slice(&BASE64.decode(value).ok()?).ok()
    }
}

/// A change of a container's file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ChangeItem {
    pub path: String,
    /// 0 changed, 1 added, 2 deleted.
    pub kind: u8,
}

/// The answer to `POST /commit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CommitResponse {
    pub id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_dockers() {
        let recorded = "eyJuYW1lIjoiZCIsInNpemUiOjQwOTYsIm1vZGUiOjIxNDc0ODQxNDEsIm10aW1lIjoiMjAyMy0xMS0xNFQyMjoxMzoyMFoiLCJsaW5rVGFyZ2V0IjoiIn0=";
        let stat = PathStat::from_header(recorded).unwrap();
        assert_eq!((stat.name.as_str(), stat.size, stat.mode), ("d", 4096, PathStat::DIRECTORY | 0o755));
        assert_eq!(stat.to_header(), recorded);
        assert_eq!(PathStat::from_header("!"), None);
    }
}
