//! Pull, push and their kin, against a registry of the test's own.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::{
    http::Client,
    image::Tar,
    registry::{OCI_INDEX, Registry, digest},
};

use crate::{Test, list::percent_encode};

/// A layer that no other test has.
fn layer(name: &str, content: &str) -> Vec<u8> {
    let mut tar = Tar::default();
    tar.entry(name, b'0', 0o644, "", content.as_bytes());
    tar.finish()
}

fn lines(text: &str) -> Result<Vec<Value>> {
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The words of each line, what comes several times or in any order left out.
fn words(lines: &[Value], id: &str) -> Vec<String> {
    let of = lines.iter().filter(|l| l["id"] == id).filter_map(|l| l["status"].as_str());
    let mut words: Vec<String> = of.filter(|w| *w != "Waiting").map(str::to_owned).collect();
    words.dedup();
    words
}

impl Test {
    fn registry(&self, guard: Option<(&str, &str)>) -> Result<Registry> {
        Registry::start(self.engine.listen()?, guard)
    }

    /// Pulls; the lines of progress. The image goes with the test.
    fn pull(&mut self, image: &str, tag: &str, more: &str) -> Result<Vec<Value>> {
        self.images.push(if tag.is_empty() { image.to_owned() } else { format!("{image}:{tag}") });
        let path = format!("/images/create?fromImage={image}&tag={tag}{more}");
        lines(&self.client.post(&path, &Value::Null)?.ok()?.text())
    }

    fn push(&mut self, image: &str, tag: &str) -> Result<Vec<Value>> {
        self.images.push(format!("{image}:{tag}"));
        lines(&self.client.post(&format!("/images/{image}/push?tag={tag}"), &Value::Null)?.ok()?.text())
    }

    fn as_user(&self, name: &str, password: &str) -> Client {
        let pair = json!({ "username": name, "password": password }).to_string();
        self.engine.client().with_header("X-Registry-Auth", &base64(pair.as_bytes()))
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(n >> (18 - 6 * place) & 63) as usize] as char;
            out.push(if place <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

#[test]
fn a_pull_tells_what_it_does_and_the_image_has_its_digest() -> Result<()> {
    let mut test = Test::new()?;
    let registry = test.registry(None)?;
    let name = test.name("pull");
    let layers = [layer("a", &name), layer("b", &name.repeat(1000))];
    let manifest = registry.put_image(&name, "v1", &layers, "amd64");
    let image = format!("{}/{name}", registry.address());
    let told = test.pull(&image, "v1", "")?;
    assert_eq!(told[0], json!({ "status": format!("Pulling from {name}"), "id": "v1" }));
    for blob in manifest["layers"].as_array().context("layers")? {
        let id = blob["digest"].as_str().context("digest")?[7..19].to_owned();
        let words = words(&told, &id);
        let steps = [
            "Pulling fs layer",
            "Downloading",
            "Verifying Checksum",
            "Download complete",
            "Extracting",
            "Pull complete",
        ];
        // One that is there before anybody could tell is not told to be downloaded.
        let may_lack = |w: &&&str| ["Downloading", "Verifying Checksum"].contains(*w);
        let missing: Vec<&&str> = steps.iter().filter(|s| !words.contains(&(**s).to_owned())).collect();
        assert!(missing.iter().all(may_lack), "{words:?}");
        assert!(words.iter().all(|w| steps.contains(&w.as_str())), "{words:?}");
        let last =
            told.iter().rfind(|l| l["id"] == id && l["status"] == "Extracting").context("no progress")?;
        assert_eq!(last["progressDetail"], json!({ "current": blob["size"], "total": blob["size"] }));
    }
    let top = digest(manifest.to_string().as_bytes());
    let end = [
        json!({ "status": format!("Digest: {top}") }),
        json!({ "status": format!("Status: Downloaded newer image for {image}:v1") }),
    ];
    assert_eq!(told[told.len() - 2..], end);
    let seen = test.client.get(&format!("/images/{image}:v1/json"))?.ok()?.json()?;
    assert_eq!(seen["Id"], manifest["config"]["digest"]);
    assert_eq!(seen["RepoDigests"], json!([format!("{image}@{top}")]));
    assert_eq!(seen["RepoTags"], json!([format!("{image}:v1")]));
    assert_eq!(seen["RootFS"]["Layers"], json!(layers.each_ref().map(|l| digest(l))));

    registry.asked();
    let again = test.pull(&image, "v1", "")?;
    assert_eq!(
        again,
        [
            json!({ "status": format!("Pulling from {name}"), "id": "v1" }),
            json!({ "status": format!("Digest: {top}") }),
            json!({ "status": format!("Status: Image is up to date for {image}:v1") }),
        ]
    );
    assert!(registry.asked().iter().all(|asked| !asked.path.contains("/blobs/")));
    let by_digest = test.pull(&image, &top, "")?;
    let whole = format!("{image}@{top}");
    assert_eq!(by_digest[0], json!({ "status": format!("Pulling from {name}"), "id": whole }));
    assert_eq!(by_digest[2], json!({ "status": format!("Status: Image is up to date for {whole}") }));
    Ok(())
}

#[test]
fn beside_a_digest_a_tag_says_nothing() -> Result<()> {
    let mut test = Test::new()?;
    let registry = test.registry(None)?;
    let name = test.name("both");
    let manifest = registry.put_image(&name, "v1", &[layer("a", &name)], "amd64");
    let top = digest(manifest.to_string().as_bytes());
    let repository = format!("{}/{name}", registry.address());
    let (image, other) = (format!("{repository}:v1@{top}"), format!("{repository}:v2@{top}"));
    test.images.push(format!("{repository}@{top}"));
    for query in [&image, &format!("{repository}@{top}&tag=none")] {
        let told = test.client.post(&format!("/images/create?fromImage={query}"), &Value::Null)?.ok()?;
        let told = lines(&told.text())?;
        assert_eq!(told[told.len() - 2], json!({ "status": format!("Digest: {top}") }), "{told:?}");
    }
    for image in [&image, &other] {
        let seen = test.client.get(&format!("/images/{image}/json"))?.ok()?.json()?;
        assert_eq!((&seen["Id"], &seen["RepoTags"]), (&manifest["config"]["digest"], &json!([])));
        test.client.get(&format!("/images/{image}/history"))?.ok()?;
    }
    let container = test.create(&json!({ "Image": image }))?;
    let filters = percent_encode(&json!({ "ancestor": [other] }).to_string());
    let listed = test.client.get(&format!("/containers/json?all=1&filters={filters}"))?.ok()?.json()?;
    assert_eq!(listed[0]["Id"], container);
    test.client.delete(&format!("/containers/{container}"))?.ok()?;
    assert_eq!(
        test.client.post(&format!("/images/{image}/tag?repo={repository}&tag=v3"), &Value::Null)?.status,
        201
    );
    let removed = test.client.delete(&format!("/images/{other}"))?.ok()?.json()?;
    assert_eq!(removed, json!([{ "Untagged": other }]));
    let removed = test.client.delete(&format!("/images/{repository}:v3"))?.ok()?.json()?;
    assert_eq!(removed[1], json!({ "Deleted": manifest["config"]["digest"] }));
    Ok(())
}

#[test]
fn what_cannot_be_pulled_is_refused_in_dockers_words() -> Result<()> {
    let mut test = Test::new()?;
    let registry = test.registry(None)?;
    let image = format!("{}/x", registry.address());
    let mut refused = |query: &str| -> Result<(u16, String)> {
        let answer = test.client.post(&format!("/images/create?{query}"), &Value::Null)?;
        Ok((answer.status, answer.message()))
    };
    let absent = format!("manifest for {image}:no not found: manifest unknown: manifest unknown");
    assert_eq!(refused(&format!("fromImage={image}&tag=no"))?, (404, absent));
    assert_eq!(refused("fromImage=scratch&tag=latest")?, (403, "'scratch' is a reserved name".to_owned()));
    assert_eq!(refused(&format!("fromImage={image}&tag=a%20b"))?, (400, "invalid tag format".to_owned()));
    let upper = "invalid reference format: repository name (library/X) must be lowercase".to_owned();
    assert_eq!(refused("fromImage=X&tag=latest")?, (400, upper));
    let nobody =
        "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused".to_owned();
    assert_eq!(refused("fromImage=127.0.0.1:1/x&tag=a")?, (500, nobody));
    let platform = "\"a/b/c/d\": cannot parse platform specifier: invalid argument".to_owned();
    assert_eq!(refused(&format!("fromImage={image}&tag=a&platform=a/b/c/d"))?, (400, platform));
    Ok(())
}

#[test]
fn of_an_index_the_image_for_the_platform_is_pulled() -> Result<()> {
    let mut test = Test::new()?;
    let registry = test.registry(None)?;
    let name = test.name("multi");
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let tar = layer(architecture, &name);
        let manifest = registry.put_image(&name, architecture, &[tar], architecture).to_string();
        entries.push(json!({
            "mediaType": skiff_testkit::registry::MANIFEST, "digest": digest(manifest.as_bytes()),
            "size": manifest.len(), "platform": { "os": "linux", "architecture": architecture },
        }));
    }
    // Attestations are for nobody.
    entries.push(json!({
        "mediaType": skiff_testkit::registry::OCI_MANIFEST, "digest": digest(b"x"), "size": 1,
        "platform": { "os": "unknown", "architecture": "unknown" },
        "annotations": { "vnd.docker.reference.type": "attestation-manifest" },
    }));
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries }).to_string();
    let top = registry.put_manifest(&name, "v1", OCI_INDEX, index.as_bytes());
    let (image, second) = (format!("{}/{name}", registry.address()), test.registry(None)?);
    for architecture in ["arm64", "amd64"] {
        let told = test.pull(&image, "v1", &format!("&platform=linux/{architecture}"))?;
        assert_eq!(told[told.len() - 2], json!({ "status": format!("Digest: {top}") }));
        let seen = test.client.get(&format!("/images/{image}:v1/json"))?.ok()?.json()?;
        assert_eq!(seen["Architecture"], architecture);
        assert_eq!(seen["RepoDigests"], json!([format!("{image}@{top}")]));
        // What is pushed is that image alone, without the index and its attestations.
        let target = format!("{}/{name}", second.address());
        let tag = format!("/images/{image}:v1/tag?repo={target}&tag={architecture}");
        test.client.post(&tag, &Value::Null)?.ok()?;
        test.push(&target, architecture)?;
        let pushed: Value =
            serde_json::from_slice(&second.manifest(&name, architecture).context("manifest")?)?;
        assert_eq!(pushed["config"]["digest"], seen["Id"], "{pushed}");
        test.client.delete(&format!("/images/{target}:{architecture}"))?.ok()?;
        test.client.delete(&format!("/images/{image}:v1?force=1"))?;
    }
    let told = test.pull(&image, "v1", "&platform=linux/s390x")?;
    let why = "no matching manifest for linux/s390x in the manifest list entries";
    assert_eq!(told.last(), Some(&json!({ "errorDetail": { "message": why }, "error": why })));

    let distribution = test.client.get(&format!("/distribution/{image}:v1/json"))?.ok()?.json()?;
    assert_eq!(
        distribution["Descriptor"],
        json!({ "mediaType": OCI_INDEX, "digest": top, "size": index.len() })
    );
    assert_eq!(distribution["Platforms"][1], json!({ "architecture": "arm64", "os": "linux" }));
    assert_eq!(distribution["Platforms"].as_array().map(Vec::len), Some(3));
    Ok(())
}

