//! `cp`, `diff`, `export`, `commit`.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};

use super::{Said, Test};

/// A container with `/d/f`, `/d/sub/g` and links, and a directory of this machine with the like.
fn places(test: &mut Test) -> Result<(String, tempfile::TempDir)> {
    let name = test.container(&[
        "sh",
        "-c",
        "mkdir -p /d/sub; echo hello >/d/f; echo g >/d/sub/g; ln -s d/f /lf; ln -s d /ld; touch /ready; exec sleep 600",
    ])?;
    while test.run(&["cp", &format!("{name}:/ready"), "-"])?.code != 0 {}
    let dir = tempfile::tempdir()?;
    fs_err::create_dir_all(dir.path().join("src/dir/sub"))?;
    fs_err::create_dir(dir.path().join("dst"))?;
    for (file, text) in [("src/a", "a"), ("src/dir/b", "b"), ("src/dir/sub/c", "c")] {
        fs_err::write(dir.path().join(file), text)?;
    }
    for (link, target) in [("la", "a"), ("ldir", "dir"), ("lbad", "nope")] {
        fs_err::os::unix::fs::symlink(target, dir.path().join("src").join(link))?;
    }
    Ok((name, dir))
}

impl Test {
    /// A running container that is removed after the test.
    fn container(&mut self, command: &[&str]) -> Result<String> {
        let name = self.name("files");
        let mut args = vec!["run", "-d", "--network", "none", "--name", &name, "busybox"];
        args.extend(command);
        self.run(&args)?.ok();
        Ok(name)
    }

    fn in_container(&self, name: &str, command: &[&str]) -> Result<String> {
        let mut args = vec!["exec", name];
        args.extend(command);
        Ok(self.run(&args)?.ok())
    }
}

fn text(said: Said) -> (i32, String) {
    (said.code, said.err)
}

#[test]
fn files_go_into_a_container_where_docker_puts_them() -> Result<()> {
    let mut test = Test::new()?;
    let (name, dir) = places(&mut test)?;
    let at = |path: &str| dir.path().join(path).to_str().map(str::to_owned).context("not UTF-8");
    for (from, to, made) in [
        ("src/a", "/", "/a"),
        ("src/a", "/d", "/d/a"),
        ("src/a", "/renamed", "/renamed"),
        ("src/a", "/d/f", "/d/f"),
        ("src/a", "/ld", "/d/a"),
        ("src/dir", "/new", "/new/sub/c"),
        ("src/dir", "/d", "/d/dir/sub/c"),
        ("src/dir/.", "/d", "/d/sub/c"),
        ("src/ldir/", "/tmp", "/tmp/ldir/sub/c"),
    ] {
        let said = test.run(&["cp", &at(from)?, &format!("{name}:{to}")])?;
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", ""), "{from} {to}");
        test.in_container(&name, &["cat", made])?;
    }
    // `-L` follows the link, which keeps its name; without it the link is copied.
    test.run(&["cp", "-L", &at("src/la")?, &format!("{name}:/tmp")])?.ok();
    test.run(&["cp", &at("src/lbad")?, &format!("{name}:/tmp")])?.ok();
    test.run(&["cp", "-L", &at("src/ldir")?, &format!("{name}:/var")])?.ok();
    let seen = test.in_container(&name, &["sh", "-c", "cat /tmp/la; readlink /tmp/lbad; cat /var/ldir/b"])?;
    assert_eq!(seen, "anope\nb");
    let said = test.run(&["cp", "--quiet=false", &at("src/a")?, &format!("{name}:/d")])?;
    assert_eq!(text(said), (0, format!("Successfully copied 2.05kB to {name}:/d\n")));
    let said = test.run(&["cp", "-q=false", &at("src/dir")?, &format!("{name}:/other")])?;
    assert_eq!(text(said), (0, format!("Successfully copied 4.1kB to {name}:/other\n")));
    Ok(())
}

