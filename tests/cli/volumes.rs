//! `volume create`, `ls`, `inspect`, `rm`, `prune`.

use anyhow::Result;

use super::Test;

impl Test {
    /// A volume's name that no other test uses; the volume is removed in the end.
    fn volume(&mut self, stem: &str) -> String {
        let name = self.name(stem);
        self.volumes.push(name.clone());
        name
    }
}

#[test]
fn volumes_are_made_listed_and_removed() -> Result<()> {
    let mut test = Test::new()?;
    let (one, two) = (test.volume("vol"), test.volume("vol"));
    let created = test.run(&["volume", "create", "--label", "a=b", "--label", "c", &one])?.ok();
    assert_eq!(created, format!("{one}\n"));
    let options = ["-o", "type=tmpfs", "-o", "device=tmpfs", "--opt", "o=size=1m"];
    let made =
        test.run(&[&["volume", "create", "-d", "local"], &options[..], &["--name", &two]].concat())?.ok();
    assert_eq!(made, format!("{two}\n"));
    let filter = format!("name={one}");
    let ls = |more: &[&str]| -> Result<String> {
        Ok(test.run(&[&["volume", "ls", "-f", &filter], more].concat())?.ok())
    };
    assert_eq!(ls(&["-q"])?, format!("{one}\n"));
    assert_eq!(ls(&[])?, format!("DRIVER    VOLUME NAME\nlocal     {one}\n"));
    assert_eq!(ls(&["--format", "raw"])?, format!("name: {one}\ndriver: local\n\n"));
    assert_eq!(
        ls(&[
            "--format",
            "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}} {{.Label \"a\"}} {{.Links}} {{.Size}} {{.Status}}"
        ])?,
        format!("{one} local local a=b,c= b N/A N/A N/A\n")
    );
    let json = ls(&["--format", "json"])?;
    let start = r#"{"Availability":"N/A","Driver":"local","Group":"N/A","Labels":"a=b,c=","Links":"N/A","Mountpoint":""#;
    assert!(json.starts_with(start), "{json}");
    let shown = test.run(&[
        "volume",
        "inspect",
        "-f",
        "{{.Name}} {{.Driver}} {{json .Options}} {{.Labels.a}}",
        &one,
    ])?;
    assert_eq!(shown.ok(), format!("{one} local null b\n"));
    let shown = test.run(&["inspect", "--type", "volume", "-f", "{{.Options.o}}", &two])?.ok();
    assert_eq!(shown, "size=1m\n");
    let missing = test.run(&["volume", "inspect", &one, "cli-nope"])?;
    assert_eq!(missing.code, 1);
    assert!(missing.out.contains(&format!("\"Name\": \"{one}\"")), "{missing:?}");
    assert!(missing.err.contains("get cli-nope: no such volume"), "{missing:?}");

    let removed = test.run(&["volume", "rm", &one, "cli-nope", &two])?;
    assert_eq!((removed.code, removed.out), (1, format!("{one}\n{two}\n")));
    assert_eq!(removed.err, "Error response from daemon: get cli-nope: no such volume\n");
    assert_eq!(test.run(&["volume", "rm", "-f", "cli-nope"])?.ok(), "cli-nope\n");
    assert_eq!(test.run(&["volume", "ls", "-q", "-f", &format!("name={one}")])?.ok(), "");
    Ok(())
}

#[test]
fn everything_can_be_removed_as_people_learn_it() -> Result<()> {
    let mut test = Test::new()?;
    let label = test.name("label");
    for _ in 0..3 {
        let name = test.volume("many");
        test.run(&["volume", "create", "--label", &label, &name])?.ok();
    }
    let names = test.run(&["volume", "ls", "-q", "--filter", &format!("label={label}")])?.ok();
    let all: Vec<&str> = names.lines().collect();
    assert_eq!(all.len(), 3);
    assert_eq!(test.run(&[&["volume", "rm"], &all[..]].concat())?.ok(), names);

    let anonymous = test.run(&["volume", "create", "--label", &label])?.ok();
    let filter = format!("label={label}");
    let asked = test.run_with(b"n\n", &["volume", "prune", "--filter", &filter])?;
    let question = "WARNING! This will remove anonymous local volumes not used by at least one container.\nAre you sure you want to continue? [y/N] ";
    assert_eq!((asked.code, asked.out.as_str()), (0, question));
    let asked = test.run_with(b"y\n", &["volume", "prune", "--filter", &filter])?.ok();
    assert_eq!(asked, format!("{question}Deleted Volumes:\n{anonymous}\nTotal reclaimed space: 0B\n"));
    let name = test.volume("pruned");
    test.run(&["volume", "create", "--label", &label, &name])?.ok();
    let prune = |more: &[&str]| test.run(&[&["volume", "prune", "-f", "--filter", &filter], more].concat());
    assert_eq!(prune(&[])?.ok(), "Total reclaimed space: 0B\n");
    assert_eq!(prune(&["-a"])?.ok(), format!("Deleted Volumes:\n{name}\n\nTotal reclaimed space: 0B\n"));
    let both = prune(&["-a", "--filter", "all=1"])?;
    assert_eq!(
        (both.code, both.err.as_str()),
        (1, "conflicting options: cannot specify both --all and --filter all=1\n")
    );
    Ok(())
}