/// An index with these entries; an entry without a platform may be for anybody.
fn index(entries: &[(&str, &str, &[u8])]) -> String {
    let entry = |(kind, platform, manifest): &(&str, &str, &[u8])| {
        let mut entry = json!({ "mediaType": kind, "digest": digest(manifest), "size": manifest.len() });
        let parts: Vec<&str> = platform.split('/').collect();
        match parts[..] {
            [os, architecture] => entry["platform"] = json!({ "os": os, "architecture": architecture }),
            [os, architecture, variant] => {
                entry["platform"] = json!({ "os": os, "architecture": architecture, "variant": variant });
            }
            _ => {}
        }
        entry
    };
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries }).to_string()
}

#[test]
fn an_index_may_say_nothing_of_platforms_and_have_another_index_inside() -> Result<()> {
    let mut test = Test::new()?;
    let registry = test.registry(None)?;
    let name = test.name("nested");
    let image = format!("{}/{name}", registry.address());
    let kind = skiff_testkit::registry::MANIFEST;
    let put = |what: &str| {
        let manifest = registry.put_image(&name, what, &[layer(what, &name)], "s390x");
        (manifest.to_string().into_bytes(), manifest["config"]["digest"].clone())
    };
    let ((anybodys, any_id), (inner, inner_id)) = (put("anybody"), put("inner"));
    let nested = index(&[(kind, "linux/s390x", &inner)]);
    registry.put_manifest(&name, "inside", OCI_INDEX, nested.as_bytes());
    for (tag, index, id) in [
        ("anybody", index(&[(kind, "linux/mips64le", &inner), (kind, "", &anybodys)]), &any_id),
        ("best", index(&[(kind, "", &anybodys), (kind, "linux/s390x", &inner)]), &inner_id),
        ("nested", index(&[(OCI_INDEX, "", nested.as_bytes())]), &inner_id),
    ] {
        let top = registry.put_manifest(&name, tag, OCI_INDEX, index.as_bytes());
        for found in ["Downloaded newer image", "Image is up to date"] {
            let told = test.pull(&image, tag, "&platform=linux/s390x")?;
            let status = format!("Status: {found} for {image}:{tag}");
            assert_eq!(told.last(), Some(&json!({ "status": status })));
        }
        let seen = test.client.get(&format!("/images/{image}:{tag}/json"))?.ok()?.json()?;
        assert_eq!(&seen["Id"], id, "{tag}");
        assert!(seen["RepoDigests"].to_string().contains(&top), "{seen}");
    }
    // Without end it is refused.
    let mut inside = nested;
    for _ in 0..20 {
        registry.put_manifest(&name, "deep", OCI_INDEX, inside.as_bytes());
        inside = index(&[(OCI_INDEX, "", inside.as_bytes())]);
    }
    if matches!(test.engine, skiff_testkit::Engine::Ours(_)) {
        let told = test.pull(&image, "deep", "&platform=linux/s390x")?;
        let last = told.last().context("nothing told")?["error"].to_string();
        assert!(last.contains("too many indexes"), "{last}");
    }
    Ok(())
}

