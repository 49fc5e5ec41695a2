//! `run`, `exec`, `start` and `attach`: streams and exit codes.

use std::time::Duration;

use anyhow::Result;

use super::Test;

#[test]
fn output_and_exit_code_are_the_container_s() -> Result<()> {
    let test = Test::new()?;
    let said = test.run(&[
        "run",
        "--rm",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 42",
    ])?;
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (42, "out\n", "err\n"));
    Ok(())
}

#[test]
fn input_reaches_its_end_and_output_goes_on() -> Result<()> {
    let test = Test::new()?;
    let input = vec![b'x'; 3_000_000];
    let said = test.run_with(
        &input,
        &["run", "--rm", "-i", "--network", "none", "busybox", "sh", "-c", "wc -c; echo after"],
    )?;
    assert_eq!(said.ok(), "3000000\nafter\n");
    Ok(())
}

#[test]
fn what_cannot_be_started_has_docker_s_exit_codes() -> Result<()> {
    let mut test = Test::new()?;
    for (command, code) in [("nope", 127), ("/etc", 126), ("/etc/nope", 127)] {
        let name = test.name("fail");
        let said = test.run(&["run", "--name", &name, "--network", "none", "busybox", command])?;
        assert_eq!(said.code, code, "{command}: {}", said.err);
        assert!(said.err.starts_with("docker: Error response from daemon: "), "{}", said.err);
        assert!(said.err.ends_with("\n\nRun 'docker run --help' for more information\n"), "{}", said.err);
    }
    let said = test.run(&["run", "--rm", "busybox", "--pull"])?;
    assert_eq!(said.code, 127, "what follows the image belongs to the container: {}", said.err);
    let said = test.run(&["run", "--pull", "never", "no-such-image:1"])?;
    assert_eq!(said.code, 125);
    assert!(said.err.contains("No such image: no-such-image:1"), "{}", said.err);
    Ok(())
}

#[test]
fn exec_has_streams_and_an_exit_code_of_its_own() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("exec");
    test.run(&["run", "-d", "--name", &name, "--network", "none", "busybox", "sleep", "100"])?.ok();
    let said = test.run_with(
        b"in\n",
        &["exec", "-i", "-e", "A=b", "-w", "/tmp", &name, "sh", "-c", "cat; echo $A; pwd; exit 7"],
    )?;
    assert_eq!((said.code, said.out.as_str()), (7, "in\nb\n/tmp\n"));
    let said = test.run(&["exec", "-t", &name, "tty"])?;
    assert_eq!((said.code, said.out.as_str()), (0, "/dev/pts/0\r\n"), "{}", said.err);
    let said = test.run(&["exec", "-it", &name, "true"])?;
    assert_eq!((said.code, said.err.as_str()), (1, "the input device is not a TTY\n"));
    Ok(())
}

#[test]
fn a_signal_goes_to_the_container() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("signal");
    let script = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = test
        .command(&["run", "--name", &name, "--network", "none", "busybox", "sh", "-c", script])
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line)?;
    assert_eq!(line, "ready\n");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    std::io::BufRead::read_line(&mut out, &mut line)?;
    assert_eq!(line, "ready\ngot\n");
    assert_eq!(child.wait()?.code(), Some(5));
    Ok(())
}

#[test]
fn a_stopped_container_is_started_with_its_streams() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("start");
    test.run(&["create", "-i", "--name", &name, "--network", "none", "busybox", "sh", "-c", "cat; exit 3"])?
        .ok();
    let said = test.run_with(b"hello\n", &["start", "-ai", &name])?;
    assert_eq!((said.code, said.out.as_str()), (3, "hello\n"), "{}", said.err);
    let said = test.run(&["attach", &name])?;
    assert_eq!(
        (said.code, said.err.as_str()),
        (1, "You cannot attach to a stopped container, start it first\n")
    );
    let said = test.run(&["wait", &name])?;
    assert_eq!(said.ok(), "3\n");
    Ok(())
}

#[test]
fn the_cid_file_holds_the_id_and_does_not_survive_a_failure() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("cid");
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("cid");
    let path = path.to_str().expect("text");
    let id = test
        .run(&["run", "-d", "--cidfile", path, "--name", &name, "--network", "none", "busybox", "true"])?
        .ok();
    assert_eq!(fs_err::read_to_string(path)?, id.trim_end());
    let said = test.run(&["run", "-d", "--cidfile", path, "busybox", "true"])?;
    assert!(
        said.err.contains("container ID file found, make sure the other container isn't running or delete"),
        "{}",
        said.err
    );
    let other = dir.path().join("other");
    let other = other.to_str().expect("text");
    let said = test.run(&["run", "-d", "--cidfile", other, "--name", &name, "busybox", "true"])?;
    assert_eq!(said.code, 125);
    assert!(!std::path::Path::new(other).exists());
    Ok(())
}

#[test]
fn a_reader_that_goes_away_ends_the_command() -> Result<()> {
    let test = Test::new()?;
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
    for (args, code, err) in [
        (
            &["run", "--rm", "--network", "none", "busybox", "sh", "-c", script][..],
            1,
            "write /dev/stdout: broken pipe\n",
        ),
        (&["inspect", "busybox"], 141, ""),
    ] {
        let mut command = test.command(args);
        let (read, write) = std::io::pipe()?;
        drop(read);
        let child = command.stdout(write).stderr(std::process::Stdio::piped()).spawn()?;
        // The command's own copy of the pipe's end would not matter, but it need not linger either.
        drop(command);
        let said = super::said(child.wait_with_output()?)?;
        assert_eq!((said.code, said.err.as_str()), (code, err), "{args:?}");
    }
    Ok(())
}

#[test]
fn logs_follow_until_the_end() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("logs");
    test.run(&[
        "run",
        "-d",
        "--name",
        &name,
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "echo one; echo err >&2; sleep 0.5; echo two",
    ])?
    .ok();
    let said = test.run(&["logs", "-f", &name])?;
    assert_eq!((said.out.as_str(), said.err.as_str()), ("one\ntwo\n", "err\n"));
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(test.run(&["logs", "--tail", "1", &name])?.out, "two\n");
    Ok(())
}