#[test]
fn wrong_words_are_answered_as_dockers_command_line_answers() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.volume("wrong");
    for (args, err) in [
        (
            &["volume", "create", "a", "b"][..],
            "docker: 'docker volume create' requires at most 1 argument\n\nUsage:  docker volume create [OPTIONS] [VOLUME]\n\nSRun 'docker volume create --help' for more information\n",
        ),
        (
            &["volume", "create", "--name", "ab", "cd"],
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg\n",
        ),
        (
            &["volume", "create", "-o", "foo=bar", &name],
            &format!("Error response from daemon: create {name}: invalid option: \"foo\"\n"),
        ),
        (&["volume", "ls", "-f", "nope=x"], "Error response from daemon: invalid filter 'nope'\n"),
        (
            &["volume", "rm"],
            "docker: 'docker volume rm' requires at least 1 argument\n\nUsage:  docker volume rm [OPTIONS] VOLUME [VOLUME...]\n\nSee 'docker volume rm --help' for more information\n",
        ),
    ] {
        let said = test.run(args)?;
        assert_eq!((said.code, said.err.as_str()), (1, err), "{args:?}");
    }
    test.run(&["volume", "create", &name])?.ok();
    let update = test.run(&["volume", "update", &name])?;
    assert_eq!((update.code, update.err.as_str()), (1, "can only update cluster volumes\n"));
    let help = test.run(&["volume", "--help"])?.ok();
    assert!(
        help.contains("\n  prune       Remove unused local volumes\n") && !help.contains("update"),
        "{help}"
    );
    Ok(())
}

#[test]
fn mounts_of_every_kind_are_understood() -> Result<()> {
    let mut test = Test::new()?;
    let (name, other) = (test.volume("mounts"), test.volume("mounts"));
    let run = |more: &[&str], shell: &str| {
        test.run(&[&["run", "--rm", "--network", "none"], more, &["busybox", "sh", "-c", shell]].concat())
    };
    let mount = format!(
        "type=volume,src={name},dst=/d,volume-label=k=v,volume-opt=type=tmpfs,volume-opt=device=tmpfs"
    );
    assert_eq!(run(&["--mount", &mount], "grep -c ' /d tmpfs' /proc/mounts")?.ok(), "1\n");
    let write = format!("{other}:/d");
    assert_eq!(run(&["-v", &write], "mkdir -p /d/sub/x")?.ok(), "");
    let sub = format!("src={other},dst=/d,volume-subpath=sub,ro");
    assert_eq!(run(&["--mount", &sub], "ls /d; touch /d/y 2>/dev/null || echo ro")?.ok(), "x\nro\n");
    let tmpfs = "type=tmpfs,dst=/d,tmpfs-size=1m,tmpfs-mode=1700";
    assert_eq!(run(&["--mount", tmpfs], "stat -c %a /d")?.ok(), "1700\n");
    let image = run(&["--mount", "type=image,src=busybox,dst=/i,image-subpath=etc"], "ls /i/passwd")?;
    assert_eq!((image.code, image.out.as_str()), (0, "/i/passwd\n"));
    let absent = run(&["--mount", &format!("src={other},dst=/d,volume-subpath=nope")], "true")?;
    assert_eq!(absent.code, 127);
    assert!(absent.err.starts_with("docker: Error response from daemon: cannot access path "), "{absent:?}");
    Ok(())
}