#[test]
fn of_several_levels_of_a_processor_the_hosts_is_pulled() -> Result<()> {
    let mut test = Test::new()?;
    let registry = test.registry(None)?;
    let name = test.name("levels");
    let image = format!("{}/{name}", registry.address());
    let host = test.client.get("/version")?.ok()?.json()?["Arch"].clone();
    let host = host.as_str().context("no Arch")?;
    // Those of arm64 fit every such host; of amd64, level 1 does, and others are known by what the engine chooses.
    let variants = if host == "amd64" { ["v1", "v2", "v3", "v4"] } else { ["v8", "v8", "v8", "v8"] };
    let manifests: Vec<Vec<u8>> = variants
        .iter()
        .enumerate()
        .map(|(at, _)| {
            let tar = layer(&at.to_string(), &name);
            registry.put_image(&name, &format!("x{at}"), &[tar], host).to_string().into_bytes()
        })
        .collect();
    let platforms = variants.map(|variant| format!("linux/{host}/{variant}"));
    let kind = skiff_testkit::registry::MANIFEST;
    let entries: Vec<(&str, &str, &[u8])> =
        platforms.iter().zip(&manifests).map(|(platform, m)| (kind, platform.as_str(), &m[..])).collect();
    let chosen = |test: &mut Test, tag: &str, entries: &[(&str, &str, &[u8])]| -> Result<Option<String>> {
        registry.put_manifest(&name, tag, OCI_INDEX, index(entries).as_bytes());
        test.pull(&image, tag, "")?;
        let seen = test.client.get(&format!("/images/{image}:{tag}/json"))?;
        if seen.status == 404 {
            return Ok(None);
        }
        Ok(seen.json()?["Id"].as_str().map(str::to_owned))
    };
    let id = |at: usize| -> Result<Option<String>> {
        let manifest: Value = serde_json::from_slice(&manifests[at])?;
        Ok(manifest["config"]["digest"].as_str().map(str::to_owned))
    };
    // What an engine says that it is, when it warns of an image for another.
    registry.put_image(&name, "foreign", &[layer("f", &name)], "s390x");
    test.pull(&image, "foreign", "&platform=linux/s390x")?;
    let body = json!({ "Image": format!("{image}:foreign") });
    let created = test.client.post("/containers/create", &body)?.ok()?.json()?;
    test.made.push(created["Id"].as_str().context("no Id")?.to_owned());
    let warning = created["Warnings"][0].as_str().context("no warning")?;
    let level = warning.split_once(&format!("detected host platform (linux/{host}/v"));
    let level: usize = level.and_then(|(_, rest)| rest[..1].parse().ok()).context(warning.to_owned())?;
    assert_eq!(
        warning,
        format!(
            "The requested image's platform (linux/s390x) does not match the detected host platform (linux/{host}/v{level}) and no specific platform was requested"
        )
    );
    if host == "amd64" {
        assert_eq!(chosen(&mut test, "all", &entries)?, id(level - 1)?);
        assert_eq!(chosen(&mut test, "first", &[entries[1], entries[0]])?, id(1.min(level - 1))?);
        let only = chosen(&mut test, "three", &entries[2..3])?;
        assert_eq!(only, if level >= 3 { id(2)? } else { None });
    }
    Ok(())
}

