//! Names: tagging and finding, in the words of Docker 28.5.

use crate::archives::{Dir, docker_archive, image, layer, load};

#[test]
fn images_are_found_by_name_id_and_prefix() {
    let dir = Dir::new();
    let store = dir.open();
    let loaded = load(&store, &docker_archive(&[image(&[layer("a")], &["x:1", "y:latest"])])).unwrap();
    let id = loaded[0].id;
    for name in
        ["x:1", "y", "docker.io/library/y:latest", &id.to_string(), &id.digest().to_string(), &id.short()]
    {
        assert_eq!(store.resolve(name).unwrap(), id, "{name}");
    }
    assert_eq!(store.resolve(&format!("sha256:{}", id.short())).unwrap(), id);
    let none = "a".repeat(64);
    for (name, message) in [
        ("x", "No such image: x:latest"),
        ("nosuch:tag", "No such image: nosuch:tag"),
        ("sha256:1234", "No such image: sha256:1234"),
        (&none, &format!("No such image: sha256:{none}")),
        ("", "invalid reference format"),
        ("A", "invalid reference format: repository name (library/A) must be lowercase"),
    ] {
        assert_eq!(store.resolve(name).unwrap_err().to_string(), message, "{name}");
    }
}

#[test]
fn tags_move_and_survive() {
    let dir = Dir::new();
    let store = dir.open();
    load(&store, &docker_archive(&[image(&[layer("a")], &["x:1"]), image(&[layer("b")], &["z:1"])])).unwrap();
    store.tag("x:1", &"example.com/new".parse().unwrap()).unwrap();
    store.tag("z:1", &"x:1".parse().unwrap()).unwrap();
    drop(store);
    let store = dir.open();
    let names = |image: &str| -> Vec<String> {
        store.get(image).unwrap().tags.iter().map(|r| r.familiar()).collect()
    };
    assert_eq!(names("example.com/new"), ["example.com/new:latest"]);
    assert_eq!(names("z:1"), ["x:1", "z:1"]);
    let digest = format!("x@sha256:{}", "a".repeat(64));
    for (target, message) in [
        (&digest[..], "cannot import digest reference"),
        ("sha256:x", "refusing to create an ambiguous tag using digest algorithm as name"),
    ] {
        assert_eq!(store.tag("x:1", &target.parse().unwrap()).unwrap_err().to_string(), message);
    }
    assert_eq!(store.tag("no", &"x:2".parse().unwrap()).unwrap_err().to_string(), "No such image: no:latest");
}
