//! Cases about layers that the disk has lost or changed.

use std::{
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{Archive, Store, listing, mount_path};
use crate::{ChainId, Error, Snapshotter};

/// The regular files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(dir).expect("the layer can be read") {
        let entry = entry.expect("the layer can be read");
        match entry.file_type().expect("a type") {
            kind if kind.is_dir() => files.extend(self::files(&entry.path())),
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

/// Changes a byte in the middle of a file.
fn damage(path: &Path) {
    let mut file = fs_err::OpenOptions::new().read(true).write(true).open(path).expect("the file opens");
    let middle = file.metadata().expect("its length").len() / 2;
    let mut byte = [0];
    file.seek(SeekFrom::Start(middle)).expect("a position");
    file.read_exact(&mut byte).expect("a byte");
    file.seek(SeekFrom::Start(middle)).expect("a position");
    file.write_all(&[!byte[0]]).expect("another byte");
}

fn is_whole(store: &dyn Snapshotter, chain: &ChainId) -> bool {
    store.verify(chain).expect("the layer can be looked at").is_empty()
}

/// A changed byte is found, and a good layer takes the place of a bad one, whoever stands on it.
pub(super) fn damage_is_found_and_mended(store: &Store) {
    let lower = Archive::new().file("below", &"shared ".repeat(10_000)).finish();
    let upper =
        Archive::new().link("above", "below").file("big", &"0123456789abcdef".repeat(50_000)).finish();
    let open = store.open();
    let below = open.apply_layer(None, None, &mut &lower[..]).expect("the layer applies").chain;
    let above = open.apply_layer(Some(&below), None, &mut &upper[..]).expect("the layer applies").chain;
    let top = Archive::new().file("top", "x").finish();
    open.apply_layer(Some(&above), None, &mut &top[..]).expect("the layer applies");
    let shown = listing(&mount_path(&open.view(&above).expect("a view")));
    assert!(is_whole(&*open, &below) && is_whole(&*open, &above));
    drop(open);
    let largest = || {
        let mut all = files(&store.layer(&above));
        // A store whose records are damaged does not open.
        all.retain(|path| path.file_name().is_none_or(|name| name != "meta"));
        all.sort_by_key(|path| std::cmp::Reverse(fs_err::metadata(path).expect("its length").len()));
        all
    };
    // With archives each of the layer's files counts; where it is unpacked, its largest does.
    let count = if store.driver == "erofs" { largest().len() } else { 1 };
    for number in 0..count {
        damage(&largest()[number]);
        let open = store.open();
        assert!(!is_whole(&*open, &above), "{}", largest()[number].display());
        assert!(is_whole(&*open, &below));
        let staged = open.stage(&mut &upper[..]).expect("it is staged");
        match open.mend(&above, staged) {
            Ok(()) => assert!(is_whole(&*open, &above)),
            Err(Error::CannotMend(driver)) => return assert_ne!(driver, "erofs"),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(listing(&mount_path(&open.view(&above).expect("a view"))), shown);
        let other = open.stage(&mut &lower[..]).expect("it is staged");
        assert!(matches!(open.mend(&above, other), Err(Error::DiffId { .. })));
    }
    // A file that is gone.
    fs_err::remove_file(&largest()[0]).expect("the file goes");
    assert!(!is_whole(&*store.open(), &above));
}
