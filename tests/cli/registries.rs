//! Images from and to registries, and who the user is to them.

use anyhow::Result;
use skiff_testkit::{
    image::{Tar, busybox},
    registry::{Registry, digest},
};

use super::{Said, Test};

/// `alice:secret`.
const ALICE: &str = "Basic YWxpY2U6c2VjcmV0";

fn layer(content: &str) -> Vec<u8> {
    let mut tar = Tar::default();
    tar.entry("file", b'0', 0o644, "", content.as_bytes());
    tar.finish()
}

impl Test {
    fn registry(&self, guarded: bool) -> Result<Registry> {
        let guard = guarded.then_some((ALICE, "Basic realm=\"here\""));
        Registry::start(self.engine.listen()?, guard)
    }
}

fn failed(said: &Said, why: &str) {
    assert_eq!((said.code, said.err.trim_end()), (1, why));
}

#[test]
fn pull_and_push_say_what_docker_says() -> Result<()> {
    let test = Test::new()?;
    let registry = test.registry(false)?;
    let manifest = registry.put_image("a", "v1", &[layer("pulled by a command line")], "amd64");
    let image = format!("{}/a:v1", registry.address());
    let top = digest(manifest.to_string().as_bytes());
    let pulled = test.run(&["pull", &image])?.ok();
    let lines: Vec<&str> = pulled.lines().collect();
    assert_eq!(lines[0], "v1: Pulling from a");
    let end =
        [format!("Digest: {top}"), format!("Status: Downloaded newer image for {image}"), image.clone()];
    assert_eq!(lines[lines.len() - 3..], end);
    assert!(lines.iter().all(|line| !line.contains("kB/")), "{pulled}");
    assert_eq!(test.run(&["pull", "-q", &image])?.ok(), format!("{image}\n"));

    let other = format!("{}/b:v2", registry.address());
    test.run(&["tag", &image, &other])?.ok();
    let pushed = test.run(&["push", &other])?.ok();
    let head = format!("The push refers to repository [{}/b]\n", registry.address());
    assert!(pushed.starts_with(&head), "{pushed}");
    assert!(pushed.lines().last().is_some_and(|line| line.starts_with("v2: digest: sha256:")), "{pushed}");
    assert_eq!(test.run(&["push", "-q", &other])?.ok(), format!("{other}\n"));
    test.run(&["rmi", &image, &other])?.ok();
    failed(
        &test.run(&["push", &other])?,
        &format!("An image does not exist locally with the tag: {}/b", registry.address()),
    );
    failed(&test.run(&["push", "-a", &other])?, "tag can't be used with --all-tags/-a");
    let absent = format!("{}/a:no", registry.address());
    let why = format!(
        "Error response from daemon: manifest for {absent} not found: manifest unknown: manifest unknown"
    );
    failed(&test.run(&["pull", &absent])?, &why);
    Ok(())
}

#[test]
fn run_pulls_an_image_that_is_not_there() -> Result<()> {
    let mut test = Test::new()?;
    let registry = test.registry(false)?;
    registry.put_image("busybox", "latest", &[busybox()?], "amd64");
    let image = format!("{}/busybox", registry.address());
    let name = test.name("pulled");
    let run = |pull: &str| {
        test.run(&[
            "run",
            "--name",
            &name,
            "--rm",
            "--network",
            "none",
            "--pull",
            pull,
            &image,
            "echo",
            "hello",
        ])
    };
    let never = run("never")?;
    assert_eq!(never.code, 125);
    assert!(
        never.err.starts_with(&format!("docker: Error response from daemon: No such image: {image}:latest")),
        "{}",
        never.err
    );
    let missing = run("missing")?;
    assert_eq!((missing.code, missing.out.as_str()), (0, "hello\n"), "{}", missing.err);
    assert!(
        missing.err.starts_with(&format!("Unable to find image '{image}:latest' locally\n")),
        "{}",
        missing.err
    );
    assert!(missing.err.contains("Status: Downloaded newer image"), "{}", missing.err);
    assert_eq!(run("missing")?, Said { code: 0, out: "hello\n".into(), err: String::new() });
    let always = run("always")?;
    assert!(always.err.contains("Status: Image is up to date"), "{}", always.err);
    test.run(&["rmi", &image])?.ok();
    Ok(())
}

#[test]
fn who_signs_in_is_known_until_he_signs_out() -> Result<()> {
    let test = Test::new()?;
    let registry = test.registry(true)?;
    registry.put_image("a", "v1", &[layer("guarded")], "amd64");
    let server = registry.address();
    let image = format!("{server}/a:v1");
    let home = tempfile::tempdir()?;
    let config = home.path().join("config.json");
    let said = |args: &[&str], input: &[u8]| {
        let mut command = test.command(args);
        command.env("DOCKER_CONFIG", home.path());
        super::run_command(command, input)
    };
    let refused = said(&["pull", &image], b"")?;
    assert!(refused.err.contains("no basic auth credentials"), "{}", refused.err);
    let wrong = said(&["login", "-u", "alice", "--password-stdin", &server], b"wrong\n")?;
    let why = format!(
        "Error response from daemon: login attempt to http://{server}/v2/ failed with status: 401 Unauthorized"
    );
    failed(&wrong, &why);
    let signed_in = said(&["login", "-u", "alice", "-p", "secret", &server], b"")?;
    assert_eq!((signed_in.code, signed_in.out.as_str()), (0, "Login Succeeded\n"));
    let warning = format!(
        "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n\n",
        config.display()
    );
    assert_eq!(signed_in.err, warning);
    let kept = format!(
        "{{\n\t\"auths\": {{\n\t\t\"{server}\": {{\n\t\t\t\"auth\": \"YWxpY2U6c2VjcmV0\"\n\t\t}}\n\t}}\n}}"
    );
    assert_eq!(fs_err::read_to_string(&config)?, kept);
    said(&["pull", "-q", &image], b"")?.ok();
    let again = said(&["login", &server], b"")?;
    assert_eq!(
        (again.out.as_str(), again.err.as_str()),
        (
            "Login Succeeded\n",
            "Authenticating with existing credentials... [Username: alice]\n\n Info -> To login with a different account, run 'docker logout' followed by 'docker login'\n\n\n"
        )
    );
    let out = said(&["logout", &server], b"")?.ok();
    assert_eq!(out, format!("Removing login credentials for {server}\n"));
    assert_eq!(fs_err::read_to_string(&config)?, "{\n\t\"auths\": {}\n}");
    for (args, why) in [
        (
            &["login", "--password-stdin", &server][..],
            "the --password-stdin option requires --username to be set",
        ),
        (
            &["login", "-u", "alice", &server],
            "Error: Cannot perform an interactive login from a non TTY device",
        ),
        (&["login", "-u", "", "-p", "x", &server], "username is empty"),
    ] {
        failed(&said(args, b"")?, why);
    }
    said(&["rmi", &image], b"")?.ok();
    Ok(())
}
