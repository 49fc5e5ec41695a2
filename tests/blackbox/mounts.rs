//! What containers find where something is mounted: volumes, directories, memory, images.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::{
    http::{Body, Response},
    image::{self, Tar},
};

use crate::Test;

impl Test {
    /// An image of busybox with a directory `/srv` of mode 0750, in which are a file, two names of another,
    /// a link and a directory; and with the volume `/own`.
    pub(crate) fn image_with_files(&mut self) -> Result<String> {
        let name = self.name("files");
        let mut tar = image::busybox()?;
        // Without the two blocks that end it.
        tar.truncate(tar.len() - 1024);
        let mut more = Tar::default();
        for dir in ["srv/", "srv/sub/", "own/"] {
            more.entry(dir, b'5', 0o750, "", b"");
        }
        more.entry("srv/file", b'0', 0o640, "", b"from the image\n");
        more.entry("srv/one", b'0', 0o644, "", b"twice\n");
        more.entry("srv/sub/two", b'1', 0o644, "srv/one", b"");
        more.entry("srv/link", b'2', 0o777, "/etc/passwd", b"");
        more.entry("own/kept", b'0', 0o644, "", b"kept\n");
        tar.extend(more.finish());
        let path = format!("/images/create?fromSrc=-&repo={name}&tag=latest&changes=VOLUME%20/own");
        self.client.request("POST", &path, &Body::Bytes("application/x-tar", &tar))?.ok()?;
        self.images.push(name.clone());
        Ok(name)
    }

    /// Runs a shell line in `image` with these mounts.
    fn shell_in(&mut self, image: &str, line: &str, mounts: &Value) -> Result<String> {
        let ran = self.run(&with(image, line, mounts))?;
        anyhow::ensure!(ran.code == 0, "{line}: {ran:?}");
        Ok(ran.out)
    }
}

fn with(image: &str, line: &str, mounts: &Value) -> Value {
    let mut body = Test::body(&["sh", "-c", line]);
    body["Image"] = json!(image);
    let key =
        if mounts.as_array().is_some_and(|m| m.iter().all(Value::is_string)) { "Binds" } else { "Mounts" };
    body["HostConfig"][key] = mounts.clone();
    body
}

fn volume(source: &str, target: &str, options: &Value) -> Value {
    json!([{ "Type": "volume", "Source": source, "Target": target, "VolumeOptions": options }])
}

#[test]
fn a_new_volume_gets_what_the_image_has_there() -> Result<()> {
    let mut test = Test::new()?;
    let image = test.image_with_files()?;
    let look = "cd /srv; cat file; stat -c '%n %a %h' . file one sub; readlink link; cat sub/two";
    let want = "from the image\n. 750 3\nfile 640 1\none 644 2\nsub 750 2\n/etc/passwd\ntwice\n";
    let name = test.volume_name("copied");
    assert_eq!(test.shell_in(&image, look, &json!([format!("{name}:/srv")]))?, want);
    // It is the volume's own now.
    test.shell_in(&image, "rm -r /srv/*; echo mine > /srv/mine", &json!([format!("{name}:/srv")]))?;
    assert_eq!(test.shell_in(&image, "ls /srv", &json!([format!("{name}:/srv")]))?, "mine\n");
    // One that is there and empty is filled as well, one that is mounted elsewhere is not.
    let empty = test.volume_name("empty");
    test.volume(&json!({ "Name": empty }))?;
    assert_eq!(test.shell_in(&image, "ls /elsewhere", &json!([format!("{empty}:/elsewhere")]))?, "");
    assert_eq!(
        test.shell_in(&image, "cat /srv/file", &json!([format!("{empty}:/srv")]))?,
        "from the image\n"
    );
    for mounts in [json!(["NAME:/srv:nocopy"]), volume("NAME", "/srv", &json!({ "NoCopy": true }))] {
        let name = test.volume_name("nocopy");
        let mounts: Value = serde_json::from_str(&mounts.to_string().replace("NAME", &name))?;
        assert_eq!(test.shell_in(&image, "ls /srv", &mounts)?, "");
    }
    Ok(())
}