#[test]
fn what_runs_there_is_for_the_platform() -> Result<()> {
    let mut test = Test::new()?;
    let registry = test.registry(None)?;
    let name = test.name("variant");
    let image = format!("{}/{name}", registry.address());
    // As many builders write it: the index knows the variant, the configuration does not.
    let manifest = registry.put_image(&name, "arm64", &[layer("a", &name)], "arm64").to_string();
    let index = index(&[(skiff_testkit::registry::MANIFEST, "linux/arm64/v8", manifest.as_bytes())]);
    registry.put_manifest(&name, "v1", OCI_INDEX, index.as_bytes());
    let told = test.pull(&image, "v1", "&platform=linux/arm64/v8")?;
    let status = format!("Status: Downloaded newer image for {image}:v1");
    assert_eq!(told.last(), Some(&json!({ "status": status })));
    let json = |variant: &str| {
        let platform = json!({ "os": "linux", "architecture": "arm64", "variant": variant }).to_string();
        percent_encode(&platform)
    };
    let image = format!("{image}:v1");
    for (variant, looked, saved) in [("", 200, 200), ("v8", 200, 200), ("v9", 200, 500)] {
        let query = format!("platform={}", json(variant));
        for (path, status) in [("json", looked), ("history", looked), ("get", saved)] {
            let answer = test.client.get(&format!("/images/{image}/{path}?{query}"))?;
            assert_eq!(answer.status, status, "{path} {variant}");
        }
    }
    for (platform, status) in [("linux/arm64/v9", 201), ("linux/arm/v7", 404), ("linux/amd64", 404)] {
        let body = json!({ "Image": image });
        let created = test.client.post(&format!("/containers/create?platform={platform}"), &body)?;
        assert_eq!(created.status, status, "{platform}");
        if status == 201 {
            let created = created.json()?;
            assert_eq!(created["Warnings"], json!([]));
            test.made.push(created["Id"].as_str().context("no Id")?.to_owned());
        }
    }
    Ok(())
}

