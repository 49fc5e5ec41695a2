//! Removing: what goes, what stands in the way, in the words of Docker 28.5.

use skiff_images::{ImageStore, ImageUser, RemoveOptions, Removed, Result};
use skiff_types::ImageId;

use crate::archives::{Dir, Image, docker_archive, image, layer, load};

const FORCE: RemoveOptions = RemoveOptions { force: true, no_prune: false };

fn remove(store: &ImageStore, name: &str, options: RemoveOptions) -> Result<Vec<String>> {
    used(store, name, options, &[])
}

/// Removes while containers use images; the removed things as the command line shows them, layers by their number.
fn used(
    store: &ImageStore,
    name: &str,
    options: RemoveOptions,
    users: &[(ImageId, bool)],
) -> Result<Vec<String>> {
    let users = |id: &ImageId| {
        let using = users.iter().filter(|(i, _)| i == id);
        using
            .map(|(_, running)| ImageUser { container: "e924de7c5b20".to_owned(), running: *running })
            .collect()
    };
    let removed = store.remove(name, options, &users)?;
    let mut lines = Vec::new();
    for item in removed {
        lines.push(match item {
            Removed::Untagged(name) => format!("Untagged: {}", name.familiar()),
            Removed::Image(id) => format!("Deleted: {}", id.short()),
            Removed::Layer(_) => "Layer".to_owned(),
        });
    }
    Ok(lines)
}

/// `base:1` and `base:2` name an image that `child:1` was made from.
fn family(store: &ImageStore) -> (ImageId, ImageId) {
    let base = image(&[layer("a")], &["base:1", "base:2"]);
    let child =
        Image { parent: Some(base.id()), ..image(&[layer("a"), layer("b"), layer("c")], &["child:1"]) };
    let child = Image { config: with_one_step_more(&child), ..child };
    let loaded = load(store, &docker_archive(&[base, child])).unwrap();
    (loaded[0].id, loaded[1].id)
}

/// A child's history is one step longer than its parent's.
fn with_one_step_more(image: &Image) -> Vec<u8> {
    let mut config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
    config["history"].as_array_mut().unwrap().pop();
    serde_json::to_vec(&config).unwrap()
}

#[test]
fn the_last_name_takes_image_layers_and_nameless_parents_along() {
    let dir = Dir::new();
    let store = dir.open();
    let empty = dir.paths(&store);
    let (base, child) = family(&store);
    assert_eq!(remove(&store, "base:2", RemoveOptions::default()).unwrap(), ["Untagged: base:2"]);
    assert_eq!(
        remove(&store, "base:1", RemoveOptions::default()).unwrap(),
        ["Untagged: base:1"],
        "a child needs it"
    );
    let no_prune = RemoveOptions { no_prune: true, ..RemoveOptions::default() };
    let deleted = format!("Deleted: {}", child.short());
    assert_eq!(
        remove(&store, "child:1", no_prune).unwrap(),
        ["Untagged: child:1", &deleted, "Layer", "Layer"]
    );
    let parent = format!("Deleted: {}", base.short());
    assert_eq!(remove(&store, &base.short(), RemoveOptions::default()).unwrap(), [&parent[..], "Layer"]);
    assert_eq!(dir.paths(&store), empty);
    let (..) = family(&store);
    remove(&store, "base:1", RemoveOptions::default()).unwrap();
    remove(&store, "base:2", RemoveOptions::default()).unwrap();
    assert_eq!(
        remove(&store, "child:1", RemoveOptions::default()).unwrap(),
        ["Untagged: child:1", &deleted, "Layer", "Layer", &parent, "Layer"]
    );
    assert_eq!(dir.paths(&store), empty);
    assert_eq!(store.list().unwrap().len(), 0);
}

#[test]
fn conflicts_are_told_in_dockers_words() {
    let dir = Dir::new();
    let store = dir.open();
    let (base, child) = family(&store);
    let (b, c) = (base.short(), child.short());
    let said = |name: &str, options, users: &[(ImageId, bool)]| {
        used(&store, name, options, users).unwrap_err().to_string()
    };
    let none = RemoveOptions::default();
    assert_eq!(
        said("child:1", none, &[(child, false)]),
        format!(
            "conflict: unable to remove repository reference \"child:1\" (must force) - container e924de7c5b20 is using its referenced image {c}"
        )
    );
    assert_eq!(
        said(&c, none, &[(child, false)]),
        format!(
            "conflict: unable to delete {c} (must be forced) - image is being used by stopped container e924de7c5b20"
        )
    );
    assert_eq!(
        said(&c, FORCE, &[(child, true)]),
        format!(
            "conflict: unable to delete {c} (cannot be forced) - image is being used by running container e924de7c5b20"
        )
    );
    assert_eq!(
        said(&b, none, &[]),
        format!("conflict: unable to delete {b} (cannot be forced) - image has dependent child images")
    );
    store.tag("child:1", &"other:1".parse().unwrap()).unwrap();
    assert_eq!(
        said(&c, none, &[]),
        format!(
            "conflict: unable to delete {c} (must be forced) - image is referenced in multiple repositories"
        )
    );
    assert_eq!(said("no", none, &[]), "No such image: no:latest");
    assert_eq!(store.list().unwrap().len(), 2, "nothing went");
    assert_eq!(used(&store, "other:1", none, &[(child, true)]).unwrap(), ["Untagged: other:1"]);
}

#[test]
fn force_removes_all_names_and_keeps_what_a_container_stands_on() {
    let dir = Dir::new();
    let store = dir.open();
    let loaded = load(&store, &docker_archive(&[image(&[layer("a"), layer("b")], &["x:1", "y:1"])])).unwrap();
    let id = loaded[0].id;
    let chain = store.by_id(&id).unwrap().chain;
    store.snapshotter().prepare("c", chain.as_ref(), skiff_snapshots::Lifetime::Ephemeral, None).unwrap();
    let removed = used(&store, &id.short(), FORCE, &[(id, false)]).unwrap();
    assert_eq!(removed, ["Untagged: x:1", "Untagged: y:1", &format!("Deleted: {}", id.short())]);
    assert_eq!(store.snapshotter().layers().len(), 2);
    store.snapshotter().remove("c").unwrap();
    drop(store);
    assert_eq!(dir.open().snapshotter().layers().len(), 0, "garbage goes at the next start");
}

/// Removes an image while it is being written somewhere.
struct Removing<'a>(&'a ImageStore, bool);

impl std::io::Write for Removing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if !std::mem::replace(&mut self.1, true) {
            remove(self.0, "busy:1", FORCE).unwrap();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn layers_of_an_image_that_is_removed_while_it_is_saved_go_when_that_is_done() {
    let dir = Dir::new();
    let store = dir.open();
    let empty = dir.paths(&store);
    load(&store, &docker_archive(&[image(&[layer("a"), layer("b")], &["busy:1"])])).unwrap();
    store.save(&["busy:1".to_owned()], None, &mut skiff_images::Plain(Removing(&store, false))).unwrap();
    assert_eq!(dir.paths(&store), empty);
}