#[test]
fn anonymous_volumes_go_with_their_container_when_asked() -> Result<()> {
    let mut test = Test::new()?;
    let image = test.image_with_files()?;
    let own = |test: &mut Test, id: &str| -> Result<String> {
        let mounts = test.inspect(id)?["Mounts"].clone();
        let own = mounts.as_array().into_iter().flatten().find(|m| m["Destination"] == "/own").cloned();
        let own = own.context("no mount at /own")?;
        assert_eq!(
            (&own["Type"], &own["Driver"], &own["RW"]),
            (&json!("volume"), &json!("local"), &json!(true))
        );
        Ok(own["Name"].as_str().context("no Name")?.to_owned())
    };
    let named = test.volume_name("named");
    let binds = json!([format!("{named}:/data")]);
    let first = test.create(&with(&image, "cat /own/kept", &binds))?;
    let volume = own(&mut test, &first)?;
    assert_eq!(test.volume_status(&volume)?, 200);
    test.client.delete(&format!("/containers/{first}"))?.ok()?;
    assert_eq!(test.volume_status(&volume)?, 200, "removed without being asked");
    test.client.delete(&format!("/volumes/{volume}"))?.ok()?;

    let second = test.create(&with(&image, "true", &binds))?;
    let volume = own(&mut test, &second)?;
    test.client.delete(&format!("/containers/{second}?v=1"))?.ok()?;
    test.until("the volume is gone", |test| Ok(test.volume_status(&volume)? == 404))?;
    assert_eq!(test.volume_status(&named)?, 200, "a named volume was removed");

    let mut body = with(&image, "sleep 1000", &binds);
    body["HostConfig"]["AutoRemove"] = json!(true);
    let third = test.up(&body)?;
    let volume = own(&mut test, &third)?;
    test.act(&third, "kill")?.ok()?;
    test.until("--rm removed the volume", |test| Ok(test.volume_status(&volume)? == 404))?;
    assert_eq!(test.volume_status(&named)?, 200);
    Ok(())
}

/// The ways that everybody learns: a container that only holds data, a backup by tar through a helper, the same volume in
/// a new container.
#[test]
fn data_are_packed_backed_up_restored_and_moved() -> Result<()> {
    let mut test = Test::new()?;
    let image = test.image_with_files()?;
    let (data, backup) = (test.volume_name("data"), test.volume_name("backup"));
    let holder = test.name("holder");
    test.create_named(&holder, &with(&image, "true", &json!([format!("{data}:/srv")])))?;
    let from = |test: &mut Test, mode: &str, line: &str, binds: Value| -> Result<(i64, String)> {
        let mut body = with(&image, line, &binds);
        body["HostConfig"]["VolumesFrom"] = json!([format!("{holder}{mode}")]);
        let ran = test.run(&body)?;
        Ok((ran.code, ran.out))
    };
    assert_eq!(
        from(&mut test, "", "echo written >> /srv/file; cat /own/kept", json!([]))?,
        (0, "kept\n".into())
    );
    let written = "from the image\nwritten\n".to_owned();
    assert_eq!(
        from(&mut test, ":ro", "cat /srv/file; ! touch /srv/x 2>/dev/null", json!([]))?,
        (0, written.clone())
    );
    assert_eq!(from(&mut test, ":rw,z", "cat /srv/file", json!([]))?, (0, written.clone()));
    let pack = "tar -cf /backup/data.tar -C /srv .";
    assert_eq!(from(&mut test, ":ro", pack, json!([format!("{backup}:/backup")]))?.0, 0);
    let restored = test.volume_name("restored");
    let unpack = "tar -xf /backup/data.tar -C /new; cat /new/file; stat -c %a /new /new/file";
    let binds = json!([format!("{backup}:/backup:ro"), format!("{restored}:/new")]);
    assert_eq!(test.shell_in(&image, unpack, &binds)?, format!("{written}750\n640\n"));
    // Another container takes the volume over when the first is gone.
    test.client.delete(&format!("/containers/{holder}?v=1&force=1"))?.ok()?;
    assert_eq!(test.shell_in(&image, "cat /srv/file", &json!([format!("{data}:/srv:ro")]))?, written);

    let body = |mode: &str| {
        let mut body = with(&image, "true", &json!([]));
        body["HostConfig"]["VolumesFrom"] = json!([mode]);
        body
    };
    let name = test.name("from");
    test.create_named(&name, &with(&image, "true", &json!([])))?;
    for (from, message) in [
        (format!("{name}:x"), "invalid mode: x".to_owned()),
        (format!("{name}:nocopy"), "invalid mode: nocopy".to_owned()),
        (format!("{name}:rprivate"), "invalid mode: rprivate".to_owned()),
        (format!("{name}:ro:rw"), "invalid mode: ro:rw".to_owned()),
        (String::new(), "volumes-from specification cannot be an empty string".to_owned()),
        ("bb-no-such".to_owned(), "No such container: bb-no-such".to_owned()),
    ] {
        let answer = test.client.post("/containers/create", &body(&from))?;
        assert!(answer.status >= 400, "{from}");
        assert_eq!(answer.message(), message);
    }
    Ok(())
}

