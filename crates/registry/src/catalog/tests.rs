use super::*;
use crate::{digest::Algorithm, manifest::describe, name::Reference};

struct World {
    catalog: Arc<Catalog>,
    store: Arc<Store>,
    dir: tempfile::TempDir,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let (store, contents) = Store::open(&dir.path().join("db"), Catalog::load).unwrap();
    let store = Arc::new(store);
    World { catalog: Arc::new(Catalog::new(store.clone(), contents)), store, dir }
}

fn digest(text: &str) -> Digest {
    Digest::of(Algorithm::Sha256, text.as_bytes())
}

impl World {
    fn link(&self, name: &str, text: &str) {
        let (name, policy) = (name.parse().unwrap(), Policy::default());
        if let Some(pending) = self.catalog.link(&name, &digest(text), text.len() as u64, &policy).unwrap() {
            pending.wait().unwrap();
        }
    }

    fn put(&self, name: &str, tag: &str, layer: &str, policy: &Policy) -> Result<Digest, Error> {
        let body = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{0}","size":1}},"layers":[{{"digest":"{0}","size":1}}]}}"#,
            digest(layer)
        );
        let reference: Reference = tag.parse().unwrap();
        let new = NewManifest {
            name: &name.parse().unwrap(),
            reference: &reference,
            digest: digest(&body),
            size: body.len() as u64,
            described: describe(body.as_bytes(), None).unwrap(),
            by: "me",
            sparse: false,
        };
        let digest = new.digest.clone();
        if let Some(pending) = self.catalog.put_manifest(new, policy)?.pending {
            pending.wait().unwrap();
        }
        Ok(digest)
    }

    /// What the database says.
    fn stored(&self) -> Contents {
        self.store.reread(Catalog::load).unwrap()
    }
}

#[test]
fn what_is_committed_is_what_is_in_memory() {
    let world = world();
    world.link("a/b", "layer");
    world.put("a/b", "v1", "layer", &Policy::default()).unwrap();
    world.link("c", "other");
    let (stored, memory) = (world.stored(), world.catalog.read());
    assert_eq!(
        stored.repositories.keys().collect::<Vec<_>>(),
        memory.repositories.keys().collect::<Vec<_>>()
    );
    let name: Name = "a/b".parse().unwrap();
    let (a, b) = (&stored.repositories[&name], &memory.repositories[&name]);
    assert_eq!(a.tags.keys().collect::<Vec<_>>(), b.tags.keys().collect::<Vec<_>>());
    assert_eq!(a.manifests.keys().collect::<Vec<_>>(), b.manifests.keys().collect::<Vec<_>>());
    assert_eq!(stored.blobs.len(), memory.blobs.len());
    assert_eq!(stored.sizes, memory.sizes);
    assert!(stored.blobs.iter().all(|(digest, blob)| memory.blobs[digest].uses == blob.uses));
    drop(world.dir);
}

#[test]
fn a_manifest_waits_for_its_content_and_keeps_it() {
    let world = world();
    let policy = Policy::default();
    assert!(matches!(world.put("a", "v1", "layer", &policy), Err(Error::ManifestBlobUnknown { .. })));
    world.link("a", "layer");
    let manifest = world.put("a", "v1", "layer", &policy).unwrap();
    let name: Name = "a".parse().unwrap();
    // Collection takes only what no manifest names.
    world.link("a", "unused");
    let removed = world.catalog.unlink_unused(&name, |_| true).unwrap();
    assert_eq!((removed.links, removed.orphans), (1, vec![digest("unused")]));
    assert!(world.catalog.unlink_unused(&name, |_| true).is_none());
    assert!(world.catalog.unlink(&name, &digest("layer")).is_err());
    let removed = world.catalog.remove_manifest(&name, &manifest, &policy).unwrap();
    assert_eq!(removed.orphans, [manifest]);
    assert!(world.catalog.unlink_unused(&name, |_| false).is_none());
    let removed = world.catalog.unlink_unused(&name, |_| true).unwrap();
    assert_eq!(removed.orphans, [digest("layer")]);
    assert!(world.catalog.read().blobs.is_empty());
    removed.pending.wait().unwrap();
    assert!(world.stored().blobs.is_empty());
}