#[test]
fn files_come_out_of_a_container_where_docker_puts_them() -> Result<()> {
    let mut test = Test::new()?;
    let (name, dir) = places(&mut test)?;
    let dst = dir.path().join("dst");
    let at = |path: &str| dst.join(path).to_str().map(str::to_owned).context("not UTF-8");
    for (from, to, made) in [
        ("/d/f", "", "f"),
        ("/d/f", "renamed", "renamed"),
        ("/d", "", "d/sub/g"),
        ("/d", "new", "new/sub/g"),
        ("/d/.", "contents", "contents/f"),
        ("/ld/", "slash", "slash/f"),
        ("d/f", "relative", "relative"),
    ] {
        test.run(&["cp", &format!("{name}:{from}"), &at(to)?])?.ok();
        assert!(fs_err::metadata(dst.join(made))?.is_file(), "{from} {to}");
    }
    assert_eq!(fs_err::read_to_string(dst.join("renamed"))?, "hello\n");
    test.run(&["cp", &format!("{name}:/lf"), &at("")?])?.ok();
    assert_eq!(fs_err::read_link(dst.join("lf"))?.to_str(), Some("d/f"));
    test.run(&["cp", "-L", &format!("{name}:/lf"), &at("followed")?])?.ok();
    assert_eq!(fs_err::read_to_string(dst.join("followed"))?, "hello\n");
    fs_err::create_dir(dst.join("into"))?;
    test.run(&["cp", "-L", &format!("{name}:/ld"), &at("into")?])?.ok();
    assert!(dst.join("into/ld/sub/g").exists());
    let said = test.run(&["cp", "--quiet=false", &format!("{name}:/d/f"), &at("again")?])?;
    assert_eq!(text(said), (0, format!("Successfully copied 2.05kB to {}\n", at("again")?)));
    Ok(())
}

#[test]
fn archives_come_and_go_through_the_standard_streams() -> Result<()> {
    let mut test = Test::new()?;
    let (name, _dir) = places(&mut test)?;
    let mut tar = skiff_testkit::image::Tar::default();
    tar.entry("streamed", b'0', 0o644, "", b"x");
    test.run_with(&tar.finish(), &["cp", "-", &format!("{name}:/d")])?.ok();
    assert_eq!(test.in_container(&name, &["cat", "/d/streamed"])?, "x");
    let said = test.run(&["cp", &format!("{name}:/d/streamed"), "-"])?.ok();
    assert!(said.starts_with("streamed\0") && said.len() == 2048, "{said:?}");
    Ok(())
}

#[test]
fn copies_that_make_no_sense_are_refused_in_dockers_words() -> Result<()> {
    let mut test = Test::new()?;
    let (name, dir) = places(&mut test)?;
    let base = dir.path().to_str().context("not UTF-8")?;
    let daemon = "Error response from daemon:";
    for (from, to, message) in [
        ("N:/a", "other:/", "copying between containers is not supported".to_owned()),
        ("D/src/a", "D/dst", "must specify at least one container source".into()),
        ("", "N:/", "source can not be empty".into()),
        ("D/src/a", "", "destination can not be empty".into()),
        ("D/src/dir", "N:/d/f", "cannot copy directory".into()),
        ("D/src/a", "N:/nodir/", "no such directory".into()),
        ("D/src/a", "N:", "no such directory".into()),
        ("D/src/a", "N:/nodir/x", format!("{daemon} Could not find the file /nodir in container N")),
        ("D/src/a", "N:/d/f/x", format!("{daemon} extraction point is not a directory")),
        ("D/src/nope", "N:/", "lstat D/src/nope: no such file or directory".into()),
        ("N:/nope", "D/dst", format!("{daemon} Could not find the file /nope in container N")),
        ("N:/d/f", "D/dst/nodir/", "no such directory".into()),
        ("N:/d/f", "D/dst/nodir/x", "invalid output path: directory \"D/dst/nodir\" does not exist".into()),
        ("N:/d", "D/src/a", "cannot copy directory".into()),
        (
            "N:/d",
            "/dev/null",
            "invalid output path: \"/dev/null\" must be a directory or a regular file: got a device".into(),
        ),
        ("N:", "D/dst", format!("{daemon} bad parameter: pathcannot be empty")),
        ("no-such-one:/x", "D/dst", format!("{daemon} No such container: no-such-one")),
        ("-", "N:/d/f", "destination \"N:/d/f\" must be a directory".into()),
        ("-", "N:/nope", "destination \"N:/nope\" must be a directory".into()),
    ] {
        let full = |text: &str| {
            let text = text.replace("D/", &format!("{base}/"));
            text.replace("N:", &format!("{name}:")).replace("container N", &format!("container {name}"))
        };
        let said = test.run(&["cp", &full(from), &full(to)])?;
        assert_eq!(text(said), (1, full(&message) + "\n"), "{from} {to}");
    }
    let said = test.run(&["cp", "-L", &format!("{base}/src/lbad"), &format!("{name}:/")])?;
    assert_eq!(text(said), (1, format!("lstat {base}/src/nope: no such file or directory\n")));
    fs_err::os::unix::fs::symlink("d", dir.path().join("dst/ld"))?;
    let said = test.run(&["cp", "-L", &format!("{name}:/ld"), &format!("{base}/dst/")])?;
    let message = format!("cannot overwrite non-directory \"ld\" with directory \"{base}/dst\"\n");
    assert_eq!(text(said), (1, message));
    Ok(())
}