#[test]
fn a_volume_of_memory_lives_while_a_container_has_it() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.volume_name("memory");
    let options = json!({ "type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=1000,mode=0700" });
    let mounts = volume(
        &name,
        "/data",
        &json!({ "DriverConfig": { "Name": "local", "Options": options }, "Labels": { "k": "v" } }),
    );
    let line = "grep -c ' /data tmpfs rw.*size=1024k' /proc/mounts; stat -c '%u %a' /data; touch /data/here; sleep 1000";
    let first = test.up(&with("busybox", line, &mounts))?;
    let made = test.client.get(&format!("/volumes/{name}"))?.ok()?.json()?;
    assert_eq!((&made["Options"], &made["Labels"]), (&options, &json!({ "k": "v" })));
    test.until("it has written", |test| Ok(test.logs(&first, "stdout=1")?.0 == "1\n1000 700\n"))?;
    let seen = "ls /data; head -c 2000000 /dev/zero > /data/big 2>/dev/null || echo full";
    assert_eq!(test.shell_in("busybox", seen, &volume(&name, "/data", &json!({})))?, "here\nfull\n");
    test.act(&first, "kill")?.ok()?;
    test.wait(&first)?;
    test.until("nothing is left of it", |test| {
        Ok(test.shell_in("busybox", "ls /data", &volume(&name, "/data", &json!({})))?.is_empty())
    })?;
    Ok(())
}

#[test]
fn what_cannot_be_mounted_keeps_a_container_from_starting() -> Result<()> {
    let mut test = Test::new()?;
    for (options, message) in [
        (
            json!({ "type": "none", "device": "/bb-nonexistent", "o": "bind" }),
            "failed to mount local volume: mount /bb-nonexistent:PLACE, flags: 0x1000: no such file or directory",
        ),
        (
            json!({ "type": "ext4", "device": "/dev/bb-nonexistent" }),
            "failed to mount local volume: mount /dev/bb-nonexistent:PLACE: no such file or directory",
        ),
        (
            json!({ "type": "tmpfs", "device": "tmpfs", "o": "bogus=1" }),
            "failed to mount local volume: mount tmpfs:PLACE, data: bogus=1: invalid argument",
        ),
    ] {
        let name = test.volume_name("unmountable");
        let mounts = volume(&name, "/d", &json!({ "DriverConfig": { "Options": options } }));
        let id = test.create(&with("busybox", "true", &mounts))?;
        let place = test.inspect(&id)?["Mounts"][0]["Source"].as_str().context("no Source")?.to_owned();
        let answer = test.act(&id, "start")?;
        let message = format!("error while mounting volume '{place}': {}", message.replace("PLACE", &place));
        assert_eq!((answer.status, answer.message()), (500, message.clone()));
        let state = test.inspect(&id)?["State"].clone();
        assert_eq!((&state["Error"], &state["ExitCode"]), (&json!(message), &json!(128)));
    }
    Ok(())
}

