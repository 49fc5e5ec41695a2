//! Images: what every parameter does. The details of commit, import and registries have tests of their own.

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use serde_json::{Value, json};
use skiff_testkit::{
    http::{Body, Client},
    image::Tar,
    registry::{OCI_INDEX, Registry, answer, digest},
};

use super::requests::{Check, filtered, get, length};
use crate::Test;

pub(super) const CHECKS: &[Check] = &[
    ("GET /images/json", &["all", "filters", "shared-size", "manifests"], list),
    (
        "POST /images/create",
        &["fromImage", "fromSrc", "repo", "tag", "message", "X-Registry-Auth", "changes", "platform"],
        create,
    ),
    ("GET /images/{name}/json", &["manifests", "platform"], inspect),
    ("GET /images/{name}/history", &["platform"], history),
    ("POST /images/{name}/push", &["tag", "platform", "X-Registry-Auth"], push),
    ("POST /images/{name}/tag", &["repo", "tag"], tag),
    ("DELETE /images/{name}", &["force", "noprune", "platforms"], remove),
    ("GET /images/search", &["term", "limit", "filters"], search),
    ("POST /images/prune", &["filters"], prune),
    ("POST /commit", &["container", "repo", "tag", "comment", "author", "pause", "changes"], commit),
    ("POST /commit", CONFIGURED, configured),
    ("GET /images/{name}/get", &["platform"], save),
    ("GET /images/get", &["names", "platform"], save),
    ("POST /images/load", &["quiet", "platform"], load),
    ("GET /distribution/{name}/json", &[], distribution),
];

const CONFIGURED: &[&str] = &[
    ".Hostname",
    ".Domainname",
    ".User",
    ".AttachStdin",
    ".AttachStdout",
    ".AttachStderr",
    ".ExposedPorts.*",
    ".Tty",
    ".OpenStdin",
    ".StdinOnce",
    ".Env[]",
    ".Cmd[]",
    ".Healthcheck.Test[]",
    ".Healthcheck.Interval",
    ".Healthcheck.Timeout",
    ".Healthcheck.Retries",
    ".Healthcheck.StartPeriod",
    ".Healthcheck.StartInterval",
    ".ArgsEscaped",
    ".Image",
    ".Volumes.*",
    ".WorkingDir",
    ".Entrypoint[]",
    ".NetworkDisabled",
    ".MacAddress",
    ".OnBuild[]",
    ".Labels.*",
    ".StopSignal",
    ".StopTimeout",
    ".Shell[]",
];

/// `{"os":"linux","architecture":…}`, encoded for a query.
fn platform(architecture: &str) -> String {
    format!("%7B%22os%22:%22linux%22,%22architecture%22:%22{architecture}%22%7D")
}

/// A configuration that has everything an image's may have.
fn everything() -> Value {
    json!({
        "Hostname": "h", "Domainname": "d.example", "User": "1:2", "AttachStdin": true, "AttachStdout": true,
        "AttachStderr": true, "ExposedPorts": { "7/tcp": {} }, "Tty": true, "OpenStdin": true, "StdinOnce": true,
        "Env": ["A=walk"], "Cmd": ["c"], "ArgsEscaped": true, "Image": "busybox", "Volumes": { "/v": {} },
        "Healthcheck": {
            "Test": ["CMD", "true"], "Interval": 2_000_000_000, "Timeout": 3_000_000_000u64, "Retries": 4,
            "StartPeriod": 5_000_000_000u64, "StartInterval": 6_000_000_000u64,
        },
        "WorkingDir": "/w", "Entrypoint": ["e"], "NetworkDisabled": true, "MacAddress": "02:00:00:00:00:07",
        "OnBuild": ["RUN x"], "Labels": { "walk": "label" }, "StopSignal": "SIGINT", "StopTimeout": 7, "Shell": ["sh"],
    })
}

