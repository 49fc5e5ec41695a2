//! Images from and to registries, and who the user is to them.

use std::time::{Duration, Instant};

use anyhow::Result;
use skiff_testkit::{
    Engine,
    image::{Tar, busybox},
    registry::{Registry, digest},
};

use super::{Said, Test, failed};

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

/// Who wants signed images is not served without, whether the option or the environment says so. A digest says itself what it names.
#[test]
fn nobody_who_wants_signatures_goes_without() -> Result<()> {
    const WHY: &str = "Docker Content Trust is not supported by this version of skiff";
    let mut test = Test::new()?;
    let registry = test.registry(false)?;
    let manifest = registry.put_image("signed", "v1", &[busybox()?], "amd64");
    let image = format!("{}/signed:v1", registry.address());
    let exact = format!("{}/signed@{}", registry.address(), digest(manifest.to_string().as_bytes()));
    let name = test.name("signed");
    let said = |trust: &str, args: &[&str]| {
        let mut command = test.command(args);
        command.env("DOCKER_CONTENT_TRUST", trust);
        super::run_command(command, b"")
    };
    said("0", &["pull", "-q", &image])?.ok();
    said("1", &["pull", "-q", "--disable-content-trust", &image])?.ok();
    for trust in ["1", "true", "yes"] {
        for args in [&["pull", &image][..], &["push", &image], &["create", "--name", &name, &image]] {
            failed(&said(trust, args)?, WHY);
        }
        let run = said(trust, &["run", "--name", &name, &image, "true"])?;
        assert!(run.code == 125 && run.err.contains(WHY), "{run:?}");
    }
    failed(&said("", &["pull", "--disable-content-trust=false", &image])?, WHY);
    said("1", &["pull", "-q", &exact])?.ok();
    said("1", &["create", "--name", &name, &exact])?.ok();
    test.run(&["rm", &name])?.ok();
    test.run(&["rmi", &image])?.ok();
    Ok(())
}