#[test]
fn a_path_inside_a_volume_never_leads_out() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.volume_name("subpath");
    let setup = "cd /d; mkdir -p sub/deep; echo in > sub/file; echo root > top; ln -s /etc evil; ln -s ../../../../../../etc climb; \
                 ln -s sub inner; ln -s /sub rooted; ln -s nowhere dangling";
    test.shell_in("busybox", setup, &json!([format!("{name}:/d")]))?;
    let at = |subpath: &str| volume(&name, "/m", &json!({ "Subpath": subpath }));
    assert_eq!(test.shell_in("busybox", "ls /m", &at("sub"))?, "deep\nfile\n");
    assert_eq!(test.shell_in("busybox", "ls /m", &at("inner"))?, "deep\nfile\n");
    assert_eq!(test.shell_in("busybox", "ls /m", &at("sub/../sub/deep"))?, "");
    assert_eq!(test.shell_in("busybox", "cat /m", &at("sub/file"))?, "in\n");
    assert_eq!(test.shell_in("busybox", "echo x > /m/new; cat /m/new", &at("sub"))?, "x\n");
    for bad in ["evil", "evil/ssl", "climb", "rooted", "dangling", "nope", "sub/nope"] {
        let id = test.create(&with("busybox", "true", &at(bad)))?;
        let answer = test.act(&id, "start")?;
        assert!(matches!(answer.status, 400 | 404), "{bad}: {} {}", answer.status, answer.message());
        let known = ["path concatenation escapes the base directory, base: ", "cannot access path "];
        assert!(known.iter().any(|known| answer.message().starts_with(known)), "{bad}: {}", answer.message());
    }
    for (bad, message) in [
        ("../x", "subpath must be a relative path within the volume"),
        ("/abs", "subpath must be a relative path within the volume"),
        ("a/../../b", "subpath must be a relative path within the volume"),
    ] {
        let answer = test.client.post("/containers/create", &with("busybox", "true", &at(bad)))?;
        let message = format!("invalid mount config for type \"volume\": {message}");
        assert_eq!((answer.status, answer.message()), (400, message), "{bad}");
    }
    let anonymous = with("busybox", "true", &volume("", "/m", &json!({ "Subpath": "sub" })));
    let answer = test.client.post("/containers/create", &anonymous)?;
    assert_eq!(
        (answer.status, answer.message().as_str()),
        (400, "invalid mount config for type \"volume\": must not set Subpath when using anonymous volumes")
    );
    Ok(())
}