/// The tar of a layer that nobody else has.
fn tar(content: &str) -> Vec<u8> {
    let mut tar = Tar::default();
    tar.entry("file", b'0', 0o644, "", content.as_bytes());
    tar.finish()
}

/// Makes an image of its own; its name.
fn imported(test: &mut Test, stem: &str, more: &str) -> Result<String> {
    let name = test.name(stem);
    let tar = tar(&name);
    let path = format!("/images/create?fromSrc=-&repo={name}&tag=v1{more}");
    test.client.request("POST", &path, &Body::Bytes("application/x-tar", &tar))?.ok()?;
    test.images.push(format!("{name}:v1"));
    Ok(format!("{name}:v1"))
}

fn with_credentials(test: &Test) -> Client {
    let pair = json!({ "username": "walker", "password": "secret" }).to_string();
    test.engine.client().with_header("X-Registry-Auth", &URL_SAFE.encode(pair))
}

/// A registry with an index: an image for amd64 with an attestation, one for s390x, and one that nobody can run. Its name
/// there, with a tag.
pub(super) fn published(test: &mut Test, registry: &Registry) -> Result<String> {
    let name = test.name("published");
    let mut entries = Vec::new();
    let platforms = [("amd64", "v1", &[][..]), ("s390x", "", &[]), ("riscv64", "", &["f"])];
    for (architecture, variant, features) in platforms {
        let layers = [tar(&format!("{name} {architecture}"))];
        let manifest = registry.put_image(&name, architecture, &layers, architecture).to_string();
        entries.push(json!({
            "mediaType": skiff_testkit::registry::MANIFEST, "digest": digest(manifest.as_bytes()), "size": manifest.len(),
            "platform": {
                "architecture": architecture, "os": "linux", "variant": variant, "os.version": "1", "os.features": features,
            },
            "urls": ["http://127.0.0.1:1/x"], "annotations": { "a": "b" }, "data": "e30=", "artifactType": "a/b",
        }));
    }
    let attested = entries[0]["digest"].clone();
    let blob = registry.put_blob(&name, b"{}");
    let part = json!({ "mediaType": "application/vnd.in-toto+json", "digest": blob, "size": 2 });
    let attestation = json!({
        "schemaVersion": 2, "mediaType": skiff_testkit::registry::OCI_MANIFEST, "config": part, "layers": [part],
    })
    .to_string();
    registry.put_manifest(&name, "a", skiff_testkit::registry::OCI_MANIFEST, attestation.as_bytes());
    entries.push(json!({
        "mediaType": skiff_testkit::registry::OCI_MANIFEST, "digest": digest(attestation.as_bytes()),
        "size": attestation.len(), "platform": { "architecture": "unknown", "os": "unknown" },
        "annotations": {
            "vnd.docker.reference.digest": attested, "vnd.docker.reference.type": "attestation-manifest",
        },
    }));
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries }).to_string();
    registry.put_manifest(&name, "v1", OCI_INDEX, index.as_bytes());
    let image = format!("{}/{name}:v1", registry.address());
    test.images.push(image.clone());
    Ok(image)
}

/// Pulls as the walker.
pub(super) fn pull(test: &mut Test, image: &str, more: &str) -> Result<()> {
    let (name, tag) = image.rsplit_once(':').context("a tag")?;
    let path = format!("/images/create?fromImage={name}&tag={tag}{more}");
    let told = with_credentials(test).post(&path, &Value::Null)?.ok()?.text();
    ensure!(told.contains("Status: Downloaded newer image"), "{told}");
    Ok(())
}

/// Whether this is Skiff, wherever it was started.
fn is_ours(test: &mut Test) -> Result<bool> {
    Ok(get(test, "/version")?["Platform"]["Name"] == "Skiff Engine")
}

