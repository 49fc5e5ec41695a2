//! Layers that come piece by piece, break off, go on, and lie.

use std::{
    io::{self, Write},
    sync::Arc,
};

use bytes::Bytes;
use skiff_images::{Error, ImageStore};
use skiff_snapshots::StagedLayer;
use skiff_types::Digest;

use crate::archives::{Dir, config, hex, layer};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn digest(bytes: &[u8]) -> Digest {
    format!("sha256:{}", hex(bytes)).parse().unwrap()
}

/// Receives a blob of this digest and size that comes as `comes`, three bytes at a time; it breaks off where that ends with `cut`.
fn receive(
    store: &ImageStore,
    blob: &Digest,
    size: usize,
    comes: &[u8],
    cut: bool,
) -> Result<StagedLayer, Error> {
    let partial = store.partial_layer(blob, size as u64).unwrap();
    let from = partial.len() as usize;
    let mut pieces: Vec<&[u8]> = comes[from.min(comes.len())..].chunks(3).collect();
    pieces.reverse();
    store.receive_layer(partial, &mut || match pieces.pop() {
        Some(piece) => Ok(Some(Bytes::copy_from_slice(piece))),
        None if cut => Err(io::ErrorKind::ConnectionReset.into()),
        None => Ok(None),
    })
}

#[test]
fn a_layer_that_breaks_off_goes_on_where_it_stopped_also_after_a_restart() {
    let dir = Dir::new();
    let tar = layer("motd");
    for blob in [gzip(&tar), zstd::encode_all(&tar[..], 1).unwrap(), tar.clone()] {
        let name = digest(&blob);
        let half = blob.len() / 2;
        let store = dir.open();
        let error = receive(&store, &name, blob.len(), &blob[..half], true).unwrap_err();
        assert!(matches!(error, Error::Io(e) if e.kind() == io::ErrorKind::ConnectionReset));
        drop(store);
        let store = dir.open();
        assert_eq!(store.partial_layer(&name, blob.len() as u64).unwrap().len(), half as u64);
        let staged = receive(&store, &name, blob.len(), &blob, false).unwrap();
        assert_eq!(*staged.diff_id(), digest(&tar));
        // All of it is there, until the image is.
        assert_eq!(store.partial_layer(&name, blob.len() as u64).unwrap().len(), blob.len() as u64);
        drop(staged);
        assert_eq!(*receive(&store, &name, blob.len(), &[], false).unwrap().diff_id(), digest(&tar));
        store.forget_partial(&name);
        assert_eq!(store.partial_layer(&name, 1000).unwrap().len(), 0);
        store.forget_partial(&name);
    }
}

#[test]
fn what_is_not_the_blob_leaves_nothing() {
    let dir = Dir::new();
    let store = dir.open();
    let before = dir.paths(&store);
    let blob = gzip(&layer("motd"));
    let mut garbled = blob.clone();
    garbled[20] ^= 1;
    let shorter = &blob[..blob.len() - 1];
    let longer: Vec<u8> = blob.iter().copied().chain([0]).collect();
    for (what, comes) in
        [("garbled", &garbled[..]), ("shorter", shorter), ("longer", &longer), ("nothing", &[])]
    {
        let error = receive(&store, &digest(&blob), blob.len(), comes, false).unwrap_err();
        assert!(matches!(error, Error::Digest { .. }), "{what}: {error}");
        assert_eq!(dir.paths(&store), before, "{what}");
    }
    // The blob is as promised, and no layer.
    for bytes in [gzip(b"no tar"), b"\x1f\x8b\x08 no gzip".to_vec()] {
        let error = receive(&store, &digest(&bytes), bytes.len(), &bytes, false).unwrap_err();
        assert!(matches!(error, Error::Snapshot(_) | Error::Io(_)), "{error}");
        assert_eq!(dir.paths(&store), before);
    }
}

#[test]
fn what_a_power_cut_spoiled_is_found_out() {
    let dir = Dir::new();
    let store = dir.open();
    let blob = gzip(&layer("motd"));
    let name = digest(&blob);
    let zeros = vec![0; blob.len() / 2];
    receive(&store, &name, blob.len(), &zeros, true).unwrap_err();
    let error = receive(&store, &name, blob.len(), &blob, false).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    receive(&store, &name, blob.len(), &blob, false).unwrap();
}

#[test]
fn an_image_arrives_whole_or_leaves_no_layer() {
    let dir = Dir::new();
    let store = Arc::new(dir.open());
    let layers = [layer("one"), layer("two")];
    let before = dir.paths(&store);
    let staged = |tar: &Vec<u8>| receive(&store, &digest(tar), tar.len(), tar, false).unwrap();
    let begin = || store.receive(config(&layers, "")).unwrap();

    let mut receiving = begin();
    receiving.commit(0, Some(staged(&layers[0]))).unwrap();
    assert!(receiving.has(0) && !receiving.has(1));
    let error = receiving.commit(1, Some(staged(&layer("three")))).unwrap_err();
    assert!(error.to_string().contains("wrong diff id"), "{error}");
    drop(receiving);
    for tar in [&layers[0], &layers[1], &layer("three")] {
        store.forget_partial(&digest(tar));
    }
    assert_eq!(dir.paths(&store), before);

    let names = ["reg:5000/a:1".parse().unwrap()];
    let (mut first, mut second) = (begin(), begin());
    for (number, tar) in layers.iter().enumerate() {
        first.commit(number, Some(staged(tar))).unwrap();
        second.commit(number, Some(staged(tar))).unwrap();
    }
    drop(first);
    let (id, changed) = second.record(&names, None).unwrap();
    assert_eq!((changed.len(), store.get("reg:5000/a:1").unwrap().id), (1, id));
    let (_, changed) = begin().record(&names, None).unwrap();
    assert!(changed.is_empty());
}

#[test]
fn what_nobody_goes_on_with_is_removed_on_demand_and_when_it_is_old() {
    let dir = Dir::new();
    let tar = layer("motd");
    let (name, held) = (digest(&tar), digest(b"held"));
    let store = dir.open();
    let cut = || receive(&store, &name, tar.len(), &tar[..100], true).unwrap_err();
    let left = || store.left_partials().unwrap().into_iter().map(|(blob, ..)| blob).collect::<Vec<_>>();
    cut();
    let holding = store.partial_layer(&held, 10).unwrap();
    store.remove_left_partials(|_| false).unwrap();
    assert_eq!(left(), [name]);
    store.remove_left_partials(|_| true).unwrap();
    assert_eq!(left(), []);
    drop(holding);
    assert_eq!(left(), [held]);
    store.forget_partial(&held);

    cut();
    let file = dir.paths(&store).into_iter().find(|path| path.ends_with(hex(&tar))).unwrap();
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(8 * 24 * 3600);
    fs_err::File::open(file).unwrap().file().set_modified(then).unwrap();
    drop(store.partial_layer(&held, 10).unwrap());
    assert_eq!(left(), [held]);
}
