//! What the registry holds while a browser looks at it: as builders push it, with platforms and an attestation, and with
//! texts that would be scripts if a page let them.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{INDEX, OCI, Test, digest, noise, pages};

/// A script, wherever who pushes may write what he likes.
pub(super) const HOSTILE: &str = "<script>document.title='owned'</script>";
/// The administrator's password; `bob` and `eve`, who are none, have the same.
pub(super) const PASSWORD: &str = "long password";
/// Tags of `shop/web`: enough for a filter above the table.
pub(super) const TAGS: usize = 12;

/// A registry with content; its administrator is `root`.
pub(super) fn registry() -> Result<Test> {
    let mut test = Test::ours(&[])?;
    for (name, admin) in [("root", true), ("bob", false), ("eve", false)] {
        pages::add_user(&mut test, name, admin)?;
    }
    let password =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("root:{PASSWORD}"));
    test.client.authorization = Some(format!("Basic {password}"));
    let json = [("Content-Type", "application/json")];
    for (name, public) in [("shop", false), ("tools", true)] {
        let body = json!({ "name": name, "public": public }).to_string();
        test.client.request("POST", "/api/v1/projects", &json, body.as_bytes())?.expect(201)?;
    }
    for tag in 0..TAGS {
        test.push_image("shop/web", &format!("1.{tag}"), &noise(1000 + tag))?;
    }
    test.push_image("tools/lint", "latest", &noise(2000))?;
    test.push_image("hello", "v1", &noise(3000))?;
    index(&mut test, "shop/api", &["1.4.2", "latest"])?;
    Ok(test)
}

/// An index of two platforms with an attestation of one, and a signature of all.
fn index(test: &mut Test, name: &str, tags: &[&str]) -> Result<()> {
    let amd64 = image(test, name, "amd64", None, 150_000)?;
    let mut arm64 = image(test, name, "arm64", Some("v8"), 140_000)?;
    let statement = test.push_blob(name, br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#)?;
    let config = test.push_blob(name, br#"{"architecture":"unknown","os":"unknown","config":{}}"#)?;
    let attestation = json!({
        "schemaVersion": 2, "mediaType": OCI,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 54 },
        "layers": [{ "mediaType": "application/vnd.in-toto+json", "digest": statement, "size": 46,
            "annotations": { "in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2" } }],
    });
    let mut attestation = put(test, name, OCI, &attestation)?;
    attestation["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": amd64["digest"],
    });
    arm64["platform"]["os.version"] = json!(HOSTILE);
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [amd64, arm64, attestation],
        "annotations": { "org.opencontainers.image.title": HOSTILE },
    });
    let found = put(test, name, INDEX, &index)?;
    for tag in tags {
        test.put_manifest(name, tag, INDEX, index.to_string().as_bytes())?.expect(201)?;
    }
    let empty = test.push_blob(name, b"{}")?;
    let signature = json!({
        "schemaVersion": 2, "mediaType": OCI, "artifactType": format!("application/vnd.example.signature{HOSTILE}"),
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
        "layers": [{ "mediaType": format!("text/{HOSTILE}"), "digest": empty, "size": 2 }],
        "subject": found,
    });
    put(test, name, OCI, &signature)?;
    Ok(())
}

/// An image of three layers; answers its descriptor.
fn image(
    test: &mut Test,
    name: &str,
    architecture: &str,
    variant: Option<&str>,
    size: usize,
) -> Result<Value> {
    let mut layers = Vec::new();
    for part in [size, size / 3, size / 50] {
        let bytes = noise(part);
        let digest = test.push_blob(name, &bytes)?;
        layers.push(json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": bytes.len(),
        }));
    }
    let config = json!({
        "architecture": architecture, "os": "linux", "variant": variant, "created": "2026-11-20T10:00:00Z",
        "author": "Shop <team@shop.example>",
        "config": {
            "Entrypoint": ["/usr/local/bin/api", "--listen", "0.0.0.0:8080"], "Cmd": ["serve"], "User": "app:app",
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", format!("MOTTO={HOSTILE}")],
            "ExposedPorts": { "8080/tcp": {}, "9090/tcp": {} }, "Volumes": { "/data": {} }, "WorkingDir": "/srv",
            "StopSignal": "SIGTERM", "Healthcheck": { "Test": ["CMD", "api", "ping"], "Interval": 30_000_000_000_u64 },
            "Labels": { "org.opencontainers.image.source": "https://git.example/shop/api", HOSTILE: HOSTILE },
        },
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| &layer["digest"]).collect::<Vec<_>>() },
        "history": [
            { "created": "2026-11-01T00:00:00Z", "created_by": "# debian.sh --arch 'amd64' out/ 'bookworm'", "comment": "debuerreotype 0.15" },
            { "created": "2026-11-20T09:58:00Z", "created_by": "ENV PATH=/usr/local/bin:/usr/bin:/bin", "empty_layer": true },
            { "created": "2026-11-20T09:59:00Z", "created_by": format!("RUN /bin/sh -c echo {HOSTILE} && apt-get update && apt-get install -y --no-install-recommends ca-certificates curl libpq5 && rm -rf /var/lib/apt/lists/*") },
            { "created": "2026-11-20T10:00:00Z", "created_by": "COPY target/release/api /usr/local/bin/api", "comment": "buildkit.dockerfile.v0" },
        ],
    });
    let config = config.to_string().into_bytes();
    let pushed = test.push_blob(name, &config)?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI, "layers": layers,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": pushed, "size": config.len() },
    });
    let mut found = put(test, name, OCI, &manifest)?;
    found["platform"] = json!({ "os": "linux", "architecture": architecture });
    if let Some(variant) = variant {
        found["platform"]["variant"] = json!(variant);
    }
    Ok(found)
}

/// Puts a manifest by its digest; answers its descriptor.
fn put(test: &mut Test, name: &str, kind: &str, manifest: &Value) -> Result<Value> {
    let bytes = manifest.to_string().into_bytes();
    let found = digest(&bytes);
    test.put_manifest(name, &found, kind, &bytes)?.expect(201).context("a manifest")?;
    Ok(json!({ "mediaType": kind, "digest": found, "size": bytes.len() }))
}