fn list(test: &mut Test) -> Result<()> {
    let name = imported(test, "walk-list", "&changes=CMD%20x")?;
    let mine = json!({ "reference": [name] });
    let shown = get(test, &filtered("/images/json?", &mine))?;
    assert_eq!((length(&shown), &shown[0]["SharedSize"]), (1, &json!(-1)));
    let shown = get(test, &filtered("/images/json?shared-size=1&", &mine))?;
    assert_eq!(shown[0]["SharedSize"], 0);
    // What an image was made from is shown with all of them, if it has no name of its own.
    let body = json!({ "Image": name, "Cmd": ["x"] });
    let container = test.create(&body)?;
    let child = test.name("walk-child");
    let made = format!("/commit?container={container}&repo={child}&tag=v1");
    test.client.post(&made, &Value::Null)?.ok()?;
    test.images.push(format!("{child}:v1"));
    test.client.delete(&format!("/containers/{container}"))?.ok()?;
    let parent = shown[0]["Id"].clone();
    test.client.delete(&format!("/images/{name}"))?.ok()?;
    let mut among = |path: &str| -> Result<bool> {
        let list = get(test, path)?;
        Ok(list.as_array().is_some_and(|list| list.iter().any(|image| image["Id"] == parent)))
    };
    assert!(!among("/images/json")? && among("/images/json?all=1")?);
    let registry = super::answers::guarded(test)?;
    let image = published(test, &registry)?;
    pull(test, &image, "")?;
    let path = filtered("/images/json?manifests=1&", &json!({ "reference": [image] }));
    let manifests = get(test, &path)?[0]["Manifests"].clone();
    assert_eq!(manifests.is_null(), !is_ours(test)?, "{manifests}");
    Ok(())
}

fn create(test: &mut Test) -> Result<()> {
    let name = imported(test, "walk-create", "&message=walked&changes=ENV%20A%3Db&platform=linux/s390x")?;
    let seen = get(test, &format!("/images/{name}/json"))?;
    let shown = (&seen["Comment"], &seen["Config"]["Env"], &seen["Architecture"]);
    assert_eq!(shown, (&json!("walked"), &json!(["A=b"]), &json!("s390x")));
    let registry = super::answers::guarded(test)?;
    let image = published(test, &registry)?;
    let (path, _) = image.rsplit_once(':').context("a tag")?;
    let refused = test.client.post(&format!("/images/create?fromImage={path}&tag=v1"), &Value::Null)?;
    assert!(refused.message().contains("no basic auth credentials"), "{}", refused.message());
    pull(test, &image, "&platform=linux/s390x")?;
    assert_eq!(get(test, &format!("/images/{image}/json"))?["Architecture"], "s390x");
    Ok(())
}

fn inspect(test: &mut Test) -> Result<()> {
    let registry = super::answers::guarded(test)?;
    let image = published(test, &registry)?;
    pull(test, &image, "")?;
    let path = format!("/images/{image}/json");
    assert!(get(test, &path)?.get("Manifests").is_none());
    let manifests = get(test, &format!("{path}?manifests=1"))?["Manifests"].clone();
    assert_eq!(manifests.is_null(), !is_ours(test)?, "{manifests}");
    assert_eq!(get(test, &format!("{path}?platform={}", platform("amd64")))?["Os"], "linux");
    assert_eq!(test.client.get(&format!("{path}?platform={}", platform("s390x")))?.status, 404);
    Ok(())
}

fn history(test: &mut Test) -> Result<()> {
    let name = imported(test, "walk-history", "&message=walked")?;
    let path = format!("/images/{name}/history");
    assert_eq!(get(test, &format!("{path}?platform={}", platform("amd64")))?[0]["Comment"], "walked");
    assert_eq!(test.client.get(&format!("{path}?platform={}", platform("s390x")))?.status, 404);
    Ok(())
}

