//! Against plugins written here.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixListener,
    path::Path,
    sync::mpsc,
    thread,
};

use super::*;

/// What was asked: the method, and the body.
type Asked = mpsc::Receiver<(String, Value)>;

/// A plugin that answers what `answer` says to each method; it ends with its directory.
fn plugin(socket: &Path, answer: impl Fn(&str, &Value) -> (u16, String) + Send + 'static) -> Asked {
    let listener = UnixListener::bind(socket).unwrap();
    let (sender, asked) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let method = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            let mut length = 0;
            loop {
                line.clear();
                stream.read_line(&mut line).unwrap();
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let body = serde_json::from_slice(&body).unwrap();
            let (status, text) = answer(&method, &body);
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", text.len());
            let _ = stream.get_mut().write_all(format!("{head}{text}").as_bytes());
            if sender.send((method, body)).is_err() {
                return;
            }
        }
    });
    asked
}

fn ordinary(method: &str, body: &Value) -> (u16, String) {
    let answer = match method {
        "Plugin.Activate" => json!({ "Implements": ["VolumeDriver"] }),
        "VolumeDriver.Capabilities" => json!({ "Capabilities": { "Scope": "global" } }),
        "VolumeDriver.Mount" | "VolumeDriver.Path" => {
            json!({ "Mountpoint": format!("/mnt/{}", body["Name"].as_str().unwrap()), "Err": "" })
        }
        "VolumeDriver.Get" => json!({ "Volume": {
            "Name": body["Name"], "Mountpoint": "", "Status": { "size": 5 }, "CreatedAt": "2024-05-01T10:00:00Z" } }),
        "VolumeDriver.List" => {
            json!({ "Volumes": [{ "Name": "one", "Status": null }, { "Name": "two" }], "Err": "" })
        }
        "VolumeDriver.Remove" => return (500, json!({ "Err": "busy" }).to_string()),
        "VolumeDriver.Unmount" => json!({ "Err": "not mounted" }),
        _ => json!({ "Err": "" }),
    };
    (200, answer.to_string())
}

fn plugins(dir: &Path) -> Plugins {
    Plugins::new(PluginDirs { sockets: vec![dir.to_owned()], descriptions: vec![dir.to_owned()] })
}

#[test]
fn a_plugin_is_asked_as_the_protocol_says() {
    let dir = tempfile::tempdir().unwrap();
    let asked = plugin(&dir.path().join("disk.sock"), ordinary);
    let plugins = plugins(dir.path());
    let disk = plugins.get("disk").unwrap();
    assert_eq!((disk.name(), disk.scope()), ("disk", "global"));
    disk.create("v", &[("size".to_owned(), "1G".to_owned())].into()).unwrap();
    assert_eq!(disk.mount("v", "user").unwrap(), Path::new("/mnt/v"));
    assert_eq!(disk.path("v").unwrap(), "/mnt/v");
    let described = disk.describe("v").unwrap();
    assert_eq!(
        (described.created_at.as_str(), &described.status["size"]),
        ("2024-05-01T10:00:00Z", &json!(5))
    );
    assert_eq!(disk.list().unwrap().len(), 2);
    assert_eq!(disk.remove("v").unwrap_err().to_string(), "VolumeDriver.Remove: busy");
    assert_eq!(disk.unmount("v", "user").unwrap_err().to_string(), "not mounted");
    // The handshake happens once.
    assert_eq!(plugins.get("disk").unwrap().name(), "disk");
    let asked: Vec<(String, Value)> = asked.try_iter().collect();
    let methods: Vec<&str> = asked.iter().map(|(method, _)| method.as_str()).collect();
    assert_eq!(
        methods,
        [
            "Plugin.Activate",
            "VolumeDriver.Capabilities",
            "VolumeDriver.Create",
            "VolumeDriver.Mount",
            "VolumeDriver.Path",
            "VolumeDriver.Get",
            "VolumeDriver.List",
            "VolumeDriver.Remove",
            "VolumeDriver.Unmount"
        ][..methods.len()]
    );
    assert_eq!(asked[2].1, json!({ "Name": "v", "Opts": { "size": "1G" } }));
    assert_eq!(asked[3].1, json!({ "Name": "v", "ID": "user" }));
}

#[test]
fn what_is_no_volume_driver_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _asked = plugin(&dir.path().join("net.sock"), |_, _| {
        (200, json!({ "Implements": ["NetworkDriver"] }).to_string())
    });
    let error = plugins(dir.path()).get("net").unwrap_err();
    assert_eq!(
        error.to_string(),
        "error looking up volume plugin net: plugin does not implement the requested driver"
    );
    let missing = plugins(dir.path()).get("nope").unwrap_err();
    assert_eq!(missing.to_string(), r#"error looking up volume plugin nope: plugin "nope" not found"#);
}

#[test]
fn a_plugin_that_is_still_starting_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("real.sock");
    fs_err::write(dir.path().join("slow.spec"), format!("unix://{}", place.display())).unwrap();
    let starting = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        plugin(&place, ordinary)
    });
    assert_eq!(plugins(dir.path()).get("slow").unwrap().name(), "slow");
    drop(starting.join());
}

#[test]
fn garbage_is_an_error_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let _asked = plugin(&dir.path().join("odd.sock"), |method, body| match method {
        "Plugin.Activate" => ordinary(method, body),
        "VolumeDriver.Create" => (200, "not json".to_owned()),
        _ => (404, "404 page not found\n".to_owned()),
    });
    let odd = plugins(dir.path()).get("odd").unwrap();
    assert_eq!(odd.scope(), "local");
    assert!(matches!(odd.create("v", &BTreeMap::new()), Err(Error::Protocol { .. })));
    assert_eq!(odd.mount("v", "u").unwrap_err().to_string(), "VolumeDriver.Mount: 404 page not found");
}
