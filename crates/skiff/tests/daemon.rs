//! The daemon's own behaviour: flags, sockets, TLS, signals, and what every request has in common.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixDatagram, UnixListener, UnixStream},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use skiff_testkit::{
    Daemon,
    http::{Body, Client},
};

const SKIFF: &str = env!("CARGO_BIN_EXE_skiff");

fn start(args: &[&str]) -> Result<Daemon> {
    Daemon::start(Path::new(SKIFF), args)
}

fn validate(args: &[&str]) -> Result<Output> {
    Ok(Command::new(SKIFF).arg("daemon").arg("--validate").args(args).output()?)
}

#[test]
fn validate_says_ok_or_why_not() -> Result<()> {
    let good = validate(&["--debug", "-H", "unix:///x", "--live-restore"])?;
    assert_eq!(
        (good.status.code(), String::from_utf8(good.stdout)?.as_str()),
        (Some(0), "configuration OK\n")
    );
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("daemon.json");
    fs_err::write(&file, r#"{"debug": true, "nope": 1}"#)?;
    let file = file.to_str().context("a temporary path is text")?;
    for (args, message) in [
        (vec!["--nope"], "unknown flag: --nope\nSee 'skiff daemon --help'.\n".to_owned()),
        (vec!["--log-level", "x"], "invalid logging level: x\n".to_owned()),
        (
            vec!["--authorization-plugin", "x"],
            "the option \"authorization-plugins\" is not supported by this version of Skiff\n".to_owned(),
        ),
        (
            vec!["--config-file", file],
            format!(
                "unable to configure the Docker daemon with file {file}: the following directives don't match any \
                 configuration option: nope\n"
            ),
        ),
    ] {
        let refused = validate(&args)?;
        assert_eq!(String::from_utf8(refused.stderr)?, message);
        assert_eq!(refused.status.code(), Some(1), "{args:?}");
    }
    Ok(())
}

#[test]
fn tcp_without_client_certificates_is_refused_unless_somebody_insists() -> Result<()> {
    let open = validate(&["-H", "tcp://0.0.0.0:2375"])?;
    assert_eq!(open.status.code(), Some(1));
    assert!(String::from_utf8(open.stderr)?.contains("--tlsverify"));
    assert_eq!(validate(&["-H", "tcp://0.0.0.0:2375", "--tls=false"])?.status.code(), Some(0));
    Ok(())
}

/// Recorded from Docker 28.5.2.
#[test]
fn versions_paths_and_bodies_are_refused_in_dockers_words() -> Result<()> {
    let daemon = start(&[])?;
    let mut client = daemon.client();
    for (path, status, message) in [
        ("/v1.99/info", 400, "client version 1.99 is too new. Maximum supported API version is 1.51"),
        (
            "/v1.12/info",
            400,
            "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a \
             newer version\n",
        ),
        ("/foo", 404, "page not found"),
        ("/v1.51x/info", 404, "page not found"),
        ("/v1.51/", 404, "page not found"),
        ("/containers/json?filters=x", 400, "invalid filter"),
        ("/containers/json?limit=x", 500, "strconv.Atoi: parsing \"x\": invalid syntax"),
        ("/containers/json?all=%zz", 400, "invalid URL escape \"%zz\""),
        ("/events?since=5&until=4", 400, "`since` time (5) cannot be after `until` time (4)"),
    ] {
        let answer = client.get(path)?;
        assert_eq!((answer.status, answer.message().as_str()), (status, message), "{path}");
    }
    let moved = client.get("//containers/json?all=1")?;
    assert_eq!((moved.status, moved.header("location")), (301, Some("/containers/json?all=1")));
    for (kind, body, message) in [
        ("application/json", "", "invalid JSON: got EOF while reading request body"),
        ("application/json", "{", "invalid JSON: unexpected EOF"),
        ("application/json", "{} x", "unexpected content after JSON"),
        ("application/json", "null", "config cannot be empty in order to create a container"),
        ("text/plain", "{}", "unsupported Content-Type header (text/plain): must be 'application/json'"),
    ] {
        let answer = client.request("POST", "/containers/create", &Body::Bytes(kind, body.as_bytes()))?;
        assert_eq!((answer.status, answer.message().as_str()), (400, message), "{body}");
    }
    Ok(())
}

#[test]
fn a_body_without_end_is_cut_off() -> Result<()> {
    let daemon = start(&[])?;
    let mut stream = UnixStream::connect(daemon.socket())?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let head = "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n\
                Content-Length: 9000000000\r\n\r\n{\"Image\":\"";
    stream.write_all(head.as_bytes())?;
    let piece = [b'x'; 1 << 16];
    // The daemon stops reading long before this ends.
    let sent = (0..4096).take_while(|_| stream.write_all(&piece).is_ok()).count();
    assert!(sent < 4096);
    assert_eq!(daemon.client().get("/_ping")?.status, 200);
    Ok(())
}

#[test]
fn ping_says_who_answers() -> Result<()> {
    let daemon = start(&[])?;
    let ping = daemon.client().get("/v1.30/_ping")?;
    assert_eq!((ping.status, ping.text().as_str()), (200, "OK"));
    for (name, value) in [
        ("api-version", "1.51"),
        ("ostype", "linux"),
        ("docker-experimental", "false"),
        ("swarm", "inactive"),
        ("cache-control", "no-cache, no-store, must-revalidate"),
        ("pragma", "no-cache"),
        ("content-type", "text/plain; charset=utf-8"),
    ] {
        assert_eq!(ping.header(name), Some(value), "{name}");
    }
    assert!(ping.header("server").is_some_and(|server| server.ends_with("(linux)")));
    Ok(())
}

#[test]
fn one_daemon_at_a_time_and_a_killed_one_leaves_no_lock() -> Result<()> {
    let mut daemon = start(&[])?;
    let second = daemon
        .inside(SKIFF)
        .args(["daemon", "--host", "unix:///nonexistent.sock", "--data-root"])
        .arg(daemon.data_root())
        .arg("--exec-root")
        .arg(daemon.exec_root())
        .output()?;
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr)?;
    assert!(
        message.starts_with("failed to start daemon, ensure docker is not running or delete "),
        "{message}"
    );
    daemon.kill()?;
    daemon.start_again()
}

