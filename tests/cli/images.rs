//! Images in and out.

use anyhow::Result;

use super::Test;

#[test]
fn an_image_is_imported_tagged_saved_removed_and_loaded() -> Result<()> {
    let test = Test::new()?;
    let (first, second) =
        (format!("cli-test-{}:a", std::process::id()), format!("cli-test-{}:b", std::process::id()));
    let tar = skiff_testkit::image::busybox()?;
    let said =
        test.run_with(&tar, &["import", "-c", "CMD [\"/bin/busybox\"]", "-m", "from a test", "-", &first])?;
    let id = said.ok().trim_end().to_owned();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(test.run(&["images", "-q", "--no-trunc", &first])?.ok().trim_end(), id);
    let history = test.run(&["history", "--format", "{{.Comment}}", &first])?.ok();
    assert_eq!(history, "from a test\n");
    test.run(&["tag", &first, &second])?.ok();

    let dir = tempfile::tempdir()?;
    let archive = dir.path().join("image.tar");
    let archive = archive.to_str().expect("text");
    test.run(&["save", "-o", archive, &first, &second])?.ok();
    let removed = test.run(&["rmi", &first, &second])?.ok();
    assert!(
        removed.starts_with(&format!("Untagged: {first}\nUntagged: {second}\nDeleted: {id}\n")),
        "{removed}"
    );
    let said = test.run(&["inspect", "--type", "image", &first])?;
    assert_eq!((said.code, said.out.as_str()), (1, "[]\n"));

    let loaded = test.run(&["load", "-i", archive])?.ok();
    let mut lines: Vec<&str> = loaded.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, [format!("Loaded image: {first}"), format!("Loaded image: {second}")]);
    assert_eq!(
        test.run(&["inspect", "-f", "{{.Id}} {{.Config.Cmd}}", &second])?.ok(),
        format!("{id} [/bin/busybox]\n")
    );
    test.run(&["rmi", "-f", &first, &second])?.ok();
    Ok(())
}

#[test]
fn wrong_names_are_refused_before_anything_is_sent() -> Result<()> {
    let test = Test::new()?;
    let said = test.run(&["tag", "busybox", "UPPER"])?;
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            1,
            "Error parsing reference: \"UPPER\" is not a valid repository/tag: invalid reference format: repository name (library/UPPER) must be lowercase\n"
        )
    );
    let said = test.run(&["load", "-i", "/no/such/file"])?;
    assert_eq!((said.code, said.err.as_str()), (1, "open /no/such/file: no such file or directory\n"));
    let said = test.run(&["rmi", "no-such-image"])?;
    assert_eq!(
        (said.code, said.err.as_str()),
        (1, "Error response from daemon: No such image: no-such-image:latest\n")
    );
    Ok(())
}

#[test]
fn images_are_a_tree() -> Result<()> {
    let test = Test::new()?;
    let name = format!("cli-tree-{}:a", std::process::id());
    let tar = skiff_testkit::image::busybox()?;
    let id = test.run_with(&tar, &["import", "-", &name])?.ok();
    let shown = test.run(&["images", "--tree", &name])?.ok();
    let row = shown.lines().last().unwrap_or_default();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!((words.len(), words[0], words[1]), (4, name.as_str(), &id[7..19]), "{shown}");
    let mut history = test.command(&["history", "-q", &name]);
    // Only what makes or pulls something goes by it.
    history.env("DOCKER_DEFAULT_PLATFORM", "linux/riscv64");
    assert_eq!(super::run_command(history, b"")?.ok().lines().count(), 1);
    let mut nameless = skiff_testkit::image::Tar::default();
    nameless.entry("name", b'0', 0o644, "", name.as_bytes());
    let nameless = test.run_with(&nameless.finish(), &["import", "-"])?.ok();
    let nameless = nameless.trim_end();
    for (all, shown) in [(&[][..], false), (&["--all"], true)] {
        let args = [&["images", "--tree"], all].concat();
        assert_eq!(test.run(&args)?.ok().contains(&nameless[7..19]), shown, "{all:?}");
    }
    test.run(&["rmi", nameless])?.ok();
    let said = test.run(&["images", "--tree", "-q"])?;
    assert_eq!((said.code, said.err.as_str()), (1, "--quiet is not yet supported with --tree\n"));
    test.run(&["rmi", &name])?.ok();
    Ok(())
}