#[test]
fn an_image_can_be_looked_into() -> Result<()> {
    let mut test = Test::new()?;
    let image = test.image_with_files()?;
    let at = |subpath: &str| {
        let mut mount = json!({ "Type": "image", "Source": image, "Target": "/i" });
        if !subpath.is_empty() {
            mount["ImageOptions"] = json!({ "Subpath": subpath });
        }
        json!([mount])
    };
    let line = "cat /i/srv/file; ! touch /i/new 2>/dev/null; ls /i/own";
    assert_eq!(test.shell_in("busybox", line, &at(""))?, "from the image\nkept\n");
    assert_eq!(test.shell_in("busybox", "ls /i; ! touch /i/new 2>/dev/null", &at("srv/sub"))?, "two\n");
    assert_eq!(test.shell_in("busybox", "cat /i", &at("srv/file"))?, "from the image\n");
    let id = test.create(&with("busybox", "sleep 1000", &at("")))?;
    let mount = test.inspect(&id)?["Mounts"][0].clone();
    assert_eq!((&mount["Type"], &mount["Destination"]), (&json!("image"), &json!("/i")));
    assert_eq!((&mount["RW"], &mount["Propagation"]), (&json!(false), &json!("rprivate")));
    for (subpath, status) in [("nope", 404), ("srv/link", 400)] {
        let id = test.create(&with("busybox", "true", &at(subpath)))?;
        let answer = test.act(&id, "start")?;
        assert!(answer.status == status || answer.status == 404, "{subpath}: {}", answer.message());
    }
    for (mount, status, message) in [
        (
            json!({ "Type": "image", "Source": image, "Target": "/i", "ImageOptions": { "Subpath": "../x" } }),
            400,
            "invalid mount config for type \"image\": subpath must be a relative path within the volume",
        ),
        (
            json!({ "Type": "image", "Target": "/i" }),
            400,
            "invalid mount config for type \"image\": field Source must not be empty",
        ),
        (
            json!({ "Type": "image", "Source": "bb-no-such", "Target": "/i" }),
            404,
            "No such image: bb-no-such:latest",
        ),
        (
            json!({ "Type": "cluster", "Source": "x", "Target": "/i" }),
            400,
            "invalid mount config for type \"cluster\": mount type unknown",
        ),
    ] {
        let answer = test.client.post("/containers/create", &with("busybox", "true", &json!([mount])))?;
        assert_eq!((answer.status, answer.message().as_str()), (status, message), "{mount}");
    }
    Ok(())
}

#[test]
fn read_only_reaches_as_deep_as_asked() -> Result<()> {
    let mut test = Test::new()?;
    let dir = tempfile::tempdir()?;
    let source = dir.path().display().to_string();
    fs_err::create_dir(dir.path().join("below"))?;
    let inside = |program: &str, args: &[&str]| -> Result<()> {
        anyhow::ensure!(test.engine.inside(program).args(args).status()?.success(), "{program} {args:?}");
        Ok(())
    };
    let below = format!("{source}/below");
    inside("mount", &["-t", "tmpfs", "below", &below])?;
    let options = |ro: bool, bind: Value| json!([{ "Type": "bind", "Source": source, "Target": "/d", "ReadOnly": ro, "BindOptions": bind }]);
    let line = "touch /d/x 2>/dev/null && echo top; touch /d/below/x 2>/dev/null && echo below; grep -c ' /d/below ' /proc/mounts; true";
    let checked = (|| -> Result<()> {
        let mut said = |ro, bind| test.shell_in("busybox", line, &options(ro, bind));
        assert_eq!(said(false, json!({}))?, "top\nbelow\n1\n");
        assert_eq!(said(true, json!({}))?, "1\n");
        assert_eq!(said(true, json!({ "ReadOnlyNonRecursive": true }))?, "below\n1\n");
        assert_eq!(said(true, json!({ "ReadOnlyForceRecursive": true, "Propagation": "rprivate" }))?, "1\n");
        assert_eq!(said(false, json!({ "NonRecursive": true }))?, "top\nbelow\n0\n");
        Ok(())
    })();
    let _ = test.engine.inside("umount").arg(&below).status();
    checked?;
    let made = format!("{source}/made/deep");
    let mounts = json!([{ "Type": "bind", "Source": made, "Target": "/d", "BindOptions": { "CreateMountpoint": true } }]);
    test.shell_in("busybox", "touch /d/x", &mounts)?;
    assert!(dir.path().join("made/deep/x").exists());
    Ok(())
}

