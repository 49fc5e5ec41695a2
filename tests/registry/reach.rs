//! How an engine reaches a registry that is not on loopback: TLS with an authority and
//! certificates of one's own, mirrors, proxies.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::{Daemon, image::Tar, registry::Registry};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

/// An address of documentation (RFC 5737), on the namespace's own loopback link.
const ADDRESS: &str = "192.0.2.1";
const REGISTRY: &str = "192.0.2.1:5000";

fn done(output: Output) -> Result<()> {
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Makes an authority and a certificate of it for the address, and one for who comes from there.
fn certificates(dir: &Path) -> Result<()> {
    let openssl =
        |args: &[&str]| -> Result<()> { done(Command::new("openssl").args(args).current_dir(dir).output()?) };
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority =
        ["req", "-x509", "-days", "2", "-subj", "/CN=an authority", "-keyout", "ca.key", "-out", "ca.crt"];
    openssl(&[&authority[..], &curve].concat())?;
    fs_err::write(dir.join("names"), format!("subjectAltName=IP:{ADDRESS}\n"))?;
    for (key, certificate) in [("key.pem", "cert.pem"), ("client.key", "client.cert")] {
        let request = ["req", "-subj", "/CN=somebody", "-keyout", key, "-out", "request.pem"];
        openssl(&[&request[..], &curve].concat())?;
        let sign = ["x509", "-req", "-days", "2", "-in", "request.pem", "-CA", "ca.crt", "-CAkey", "ca.key"];
        openssl(&[&sign[..], &["-CAcreateserial", "-extfile", "names", "-out", certificate]].concat())?;
    }
    Ok(())
}

/// A daemon with a /etc of its own and an address that is not loopback.
fn apart(dir: &Path) -> Result<Daemon> {
    let over = dir.join("over");
    fs_err::create_dir(&over)?;
    let daemon = Daemon::start_prepared(Path::new(env!("CARGO_BIN_EXE_skiff")), &[], |inside| {
        done(inside("ip").args(["address", "add", ADDRESS, "dev", "lo"]).output()?)?;
        done(inside("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&over).output()?)?;
        done(inside("mkdir").arg(over.join("upper")).arg(over.join("work")).output()?)?;
        let at = |sub: &str| over.join(sub).display().to_string();
        let options = format!("lowerdir=/etc,upperdir={},workdir={}", at("upper"), at("work"));
        done(inside("mount").args(["-t", "overlay", "overlay", "-o", &options, "/etc"]).output()?)
    })?;
    daemon.import_busybox()?;
    Ok(daemon)
}

/// A registry where the daemon is, that lets everybody in.
fn registry(daemon: &Daemon, address: &str, root: &Path, args: &[&str]) -> Result<Ended> {
    let child = daemon
        .inside(env!("CARGO_BIN_EXE_skiff"))
        .args(["registry", "serve", "--auth", "none", "--addr", address, "--root"])
        .arg(root)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let ended = Ended(child);
    let scheme = if args.is_empty() { "http" } else { "https" };
    let retry = ["-sSfk", "--retry", "100", "--retry-connrefused", "--retry-delay", "1"];
    done(daemon.inside("curl").args(retry).arg(format!("{scheme}://{address}/v2/")).output()?)?;
    Ok(ended)
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What an engine says of an attempt: nothing, or why not.
fn attempt(daemon: &Daemon, path: &str) -> Result<Option<String>> {
    let answer = daemon.client().post(path, &Value::Null)?;
    if answer.status >= 400 {
        return Ok(Some(answer.message()));
    }
    let lines = answer.text();
    let last: Value = serde_json::from_str(lines.lines().last().context("progress")?)?;
    Ok(last["error"].as_str().map(str::to_owned))
}

#[test]
fn authorities_and_mirrors_are_those_of_its_directory() -> Result<()> {
    let dir = tempfile::tempdir()?;
    certificates(dir.path())?;
    let daemon = apart(dir.path())?;
    let file = |name: &str| dir.path().join(name).display().to_string();
    let tls = ["--tls-cert", &file("cert.pem"), "--tls-key", &file("key.pem")];
    let _registry = registry(&daemon, REGISTRY, &dir.path().join("registry"), &tls)?;
    let image = format!("{REGISTRY}/team/app");
    daemon.client().post(&format!("/images/busybox/tag?repo={image}&tag=v1"), &Value::Null)?.ok()?;
    let push = format!("/images/{image}/push?tag=v1");
    // Nobody vouches for it yet.
    let refused = attempt(&daemon, &push)?.context("an unknown authority was trusted")?;
    assert!(refused.contains("certificate"), "{refused}");
    let place = |name: &str| format!("/etc/skiff/certs.d/{name}");
    done(daemon.inside("mkdir").arg("-p").arg(place(REGISTRY)).arg(place("images.test")).output()?)?;
    done(daemon.inside("cp").arg(file("ca.crt")).arg(place(REGISTRY)).output()?)?;
    assert_eq!(attempt(&daemon, &push)?, None);
    // A registry that is not there, and its mirror that is: the image keeps the name that was asked for.
    let hosts = format!(
        "server = \"https://images.test\"\n[host.\"https://{REGISTRY}\"]\ncapabilities = [\"pull\", \"resolve\"]\nca = \"{}\"\n",
        file("ca.crt")
    );
    fs_err::write(file("hosts.toml"), hosts)?;
    done(daemon.inside("cp").arg(file("hosts.toml")).arg(place("images.test")).output()?)?;
    assert_eq!(attempt(&daemon, "/images/create?fromImage=images.test/team/app&tag=v1")?, None);
    let seen = daemon.client().get("/images/images.test/team/app:v1/json")?.ok()?.json()?;
    let names = seen["RepoTags"].as_array().context("names")?;
    assert!(names.contains(&Value::from("images.test/team/app:v1")), "{seen}");
    Ok(())
}

#[test]
fn dockers_own_images_come_from_a_mirror() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let binary = Path::new(env!("CARGO_BIN_EXE_skiff"));
    // The first is away; nobody else is in this namespace.
    let mirrors = ["--registry-mirror", "http://127.0.0.1:9", "--registry-mirror", "http://127.0.0.1:5000"];
    let daemon = Daemon::start(binary, &mirrors)?;
    daemon.import_busybox()?;
    let _registry = registry(&daemon, "127.0.0.1:5000", &dir.path().join("registry"), &[])?;
    let image = "127.0.0.1:5000/library/mirrored";
    daemon.client().post(&format!("/images/busybox/tag?repo={image}&tag=v1"), &Value::Null)?.ok()?;
    assert_eq!(attempt(&daemon, &format!("/images/{image}/push?tag=v1"))?, None);
    daemon.client().delete(&format!("/images/{image}:v1"))?.ok()?;
    assert_eq!(attempt(&daemon, "/images/create?fromImage=mirrored&tag=v1")?, None);
    let seen = daemon.client().get("/images/mirrored:v1/json")?.ok()?.json()?;
    let digests = seen["RepoDigests"].as_array().context("digests")?;
    assert!(digests.iter().any(|d| d.as_str().is_some_and(|d| d.starts_with("mirrored@sha256:"))), "{seen}");
    Ok(())
}

#[test]
fn a_proxy_is_asked_in_the_registrys_place() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (config, binary) = (dir.path().join("daemon.json"), Path::new(env!("CARGO_BIN_EXE_skiff")));
    fs_err::write(&config, "{}")?;
    let mut daemon = Daemon::start(binary, &["--config-file", &config.display().to_string()])?;
    // It answers what a registry would: whatever address it is asked for.
    let proxy = Registry::start(daemon.listen()?, None)?;
    let mut tar = Tar::default();
    tar.entry("file", b'0', 0o644, "", b"through a proxy");
    proxy.put_image("team/app", "v1", &[tar.finish()], "amd64");
    let address = format!("http://me:hush@{}", proxy.address());
    let settings = json!({
        "http-proxy": address, "https-proxy": address, "no-proxy": "direct.test",
        "insecure-registries": ["registry.test", "direct.test"],
    });
    fs_err::write(&config, settings.to_string())?;
    daemon.kill()?;
    daemon.start_again()?;
    assert_eq!(attempt(&daemon, "/images/create?fromImage=registry.test/team/app&tag=v1")?, None);
    let asked = proxy.asked();
    // First with TLS, of which this proxy knows nothing.
    assert!(asked.iter().any(|a| (&*a.method, &*a.path) == ("CONNECT", "registry.test:443")), "{asked:?}");
    let (me, plain) = (Some("Basic bWU6aHVzaA=="), "http://registry.test/v2/");
    let pulled: Vec<_> = asked.iter().filter(|a| a.path.starts_with(plain)).collect();
    assert!(pulled.iter().any(|a| a.path.contains("/team/app/blobs/sha256:")), "{asked:?}");
    assert!(asked.iter().all(|a| a.header("proxy-authorization") == me), "{asked:?}");
    let info = daemon.client().get("/info")?.ok()?.text();
    assert!(!info.contains("hush") && !fs_err::read_to_string(daemon.log())?.contains("hush"), "{info}");
    // Who is to be reached directly is.
    assert!(attempt(&daemon, "/images/create?fromImage=direct.test/team/app&tag=v1")?.is_some());
    assert!(proxy.asked().is_empty());
    Ok(())
}

/// Takes TLS off for who shows a certificate of this authority, and passes the rest on.
async fn take_tls_off(dir: PathBuf, from: tokio::net::TcpListener, to: &str) -> Result<()> {
    let provider = Arc::new(ring::default_provider());
    let read = |name: &str| fs_err::read(dir.join(name));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&read("ca.crt")?)?)?;
    let asks = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let chain = vec![CertificateDer::from_pem_slice(&read("cert.pem")?)?];
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(asks)
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(&read("key.pem")?)?)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (socket, _) = from.accept().await?;
        let (acceptor, to) = (acceptor.clone(), to.to_owned());
        tokio::spawn(async move {
            let mut client = acceptor.accept(socket).await?;
            let mut server = tokio::net::TcpStream::connect(to).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}

#[test]
fn a_registry_that_wants_a_certificate_is_shown_the_one_of_its_directory() -> Result<()> {
    let dir = tempfile::tempdir()?;
    certificates(dir.path())?;
    let daemon = apart(dir.path())?;
    let inner = "127.0.0.1:5000";
    let _registry = registry(&daemon, inner, &dir.path().join("registry"), &[])?;
    let files = dir.path().to_owned();
    let guard = daemon.within(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind(REGISTRY))?;
        runtime.spawn(async move { take_tls_off(files, listener, inner).await });
        Ok(runtime)
    })?;
    let image = format!("{REGISTRY}/team/app");
    let tag = format!("/images/busybox/tag?repo={image}&tag=v1");
    daemon.client().post(&tag, &Value::Null)?.ok()?;
    let push = format!("/images/{image}/push?tag=v1");
    let place = format!("/etc/skiff/certs.d/{REGISTRY}");
    done(daemon.inside("mkdir").arg("-p").arg(&place).output()?)?;
    let give = |name: &str| done(daemon.inside("cp").arg(dir.path().join(name)).arg(&place).output()?);
    give("ca.crt")?;
    let refused = attempt(&daemon, &push)?.context("nobody had to show anything")?;
    assert!(refused.to_lowercase().contains("certificate"), "{refused}");
    give("client.cert")?;
    let refused = attempt(&daemon, &push)?.context("a certificate without a key was shown")?;
    assert!(refused.contains("missing key client.key for client certificate client.cert"), "{refused}");
    give("client.key")?;
    assert_eq!(attempt(&daemon, &push)?, None);
    daemon.client().delete(&format!("/images/{image}:v1"))?.ok()?;
    assert_eq!(attempt(&daemon, &format!("/images/create?fromImage={image}&tag=v1"))?, None);
    guard.shutdown_background();
    Ok(())
}
