//! Where plugins are found: sockets in `/run/docker/plugins`, descriptions in `/etc/docker/plugins` and
//! `/usr/lib/docker/plugins`, each also in a directory of the plugin's name.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::Error;
use crate::http::Address;

/// The directories of plugins.
#[derive(Clone, Debug)]
pub struct PluginDirs {
    /// Of `NAME.sock`.
    pub sockets: Vec<PathBuf>,
    /// Of `NAME.spec`, which holds an address, and `NAME.json`.
    pub descriptions: Vec<PathBuf>,
}

impl Default for PluginDirs {
    fn default() -> Self {
        Self {
            sockets: vec!["/run/docker/plugins".into()],
            descriptions: vec!["/etc/docker/plugins".into(), "/usr/lib/docker/plugins".into()],
        }
    }
}

/// `NAME.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    #[serde(default)]
    addr: String,
    #[serde(default, rename = "TLSConfig")]
    tls: Option<serde_json::Value>,
}

impl PluginDirs {
    /// The address of a plugin.
    pub(crate) fn find(&self, name: &str) -> Result<Address, Error> {
        let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        if !plain {
            return Err(Error::NotFound(name.to_owned()));
        }
        let places = |dir: &Path, ext: &str| {
            let file = format!("{name}.{ext}");
            [dir.join(&file), dir.join(name).join(file)]
        };
        let is_socket = |path: &Path| {
            use std::os::unix::fs::FileTypeExt;
            fs_err::metadata(path).is_ok_and(|m| m.file_type().is_socket())
        };
        for dir in &self.sockets {
            if let Some(socket) = places(dir, "sock").into_iter().find(|path| is_socket(path)) {
                return Ok(Address::Unix(socket));
            }
        }
        let bad = |reason: String| Error::Unusable { plugin: name.to_owned(), reason };
        for dir in &self.descriptions {
            for path in places(dir, "spec") {
                if let Ok(text) = fs_err::read_to_string(&path) {
                    return Address::parse(text.trim()).map_err(bad);
                }
            }
            for path in places(dir, "json") {
                let Ok(text) = fs_err::read(&path) else { continue };
                let described: Description = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
                let address = Address::parse(&described.addr).map_err(bad)?;
                if described.tls.is_some_and(|tls| !tls.is_null()) && !matches!(address, Address::Unix(_)) {
                    return Err(
                        bad("plugins over TLS are not supported by this version of Skiff".to_owned()),
                    );
                }
                return Ok(address);
            }
        }
        Err(Error::NotFound(name.to_owned()))
    }

    /// The names of everything that looks like a plugin.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for dir in self.sockets.iter().chain(&self.descriptions) {
            for entry in fs_err::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                let known =
                    path.extension().is_some_and(|ext| ext == "sock" || ext == "spec" || ext == "json");
                let name = if known { path.file_stem() } else { path.file_name().filter(|_| path.is_dir()) };
                names.extend(name.map(|name| name.to_string_lossy().into_owned()));
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_found_where_docker_looks() {
        let dir = tempfile::tempdir().unwrap();
        let (run, etc) = (dir.path().join("run"), dir.path().join("etc"));
        fs_err::create_dir_all(run.join("nested")).unwrap();
        fs_err::create_dir(&etc).unwrap();
        let dirs = PluginDirs { sockets: vec![run.clone()], descriptions: vec![etc.clone()] };
        let listen = |path: &Path| std::os::unix::net::UnixListener::bind(path).unwrap();
        let _listeners = [listen(&run.join("flat.sock")), listen(&run.join("nested/nested.sock"))];
        fs_err::write(run.join("file.sock"), "").unwrap();
        fs_err::write(etc.join("remote.spec"), "tcp://10.0.0.1:8080\n").unwrap();
        fs_err::write(etc.join("json.json"), r#"{"Name":"json","Addr":"unix:///x.sock"}"#).unwrap();
        fs_err::write(
            etc.join("tls.json"),
            r#"{"Addr":"https://h:1","TLSConfig":{"InsecureSkipVerify":true}}"#,
        )
        .unwrap();
        fs_err::write(etc.join("odd.spec"), "ftp://x").unwrap();
        assert_eq!(dirs.find("flat").unwrap(), Address::Unix(run.join("flat.sock")));
        assert_eq!(dirs.find("nested").unwrap(), Address::Unix(run.join("nested/nested.sock")));
        assert_eq!(dirs.find("remote").unwrap(), Address::Tcp("10.0.0.1:8080".into()));
        assert_eq!(dirs.find("json").unwrap(), Address::Unix("/x.sock".into()));
        for missing in ["nope", "file", "", "..", "../etc/json"] {
            assert!(matches!(dirs.find(missing), Err(Error::NotFound(_))), "{missing}");
        }
        for bad in ["tls", "odd"] {
            assert!(matches!(dirs.find(bad), Err(Error::Unusable { .. })), "{bad}");
        }
        let names: Vec<String> = dirs.names().into_iter().collect();
        assert_eq!(names, ["file", "flat", "json", "nested", "odd", "remote", "tls"]);
    }
}