#[test]
fn changes_are_listed_exported_and_committed() -> Result<()> {
    let mut test = Test::new()?;
    let (name, dir) = places(&mut test)?;
    let diff = test.run(&["diff", &name])?.ok();
    let mut lines: Vec<&str> = diff.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A /d", "A /d/f", "A /d/sub", "A /d/sub/g", "A /ld", "A /lf", "A /ready"]);
    let archive = dir.path().join("export.tar");
    test.run(&["export", "-o", archive.to_str().context("not UTF-8")?, &name])?.ok();
    let mode = fs_err::metadata(&archive)?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(fs_err::read(&archive)?.windows(7).any(|w| w == b"d/sub/g"));
    let said = test.run(&["export", "-o", "no-such-dir/x", &name])?;
    let message =
        "failed to export container: invalid output path: stat no-such-dir: no such file or directory\n";
    assert_eq!(text(said), (1, message.to_owned()));
    let image = format!("cli-test-{}:committed", std::process::id());
    let said = test.run(&[
        "commit",
        "-m",
        "hi",
        "-a",
        "me",
        "-c",
        "CMD [\"cat\", \"/d/f\"]",
        "-p=false",
        &name,
        &image,
    ])?;
    let id = said.ok().trim_end().to_owned();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    let shown =
        test.run(&["inspect", "-f", "{{.Id}} {{.Comment}} {{.Author}} {{.Config.Cmd}}", &image])?.ok();
    assert_eq!(shown, format!("{id} hi me [cat /d/f]\n"));
    assert_eq!(test.run(&["run", "--rm", "--network", "none", &image])?.ok(), "hello\n");
    test.run(&["rmi", "-f", &image])?.ok();
    for (args, message) in [
        (
            &["commit", &name, "UPPER"][..],
            "invalid reference format: repository name (library/UPPER) must be lowercase",
        ),
        (&["commit", "no-such-one"], "Error response from daemon: No such container: no-such-one"),
        (&["commit", "-c", "RUN x", &name], "Error response from daemon: RUN is not a valid change command"),
        (&["diff", "no-such-one"], "Error response from daemon: No such container: no-such-one"),
        (&["export", "no-such-one"], "Error response from daemon: No such container: no-such-one"),
    ] {
        assert_eq!(text(test.run(args)?), (1, format!("{message}\n")), "{args:?}");
    }
    let help = test.run(&["container", "cp", "--help"])?.ok();
    assert!(help.starts_with(
        "Usage:  docker container cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- \
         CONTAINER:DEST_PATH\n\nCopy files/folders between a container and the local filesystem\n\nUse '-' as"
    ));
    Ok(())
}