#[test]
fn lists_know_images_that_have_only_a_digest() -> Result<()> {
    let mut test = Test::new()?;
    let registry = test.registry(None)?;
    let (name, other) = (test.name("moved"), test.name("other"));
    let repository = format!("{}/{name}", registry.address());
    let [old, new] = ["old", "new"].map(|content| {
        let manifest = registry.put_image(&name, "v1", &[layer(content, &name)], "amd64");
        (manifest["config"]["digest"].clone(), digest(manifest.to_string().as_bytes()), manifest)
    });
    registry.put_manifest(&name, "v1", skiff_testkit::registry::MANIFEST, old.2.to_string().as_bytes());
    test.pull(&repository, "v1", "")?;
    registry.put_manifest(&name, "v1", skiff_testkit::registry::MANIFEST, new.2.to_string().as_bytes());
    test.pull(&repository, "v1", "")?;
    test.client.post(&format!("/images/{repository}:v1/tag?repo={other}&tag=x"), &Value::Null)?.ok()?;
    test.images.extend([format!("{other}:x"), format!("{repository}@{}", old.1)]);
    let listed = |test: &mut Test, filters: Value| -> Result<Vec<Value>> {
        let filters = percent_encode(&filters.to_string());
        let all = test.client.get(&format!("/images/json?filters={filters}"))?.ok()?.json()?;
        let all = all.as_array().context("no list")?.iter();
        let ours = all.filter(|image| image["Id"] == old.0 || image["Id"] == new.0);
        Ok(ours.map(|image| json!([image["Id"], image["RepoTags"], image["RepoDigests"]])).collect())
    };
    let digests = [&old, &new].map(|image| format!("{repository}@{}", image.1));
    let moved = json!([old.0, [], [digests[0]]]);
    let tagged = json!([new.0, [format!("{repository}:v1")], [digests[1]]]);
    let sorted = |mut images: Vec<Value>| {
        images.sort_by_key(|image| image[0] != old.0);
        images
    };
    let dangling = listed(&mut test, json!({ "dangling": ["true"] }))?;
    assert_eq!(json!(dangling), json!([moved]));
    let named = listed(&mut test, json!({ "dangling": ["false"] }))?;
    assert_eq!(named.len(), 2, "{named:?}");
    let of_repository = listed(&mut test, json!({ "reference": [repository] }))?;
    assert_eq!(sorted(of_repository), [moved.clone(), tagged]);
    assert_eq!(listed(&mut test, json!({ "reference": [digests[0]] }))?, [moved]);
    let of_other = json!([new.0, [format!("{other}:x")], []]);
    assert_eq!(listed(&mut test, json!({ "reference": [other] }))?, [of_other]);
    Ok(())
}