#[test]
fn a_blob_that_two_repositories_give_is_nobodys_orphan() {
    let world = world();
    world.link("a", "layer");
    let (a, b): (Name, Name) = ("a".parse().unwrap(), "p/b".parse().unwrap());
    let mounted = world.catalog.mount(&a, &b, &digest("layer"), &Policy::default()).unwrap();
    assert!(matches!(mounted, Some(Some(_))));
    assert!(world.catalog.mount(&a, &b, &digest("no"), &Policy::default()).unwrap().is_none());
    assert!(world.catalog.unlink(&a, &digest("layer")).unwrap().orphans.is_empty());
    assert_eq!(world.catalog.unlink(&b, &digest("layer")).unwrap().orphans, [digest("layer")]);
}

#[test]
fn quotas_and_immutable_tags_hold() {
    let world = world();
    let policy = Policy { quota: Some(12), immutable: Vec::new() };
    let name: Name = "p/a".parse().unwrap();
    world.link("p/a", "eightbyt");
    assert!(matches!(
        world.catalog.link(&name, &digest("x"), 5, &policy),
        Err(Error::QuotaExceeded { used: 8, .. })
    ));
    // The same bytes again cost nothing, and other projects have room of their own.
    assert!(world.catalog.link(&name, &digest("eightbyt"), 8, &policy).unwrap().is_none());
    assert!(world.catalog.link(&"p/b".parse().unwrap(), &digest("eightbyt"), 8, &policy).unwrap().is_some());
    assert!(world.catalog.link(&"q/a".parse().unwrap(), &digest("x"), 5, &policy).is_ok());
    let policy = Policy { quota: None, immutable: vec![Pattern("v*.0".into())] };
    world.link("p/a", "other");
    let first = world.put("p/a", "v1.0", "eightbyt", &policy).unwrap();
    assert_eq!(world.put("p/a", "v1.0", "eightbyt", &policy).unwrap(), first);
    assert!(matches!(world.put("p/a", "v1.0", "other", &policy), Err(Error::TagImmutable { .. })));
    assert!(world.put("p/a", "v1.1", "other", &policy).is_ok());
    assert!(world.catalog.remove_tag(&name, &"v1.0".parse().unwrap(), &policy).is_err());
    assert!(world.catalog.remove_manifest(&name, &first, &policy).is_err());
    assert!(world.catalog.remove_tag(&name, &"v1.1".parse().unwrap(), &policy).is_ok());
}

#[test]
fn what_a_project_holds_is_counted_once_until_nobody_of_it_has_it() {
    let world = world();
    for name in ["p/a", "p/b", "q/a"] {
        world.link(name, "layer");
    }
    world.link("p/a", "other one");
    let size = |project| world.catalog.read().project_size(project);
    assert_eq!((size("p"), size("q"), size("r")), (14, 5, 0));
    world.catalog.unlink(&"p/a".parse().unwrap(), &digest("layer")).unwrap();
    assert_eq!(size("p"), 14);
    world.catalog.remove_repository(&"p/b".parse().unwrap(), &Policy::default()).unwrap();
    assert_eq!((size("p"), size("q")), (9, 5));
    world.catalog.unlink_unused(&"p/a".parse().unwrap(), |_| true).unwrap();
    world.catalog.unlink(&"q/a".parse().unwrap(), &digest("layer")).unwrap();
    assert!(world.catalog.read().sizes.is_empty());
}

#[test]
fn patterns_have_stars() {
    for (pattern, text, matches) in [
        ("v1", "v1", true),
        ("v1", "v10", false),
        ("v*", "v10", true),
        ("*", "", true),
        ("*-rc*", "1.0-rc2", true),
        ("a*b*c", "abbc", true),
        ("a*b*c", "acb", false),
        ("a*a", "a", false),
    ] {
        assert_eq!(Pattern(pattern.into()).matches(text), matches, "{pattern} {text}");
    }
}

#[test]
fn lists_go_on_after_the_last_name() {
    let world = world();
    for name in ["b", "a/x", "a", "c"] {
        world.link(name, "l");
    }
    let list = |last: &str, n| {
        let (names, more) = world.catalog.repositories(last, n, |_| true);
        (names.iter().map(ToString::to_string).collect::<Vec<_>>(), more)
    };
    assert_eq!(list("", 2), (vec!["a".to_owned(), "a/x".to_owned()], true));
    assert_eq!(list("a/x", 2), (vec!["b".to_owned(), "c".to_owned()], false));
    // A name that is not there is a place too.
    assert_eq!(list("a/y", 1), (vec!["b".to_owned()], true));
    let (some, more) = world.catalog.repositories("", 9, |name| name.as_str() > "a/x");
    assert_eq!((some.len(), more), (2, false));
    assert_eq!(world.catalog.read().project_size("library"), 1);
}