#[test]
fn a_reload_changes_labels_and_the_level_of_the_log() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("daemon.json");
    fs_err::write(&file, r#"{"log-level": "warn"}"#)?;
    let daemon = start(&["--config-file", file.to_str().context("a temporary path is text")?])?;
    assert!(!daemon.log_tail().contains("initialization"));
    fs_err::write(&file, r#"{"log-level": "debug", "labels": ["a=b"]}"#)?;
    signal("-HUP", daemon.pid().context("the daemon runs")?)?;
    for _ in 0..1000 {
        if daemon.log_tail().contains("configuration reloaded") {
            let info = daemon.client().get("/info")?.ok()?.json()?;
            assert_eq!((&info["Labels"], &info["Debug"]), (&json!(["a=b"]), &json!(true)));
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    anyhow::bail!("not reloaded after ten seconds: {}", daemon.log_tail())
}

fn signal(name: &str, pid: u32) -> Result<()> {
    let status = Command::new("kill").arg(name).arg(pid.to_string()).status()?;
    ensure!(status.success(), "kill {name} {pid}");
    Ok(())
}

#[test]
fn systemd_may_hold_the_socket_and_is_told_when_the_daemon_is_ready() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (socket, notify) = (dir.path().join("api.sock"), dir.path().join("notify.sock"));
    let listener = UnixListener::bind(&socket)?;
    let told = UnixDatagram::bind(&notify)?;
    told.set_read_timeout(Some(Duration::from_secs(60)))?;
    // The shell puts its own pid where systemd would: it becomes the daemon.
    let script = "exec 3<&0 0</dev/null; ip link set lo up; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
    let mut daemon = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", script, "sh", SKIFF, "daemon", "-H", "fd://"])
        .arg("--data-root")
        .arg(dir.path().join("data"))
        .arg("--exec-root")
        .arg(dir.path().join("run"))
        .env("NOTIFY_SOCKET", &notify)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .stderr(Stdio::null())
        .spawn()?;
    let outcome = (|| -> Result<()> {
        let mut state = [0; 64];
        let n = told.recv(&mut state)?;
        assert_eq!(&state[..n], b"READY=1");
        assert_eq!(Client::new(&socket).get("/_ping")?.status, 200);
        signal("-TERM", daemon.id())?;
        let n = told.recv(&mut state)?;
        assert_eq!(&state[..n], b"STOPPING=1");
        assert!(daemon.wait()?.success());
        Ok(())
    })();
    let _ = daemon.kill();
    let _ = daemon.wait();
    outcome
}

#[test]
fn tls_lets_in_only_whom_the_authority_knows() -> Result<()> {
    let dir = tempfile::tempdir()?;
    make_certificates(dir.path())?;
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (ca, certificate, key) = (file("ca.pem"), file("peer.pem"), file("peer-key.pem"));
    let daemon = start(&[
        "-H",
        "tcp://127.0.0.1:2376",
        "--tlsverify",
        "--tlscacert",
        &ca,
        "--tlscert",
        &certificate,
        "--tlskey",
        &key,
    ])?;
    let connect =
        ["s_client", "-quiet", "-verify_return_error", "-CAfile", &ca, "-connect", "127.0.0.1:2376"];
    let known = ask(&daemon, &[&connect[..], &["-cert", &certificate, "-key", &key]].concat())?;
    assert!(known.starts_with("HTTP/1.1 200 OK\r\n") && known.ends_with("\r\n\r\nOK"), "{known}");
    let stranger = ask(&daemon, &connect)?;
    assert_eq!(stranger, "");
    Ok(())
}

/// What the daemon answers to a ping through `openssl` with these arguments.
fn ask(daemon: &Daemon, args: &[&str]) -> Result<String> {
    let mut client = daemon
        .inside("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let request = b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n";
    // It may be gone already.
    let _ = client.stdin.as_mut().context("piped")?.write_all(request);
    let output = client.wait_with_output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// An authority and one certificate of it, for both ends.
fn make_certificates(dir: &Path) -> Result<()> {
    fs_err::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")?;
    for line in [
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca-key.pem -out ca.pem -days 2 -subj /CN=ca",
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout peer-key.pem -out peer.csr -subj /CN=peer",
        "x509 -req -in peer.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out peer.pem -days 2 -extfile ext",
    ] {
        let made = Command::new("openssl").args(line.split(' ')).current_dir(dir).output()?;
        ensure!(made.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&made.stderr));
    }
    Ok(())
}

/// Attached streams must work without an `Upgrade` header too: the connection is simply taken over.
#[test]
fn a_plain_post_takes_the_connection_over() -> Result<()> {
    let daemon = start(&[])?;
    daemon.import_busybox()?;
    let mut client = daemon.client();
    let body = json!({
        "Image": "busybox", "Cmd": ["cat"], "OpenStdin": true, "StdinOnce": true, "AttachStdin": true,
        "HostConfig": {"NetworkMode": "none"}
    });
    client.request("POST", "/containers/create?name=cat", &Body::Json(&body))?.ok()?;
    let mut stream = UnixStream::connect(daemon.socket())?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let request = "POST /containers/cat/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(request.as_bytes())?;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n";
    let mut got = vec![0; head.len()];
    stream.read_exact(&mut got)?;
    assert_eq!(String::from_utf8(got)?, head);
    client.request("POST", "/containers/cat/start", &Body::Empty)?.ok()?;
    stream.write_all(b"hello")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut out = Vec::new();
    stream.read_to_end(&mut out)?;
    assert_eq!(out, b"\x01\0\0\0\0\0\0\x05hello");
    Ok(())
}

#[test]
fn files_made_for_containers_do_not_depend_on_the_umask() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let binary = dir.path().join("skiff");
    fs_err::write(&binary, format!("#!/bin/sh\numask 077\nexec {SKIFF} \"$@\"\n"))?;
    fs_err::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let daemon = Daemon::start(&binary, &[])?;
    daemon.import_busybox()?;
    let source = dir.path().join("made/by/the/daemon");
    let bind = format!("{}:/data", source.display());
    let said = daemon
        .cli(&["run", "--rm", "-u", "app", "-v", &bind, "busybox", "sh", "-c"])
        .arg("cat /etc/hosts /etc/resolv.conf /etc/hostname > /dev/null && stat -c %a /data /.dockerenv")
        .output()?;
    assert_eq!(
        (String::from_utf8(said.stdout)?.as_str(), String::from_utf8(said.stderr)?.as_str()),
        ("755\n755\n", "")
    );
    Ok(())
}

/// Recorded from dockerd 28.5.2.
#[test]
fn the_default_bridge_has_the_ipv6_that_the_flags_say() -> Result<()> {
    let flags = "--ipv6 --bip 10.9.0.1/24 --bip6 2001:db8:2::5/64 --fixed-cidr-v6 2001:db8:2::100/120 --default-gateway-v6 2001:db8:2::9";
    let daemon = start(&flags.split(' ').collect::<Vec<_>>())?;
    daemon.import_busybox()?;
    let bridge = daemon.client().get("/networks/bridge")?.ok()?.json()?;
    let config = json!([
        { "Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1" },
        {
            "Subnet": "2001:db8:2::/64", "IPRange": "2001:db8:2::100/120", "Gateway": "2001:db8:2::5",
            "AuxiliaryAddresses": { "DefaultGatewayIPv6": "2001:db8:2::9" },
        },
    ]);
    assert_eq!((&bridge["EnableIPv6"], &bridge["IPAM"]["Config"]), (&json!(true), &config));
    let line = "ip -6 route | grep default; ip -6 addr show dev eth0; cat /etc/hosts";
    let words = ["run", "--rm", "--add-host", "h:host-gateway", "busybox", "sh", "-c", line];
    let told = String::from_utf8(daemon.cli(&words).output()?.stdout)?;
    for part in ["via 2001:db8:2::9", "2001:db8:2::100/64", "10.9.0.1\th\n2001:db8:2::5\th"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    let wrong = validate(&["--ipv6", "--default-gateway-v6", "10.0.0.1"])?;
    assert!(!wrong.status.success());
    Ok(())
}