#[test]
fn without_a_tag_all_tags_are_pulled() -> Result<()> {
    let mut test = Test::new()?;
    let registry = test.registry(None)?;
    let name = test.name("all");
    for tag in ["one", "two"] {
        registry.put_image(&name, tag, &[layer(tag, &name)], "amd64");
    }
    let image = format!("{}/{name}", registry.address());
    let told = test.pull(&image, "", "")?;
    test.images.extend(["one", "two"].map(|tag| format!("{image}:{tag}")));
    assert_eq!(
        told.last(),
        Some(&json!({ "status": format!("Status: Downloaded newer image for {image}") }))
    );
    for tag in ["one", "two"] {
        assert!(told.contains(&json!({ "status": format!("Pulling from {name}"), "id": tag })), "{told:?}");
        test.client.get(&format!("/images/{image}:{tag}/json"))?.ok()?;
    }
    Ok(())
}

#[test]
fn what_is_pushed_can_be_pulled_and_is_not_sent_twice() -> Result<()> {
    let mut test = Test::new()?;
    let registry = test.registry(None)?;
    let (name, other) = (test.name("push"), test.name("other"));
    let tars = [layer("a", &name), layer("b", &name.repeat(50_000))];
    registry.put_image(&name, "v0", &tars, "amd64");
    let image = format!("{}/{name}", registry.address());
    test.pull(&image, "v0", "")?;
    let second = test.registry(None)?;
    let target = format!("{}/{name}", second.address());
    let tag = format!("/images/{image}:v0/tag?repo={target}&tag=v1");
    assert_eq!(test.client.post(&tag, &Value::Null)?.status, 201);

    let told = test.push(&target, "v1")?;
    assert_eq!(told[0], json!({ "status": format!("The push refers to repository [{target}]") }));
    for tar in &tars {
        let id = digest(tar)[7..19].to_owned();
        let words = words(&told, &id);
        assert_eq!(
            (words.first().map(String::as_str), words.last().map(String::as_str)),
            (Some("Preparing"), Some("Pushed"))
        );
    }
    let stored = second.manifest(&name, "v1").context("no manifest")?;
    let (top, size) = (digest(&stored), stored.len());
    assert_eq!(
        told[told.len() - 2..],
        [
            json!({ "status": format!("v1: digest: {top} size: {size}") }),
            json!({ "progressDetail": {}, "aux": { "Tag": "v1", "Digest": top, "Size": size } }),
        ]
    );
    let seen = test.client.get(&format!("/images/{target}:v1/json"))?.ok()?.json()?;
    assert!(
        seen["RepoDigests"].as_array().is_some_and(|d| d.contains(&json!(format!("{target}@{top}")))),
        "{seen}"
    );
    let manifest: Value = serde_json::from_slice(&stored)?;
    assert_eq!(manifest["config"]["digest"], seen["Id"]);

    second.asked();
    let again = test.push(&target, "v1")?;
    assert_eq!(again.iter().filter(|l| l["status"] == "Layer already exists").count(), 2, "{again:?}");
    assert!(second.asked().iter().all(|asked| asked.method != "PATCH"));
    let moved = format!("{}/{other}", second.address());
    test.client.post(&format!("/images/{target}:v1/tag?repo={moved}&tag=v1"), &Value::Null)?.ok()?;
    let told = test.push(&moved, "v1")?;
    let mounted = format!("Mounted from {name}");
    assert_eq!(told.iter().filter(|l| l["status"] == mounted.as_str()).count(), 2, "{told:?}");
    // Docker sends the configuration again.
    assert!(second.asked().iter().filter(|asked| asked.method == "PATCH").count() <= 1);

    for image in [format!("{image}:v0"), format!("{target}:v1"), format!("{moved}:v1")] {
        test.client.delete(&format!("/images/{image}?force=1"))?.ok()?;
    }
    test.pull(&target, "v1", "")?;
    let pulled = test.client.get(&format!("/images/{target}:v1/json"))?.ok()?.json()?;
    assert_eq!(pulled["Id"], seen["Id"]);
    Ok(())
}