#[test]
fn the_environment_says_who_the_user_is() -> Result<()> {
    let test = Test::new()?;
    let registry = test.registry(true)?;
    registry.put_image("environment", "v1", &[layer("guarded by a variable")], "amd64");
    let server = registry.address();
    let image = format!("{server}/environment:v1");
    let said = |auths: &str, args: &[&str]| {
        let mut command = test.command(args);
        command.env("DOCKER_AUTH_CONFIG", auths);
        super::run_command(command, b"")
    };
    let alice = format!(r#"{{"auths":{{"{server}":{{"auth":"YWxpY2U6c2VjcmV0"}}}}}}"#);
    said(&alice, &["pull", "-q", &image])?.ok();
    let wrong = said(r#"{"auths":{"a":{}}}"#, &["pull", "-q", &image])?;
    assert!(
        wrong.err.starts_with(
            "Failed to create credential store from DOCKER_AUTH_CONFIG:  DOCKER_AUTH_CONFIG environment variable is missing key `auth` for a\n"
        ) && wrong.err.contains("no basic auth credentials"),
        "{wrong:?}"
    );
    let warned = said(&alice, &["logout", &server])?;
    assert_eq!(
        (warned.code, warned.err.as_str()),
        (
            0,
            "\n Warn -> DOCKER_AUTH_CONFIG is set and takes precedence.\n         Unset DOCKER_AUTH_CONFIG to restore the CLI auth behaviour.\n         \n\n"
        )
    );
    test.run(&["rmi", &image])?.ok();
    Ok(())
}

/// What is public is there for those whose helper is missing.
#[test]
fn a_helper_that_is_missing_keeps_nobody_from_public_images() -> Result<()> {
    let test = Test::new()?;
    let registry = test.registry(false)?;
    registry.put_image("public", "v1", &[layer("without a helper")], "amd64");
    let image = format!("{}/public:v1", registry.address());
    let home = tempfile::tempdir()?;
    fs_err::write(home.path().join("config.json"), r#"{"credsStore":"nosuch"}"#)?;
    let said = |args: &[&str]| {
        let mut command = test.command(args);
        command.env("DOCKER_CONFIG", home.path());
        super::run_command(command, b"")
    };
    said(&["pull", "-q", &image])?.ok();
    let missing = |doing: &str| {
        format!(
            "error {doing} credentials - err: exec: \"docker-credential-nosuch\": executable file not found in $PATH, out: ``"
        )
    };
    failed(&said(&["push", &image])?, &missing("getting"));
    let out = said(&["logout"])?;
    let warning = format!(
        "WARNING: could not erase credentials:\nhttps://index.docker.io/v1/: {}\n",
        missing("erasing")
    );
    assert_eq!((out.code, out.err), (0, warning));
    test.run(&["rmi", &image])?.ok();
    Ok(())
}

#[test]
fn an_image_goes_from_a_guarded_registry_to_another_as_it_is() -> Result<()> {
    let test = Test::new()?;
    let (guarded, other) = (test.registry(true)?, test.registry(false)?);
    let manifest = guarded.put_image("a", "v1", &[layer(&"guarded".repeat(1000))], "amd64").to_string();
    let image = format!("{}/a:v1", guarded.address());
    let target = format!("{}/b:v1", other.address());
    let home = tempfile::tempdir()?;
    let run = |args: &[&str]| {
        let mut command = test.command(args);
        command.env("DOCKER_CONFIG", home.path());
        super::run_command(command, b"")
    };
    let sign_in = || run(&["login", "-u", "alice", "-p", "secret", &guarded.address()]);
    assert_eq!(sign_in()?.code, 0);
    run(&["pull", "-q", &image])?.ok();
    run(&["tag", &image, &target])?.ok();
    run(&["logout", &guarded.address()])?.ok();
    // Who does not know the first registry's password cannot have it sent.
    let refused = run(&["push", "--preserve-digests", &target])?;
    if std::env::var_os("SKIFF_TEST_SOCKET").is_some() {
        failed(&refused, "--preserve-digests is Skiff's own: this engine does not have it");
    } else {
        assert!(refused.code == 1 && refused.err.contains("no basic auth credentials"), "{refused:?}");
        assert_eq!(sign_in()?.code, 0);
        let pushed = run(&["push", "--preserve-digests", &target])?.ok();
        let end = format!("v1: digest: {} size: {}\n", digest(manifest.as_bytes()), manifest.len());
        assert!(pushed.ends_with(&end), "{pushed}");
    }
    run(&["rmi", &image, &target])?.ok();
    Ok(())
}

/// The story that people learn registries by. `registry:2` is in the binary; Docker would have to pull it.
#[test]
fn a_registry_is_an_image_away() -> Result<()> {
    let mut test = Test::new()?;
    if matches!(test.engine, Engine::Other(_)) {
        return Ok(());
    }
    let files = tempfile::tempdir()?;
    let hash = ["run", "--rm", "--entrypoint", "htpasswd", "registry:2", "-Bbn", "testuser", "testpassword"];
    let line = test.run(&hash)?.ok();
    assert!(line.starts_with("testuser:$2"), "{line}");
    fs_err::write(files.path().join("htpasswd"), line)?;

    let name = test.name("registry");
    let auth = format!("{}:/auth", files.path().display());
    let started = [
        &["run", "-d", "-p", "127.0.0.1:5000:5000", "--name", &name, "-v", &auth][..],
        &["-e", "REGISTRY_AUTH=htpasswd", "-e", "REGISTRY_AUTH_HTPASSWD_REALM=Registry Realm"],
        &["-e", "REGISTRY_AUTH_HTPASSWD_PATH=/auth/htpasswd", "registry:2"],
    ];
    test.run(&started.concat())?.ok();
    let config = format!("{}/config", files.path().display());
    let signed_in = |password: &str| {
        let mut command = test.command(&["login", "-u", "testuser", "--password-stdin", "127.0.0.1:5000"]);
        command.env("DOCKER_CONFIG", &config);
        super::run_command(command, password.as_bytes())
    };
    let up = Instant::now() + Duration::from_secs(120);
    let refused = loop {
        let said = signed_in("wrong")?;
        if said.err.contains("401") || Instant::now() > up {
            break said;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(refused.code == 1 && refused.err.contains("401 Unauthorized"), "{refused:?}");
    let welcome = signed_in("testpassword")?;
    assert!(welcome.code == 0 && welcome.out.contains("Login Succeeded"), "{welcome:?}");

    let image = "127.0.0.1:5000/busybox:v1";
    test.run(&["tag", "busybox", image])?.ok();
    let known = |args: &[&str]| {
        let mut command = test.command(args);
        super::said(command.env("DOCKER_CONFIG", &config).output()?)
    };
    let denied = test.run(&["push", image])?;
    assert!(denied.code == 1 && denied.err.contains("no basic auth credentials"), "{denied:?}");
    known(&["push", "-q", image])?.ok();
    test.run(&["rmi", image])?.ok();
    assert_eq!(known(&["pull", "-q", image])?.ok(), format!("{image}\n"));
    test.run(&["rmi", image])?.ok();

    let inside = |url: &str| {
        let network = format!("container:{name}");
        test.run(&["run", "--rm", "--network", &network, "busybox", "wget", "-qO-", url])
    };
    let closed = inside("http://127.0.0.1:5000/v2/_catalog")?;
    assert!(closed.code != 0 && closed.err.contains("401"), "{closed:?}");
    let catalog = inside("http://testuser:testpassword@127.0.0.1:5000/v2/_catalog")?.ok();
    assert_eq!(catalog.trim(), r#"{"repositories":["busybox"]}"#);
    let collected = ["exec", &name, "registry", "garbage-collect", "/etc/docker/registry/config.yml"];
    assert!(test.run(&collected)?.ok().starts_with("links removed: 0\n"));
    test.run(&["stop", &name])?.ok();
    let ended = test.run(&["inspect", "-f", "{{.State.ExitCode}}", &name])?.ok();
    assert_eq!(ended, "0\n", "it ends by itself when it is told to");
    Ok(())
}

/// The engine's socket and who the user is go into the container.
#[test]
fn a_container_may_use_the_engine_as_its_user_does() -> Result<()> {
    let test = Test::new()?;
    let home = tempfile::tempdir()?;
    let auths =
        serde_json::json!({ "auths": { "r.example": { "auth": "YWxpY2U6c2VjcmV0" }, "empty.example": {} } });
    fs_err::write(home.path().join("config.json"), auths.to_string())?;
    let config = home.path().to_str().unwrap_or_default();
    let look = "cat $DOCKER_CONFIG/config.json; echo; stat -c '%a %u %n' $DOCKER_CONFIG/config.json; \
                test -S /var/run/docker.sock && echo socket";
    let run = ["--config", config, "run", "--rm", "--use-api-socket"];
    let said = test.run(&[&run[..], &["busybox", "sh", "-c", look]].concat())?.ok();
    let expected = "{\"auths\":{\"r.example\":{\"auth\":\"YWxpY2U6c2VjcmV0\"}}}\n\
                    600 0 /run/secrets/docker/config.json\nsocket\n";
    assert_eq!(said, expected);
    // Who says where the configuration is has it there.
    let own = ["-e", "DOCKER_CONFIG=/own", "busybox", "sh", "-c", "echo $DOCKER_CONFIG; ls /run/secrets"];
    let said = test.run(&[&run[..], &own].concat())?;
    assert_eq!((said.code, said.out.as_str()), (1, "/own\n"));
    Ok(())
}