fn push(test: &mut Test) -> Result<()> {
    let registry = super::answers::guarded(test)?;
    let name = imported(test, "walk-push", "")?;
    let to = format!("{}/{}", registry.address(), test.name("pushed"));
    test.client.post(&format!("/images/{name}/tag?repo={to}&tag=v2"), &Value::Null)?.ok()?;
    test.images.push(format!("{to}:v2"));
    let mut walker = with_credentials(test);
    let mut send = |path: &str| -> Result<String> { Ok(walker.post(path, &Value::Null)?.text()) };
    let refused = send(&format!("/images/{to}/push?tag=v2&platform={}", platform("s390x")))?;
    assert!(refused.contains("does not match the specified platform"), "{refused}");
    let pushed = send(&format!("/images/{to}/push?tag=v2&platform={}", platform("amd64")))?;
    assert!(pushed.contains("v2: digest: sha256:"), "{pushed}");
    let anonymous = test.client.post(&format!("/images/{to}/push?tag=v2"), &Value::Null)?.text();
    assert!(anonymous.contains("no basic auth credentials"), "{anonymous}");
    Ok(())
}

fn tag(test: &mut Test) -> Result<()> {
    let name = imported(test, "walk-tag", "")?;
    let other = test.name("walk-tagged");
    let tag = format!("/images/{name}/tag?repo={other}&tag=v2");
    assert_eq!(test.client.post(&tag, &Value::Null)?.status, 201);
    let expected = json!([name, format!("{other}:v2")]);
    assert_eq!(get(test, &format!("/images/{other}:v2/json"))?["RepoTags"], expected);
    Ok(())
}

fn remove(test: &mut Test) -> Result<()> {
    let name = imported(test, "walk-remove", "&changes=CMD%20x")?;
    let delete = |test: &mut Test, name: &str, more: &str| {
        test.client.delete(&format!("/images/{name}?{more}")).map(|answer| answer.status)
    };
    assert_eq!(delete(test, &name, &format!("platforms={}", platform("s390x")))?, 404);
    let both = format!("platforms={}&platforms={}", platform("amd64"), platform("s390x"));
    assert_eq!(delete(test, &name, &both)?, 400);
    let container = test.create(&json!({ "Image": name }))?;
    assert_eq!(delete(test, &name, "")?, 409);
    // A parent without a name goes with its last child, unless it is to stay.
    for (more, stays) in [("noprune=1", true), ("", false)] {
        let parent = imported(test, "walk-parent", "&changes=CMD%20x")?;
        let id = get(test, &format!("/images/{parent}/json"))?["Id"].as_str().context("no Id")?.to_owned();
        let container = test.create(&json!({ "Image": parent }))?;
        let child = test.name("walk-child");
        test.client.post(&format!("/commit?container={container}&repo={child}"), &Value::Null)?.ok()?;
        test.client.delete(&format!("/containers/{container}"))?.ok()?;
        assert_eq!(delete(test, &parent, "")?, 200);
        assert_eq!(delete(test, &child, more)?, 200);
        assert_eq!(test.client.get(&format!("/images/{id}/json"))?.status == 200, stays, "{more:?}");
        delete(test, &id, "force=1")?;
    }
    let amd64 = format!("force=1&platforms={}", platform("amd64"));
    assert_eq!(delete(test, &name, &amd64)?, 200);
    test.client.delete(&format!("/containers/{container}"))?.ok()?;
    Ok(())
}

/// A registry that finds two repositories, an official one among them.
pub(super) fn index(test: &Test) -> Result<Registry> {
    let registry = Registry::start(test.engine.listen()?, None)?;
    registry.hook(|asked, out| {
        if !asked.path.contains("/v1/search") {
            return Ok(false);
        }
        let found = json!({ "num_results": 2, "results": [
            { "name": "walked", "description": "on foot", "is_official": true, "is_automated": false, "star_count": 9 },
            { "name": "a/walked", "description": "", "is_official": false, "is_automated": false, "star_count": 1 },
        ]});
        answer(out, "200 OK", &[("Content-Type", "application/json")], found.to_string().as_bytes())?;
        Ok(true)
    });
    Ok(registry)
}

