//! The same on a store that others have written and that Amazon's own client library speaks to: moto, which is installed from a
//! package (`.ci/moto`).

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    super::{Client, Test, client::Response, collect::collect, digest, free_port, noise},
    LARGE, again, configuration,
    keys::without_keys,
    until,
};

/// A moto; it ends with this.
struct Moto {
    address: String,
    process: Child,
}

impl Moto {
    /// With an empty bucket `images`.
    fn start() -> Result<Self> {
        let port = free_port()?.to_string();
        let process = Command::new("moto_server")
            .args(["-H", "127.0.0.1", "-p", &port])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("moto_server: run .ci/moto")?;
        let moto = Self { address: format!("127.0.0.1:{port}"), process };
        let end = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(&moto.address).is_err() {
            ensure!(Instant::now() < end, "moto does not answer");
            thread::sleep(Duration::from_millis(50));
        }
        moto.ask("PUT", "/images")?;
        Ok(moto)
    }

    fn ask(&self, method: &str, path: &str) -> Result<Response> {
        Client::new(&self.address).request(method, path, &[], b"")?.expect(200)
    }

    /// Objects whose names begin so.
    fn objects(&self, prefix: &str) -> Result<usize> {
        let list = self.ask("GET", &format!("/images?list-type=2&prefix={prefix}"))?;
        Ok(String::from_utf8(list.body)?.matches("<Key>").count())
    }

