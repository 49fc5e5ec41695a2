//! A container's files: `archive`, `changes`, `export`.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::{
    http::{Body, Response},
    image::Tar,
};

use crate::Test;

/// An image with something of everything; answers its name.
fn image(test: &mut Test) -> Result<String> {
    let name = test.name("files");
    let mut tar = Tar::default();
    for dir in ["bin/", "d/", "d/sub/", "dev/", "etc/", "proc/", "sys/", "tmp/"] {
        tar.entry(dir, b'5', 0o755, "", b"");
    }
    tar.entry("bin/busybox", b'0', 0o755, "", &fs_err::read("/bin/busybox")?);
    for applet in ["sh", "sleep", "ls", "ln", "rm", "mkdir", "cat", "mv", "mount", "echo", "true"] {
        tar.entry(&format!("bin/{applet}"), b'1', 0o755, "bin/busybox", b"");
    }
    tar.entry("etc/passwd", b'0', 0o644, "", b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n");
    tar.entry("etc/group", b'0', 0o644, "", b"root:x:0:\nextra:x:2000:\n");
    tar.entry("d/f", b'0', 0o640, "", b"hello\n");
    tar.entry("d/sub/g", b'0', 0o644, "", b"g");
    for (link, target) in [
        ("lf", "d/f"),
        ("ld", "d"),
        ("labs", "/d/sub"),
        ("ldang", "/nope/x"),
        ("lup", "../../../etc/passwd"),
        ("lloop", "lloop"),
        ("d/lrel", "sub/g"),
    ] {
        tar.entry(link, b'2', 0o777, target, b"");
    }
    tar.entry("fifo", b'6', 0o644, "", b"");
    tar.entry("suid", b'0', 0o4755, "", b"x");
    let path = format!("/images/create?fromSrc=-&repo={name}");
    test.client.request("POST", &path, &Body::Bytes("application/x-tar", &tar.finish()))?.ok()?;
    test.images.push(name.clone());
    Ok(name)
}

/// A container of that image that sleeps, or would.
fn container(test: &mut Test, host: Value, start: bool) -> Result<String> {
    let image = image(test)?;
    let mut body = json!({ "Image": image, "Cmd": ["sleep", "600"], "HostConfig": host });
    body["HostConfig"]["NetworkMode"] = json!("none");
    let id = test.create(&body)?;
    if start {
        test.start(&id)?;
    }
    Ok(id)
}

fn at(id: &str, path: &str) -> String {
    let escaped: String = path.bytes().map(|b| format!("%{b:02X}")).collect();
    format!("/containers/{id}/archive?path={escaped}")
}

impl Test {
    fn get_archive(&mut self, id: &str, path: &str) -> Result<Response> {
        self.client.get(&at(id, path))
    }

    fn put_archive(&mut self, id: &str, path: &str, tar: &[u8], more: &str) -> Result<Response> {
        self.client.request("PUT", &(at(id, path) + more), &Body::Bytes("application/x-tar", tar))
    }

    /// The names and types in what is at a path.
    fn names(&mut self, id: &str, path: &str) -> Result<Vec<String>> {
        names(&self.get_archive(id, path)?.ok()?.body)
    }
}

/// `type name` of every entry.
fn names(tar: &[u8]) -> Result<Vec<String>> {
    Ok(entries(tar)?.into_iter().map(|e| format!("{} {}", e.kind as char, e.name)).collect())
}

struct Entry {
    name: String,
    kind: u8,
    mode: u32,
    uid: u32,
    gid: u32,
    link: String,
    contents: Vec<u8>,
}

/// The entries of an archive of short names and small numbers.
fn entries(tar: &[u8]) -> Result<Vec<Entry>> {
    let text = |b: &[u8]| String::from_utf8_lossy(b).trim_end_matches('\0').to_owned();
    let number = |b: &[u8]| u32::from_str_radix(text(b).trim(), 8).unwrap_or(0);
    let mut entries = Vec::new();
    let mut rest = tar;
    while rest.len() >= 512 && rest[0] != 0 {
        let size = number(&rest[124..136]) as usize;
        entries.push(Entry {
            name: text(&rest[..100]),
            kind: rest[156],
            mode: number(&rest[100..108]),
            uid: number(&rest[108..116]),
            gid: number(&rest[116..124]),
            link: text(&rest[157..257]),
            contents: rest[512..512 + size].to_vec(),
        });
        rest = &rest[512 + size.next_multiple_of(512)..];
    }
    anyhow::ensure!(rest.len() == 1024, "{} bytes behind the last entry", rest.len());
    Ok(entries)
}

fn entry(name: &str, kind: u8, link: &str, contents: &[u8]) -> Vec<u8> {
    let mut tar = Tar::default();
    tar.entry(name, kind, 0o600, link, contents);
    tar.finish()
}

fn stat(answer: &Response) -> Result<Value> {
    let header = answer.header("x-docker-container-path-stat").context("no header")?;
    let mut bits = 0u32;
    let mut bytes = Vec::new();
    for (i, c) in header.bytes().filter(|c| *c != b'=').enumerate() {
        let digit = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(digit);
        if i % 4 != 0 {
            bytes.push((bits >> (6 - 2 * (i % 4))) as u8);
        }
    }
    Ok(serde_json::from_slice(&bytes)?)
}

#[test]
fn a_path_is_described_and_archived_whether_the_container_runs_or_not() -> Result<()> {
    let mut test = Test::new()?;
    for start in [false, true] {
        let id = container(&mut test, json!({}), start)?;
        let dir: u64 = 1 << 31 | 0o755;
        let link: u64 = 1 << 27 | 0o777;
        for (path, name, mode, target, listed) in [
            ("/d", "d", dir, "", &["5 d/", "0 d/f", "2 d/lrel", "5 d/sub/", "0 d/sub/g"][..]),
            ("d/", "d", dir, "", &["5 d/", "0 d/f", "2 d/lrel", "5 d/sub/", "0 d/sub/g"]),
            ("/d/.", ".", dir, "", &["5 ./", "0 ./f", "2 ./lrel", "5 ./sub/", "0 ./sub/g"]),
            ("/ld/", "ld", dir, "", &["5 ld/", "0 ld/f", "2 ld/lrel", "5 ld/sub/", "0 ld/sub/g"]),
            ("/d/f", "f", 0o640, "", &["0 f"]),
            ("/../../ld/f", "f", 0o640, "", &["0 f"]),
            ("/lf", "lf", link, "/d/f", &["2 lf"]),
            ("/labs", "labs", link, "/d/sub", &["2 labs"]),
            ("/ldang", "ldang", link, "/nope/x", &["2 ldang"]),
            ("/lup", "lup", link, "/etc/passwd", &["2 lup"]),
            ("/d/lrel", "lrel", link, "/d/sub/g", &["2 lrel"]),
            ("/fifo", "fifo", 1 << 25 | 0o644, "", &["6 fifo"]),
            ("/suid", "suid", 1 << 23 | 0o755, "", &["0 suid"]),
        ] {
            let head = test.client.request("HEAD", &at(&id, path), &Body::Empty)?;
            assert_eq!(head.status, 200, "{path}");
            let got = test.get_archive(&id, path)?.ok()?;
            assert_eq!(got.header("content-type"), Some("application/x-tar"));
            assert_eq!(stat(&head)?, stat(&got)?, "{path}");
            let stat = stat(&got)?;
            let seen = (stat["name"].as_str(), stat["mode"].as_u64(), stat["linkTarget"].as_str());
            assert_eq!(seen, (Some(name), Some(mode), Some(target)), "{path}");
            assert_eq!(names(&got.body)?, listed, "{path}");
        }
        assert_eq!(names(&test.get_archive(&id, "/.")?.ok()?.body)?[0], "5 ./");
        let root = test.names(&id, "/")?;
        assert_eq!(root[0], "5 /");
        assert!(root.contains(&"0 /d/f".to_owned()), "{root:?}");
        // What the kernel shows of itself is not the container's.
        assert_eq!(test.names(&id, "/proc")?, ["5 proc/"]);
        assert_eq!(test.get_archive(&id, "/dev/null")?.status, 404);
    }
    Ok(())
}

#[test]
fn what_is_not_there_is_told_in_dockers_words() -> Result<()> {
    let mut test = Test::new()?;
    let id = container(&mut test, json!({}), false)?;
    let missing = |path: &str| format!("Could not find the file {path} in container {id}");
    for (path, status, message) in [
        ("", 400, "bad parameter: pathcannot be empty".to_owned()),
        ("/nope", 404, missing("/nope")),
        ("/nope/x/", 404, missing("/nope/x/")),
        ("/ldang/", 404, missing("/ldang/")),
        ("/d/f/", 500, "lstat /d/f/: not a directory".to_owned()),
        ("/d/f/x", 500, "lstat /d/f/x: not a directory".to_owned()),
        ("/lloop", 500, "evalSymlinksInScope: too many links in /lloop".to_owned()),
        ("/lloop/", 500, "lstat /lloop/: too many levels of symbolic links".to_owned()),
    ] {
        let got = test.get_archive(&id, path)?;
        assert_eq!((got.status, got.message()), (status, message), "{path}");
        assert_eq!(test.client.request("HEAD", &at(&id, path), &Body::Empty)?.status, status, "{path}");
    }
    let tar = entry("n", b'0', "", b"x");
    for (path, status, message) in [
        ("", 400, "bad parameter: pathcannot be empty".to_owned()),
        ("/nope", 404, missing("/nope")),
        ("/ldang", 404, missing("/ldang")),
        ("/d/f", 400, "extraction point is not a directory".to_owned()),
        ("/lf", 400, "extraction point is not a directory".to_owned()),
        ("/d/f/", 500, "lstat /d/f/: not a directory".to_owned()),
        ("/d/f/x", 500, "not a directory".to_owned()),
        ("/lloop", 500, "EvalSymlinks: too many links".to_owned()),
    ] {
        let put = test.put_archive(&id, path, &tar, "")?;
        assert_eq!((put.status, put.message()), (status, message), "{path}");
    }
    for method in ["GET", "PUT"] {
        let path = "/containers/no-such-one/archive?path=/d";
        let answer = test.client.request(method, path, &Body::Bytes("application/x-tar", &tar))?;
        assert_eq!((answer.status, answer.message().as_str()), (404, "No such container: no-such-one"));
    }
    Ok(())
}

#[test]
fn an_archive_is_unpacked_where_links_lead() -> Result<()> {
    let mut test = Test::new()?;
    for start in [false, true] {
        let id = container(&mut test, json!({}), start)?;
        for (n, (path, place)) in
            [("/d", "/d"), ("/d/.", "/d"), ("ld", "/d"), ("/labs", "/d/sub"), ("/d/f/..", "/d"), (".", "")]
                .into_iter()
                .enumerate()
        {
            let name = format!("new{n}");
            test.put_archive(&id, path, &entry(&name, b'0', "", b"data"), "")?.ok()?;
            let got = test.get_archive(&id, &format!("{place}/{name}"))?.ok()?;
            let entry = &entries(&got.body)?[0];
            assert_eq!((entry.contents.as_slice(), entry.mode), (&b"data"[..], 0o600), "{path}");
        }
        if start {
            let seen = test.exec_output(&id, &["cat", "/d/new0", "/d/sub/new3", "/new5"])?;
            assert_eq!(seen, "datadatadata");
        }
    }
    Ok(())
}

impl Test {
    /// What a program prints that is run in a container.
    fn exec_output(&mut self, id: &str, command: &[&str]) -> Result<String> {
        let body = json!({ "Cmd": command, "AttachStdout": true, "AttachStderr": true });
        let exec = self.client.post(&format!("/containers/{id}/exec"), &body)?.ok()?.json()?;
        let exec = exec["Id"].as_str().context("no Id")?;
        let body = json!({ "Detach": false });
        let path = format!("/exec/{exec}/start");
        let (out, err) = self.client.hijack(&path, &Body::Json(&body))?.read_frames()?;
        Ok(String::from_utf8([out, err].concat())?)
    }
}

#[test]
fn entries_replace_what_is_there_unless_kinds_are_kept() -> Result<()> {
    let mut test = Test::new()?;
    let keep = "&noOverwriteDirNonDir=true";
    let id = container(&mut test, json!({}), false)?;
    let over_dir = entry("sub", b'0', "", b"now a file");
    let refused = test.put_archive(&id, "/d", &over_dir, keep)?;
    assert_eq!(refused.message(), r#"cannot overwrite directory "sub" with non-directory "/d""#);
    assert_eq!(refused.status, 500);
    let over_file = entry("f/", b'5', "", b"");
    let refused = test.put_archive(&id, "/d", &over_file, keep)?;
    assert_eq!(refused.message(), r#"cannot overwrite non-directory "f" with directory "/d""#);
    test.put_archive(&id, "/d", &over_dir, "")?.ok()?;
    test.put_archive(&id, "/d", &over_file, "")?.ok()?;
    assert_eq!(test.names(&id, "/d")?, ["5 d/", "5 d/f/", "2 d/lrel", "0 d/sub"]);
    // A link is replaced, not written through; a parent that is missing is made.
    test.put_archive(&id, "/", &entry("lf", b'0', "", b"x"), "")?.ok()?;
    test.put_archive(&id, "/", &entry("a/b/c", b'0', "", b"x"), "")?.ok()?;
    assert_eq!(test.names(&id, "/lf")?, ["0 lf"]);
    assert_eq!(test.names(&id, "/a")?, ["5 a/", "5 a/b/", "0 a/b/c"]);
    // A whiteout is a file like any other; devices and pipes are made, not opened.
    test.put_archive(&id, "/a", &entry(".wh.b", b'0', "", b""), "")?.ok()?;
    test.put_archive(&id, "/a", &entry("pipe", b'6', "", b""), "")?.ok()?;
    test.put_archive(&id, "/a", &entry("disk", b'4', "", b""), "")?.ok()?;
    assert_eq!(test.names(&id, "/a")?, ["5 a/", "0 a/.wh.b", "5 a/b/", "0 a/b/c", "4 a/disk", "6 a/pipe"]);
    Ok(())
}

#[test]
fn archives_may_be_compressed_empty_or_wrong() -> Result<()> {
    let mut test = Test::new()?;
    let id = container(&mut test, json!({}), false)?;
    for name in ["gz", "bz", "xz"] {
        let packed = compress(name, &entry(name, b'0', "", b"packed"))?;
        test.put_archive(&id, "/d", &packed, "")?.ok()?;
        let got = test.get_archive(&id, &format!("/d/{name}"))?.ok()?;
        assert_eq!(entries(&got.body)?[0].contents, b"packed", "{name}");
    }
    test.put_archive(&id, "/d", b"", "")?.ok()?;
    test.put_archive(&id, "/d", &[0; 1024], "")?.ok()?;
    let cut = entry("cut", b'0', "", &[7; 2000]);
    for (tar, message) in [
        (&b"garbage"[..], "unexpected EOF"),
        (&[b'g'; 2000], "archive/tar: invalid tar header"),
        (&cut[..300], "unexpected EOF"),
        (&cut[..1000], "unexpected EOF"),
    ] {
        let put = test.put_archive(&id, "/d", tar, "")?;
        assert_eq!((put.status, put.message().as_str()), (500, message));
    }
    Ok(())
}

fn compress(how: &str, input: &[u8]) -> Result<Vec<u8>> {
    use std::io::Write;
    Ok(match how {
        "gz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(input)?;
            encoder.finish()?
        }
        "bz" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(input)?;
            encoder.finish()?
        }
        _ => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(input)?;
            encoder.finish()?
        }
    })
}