fn search(test: &mut Test) -> Result<()> {
    let registry = index(test)?;
    let path = format!("/images/search?term={}/walk", registry.address());
    assert_eq!(length(&get(test, &path)?), 2);
    assert_eq!(length(&get(test, &format!("{path}&limit=7"))?), 2);
    let asked = registry.asked();
    assert!(asked.iter().any(|a| a.path.contains("q=walk")), "{asked:?}");
    assert!(asked.iter().any(|a| a.path.contains("n=7")), "{asked:?}");
    let official = filtered(&format!("{path}&"), &json!({ "is-official": ["true"] }));
    assert_eq!(get(test, &official)?[0]["name"], "walked");
    assert_eq!(length(&get(test, &official)?), 1);
    assert_eq!(test.client.get(&format!("{path}&limit=1000"))?.status, 400);
    Ok(())
}

fn prune(test: &mut Test) -> Result<()> {
    let label = test.name("label");
    let name = imported(test, "walk-prune", &format!("&changes=LABEL%20{label}%3Dx"))?;
    let id = get(test, &format!("/images/{name}/json"))?["Id"].clone();
    let wanted = json!({ "label": [label], "dangling": ["false"] });
    let other = json!({ "label": ["no-such-label"], "dangling": ["false"] });
    let pruned = test.client.post(&filtered("/images/prune?", &other), &Value::Null)?.ok()?.json()?;
    assert_eq!(pruned["ImagesDeleted"], Value::Null);
    let pruned = test.client.post(&filtered("/images/prune?", &wanted), &Value::Null)?.ok()?.json()?;
    let removed = pruned["ImagesDeleted"].as_array().context("nothing was removed")?;
    assert!(removed.iter().any(|step| step["Deleted"] == id), "{pruned}");
    Ok(())
}

fn commit(test: &mut Test) -> Result<()> {
    let id = test.create(&Test::body(&["true"]))?;
    let name = test.name("walk-commit");
    let query = format!("container={id}&repo={name}&tag=v3&comment=said&author=me&pause=0&changes=USER%20u");
    test.client.post(&format!("/commit?{query}"), &Value::Null)?.ok()?;
    test.images.push(format!("{name}:v3"));
    let seen = get(test, &format!("/images/{name}:v3/json"))?;
    assert_eq!(
        (&seen["Comment"], &seen["Author"], &seen["Config"]["User"]),
        (&json!("said"), &json!("me"), &json!("u"))
    );
    Ok(())
}

/// The whole configuration is in the image, also what `inspect` does not show any more.
fn configured(test: &mut Test) -> Result<()> {
    let id = test.create(&Test::body(&["true"]))?;
    let name = test.name("walk-configured");
    let wanted = everything();
    test.client.post(&format!("/commit?container={id}&repo={name}&tag=v1"), &wanted)?.ok()?;
    test.images.push(format!("{name}:v1"));
    let archive = test.client.get(&format!("/images/{name}:v1/get"))?.ok()?.body;
    let text = String::from_utf8_lossy(&archive);
    let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (mut all, check) = (object(&wanted), object(&wanted["Healthcheck"]));
    all.remove("Healthcheck");
    for (key, value) in all.into_iter().chain(check) {
        // Its environment comes before the container's.
        let value = value.to_string();
        let value = if key == "Env" { value.trim_end_matches(']').to_owned() } else { value };
        ensure!(text.contains(&format!("\"{key}\":{value}")), "{key}: {value} is not in the configuration");
    }
    Ok(())
}