    /// Uploads that were neither completed nor aborted, and have parts that somebody pays for.
    fn unfinished(&self) -> Result<usize> {
        let list = String::from_utf8(self.ask("GET", "/images?uploads")?.body)?;
        let text = |upload: &str, name: &str| {
            let (_, rest) = upload.split_once(&format!("<{name}>"))?;
            rest.split_once('<').map(|(text, _)| text.to_owned())
        };
        let mut unfinished = 0;
        for upload in list.split("<Upload>").skip(1) {
            let (key, id) = (text(upload, "Key"), text(upload, "UploadId"));
            let (key, id) = (key.context("a key")?, id.context("an id")?);
            let parts = self.ask("GET", &format!("/images/{key}?uploadId={id}"))?;
            unfinished += usize::from(String::from_utf8(parts.body)?.contains("<PartNumber>"));
        }
        Ok(unfinished)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A registry on a moto.
fn registry(redirect: bool, more: &[&str]) -> Result<(Moto, Test, tempfile::TempDir)> {
    let (moto, dir) = (Moto::start()?, tempfile::tempdir()?);
    let file = configuration(&moto.address, &dir.path().join("config.yml"), "/", redirect)?;
    let test = Test::ours(&[&[file.as_str(), "--auth", "none"], more].concat())?;
    Ok((moto, test, dir))
}

#[test]
fn images_go_to_a_bucket_and_come_back_whole_and_in_part() -> Result<()> {
    let (moto, mut test, _dir) = registry(false, &[])?;
    let layer = noise(LARGE);
    let manifest = test.push_image("a/b", "v1", &layer)?;
    assert_eq!((moto.objects("blobs")?, moto.unfinished()?), (3, 0));
    again(&mut test)?;
    assert_eq!(test.client.get("/v2/a/b/manifests/v1")?.expect(200)?.body, manifest);
    let blob = format!("/v2/a/b/blobs/{}", digest(&layer));
    assert_eq!(test.client.get(&blob)?.expect(200)?.body, layer);
    let part = test.client.request("GET", &blob, &[("Range", "bytes=5242870-5242890")], b"")?.expect(206)?;
    assert_eq!(part.body, layer[5_242_870..=5_242_890]);
    Ok(())
}

#[test]
fn clients_read_from_the_bucket_itself() -> Result<()> {
    let (moto, mut test, _dir) = registry(true, &[])?;
    let layer = noise(100_000);
    test.push_image("a", "v1", &layer)?;
    let sent = test.client.get(&format!("/v2/a/blobs/{}", digest(&layer)))?.expect(307)?;
    let location = sent.header("location").unwrap_or_default();
    ensure!(location.starts_with(&format!("http://{}/images/blobs/", moto.address)), "{location}");
    assert_eq!(Client::new(&moto.address).get(&sent.location()?)?.expect(200)?.body, layer);
    Ok(())
}

#[test]
fn what_is_removed_goes_from_the_bucket() -> Result<()> {
    let (moto, mut test, _dir) = registry(false, &["--gc-grace", "0", "--gc-interval", "0"])?;
    let kept = test.push_image("a", "v1", b"kept")?;
    let gone = test.push_image("a", "v2", b"gone")?;
    assert_eq!(moto.objects("blobs")?, 5);
    test.client.request("DELETE", &format!("/v2/a/manifests/{}", digest(&gone)), &[], b"")?.expect(202)?;
    collect(&test.server().root())?;
    until("three objects", || moto.objects("blobs").is_ok_and(|objects| objects == 3))?;
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, kept);
    assert_eq!(test.client.get(&format!("/v2/a/blobs/{}", digest(b"kept")))?.expect(200)?.body, b"kept");
    Ok(())
}

#[test]
fn kills_lose_nothing_that_was_acknowledged() -> Result<()> {
    let (moto, mut test, _dir) = registry(false, &[])?;
    let address = test.server().address.clone();
    for round in 0..3u64 {
        let (address, pushed) = (address.clone(), Arc::new(AtomicUsize::new(0)));
        let counted = pushed.clone();
        let pushing = thread::spawn(move || {
            let mut test = Test { client: Client::new(&address), server: None };
            let mut acknowledged = Vec::new();
            for i in 0.. {
                let name = format!("kill/r{round}-{i}");
                let layer = if i % 2 == 1 {
                    [name.as_bytes(), &noise(LARGE)].concat()
                } else {
                    name.clone().into_bytes()
                };
                match test.push_image(&name, "v1", &layer) {
                    Ok(manifest) => {
                        acknowledged.push((name, manifest, layer));
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) => break,
                }
            }
            acknowledged
        });
        // The second is large, and so is every other.
        until("a large blob was pushed", || pushed.load(Ordering::Relaxed) > 1)?;
        thread::sleep(Duration::from_millis(50 + 350 * round));
        test.server().kill()?;
        let acknowledged = pushing.join().unwrap_or_default();
        again(&mut test)?;
        assert_eq!(moto.unfinished()?, 0);
        ensure!(acknowledged.len() > 1, "{} images", acknowledged.len());
        for (name, manifest, layer) in &acknowledged {
            assert_eq!(&test.client.get(&format!("/v2/{name}/manifests/v1"))?.expect(200)?.body, manifest);
            let blob = format!("/v2/{name}/blobs/{}", digest(layer));
            assert_eq!(&test.client.get(&blob)?.expect(200)?.body, layer);
        }
    }
    Ok(())
}

#[test]
fn roles_give_keys() -> Result<()> {
    let (moto, dir) = (Moto::start()?, tempfile::tempdir()?);
    let url = format!("http://{}", moto.address);
    let token = dir.path().join("token");
    fs_err::write(&token, "a.b.c")?;
    let token = token.display().to_string();
    let machine = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str())];
    let web = [
        ("AWS_ENDPOINT_URL_STS", url.as_str()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &token),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/registry"),
    ];
    for (environment, prefix) in [(&machine[..], "machine"), (&web[..], "web")] {
        let file = without_keys(&moto.address, &dir.path().join("config.yml"), prefix, true)?;
        let mut test = Test::ours_in(&[&file, "--auth", "none"], environment)?;
        let layer = noise(LARGE);
        test.push_image("a", "v1", &layer)?;
        let sent = test.client.get(&format!("/v2/a/blobs/{}", digest(&layer)))?.expect(307)?;
        ensure!(sent.location()?.contains("X-Amz-Security-Token="), "{}", sent.location()?);
        assert_eq!(Client::new(&moto.address).get(&sent.location()?)?.expect(200)?.body, layer);
    }
    Ok(())
}