#[test]
fn hostile_entries_do_not_get_out() -> Result<()> {
    let mut test = Test::new()?;
    let id = container(&mut test, json!({}), true)?;
    for (name, kind, link, status, message) in [
        ("../out", b'0', "", 500, r#"invalid entry name "../out""#.to_owned()),
        ("a/../../out", b'0', "", 500, r#"invalid entry name "a/../../out""#.to_owned()),
        ("h", b'1', "../f", 500, r#"invalid hardlink target "../f""#.to_owned()),
        ("h", b'1', "nope", 404, format!("Could not find the file /d in container {id}")),
        ("h", b'1', "/etc/passwd", 404, format!("Could not find the file /d in container {id}")),
    ] {
        let put = test.put_archive(&id, "/d", &entry(name, kind, link, b""), "")?;
        assert_eq!((put.status, put.message()), (status, message), "{name} {link}");
    }
    // Absolute names, and absolute links on the way, count from the directory that is unpacked into.
    test.put_archive(&id, "/d", &entry("/abs", b'0', "", b"x"), "")?.ok()?;
    let mut through = Tar::default();
    through.entry("sl", b'2', 0o777, "/etc", b"");
    through.entry("sl/through", b'0', 0o644, "", b"x");
    test.put_archive(&id, "/d", &through.finish(), "")?.ok()?;
    assert_eq!(test.names(&id, "/d/etc")?, ["5 etc/", "0 etc/through"]);
    // One that leads out of it is refused.
    let mut escape = Tar::default();
    escape.entry("up", b'2', 0o777, "../etc", b"");
    escape.entry("up/through", b'0', 0o644, "", b"x");
    let put = test.put_archive(&id, "/d", &escape.finish(), "")?;
    assert_eq!(put.status, 500);
    assert!(put.message().contains("path escapes from parent"), "{}", put.message());
    assert_eq!(test.get_archive(&id, "/etc/through")?.status, 404);
    assert_eq!(test.get_archive(&id, "/out")?.status, 404);
    Ok(())
}

#[test]
fn owners_are_the_archives_or_the_containers() -> Result<()> {
    let mut test = Test::new()?;
    let image = image(&mut test)?;
    for (user, query, owner) in [
        ("app", "", (0, 0)),
        ("app", "&copyUIDGID=true", (1000, 1000)),
        ("1000:extra", "&copyUIDGID=1", (1000, 2000)),
        ("12345", "&copyUIDGID=1", (12345, 0)),
        ("", "&copyUIDGID=1", (0, 0)),
    ] {
        let id = test.create(&json!({ "Image": image, "Cmd": ["sh"], "User": user }))?;
        test.put_archive(&id, "/d", &entry("owned", b'0', "", b""), query)?.ok()?;
        let got = test.get_archive(&id, "/d/owned")?.ok()?;
        let entry = &entries(&got.body)?[0];
        assert_eq!((entry.uid, entry.gid), owner, "{user:?} {query}");
    }
    for (user, message) in [
        ("nope", r#"failed to look up user "nope" in container: no matching entries in passwd file"#),
        ("app:nope", r#"failed to look up group "nope" in container: no matching entries in group file"#),
    ] {
        let id = test.create(&json!({ "Image": image, "Cmd": ["sh"], "User": user }))?;
        let put = test.put_archive(&id, "/d", &entry("owned", b'0', "", b""), "&copyUIDGID=1")?;
        assert_eq!((put.status, put.message().as_str()), (400, message));
    }
    Ok(())
}

#[test]
fn volumes_are_read_and_written_and_kept_as_they_are_mounted() -> Result<()> {
    let mut test = Test::new()?;
    for start in [false, true] {
        let dir = tempfile::tempdir()?;
        fs_err::write(dir.path().join("of-host"), "host")?;
        let source = dir.path().display();
        let host = json!({ "Binds": [
            format!("{source}:/v"),
            format!("{source}:/ro:ro"),
            format!("{source}/of-host:/single"),
            format!("{source}:/d/sub"),
        ] });
        let id = container(&mut test, host, start)?;
        assert_eq!(test.names(&id, "/v")?, ["5 v/", "0 v/of-host"]);
        assert_eq!(test.names(&id, "/d")?, ["5 d/", "0 d/f", "2 d/lrel", "5 d/sub/", "0 d/sub/of-host"]);
        assert_eq!(entries(&test.get_archive(&id, "/single")?.ok()?.body)?[0].contents, b"host");
        test.put_archive(&id, "/v", &entry("new", b'0', "", b"x"), "")?.ok()?;
        assert_eq!(fs_err::read_to_string(dir.path().join("new"))?, "x");
        let put = test.put_archive(&id, "/ro", &entry("n", b'0', "", b"x"), "")?;
        assert_eq!((put.status, put.message().as_str()), (400, "mounted volume is marked read-only"));
        let put = test.put_archive(&id, "/single", &entry("n", b'0', "", b"x"), "")?;
        assert_eq!((put.status, put.message().as_str()), (400, "extraction point is not a directory"));
        for (name, operation) in [("single", "RemoveAll"), ("v", "RemoveAll")] {
            let put = test.put_archive(&id, "/", &entry(name, b'0', "", b"x"), "")?;
            let busy = format!("{operation} {name}: device or resource busy");
            assert_eq!((put.status, put.message()), (500, busy));
        }
    }
    Ok(())
}

#[test]
fn of_a_volume_only_the_mounted_part_is_read_and_written() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.volume_name("part");
    let all = json!([{ "Type": "volume", "Source": name, "Target": "/v" }]);
    let other = container(&mut test, json!({ "Mounts": all }), true)?;
    let setup = "mkdir -p /v/sub; echo in > /v/sub/file; echo out > /v/top";
    crate::exec::output(&mut test, &other, &["sh", "-c", setup])?;
    let part =
        json!([{ "Type": "volume", "Source": name, "Target": "/m", "VolumeOptions": { "Subpath": "sub" } }]);
    let id = container(&mut test, json!({ "Mounts": part }), true)?;
    for running in [true, false] {
        if !running {
            test.act(&id, "kill")?.ok()?;
            test.client.post(&format!("/containers/{id}/wait"), &Value::Null)?.ok()?;
        }
        let seen = test.names(&id, "/m")?;
        assert!(seen.contains(&"0 m/file".to_owned()) && !seen.contains(&"0 m/top".to_owned()), "{seen:?}");
        let new = entry(&format!("new-{running}"), b'0', "", b"new");
        test.put_archive(&id, "/m", &new, "")?.ok()?;
    }
    let listed = crate::exec::output(&mut test, &other, &["sh", "-c", "ls /v /v/sub"])?;
    assert_eq!(listed, "/v:\nsub\ntop\n\n/v/sub:\nfile\nnew-false\nnew-true\n");
    Ok(())
}

#[test]
fn a_read_only_root_is_not_written() -> Result<()> {
    let mut test = Test::new()?;
    let dir = tempfile::tempdir()?;
    for start in [false, true] {
        let bind = format!("{}:/v", dir.path().display());
        let id = container(&mut test, json!({ "ReadonlyRootfs": true, "Binds": [bind] }), start)?;
        let put = test.put_archive(&id, "/d", &entry("n", b'0', "", b"x"), "")?;
        assert_eq!((put.status, put.message().as_str()), (400, "container rootfs is marked read-only"));
        test.put_archive(&id, "/v", &entry("n", b'0', "", b"x"), "")?.ok()?;
        assert_eq!(test.names(&id, "/d")?.len(), 5);
    }
    Ok(())
}

#[test]
fn changes_are_told_by_kind() -> Result<()> {
    let mut test = Test::new()?;
    let id = container(&mut test, json!({}), false)?;
    let changes = |test: &mut Test| -> Result<Value> {
        let mut changes = test.client.get(&format!("/containers/{id}/changes"))?.ok()?.json()?;
        if let Some(list) = changes.as_array_mut() {
            list.sort_by_key(|c| c["Path"].as_str().unwrap_or_default().to_owned());
        }
        Ok(changes)
    };
    assert_eq!(changes(&mut test)?, Value::Null);
    test.put_archive(&id, "/", &entry("x/new", b'0', "", b""), "")?.ok()?;
    test.put_archive(&id, "/d", &entry("f", b'0', "", b"other"), "")?.ok()?;
    test.start(&id)?;
    assert_eq!(test.exec_output(&id, &["rm", "-r", "/d/sub"])?, "");
    assert_eq!(
        changes(&mut test)?,
        json!([
            { "Path": "/d", "Kind": 0 },
            { "Path": "/d/f", "Kind": 0 },
            { "Path": "/d/sub", "Kind": 2 },
            { "Path": "/x", "Kind": 1 },
            { "Path": "/x/new", "Kind": 1 },
        ])
    );
    let missing = test.client.get("/containers/no-such-one/changes")?;
    assert_eq!((missing.status, missing.message().as_str()), (404, "No such container: no-such-one"));
    Ok(())
}

#[test]
fn an_export_is_the_root_without_what_is_mounted_in_it() -> Result<()> {
    let mut test = Test::new()?;
    let dir = tempfile::tempdir()?;
    fs_err::write(dir.path().join("of-host"), "host")?;
    for start in [false, true] {
        let bind = format!("{}:/d/sub", dir.path().display());
        let id = container(&mut test, json!({ "Binds": [bind], "Tmpfs": { "/tmp": "" } }), start)?;
        test.put_archive(&id, "/d", &entry("new", b'0', "", b"x"), "")?.ok()?;
        let export = test.client.get(&format!("/containers/{id}/export"))?.ok()?;
        assert_eq!(export.header("content-type"), Some("application/octet-stream"));
        let entries = entries(&export.body)?;
        let find = |name: &str| entries.iter().find(|e| e.name == name);
        assert_eq!(find("d/new").context("new")?.contents, b"x");
        // A hard link leads to the first name that the file has.
        let links: Vec<_> = entries.iter().filter(|e| e.kind == b'1').collect();
        assert!(links.iter().all(|e| find(&e.link).is_some_and(|first| first.kind == b'0')));
        assert_eq!(links.len(), 11);
        assert!(find("d/sub/of-host").is_none());
        assert!(find("d/sub/g").is_some());
        assert!(entries.iter().all(|e| !e.name.starts_with('/') && !e.name.starts_with("./")));
        assert_eq!(entries.iter().filter(|e| e.name.starts_with("proc/")).count(), 1);
        let mut sorted: Vec<_> =
            entries.iter().map(|e| e.name.trim_end_matches('/').split('/').collect::<Vec<_>>()).collect();
        sorted.sort();
        let order: Vec<_> =
            entries.iter().map(|e| e.name.trim_end_matches('/').split('/').collect::<Vec<_>>()).collect();
        assert_eq!(order, sorted);
    }
    let missing = test.client.get("/containers/no-such-one/export")?;
    assert_eq!((missing.status, missing.message().as_str()), (404, "No such container: no-such-one"));
    Ok(())
}

#[test]
fn copies_and_exports_are_events() -> Result<()> {
    let mut test = Test::new()?;
    let id = container(&mut test, json!({}), false)?;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() - 1;
    test.get_archive(&id, "/d")?.ok()?;
    test.put_archive(&id, "/d", &entry("n", b'0', "", b""), "")?.ok()?;
    test.client.get(&format!("/containers/{id}/export"))?.ok()?;
    let until = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() + 1;
    let path =
        format!("/events?since={since}&until={until}&filters=%7B%22container%22%3A%5B%22{id}%22%5D%7D");
    let text = test.client.get(&path)?.ok()?.text();
    let actions: Vec<String> = text
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok()?["Action"].as_str().map(str::to_owned))
        .filter(|a| a != "create")
        .collect();
    assert_eq!(actions, ["archive-path", "extract-to-dir", "export"]);
    Ok(())
}
