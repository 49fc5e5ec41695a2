//! `stats`, `system df`, the prune commands, `explain`.

use anyhow::Result;

use super::Test;

/// A sleeping container with a label that no other test uses; its name.
fn sleeping(test: &mut Test, label: &str) -> Result<String> {
    let name = test.name("watch");
    let args = ["run", "-d", "--name", &name, "-l", label, "--network", "none", "busybox", "sleep", "100"];
    test.run(&args)?.ok();
    Ok(name)
}

#[test]
fn stats_are_a_table_or_whatever_the_template_says() -> Result<()> {
    let mut test = Test::new()?;
    let name = sleeping(&mut test, "stats")?;
    let table = test.run(&["stats", "--no-stream", &name])?.ok();
    let mut lines = table.lines();
    let header = "CONTAINER ID   NAME";
    assert!(
        lines.next().is_some_and(|line| line.starts_with(header) && line.ends_with("BLOCK I/O   PIDS")),
        "{table}"
    );
    assert!(lines.next().is_some_and(|line| line.contains(&name) && line.ends_with('1')), "{table}");
    let line = test
        .run(&["stats", "--no-stream", "--format", "{{.Name}} {{.Container}} {{.PIDs}} {{.NetIO}}", &name])?
        .ok();
    assert_eq!(line, format!("{name} {name} 1 0B / 0B\n"));
    let said = test.run(&["stats", "--no-stream", "cli-none"])?;
    assert_eq!(
        (said.code, said.err.as_str()),
        (1, "Error response from daemon: No such container: cli-none\n")
    );
    Ok(())
}

#[test]
fn a_prune_asks_first_and_tells_what_is_gone() -> Result<()> {
    let mut test = Test::new()?;
    let label = format!("prune{}", std::process::id());
    let name = sleeping(&mut test, &label)?;
    test.run(&["kill", &name])?.ok();
    let filter = format!("label={label}");
    let asked = test.run_with(b"n\n", &["container", "prune", "--filter", &filter])?;
    assert_eq!(
        (asked.code, asked.out.as_str()),
        (0, "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ")
    );
    let id = test.run(&["inspect", "-f", "{{.Id}}", &name])?.ok();
    let gone = test.run(&["container", "prune", "-f", "--filter", &filter])?.ok();
    assert_eq!(gone, format!("Deleted Containers:\n{id}\nTotal reclaimed space: 0B\n"));
    let nothing = test.run(&["container", "prune", "-f", "--filter", &filter])?.ok();
    assert_eq!(nothing, "Total reclaimed space: 0B\n");
    assert_eq!(test.run(&["image", "prune", "-f", "--filter", &filter])?.ok(), "Total reclaimed space: 0B\n");
    let said = test.run(&["system", "prune", "--volumes", "--filter", "until=1h"])?;
    assert_eq!(
        (said.code, said.err.as_str()),
        (1, "ERROR: The \"until\" filter is not supported with \"--volumes\"\n")
    );
    Ok(())
}

#[test]
fn usage_is_told_by_kind() -> Result<()> {
    let test = Test::new()?;
    let kinds = test.run(&["system", "df", "--format", "{{.Type}}"])?.ok();
    assert_eq!(kinds, "Images\nContainers\nLocal Volumes\nBuild Cache\n");
    let table = test.run(&["system", "df"])?.ok();
    assert!(table.starts_with("TYPE            TOTAL     ACTIVE    SIZE"), "{table}");
    let verbose = test.run(&["system", "df", "-v"])?.ok();
    for head in [
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "Build cache usage: 0B",
    ] {
        assert!(verbose.contains(head), "{verbose}");
    }
    Ok(())
}

#[test]
fn why_a_container_ended_is_told_in_sentences() -> Result<()> {
    let mut test = Test::new()?;
    let name = sleeping(&mut test, "explain")?;
    let running = test.run(&["explain", &name])?.ok();
    assert!(running.starts_with(&name) && running.contains(" runs since "), "{running}");
    test.run(&["stop", "-t", "0", &name])?.ok();
    let stopped = test.run(&["explain", &name])?.ok();
    assert!(stopped.contains(" with exit code 137.\n"), "{stopped}");
    assert!(stopped.contains("It was killed by SIGKILL (128 + 9)"), "{stopped}");
    assert!(stopped.contains("Somebody stopped it through the engine: SIGTERM "), "{stopped}");
    Ok(())
}
