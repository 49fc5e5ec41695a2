//! Cases about archives that are odd or hostile, and stores that lost something.

use std::{io::Read, path::Path};

use super::{Archive, Store, listing, mount_path};
use crate::{Error, Lifetime};

/// Go's reader does not miss the padding at the very end, so neither does anybody's layer.
pub(super) fn last_padding(store: &Store) {
    let driver = store.open();
    let whole = Archive::new().file("a", "hello").finish();
    let cut = &whole[..whole.len() - crate::tar::END.len() - (512 - "hello".len())];
    let layer = driver.apply_layer(None, None, &mut &cut[..]).expect("it applies");
    assert_eq!(layer.tar_size, cut.len() as u64);
    let view = driver.view(&layer.chain).expect("a view");
    let root = mount_path(&view);
    assert_eq!(fs_err::read_to_string(root.join("a")).expect("it can be read"), "hello");
    let mut back = Vec::new();
    driver.layer_tar(&layer.chain).expect("its archive").read_to_end(&mut back).expect("all of it");
    assert_eq!(back, cut);
}

/// Directories inside each other, as deep as a path may be long and deeper.
pub(super) fn deep_paths(store: &Store) {
    let driver = store.open();
    let deep = Archive::new().file(&format!("{}f", "d/".repeat(1500)), "x").finish();
    let layer = driver.apply_layer(None, None, &mut &deep[..]).expect("it applies");
    let view = driver.view(&layer.chain).expect("a view");
    let root = mount_path(&view);
    assert_eq!(fs_err::read_to_string(root.join(format!("{}f", "d/".repeat(1500)))).expect("there"), "x");
    drop(view);
    let too_deep = Archive::new().file(&format!("{}f", "d/".repeat(2048)), "x").finish();
    let error = driver.apply_layer(None, None, &mut &too_deep[..]).expect_err("too long");
    assert!(matches!(&error, Error::Apply { source, .. } if source.raw_os_error() == Some(36)), "{error}");
    driver.remove_layer(&layer.chain).expect("removed");
    driver.collect_garbage().expect("collected");
}

/// A layer that lost its record, or whose record is damaged, keeps nobody from the rest, and can come again.
pub(super) fn lost_layers(store: &Store) {
    lose_a_layer(store, |record| fs_err::remove_file(record).expect("it is there"));
    lose_a_layer(store, |record| fs_err::write(record, "{ half of").expect("it is there"));
}

fn lose_a_layer(store: &Store, lose: impl FnOnce(&Path)) {
    let driver = store.open();
    let (lost, other) = (Archive::new().file("a", "1").finish(), Archive::new().file("b", "2").finish());
    let lost_layer = driver.apply_layer(None, None, &mut &lost[..]).expect("it applies");
    let other = driver.apply_layer(None, None, &mut &other[..]).expect("it applies");
    driver.prepare("c1", Some(&lost_layer.chain), Lifetime::Durable, None).expect("a snapshot");
    drop(driver);
    lose(&store.layer(&lost_layer.chain).join("meta"));
    let driver = store.open();
    assert!(matches!(driver.layer(&lost_layer.chain), Err(Error::LayerNotFound(_))));
    assert!(driver.prepare("c2", Some(&lost_layer.chain), Lifetime::Durable, None).is_err());
    assert_eq!(driver.snapshots(), ["c1"]);
    listing(&mount_path(&driver.view(&other.chain).expect("a view")));
    driver.apply_layer(None, None, &mut &lost[..]).expect("it applies");
    driver.mount("c1", Lifetime::Durable).expect("a mount");
    driver.remove("c1").expect("removed");
    for layer in [&lost_layer, &other] {
        driver.remove_layer(&layer.chain).expect("removed");
    }
}