#[test]
fn ten_mounts_are_all_there() -> Result<()> {
    let mut test = Test::new()?;
    let dir = tempfile::tempdir()?;
    let stem = test.name("ten");
    let mut mounts = Vec::new();
    for n in 0..5 {
        let name = format!("{stem}-{n}");
        test.volumes.push(name.clone());
        mounts.push(json!({ "Type": "volume", "Source": name, "Target": format!("/m/v{n}") }));
        mounts.push(json!({ "Type": "bind", "Source": dir.path(), "Target": format!("/m/b{n}") }));
    }
    mounts.push(json!({ "Type": "tmpfs", "Target": "/m/t", "TmpfsOptions": { "SizeBytes": 1 << 20, "Mode": 0o1700 } }));
    let out =
        test.shell_in("busybox", "ls /m; stat -c %a /m/t; grep -c ' /m/' /proc/mounts", &json!(mounts))?;
    assert_eq!(out, "b0\nb1\nb2\nb3\nb4\nt\nv0\nv1\nv2\nv3\nv4\n1700\n11\n");
    Ok(())
}

#[test]
fn lists_find_containers_by_their_volumes() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.volume_name("listed");
    let id = test.create(&with("busybox", "true", &json!([format!("{name}:/where")])))?;
    let other = test.create(&with("busybox", "true", &json!([])))?;
    for wanted in [name.as_str(), "/where"] {
        let filters = crate::list::percent_encode(&json!({ "volume": [wanted] }).to_string());
        let answer: Response = test.client.get(&format!("/containers/json?all=1&filters={filters}"))?.ok()?;
        let found = answer.json()?;
        let ids: Vec<&str> =
            found.as_array().into_iter().flatten().filter_map(|c| c["Id"].as_str()).collect();
        assert!(ids.contains(&id.as_str()) && !ids.contains(&other.as_str()), "{wanted}: {ids:?}");
    }
    Ok(())
}

fn on_host(test: &Test, line: &str) -> Result<()> {
    let status = test.engine.inside("sh").args(["-c", line]).status()?;
    anyhow::ensure!(status.success(), "{line}: {status}");
    Ok(())
}

#[test]
fn a_mount_is_shared_with_the_host_as_far_as_it_is_asked_for() -> Result<()> {
    let mut test = Test::new()?;
    let place = tempfile::tempdir()?;
    let place = place.path().display();
    on_host(&test, &format!("mount -t tmpfs place {place}; mount --make-private {place}"))?;
    let done = share(&mut test, &place.to_string());
    // With what is below; busybox has no other way.
    let undone = on_host(&test, &format!("umount -l {place}"));
    done.and(undone)
}

fn share(test: &mut Test, place: &str) -> Result<()> {
    on_host(test, &format!("mkdir {place}/host {place}/own"))?;
    let line =
        "until [ -e /m/host/seen ]; do sleep 0.1; done; mount -t tmpfs inner /m/own && touch /m/own/seen";
    let body = |propagation: &str| {
        let mut body = Test::body(&["sh", "-c", line]);
        body["HostConfig"]["Binds"] = json!([format!("{place}:/m:{propagation}")]);
        body["HostConfig"]["Privileged"] = json!(true);
        body
    };
    for (propagation, lacks) in [("rshared", "shared"), ("rslave", "shared or slave")] {
        let id = test.create(&body(propagation))?;
        let refused = test.act(&id, "start")?;
        let words = format!("path {place} is mounted on {place} but it is not a {lacks} mount");
        assert_eq!((refused.status, refused.message()), (500, words));
    }
    on_host(test, &format!("mount --make-shared {place}"))?;
    for (propagation, reaches_out) in [("rslave", false), ("rshared", true)] {
        let id = test.up(&body(propagation))?;
        on_host(test, &format!("mount -t tmpfs outer {place}/host && touch {place}/host/seen"))?;
        assert_eq!(test.wait(&id)?, 0, "{propagation}");
        let seen = on_host(test, &format!("test -e {place}/own/seen")).is_ok();
        assert_eq!(seen, reaches_out, "{propagation}");
        on_host(test, &format!("umount {place}/host"))?;
    }
    Ok(())
}
