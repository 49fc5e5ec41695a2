//! Lists of images for several platforms. No engine is asked.

use std::{net::TcpListener, os::unix::process::CommandExt, path::Path, process::Command};

use anyhow::Result;
use serde_json::{Value, json};
use skiff_testkit::registry::{Registry, digest};
use tempfile::TempDir;

use super::{Said, failed, said};

const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

struct Desk {
    registry: Registry,
    /// The user's settings.
    home: TempDir,
}

impl Desk {
    fn new(guard: Option<(&str, &str)>) -> Result<Self> {
        let registry = Registry::start(TcpListener::bind("127.0.0.1:0")?, guard)?;
        registry.put_image("a", "1", &[b"layer of a".to_vec()], "amd64");
        registry.put_image("b", "1", &[b"layer of b".to_vec()], "arm");
        Ok(Self { registry, home: tempfile::tempdir()? })
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.registry.address())
    }

    fn run(&self, args: &[&str]) -> Result<Said> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        command.arg0("docker").arg("manifest").args(args).env("DOCKER_CONFIG", self.home.path());
        said(command.env("DOCKER_HOST", "unix:///nonexistent.sock").output()?)
    }

    /// Where lists lie until they are pushed.
    fn lists(&self) -> std::path::PathBuf {
        self.home.path().join("manifests")
    }
}