fn save(test: &mut Test) -> Result<()> {
    let (one, two) = (imported(test, "walk-save", "")?, imported(test, "walk-saved", "")?);
    let amd64 = platform("amd64");
    let single = test.client.get(&format!("/images/{one}/get?platform={amd64}"))?.ok()?.body;
    let both = test.client.get(&format!("/images/get?names={one}&names={two}&platform={amd64}"))?.ok()?.body;
    let has = |archive: &[u8], name: &str| String::from_utf8_lossy(archive).contains(&format!("\"{name}\""));
    assert!(has(&single, &one) && !has(&single, &two) && has(&both, &one) && has(&both, &two));
    for path in [format!("/images/{one}/get?"), format!("/images/get?names={one}&")] {
        let other = test.client.get(&format!("{path}platform={}", platform("s390x")))?;
        assert!(other.status >= 400, "{path}: {}", other.status);
    }
    Ok(())
}

fn load(test: &mut Test) -> Result<()> {
    let name = imported(test, "walk-load", "")?;
    let archive = test.client.get(&format!("/images/{name}/get"))?.ok()?.body;
    test.client.delete(&format!("/images/{name}"))?.ok()?;
    let mut load = |more: &str| -> Result<String> {
        let path = format!("/images/load?{more}");
        Ok(test.client.request("POST", &path, &Body::Bytes("application/x-tar", &archive))?.text())
    };
    assert!(!load(&format!("platform={}", platform("s390x")))?.contains("Loaded image"));
    let told = load(&format!("quiet=0&platform={}", platform("amd64")))?;
    assert!(told.contains("Loaded image") && told.contains("progressDetail"), "{told}");
    let quiet = load("quiet=1")?;
    assert!(quiet.contains("Loaded image") && !quiet.contains("progressDetail"), "{quiet}");
    Ok(())
}

fn distribution(test: &mut Test) -> Result<()> {
    let registry = super::answers::guarded(test)?;
    let image = published(test, &registry)?;
    let seen = with_credentials(test).get(&format!("/distribution/{image}/json"))?.ok()?.json()?;
    assert_eq!(seen["Descriptor"]["mediaType"], OCI_INDEX);
    assert_eq!(length(&seen["Platforms"]), 4);
    Ok(())
}

/// Answers that have what images may have.
impl super::answers::Collector<'_> {
    pub(super) fn images(&mut self) -> Result<()> {
        let registry = super::answers::guarded(self.test)?;
        let image = published(self.test, &registry)?;
        pull(self.test, &image, "")?;
        let container = self.test.create(&json!({ "Image": image, "Cmd": ["x"] }))?;
        self.get("GET /images/json", "/images/json?manifests=1&all=1")?;
        self.get("GET /images/{name}/json", &format!("/images/{image}/json?manifests=1"))?;
        let seen = with_credentials(self.test).get(&format!("/distribution/{image}/json"))?.ok()?.json()?;
        self.note("GET /distribution/{name}/json", "answer", seen);
        let name = self.test.name("walk-answers");
        let path = format!("/commit?container={container}&repo={name}&tag=v1&comment=c&author=a");
        self.post("POST /commit", &path, &everything())?;
        self.test.images.push(format!("{name}:v1"));
        self.get("GET /images/json", "/images/json")?;
        self.get("GET /images/{name}/json", &format!("/images/{name}:v1/json"))?;
        self.get("GET /images/{name}/history", &format!("/images/{name}:v1/history"))?;
        let other = imported(self.test, "walk-variant", "&platform=linux/arm/v7")?;
        self.get("GET /images/{name}/json", &format!("/images/{other}/json"))?;
        let index = index(self.test)?;
        self.get("GET /images/search", &format!("/images/search?term={}/walk", index.address()))?;
        let removed = imported(self.test, "walk-removed", "")?;
        let answer = self.test.client.delete(&format!("/images/{removed}"))?.ok()?.json()?;
        self.note("DELETE /images/{name}", "answer", answer);
        let label = self.test.name("walk-label");
        imported(self.test, "walk-pruned", &format!("&changes=LABEL%20{label}%3Dx"))?;
        let path = filtered("/images/prune?", &json!({ "label": [label], "dangling": ["false"] }));
        self.post("POST /images/prune", &path, &Value::Null)?;
        Ok(())
    }
}
