use super::*;

fn local() -> (tempfile::TempDir, Local) {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::open(&dir.path().join("volumes")).unwrap();
    (dir, local)
}

fn names(local: &Local) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(&local.root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn recorded(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn make(local: &Local, name: &str) {
    local.stage(name, &Options::default()).unwrap().place().unwrap();
}

#[test]
fn a_volume_has_its_name_only_when_it_is_placed() {
    let (_dir, local) = local();
    let staged = local.stage("data", &Options::default()).unwrap();
    assert!(staged.data().is_dir());
    assert_eq!(names(&local), [".new-data"]);
    staged.place().unwrap();
    assert_eq!(names(&local), ["data"]);
    assert!(local.data("data").is_dir());
    drop(local.stage("other", &Options::default()).unwrap());
    assert_eq!(names(&local), ["data"]);
}

/// Every state that a kill between two steps of create can leave.
#[test]
fn a_killed_create_is_finished_if_it_was_recorded() {
    let (_dir, local) = local();
    let staged = local.stage("data", &Options::default()).unwrap();
    fs::write(staged.data().join("file"), "x").unwrap();
    std::mem::forget(staged);
    let found = local.recover(&recorded(&["data"])).unwrap();
    assert_eq!(found, Recovered::default());
    assert_eq!(fs::read_to_string(local.data("data").join("file")).unwrap(), "x");

    std::mem::forget(local.stage("never", &Options::default()).unwrap());
    let found = local.recover(&recorded(&["data"])).unwrap();
    assert_eq!(found.garbage, [local.root.join(".new-never")]);
    assert_eq!((found.adopted.len(), found.lost.len()), (0, 0));
}

#[test]
fn a_killed_removal_is_undone_while_the_record_is_there() {
    let (_dir, local) = local();
    make(&local, "data-1");
    fs::write(local.data("data-1").join("file"), "x").unwrap();
    let old = local.take_away("data-1", &Options::default()).unwrap().unwrap();
    assert!(!local.root.join("data-1").exists());
    assert_eq!(local.recover(&recorded(&["data-1"])).unwrap(), Recovered::default());
    assert!(local.data("data-1").join("file").exists());

    let again = local.take_away("data-1", &Options::default()).unwrap().unwrap();
    assert_ne!(again, old);
    let found = local.recover(&recorded(&[])).unwrap();
    assert_eq!(found.garbage, [again]);
    assert!(local.take_away("data-1", &Options::default()).unwrap().is_none());
}

#[test]
fn directories_without_a_record_are_taken_in_and_lost_ones_made_again() {
    let (_dir, local) = local();
    make(&local, "brought");
    fs::create_dir(local.root.join("no-data")).unwrap();
    let found = local.recover(&recorded(&["lost"])).unwrap();
    assert_eq!(found.adopted, ["brought"]);
    assert_eq!(found.lost, ["lost"]);
    assert!(local.data("lost").is_dir());
}

fn content(dir: &Path) -> Content {
    fs::create_dir_all(dir.join("srv/sub")).unwrap();
    fs::write(dir.join("srv/file"), "from the image").unwrap();
    fs::write(dir.join("srv/sub/deep"), "deep").unwrap();
    let root = fs::File::open(dir).unwrap().into_parts().0;
    Content::of(root.into(), "/srv").unwrap().unwrap()
}

#[test]
fn an_empty_volume_is_filled_and_another_is_left_alone() {
    let (dir, local) = local();
    let content = content(&dir.path().join("image"));
    make(&local, "empty");
    local.fill("empty", &content).unwrap();
    assert_eq!(fs::read_to_string(local.data("empty").join("sub/deep")).unwrap(), "deep");
    assert_eq!(names(&local), ["empty"]);
    make(&local, "used");
    fs::write(local.data("used").join("own"), "").unwrap();
    local.fill("used", &content).unwrap();
    assert!(!local.data("used").join("file").exists());
}

/// A kill in the middle of the copy leaves nothing of it, one after its end all of it.
#[test]
fn a_killed_copy_is_nothing_or_everything() {
    let (dir, local) = local();
    let content = content(&dir.path().join("image"));
    make(&local, "data");
    let (fill, filled) = (local.root.join(".fill-data"), local.root.join(".filled-data"));
    fs::create_dir(&fill).unwrap();
    fs::write(fill.join("file"), "from").unwrap();
    let found = local.recover(&recorded(&["data"])).unwrap();
    assert_eq!(found.garbage, [fill]);
    assert!(is_empty(&local.data("data")).unwrap());

    fs::create_dir(&filled).unwrap();
    content.copy_to(&filled).unwrap();
    // Half of it was moved already.
    fs::rename(filled.join("file"), local.data("data").join("file")).unwrap();
    local.recover(&recorded(&["data"])).unwrap();
    assert_eq!(fs::read_to_string(local.data("data").join("file")).unwrap(), "from the image");
    assert_eq!(fs::read_to_string(local.data("data").join("sub/deep")).unwrap(), "deep");
    assert!(!filled.exists());
}