#[test]
fn a_list_is_put_together_annotated_and_pushed() -> Result<()> {
    let desk = Desk::new(None)?;
    let (list, a, b) = (desk.name("sub/m:1"), desk.name("a:1"), desk.name("b:1"));
    assert_eq!(desk.run(&["create", &list, &a, &b])?.ok(), format!("Created manifest list {list}\n"));
    failed(
        &desk.run(&["create", &list, &a])?,
        "refusing to amend an existing manifest list with no --amend flag",
    );
    desk.run(&["create", "--amend", &list, &a])?.ok();
    desk.run(&["annotate", &list, &b, "--arch", "arm64", "--variant", "v8"])?.ok();
    let more = ["--os-version", "10.1", "--os-features", "x,y", "--os-features", "y"];
    desk.run(&[&["annotate", &list, &b], &more[..]].concat())?.ok();

    let [of_a, of_b] = ["a", "b"].map(|path| desk.registry.manifest(path, "1").unwrap());
    let media_type = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["mediaType"].clone();
    let shown = desk.run(&["inspect", &list])?.ok();
    let entry = |bytes: &[u8], platform: Value| {
        json!({
            "mediaType": media_type(bytes),
            "size": bytes.len(),
            "digest": digest(bytes),
            "platform": platform,
        })
    };
    let seen: Value = serde_json::from_str(&shown)?;
    assert_eq!(
        seen,
        json!({
            "schemaVersion": 2,
            "mediaType": LIST,
            "manifests": [
                entry(&of_a, json!({ "architecture": "amd64", "os": "linux" })),
                entry(&of_b, json!({
                    "architecture": "arm64", "os": "linux", "os.version": "10.1", "os.features": ["x", "y"],
                    "variant": "v8",
                })),
            ],
        })
    );
    assert!(shown.starts_with("{\n   \"schemaVersion\": 2,\n   \"mediaType\": "), "{shown}");
    let verbose: Value = serde_json::from_str(&desk.run(&["inspect", "-v", &list, &a])?.ok())?;
    assert_eq!(verbose["Ref"], a.as_str());
    assert_eq!(verbose["SchemaV2Manifest"], serde_json::from_slice::<Value>(&of_a)?);

    let pushed = desk.run(&["push", "--purge", &list])?.ok();
    let text = shown.trim_end();
    let line =
        |bytes: &[u8]| format!("Pushed ref {0}@{1} with digest: {1}\n", desk.name("sub/m"), digest(bytes));
    assert_eq!(pushed, format!("{}{}{}\n", line(&of_a), line(&of_b), digest(text.as_bytes())));
    assert_eq!(desk.registry.manifest("sub/m", "1").as_deref(), Some(text.as_bytes()));
    for bytes in [&of_a, &of_b] {
        assert_eq!(desk.registry.manifest("sub/m", &digest(bytes)).as_ref(), Some(bytes));
        let manifest: Value = serde_json::from_slice(bytes)?;
        for blob in [&manifest["config"], &manifest["layers"][0]] {
            let digest = blob["digest"].as_str().unwrap_or_default();
            assert!(desk.registry.blob("sub/m", digest).is_some(), "{blob}");
        }
    }
    assert_eq!(fs_err::read_dir(desk.lists())?.count(), 0);
    failed(&desk.run(&["push", &list])?, &format!("No such manifest: {list}"));
    assert_eq!(desk.run(&["inspect", &list])?.ok(), shown, "as the registry has it now");
    let verbose: Value = serde_json::from_str(&desk.run(&["inspect", "-v", &list])?.ok())?;
    assert_eq!(verbose[1]["Ref"], format!("{list}@{}", digest(&of_b)));
    assert_eq!(verbose[1]["Descriptor"]["platform"]["variant"], "v8");
    failed(&desk.run(&["create", &desk.name("mm:1"), &list])?, &format!("{list} is a manifest list"));
    Ok(())
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() -> Result<()> {
    let desk = Desk::new(None)?;
    let (list, a, none) = (desk.name("m:1"), desk.name("a:1"), desk.name("none:1"));
    let lower = "invalid reference format: repository name (library/BAD) must be lowercase";
    failed(&desk.run(&["create", &list, "BAD"])?, lower);
    failed(&desk.run(&["create", "BAD", &a])?, &format!("error parsing name for manifest list BAD: {lower}"));
    failed(&desk.run(&["create", &list, &a, &none])?, &format!("no such manifest: {none}"));
    assert!(!desk.lists().exists(), "the first image came, the second did not");
    failed(&desk.run(&["inspect", &none])?, &format!("no such manifest: {none}"));
    failed(&desk.run(&["inspect", &list, &a])?, &format!("No such manifest: {a}"));
    failed(&desk.run(&["rm", &list, "BAD"])?, &format!("No such manifest: {list}\n{lower}"));
    failed(
        &desk.run(&["annotate", &list, &a, "--arch", "arm"])?,
        &format!("manifest for image {a} does not exist in {list}"),
    );
    failed(
        &desk.run(&["annotate", &list, "BAD"])?,
        &format!("annotate: error parsing name for manifest BAD: {lower}"),
    );
    desk.run(&["create", &list, &a])?.ok();
    failed(
        &desk.run(&["annotate", &list, &a, "--arch", "nonsense"])?,
        "manifest entry for image has unsupported os/arch combination: /nonsense",
    );
    let elsewhere = "localhost:1/m:1";
    desk.run(&["create", elsewhere, &a])?.ok();
    failed(
        &desk.run(&["push", elsewhere])?,
        &format!(
            "cannot use source images from a different registry than the target image: {} != localhost:1",
            desk.registry.address()
        ),
    );
    desk.run(&["rm", &list, elsewhere])?.ok();
    assert_eq!(fs_err::read_dir(desk.lists())?.count(), 0);
    Ok(())
}

#[test]
fn a_damaged_list_is_not_pushed() -> Result<()> {
    let desk = Desk::new(None)?;
    let (list, a) = (desk.name("m:1"), desk.name("a:1"));
    desk.run(&["create", &list, &a])?.ok();
    let file = |name: &str| name.replace(':', "-").replace('/', "_");
    let path = desk.lists().join(file(&list)).join(file(&a));
    let mut image: Value = serde_json::from_slice(&fs_err::read(&path)?)?;
    image["Raw"] = json!("e30=");
    fs_err::write(&path, image.to_string())?;
    failed(&desk.run(&["push", &list])?, &format!("the local manifest of {a} is damaged"));
    fs_err::write(&path, "{")?;
    let said = desk.run(&["push", &list])?;
    assert!(said.err.starts_with(&format!("{}: EOF", Path::new(&path).display())), "{said:?}");
    assert_eq!(desk.registry.manifest("m", "1"), None);
    Ok(())
}

#[test]
fn a_registry_is_asked_as_its_user() -> Result<()> {
    let desk = Desk::new(Some(("Basic YWxpY2U6c2VjcmV0", "Basic realm=\"here\"")))?;
    let a = desk.name("a:1");
    let refused = desk.run(&["inspect", &a])?;
    assert_eq!(refused.code, 1);
    let auths = json!({ "auths": { desk.registry.address(): { "auth": "YWxpY2U6c2VjcmV0" } } });
    fs_err::write(desk.home.path().join("config.json"), auths.to_string())?;
    let shown: Value = serde_json::from_str(&desk.run(&["inspect", &a])?.ok())?;
    assert_eq!(shown, serde_json::from_slice::<Value>(&desk.registry.manifest("a", "1").unwrap())?);
    Ok(())
}