#[test]
fn what_cannot_be_pushed_is_refused_in_dockers_words() -> Result<()> {
    let mut test = Test::new()?;
    let registry = test.registry(None)?;
    let name = test.name("absent");
    let image = format!("{}/{name}", registry.address());
    let error = |told: &[Value]| told.last().map(|l| l["error"].clone()).unwrap_or_default();
    let told = test.push(&image, "v1")?;
    assert_eq!(error(&told), json!(format!("An image does not exist locally with the tag: {image}")));
    let tag = format!("/images/busybox/tag?repo={image}&tag=v1");
    assert_eq!(test.client.post(&tag, &Value::Null)?.status, 201);
    test.images.push(format!("{image}:v1"));
    let told = test.push(&image, "v2")?;
    assert_eq!(error(&told), json!(format!("tag does not exist: {image}:v2")));
    Ok(())
}

#[test]
fn who_asks_is_told_only_when_the_registry_wants_to_know() -> Result<()> {
    let mut test = Test::new()?;
    let basic = format!("Basic {}", base64(b"alice:secret"));
    let registry = test.registry(Some((&basic, "Basic realm=\"here\"")))?;
    let address = registry.address();
    let name = test.name("auth");
    registry.put_image(&name, "v1", &[layer("a", &name)], "amd64");
    let path = format!("/images/create?fromImage={address}/{name}&tag=v1");
    test.images.push(format!("{address}/{name}:v1"));

    let anonymous = test.client.post(&path, &Value::Null)?;
    let url = format!("http://{address}/v2/{name}/manifests/v1");
    let why = format!("Head \"{url}\": no basic auth credentials");
    assert_eq!((anonymous.status, anonymous.message()), (500, why));
    let wrong = test.as_user("alice", "wrong").post(&path, &Value::Null)?;
    assert_eq!((wrong.status, wrong.message().as_str()), (401, "unauthorized: authentication required"));
    let right = test.as_user("alice", "secret").post(&path, &Value::Null)?.ok()?;
    assert!(right.text().contains("Status: Downloaded newer image"), "{}", right.text());

    let mut sign_in = |password: &str| {
        let body = json!({ "username": "alice", "password": password, "serveraddress": address });
        test.client.post("/auth", &body)
    };
    let good = sign_in("secret")?.ok()?.json()?;
    assert_eq!(good, json!({ "IdentityToken": "", "Status": "Login Succeeded" }));
    let bad = sign_in("wrong")?;
    let why = format!("login attempt to http://{address}/v2/ failed with status: 401 Unauthorized");
    assert_eq!((bad.status, bad.message()), (500, why));
    Ok(())
}
