//! Cases about layers.

use std::{io::Read, path::Path, sync::Arc};

use skiff_types::{Digest, ErrorKind};

use super::{Archive, Listing, Store, archive::node, listing, mount_path};
use crate::{
    ChainId, Error, Lifetime, Snapshotter,
    tar::{Device, Entry, EntryKind, Timestamp},
};

type Drv = Arc<dyn Snapshotter>;

fn apply(store: &Drv, parent: Option<&ChainId>, tar: &[u8]) -> ChainId {
    store.apply_layer(parent, None, &mut &tar[..]).expect("the layer applies").chain
}

fn view(store: &Drv, chain: &ChainId) -> Listing {
    listing(&mount_path(&store.view(chain).expect("a view")))
}

/// The names below the root.
fn names(listing: &Listing) -> Vec<&str> {
    listing.keys().filter_map(|n| n.strip_prefix("./")).collect()
}

/// One of everything.
fn rich() -> Archive {
    let odd = Entry {
        uid: 1234,
        gid: 3_000_000_000,
        mtime: Timestamp { secs: 981_173_106, nanos: 123_456_789 },
        xattrs: vec![
            (b"security.capability".to_vec(), b"\x01\0\0\x02\x00\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
            (b"user.note".to_vec(), b"x\0y".to_vec()),
        ],
        size: 5,
        ..node("usr/bin/ping", EntryKind::File, 0o4755)
    };
    let same = EntryKind::HardLink(b"usr/bin/ping".to_vec());
    let long = format!("usr/{}/{}", "d".repeat(120), "f".repeat(200));
    Archive::new()
        .dir("./")
        .dir("usr/")
        .dir("usr/bin/")
        .entry(&odd, b"hello")
        .entry(&Entry { path: b"usr/bin/ping6".to_vec(), kind: same, size: 0, ..odd.clone() }, b"")
        .symlink("bin", "usr/bin")
        .file("bin/through-a-link", "below usr/bin")
        .file("/absolute", "abc")
        .file("./empty", "")
        .file("usr/../dots", "lexical")
        .file(&long, "a long name")
        .file("usr/big", &"0123456789abcdef".repeat(100_000))
        .device("null", 1, 3)
        .entry(&node("disk", EntryKind::BlockDevice(Device { major: 259, minor: 70_000 }), 0o660), b"")
        .fifo("pipe")
        .entry(&node("tmp/", EntryKind::Directory, 0o1777), b"")
        .symlink("dangling", "/no/such")
}

pub(super) fn archives_come_back(store: &Store) {
    let driver = store.open();
    let replaced = Archive::new()
        .file("a", "first contents")
        .dir("d")
        .file("d/x", "in a directory that goes")
        .file("a", "second contents")
        .symlink("d", "a")
        .file("a", "third");
    let sparse = sparse_archive();
    let archives = [
        rich().finish(),
        rich().finish().into_iter().chain([0; 9000]).collect(),
        rich().raw(&[0; 1024]).raw(b"what follows the end").unfinished(),
        replaced.finish(),
        sparse,
        Archive::new().finish(),
        Vec::new(),
    ];
    for archive in &archives {
        let digest = Digest::of(archive);
        let layer = driver.apply_layer(None, Some(&digest), &mut &archive[..]).expect("the layer applies");
        assert_eq!((layer.diff_id, layer.tar_size), (digest, archive.len() as u64));
        let mut tar = driver.layer_tar(&layer.chain).expect("an archive");
        assert_eq!(tar.len(), archive.len() as u64);
        let mut read = Vec::new();
        tar.read_to_end(&mut read).expect("the archive reads");
        assert!(read == *archive, "the archive differs");
    }
    let sum = 5 + 7 + 13 + 3 + 7 + 11 + 1_600_000 + 8;
    let chain = ChainId::of(&[Digest::of(&archives[0])]).expect("a chain");
    assert_eq!(driver.layer(&chain).expect("the layer").size, sum);
}

/// A sparse file in GNU's PAX format 1.0: `abc` at 0, a hole, `xyz` at 1,000,000 and a hole up to 2,000,000.
fn sparse_archive() -> Vec<u8> {
    let mut map = b"2\n0\n3\n1000000\n3\n".to_vec();
    map.resize(512, 0);
    let mut block = Vec::new();
    let entry = Entry { size: 512 + 6, ..node("GNUSparseFile.0/sparse", EntryKind::File, 0o600) };
    crate::tar::encode(&Entry { mtime: Timestamp::default(), ..entry }, &mut block);
    let records = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n26 GNU.sparse.name=sparse\n31 GNU.sparse.realsize=2000000\n";
    let pax =
        Entry { size: records.len() as u64, mtime: Timestamp::default(), ..node("x", EntryKind::File, 0) };
    let mut pax_block = Vec::new();
    crate::tar::encode(&pax, &mut pax_block);
    pax_block[156] = b'x';
    pax_block[148..156].fill(b' ');
    let sum: u32 = pax_block.iter().map(|b| u32::from(*b)).sum();
    pax_block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    Archive::new()
        .raw(&pax_block)
        .raw(records)
        .raw(&vec![0; 512 - records.len()])
        .raw(&block)
        .raw(&map)
        .raw(b"abcxyz")
        .raw(&[0; 506])
        .finish()
}

pub(super) fn views_show_archives(store: &Store) {
    let driver = store.open();
    let chain = apply(&driver, None, &rich().finish());
    let seen = view(&driver, &chain);
    let time = "1000000000.000000005";
    let hash = |s: &[u8]| format!("{:x?}", &Digest::of(s).sha256()[..6]);
    let long = format!("./usr/{}/{}", "d".repeat(120), "f".repeat(200));
    let capability = "security.capability=\\x01\\x00\\x00\\x02\\x00 \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00";
    for (name, facts) in [
        (".", format!("dir 755 0:0 {time} [] =.")),
        ("./usr", format!("dir 755 0:0 {time} [] =./usr")),
        ("./bin", format!("link to usr/bin 777 0:0 {time} [] =./bin")),
        (
            "./usr/bin/through-a-link",
            format!("file 13 {} 644 0:0 {time} [] =./usr/bin/through-a-link", hash(b"below usr/bin")),
        ),
        ("./absolute", format!("file 3 {} 644 0:0 {time} [] =./absolute", hash(b"abc"))),
        ("./dots", format!("file 7 {} 644 0:0 {time} [] =./dots", hash(b"lexical"))),
        (&long[..], format!("file 11 {} 644 0:0 {time} [] ={long}", hash(b"a long name"))),
        ("./null", format!("device 103 block false 600 0:0 {time} [] =./null")),
        (
            "./disk",
            format!("device {:x} block true 660 0:0 {time} [] =./disk", rustix::fs::makedev(259, 70_000)),
        ),
        ("./pipe", format!("fifo 600 0:0 {time} [] =./pipe")),
        ("./tmp", format!("dir 1777 0:0 {time} [] =./tmp")),
        ("./dangling", format!("link to /no/such 777 0:0 {time} [] =./dangling")),
    ] {
        assert_eq!(seen.get(name), Some(&facts), "{name}");
    }
    for name in ["./usr/bin/ping", "./usr/bin/ping6"] {
        let facts = &seen[name];
        let want = format!("file 5 {} 4755 1234:3000000000 981173106.123456789", hash(b"hello"));
        assert!(facts.starts_with(&want) && facts.ends_with("=./usr/bin/ping"), "{facts}");
        assert!(
            facts.contains(&capability.escape_debug().to_string()) && facts.contains("user.note=x"),
            "{facts}"
        );
    }
    assert_eq!(seen.len(), 18, "{:?}", names(&seen));
    let sparse = apply(&driver, None, &sparse_archive());
    let mount = driver.view(&sparse).expect("a view");
    let contents = fs_err::read(mount_path(&mount).join("sparse")).expect("the sparse file");
    assert_eq!(contents.len(), 2_000_000);
    assert!(contents.starts_with(b"abc\0") && contents[999_999..1_000_004] == *b"\0xyz\0");
    let refused = fs_err::write(mount_path(&mount).join("new"), "");
    assert_eq!(refused.expect_err("read-only").kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}

pub(super) fn whiteouts_hide(store: &Store) {
    let driver = store.open();
    let base = Archive::new()
        .dir("a")
        .file("a/1", "1")
        .file("a/2", "2")
        .dir("b")
        .file("b/1", "1")
        .file("c", "a file")
        .dir("d")
        .file("d/1", "1")
        .finish();
    let bottom = apply(&driver, None, &base);
    let changes = Archive::new()
        .dir("a")
        .file("a/.wh.1", "")
        .dir("b")
        .file("b/.wh..wh..opq", "")
        .file("b/new", "n")
        .file(".wh.c", "")
        .file(".wh.nothing", "")
        .file("d", "a file now")
        .finish();
    let middle = apply(&driver, Some(&bottom), &changes);
    assert_eq!(names(&view(&driver, &middle)), ["a", "a/2", "b", "b/new", "d"]);
    let again = Archive::new().dir("a").file("a/1", "back").dir("c").file("c/x", "x").dir("d").finish();
    let top = apply(&driver, Some(&middle), &again);
    let seen = view(&driver, &top);
    assert_eq!(names(&seen), ["a", "a/1", "a/2", "b", "b/new", "c", "c/x", "d"]);
    assert!(seen["./d"].starts_with("dir "));
    assert_eq!(names(&view(&driver, &bottom)).len(), 8, "the layer below is as it was");
}

pub(super) fn whiteouts_within_a_layer(store: &Store) {
    let driver = store.open();
    let base = apply(&driver, None, &Archive::new().dir("d").file("d/old", "").file("f", "old").finish());
    let before =
        Archive::new().file(".wh.d", "").dir("d").file("d/new", "").file(".wh.f", "").file("f", "new!");
    let after =
        Archive::new().dir("d").file("d/new", "").file(".wh.d", "").file("f", "new!").file(".wh.f", "");
    for archive in [before, after] {
        let seen = view(&driver, &apply(&driver, Some(&base), &archive.finish()));
        assert_eq!(names(&seen), ["d", "d/new", "f"]);
        assert!(seen["./f"].starts_with("file 4 "));
    }
}

pub(super) fn links_across_layers(store: &Store) {
    let driver = store.open();
    let secret = Entry { uid: 7, size: 3, ..node("etc/deep/conf", EntryKind::File, 0o640) };
    let etc = node("etc/deep", EntryKind::Directory, 0o700);
    let base = Archive::new().dir("etc").entry(&etc, b"").entry(&secret, b"abc").finish();
    let bottom = apply(&driver, None, &base);
    let middle = apply(&driver, Some(&bottom), &Archive::new().file("other", "").finish());
    let top = apply(&driver, Some(&middle), &Archive::new().link("hard", "etc/deep/conf").finish());
    let seen = view(&driver, &top);
    assert!(seen["./hard"].contains(" 640 7:0 1000000000.000000005 "), "{}", seen["./hard"]);
    assert!(seen["./hard"].starts_with("file 3 "));
    assert_eq!(seen["./etc/deep"], view(&driver, &bottom)["./etc/deep"]);
    let nowhere = Archive::new().link("hard", "etc/nothing").finish();
    let error = driver.apply_layer(Some(&middle), None, &mut &nowhere[..]).expect_err("a link to nothing");
    assert!(matches!(error, Error::DanglingLink { .. }), "{error}");
    // A target that comes later, and only by way of a link.
    let late = Archive::new().symlink("a/b", "a").link("a/c", "a/b/d").file("a/b/d", "").finish();
    let error = driver.apply_layer(None, None, &mut &late[..]).expect_err("it is not there yet");
    assert!(matches!(error, Error::DanglingLink { .. }), "{error}");
}

/// The last header of a file counts, as with Docker, and as calls would have it: a change of the owner takes capabilities.
pub(super) fn headers_of_links(store: &Store) {
    let driver = store.open();
    let pair = |name: &str, value: &str| (name.into(), value.into());
    let capability = pair("security.capability", "\x01\0\0\x02\x00\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let file = |path| node(path, EntryKind::File, 0o600);
    let link = |path, target: &str| Entry {
        uid: 7,
        mtime: Timestamp { secs: 3, nanos: 0 },
        ..node(path, EntryKind::HardLink(target.into()), 0o4755)
    };
    let archive = Archive::new()
        .entry(&Entry { xattrs: vec![pair("user.a", "1"), pair("user.b", "1")], ..file("f") }, b"")
        .entry(&Entry { xattrs: vec![pair("user.b", "2"), pair("user.c", "2")], ..link("f2", "f") }, b"")
        .entry(&Entry { xattrs: vec![capability.clone()], ..file("lost") }, b"")
        .entry(&link("lost2", "lost"), b"")
        .entry(&Entry { xattrs: vec![capability.clone()], ..file("kept") }, b"")
        .entry(&Entry { xattrs: vec![capability], ..link("kept2", "kept") }, b"")
        .file("outside", "")
        .symlink("s", "outside")
        .entry(&link("s2", "s"), b"")
        .fifo("p")
        .entry(&link("p2", "p"), b"")
        .entry(&Entry { uid: 8, ..link("p3", "p2") }, b"")
        .finish();
    let seen = view(&driver, &apply(&driver, None, &archive));
    for name in ["f", "f2", "kept", "kept2", "lost", "lost2"] {
        assert!(
            seen[&format!("./{name}")].contains(" 4755 7:0 3.000000000 "),
            "{}",
            seen[&format!("./{name}")]
        );
    }
    let user = "[\"user.a=1\", \"user.b=2\", \"user.c=2\"]";
    assert!(seen["./f"].contains(user), "{}", seen["./f"]);
    assert!(seen["./kept"].contains("security.capability"), "{}", seen["./kept"]);
    assert!(seen["./lost"].contains(" [] "), "{}", seen["./lost"]);
    assert!(seen["./s2"].starts_with("link to outside 777 7:0 1000000000."), "{}", seen["./s2"]);
    assert!(seen["./outside"].contains(" 644 0:0 1000000000."), "{}", seen["./outside"]);
    assert!(seen["./p"].starts_with("fifo 4755 8:0 3."), "{}", seen["./p"]);
}

/// A hard link is a few bytes, and what it leads to may be large.
pub(super) fn copies_ask_for_room(store: &Store) {
    let driver = store.open();
    let bottom = apply(&driver, None, &Archive::new().file("big", &"0123456789abcdef".repeat(4096)).finish());
    let before = store.paths(&driver);
    let link = |name: &str| Archive::new().link(name, "big").finish();
    let mut staged = driver.stage(&mut &link("l")[..]).expect("it is staged");
    staged.accompany(Box::new(|_| Err(std::io::ErrorKind::StorageFull.into())));
    let error = driver.commit(staged, Some(&bottom)).expect_err("there is no room");
    assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
    assert_eq!(store.paths(&driver), before);
    let mut top = bottom;
    for name in ["l", "m"] {
        let mut staged = driver.stage(&mut &link(name)[..]).expect("it is staged");
        let (say, asked) = std::sync::mpsc::channel();
        staged.accompany(Box::new(move |bytes| say.send(bytes).map_err(std::io::Error::other)));
        top = driver.commit(staged, Some(&top)).expect("there is room");
        assert_eq!(asked.iter().collect::<Vec<_>>(), [65_536]);
        // The next layer's count goes on from there.
        let record = fs_err::read_to_string(store.layer(&top).join("meta")).expect("a record");
        assert!(record.contains("\"copied\":65536"), "{record}");
    }
}

pub(super) fn implied_directories(store: &Store) {
    let driver = store.open();
    let tmp = Entry { gid: 9, ..node("tmp", EntryKind::Directory, 0o1777) };
    let root = node("./", EntryKind::Directory, 0o711);
    let bottom = apply(&driver, None, &Archive::new().entry(&root, b"").entry(&tmp, b"").finish());
    let top = apply(&driver, Some(&bottom), &Archive::new().file("tmp/x", "").file("new/y", "").finish());
    let (below, seen) = (view(&driver, &bottom), view(&driver, &top));
    assert_eq!(seen["./tmp"], below["./tmp"]);
    assert_eq!(seen["."], below["."]);
    assert!(seen["./new"].starts_with("dir 755 0:0 0.000000000 "), "{}", seen["./new"]);
}

pub(super) fn links_stay_inside(store: &Store) {
    let driver = store.open();
    let outside = tempfile::tempdir().expect("a temporary directory");
    let path = outside.path().to_str().expect("a plain path");
    let up = "../".repeat(20);
    for archive in [
        Archive::new().symlink("l", path).file("l/f", "inside"),
        Archive::new().symlink("l", &format!("{up}{path}")).file("l/f", "inside"),
        Archive::new().dir("d").symlink("d/l", path).file("d/l/f", "inside"),
        Archive::new().dir("d").file("d/f", "").symlink("d", path).file("d/f", "inside"),
        Archive::new().symlink("l", path).dir("l").file("l/f", "inside"),
        Archive::new().symlink("l", path).file("l/.wh.f", ""),
        Archive::new().symlink("l", path).file("l/.wh..wh..opq", ""),
        Archive::new().dir("d").symlink("d", path).link("h", "d/secret"),
    ] {
        fs_err::write(outside.path().join("secret"), "outside").expect("a file outside");
        // Refused or applied inside: either is right.
        let archive = archive.finish();
        let applied = driver.apply_layer(None, None, &mut &archive[..]);
        if let Ok(layer) = applied {
            view(&driver, &layer.chain);
        }
        assert_eq!(fs_err::read_dir(outside.path()).expect("a directory").count(), 1);
        assert_eq!(fs_err::read(outside.path().join("secret")).expect("the file outside"), b"outside");
        assert!(no_overlay_marks(outside.path()));
    }
}

fn no_overlay_marks(path: &Path) -> bool {
    !crate::merge::is_opaque_path(path).expect("attributes")
}

pub(super) fn refusals_leave_nothing(store: &Store) {
    let driver = store.open();
    let good = rich().finish();
    let bottom = apply(&driver, None, &good);
    let before = store.paths(&driver);
    let mut flipped = Archive::new().file("a", "x").file("b", "y").finish();
    flipped[1100] ^= 4;
    for (archive, kind) in [
        (Archive::new().file("../escape", "x").finish(), ErrorKind::InvalidArgument),
        (Archive::new().file("a", "").file("a/../../b", "x").finish(), ErrorKind::InvalidArgument),
        (Archive::new().link("l", "../../etc/shadow").finish(), ErrorKind::InvalidArgument),
        (Archive::new().file(".wh...", "").finish(), ErrorKind::InvalidArgument),
        (Archive::new().file("d/.wh.", "").finish(), ErrorKind::InvalidArgument),
        (Archive::new().file("x", "").link("l", "nothing").finish(), ErrorKind::InvalidArgument),
        (good[..700_000].to_vec(), ErrorKind::InvalidArgument),
        (flipped, ErrorKind::InvalidArgument),
        (vec![0x41; 5000], ErrorKind::InvalidArgument),
    ] {
        let error = driver.apply_layer(Some(&bottom), None, &mut &archive[..]).expect_err("refused");
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(store.paths(&driver), before, "{error}");
    }
    let wrong = Digest::from_sha256([1; 32]);
    let error = driver.apply_layer(None, Some(&wrong), &mut &good[..]).expect_err("another diff id");
    assert!(matches!(error, Error::DiffId { expected, .. } if expected == wrong));
    drop(driver.stage(&mut &good[..]).expect("it stages"));
    let missing = ChainId::of(&[wrong]).expect("a chain");
    let error = driver.apply_layer(Some(&missing), None, &mut &good[..]).expect_err("no such parent");
    assert!(matches!(error, Error::LayerNotFound(c) if c == missing));
    assert_eq!(store.paths(&driver), before);
}

pub(super) fn layers_go_in_order(store: &Store) {
    let driver = store.open();
    let before = store.paths(&driver);
    let archive = Archive::new().file("f", "x").finish();
    let bottom = apply(&driver, None, &archive);
    assert_eq!(apply(&driver, None, &archive), bottom, "a layer may be applied again");
    let top = apply(&driver, Some(&bottom), &archive);
    assert_ne!(top, bottom);
    assert_eq!(driver.layer(&top).expect("the layer").parent, Some(bottom));
    assert!(matches!(driver.remove_layer(&bottom), Err(Error::LayerInUse { .. })));
    driver.prepare("c", Some(&top), Lifetime::Ephemeral, None).expect("a snapshot");
    assert!(matches!(driver.remove_layer(&top), Err(Error::LayerInUse { user, .. }) if user == "c"));
    driver.remove("c").expect("it goes");
    driver.remove_layer(&top).expect("it goes");
    driver.remove_layer(&bottom).expect("it goes");
    assert!(matches!(driver.remove_layer(&bottom), Err(Error::LayerNotFound(_))));
    assert!(matches!(driver.layer_tar(&bottom), Err(Error::LayerNotFound(_))));
    assert!(matches!(driver.view(&bottom), Err(Error::LayerNotFound(_))));
    assert!(driver.layers().is_empty());
    assert_eq!(store.paths(&driver), before);
}

pub(super) fn stores_reopen(store: &Store) {
    let driver = store.open();
    let bottom = apply(&driver, None, &rich().finish());
    let top = apply(&driver, Some(&bottom), &Archive::new().file("f", "x").finish());
    driver.prepare("kept", Some(&top), Lifetime::Durable, None).expect("a snapshot");
    driver.prepare("scratch", None, Lifetime::Durable, None).expect("a snapshot");
    let (facts, seen, paths) =
        (driver.layer(&top).expect("the layer"), view(&driver, &top), store.paths(&driver));
    drop(driver);
    // What a killed process leaves.
    let leftover = store.root.path().join(store.driver).join("tmp").join("0123");
    fs_err::create_dir_all(leftover.join("diff")).expect("a directory");
    let driver = store.open();
    assert_eq!(store.paths(&driver), paths);
    assert_eq!((driver.layer(&top).expect("the layer"), view(&driver, &top)), (facts, seen));
    let mut snapshots = driver.snapshots();
    snapshots.sort();
    assert_eq!(snapshots, ["kept", "scratch"]);
    assert!(matches!(driver.remove_layer(&top), Err(Error::LayerInUse { .. })));
    let second = crate::open(store.root.path(), Some(store.driver));
    assert!(matches!(second, Err(Error::Locked(_))), "two engines on one store");
}

pub(super) fn deep_stacks(store: &Store) {
    let driver = store.open();
    let mut chain = None;
    for i in 0..128 {
        let archive = Archive::new().file(&format!("f{i:03}"), "x").file("same", &i.to_string()).finish();
        chain = Some(apply(&driver, chain.as_ref(), &archive));
    }
    let seen = view(&driver, &chain.expect("a layer"));
    assert_eq!(seen.len(), 130);
    assert!(seen["./same"].starts_with("file 3 "));
    driver.prepare("deep", chain.as_ref(), Lifetime::Ephemeral, None).expect("a snapshot");
    let mount = driver.mount("deep", Lifetime::Durable).expect("a mount");
    fs_err::remove_file(mount_path(&mount).join("f000")).expect("the lowest file goes");
    let skeleton = crate::skeleton::paths().count();
    assert_eq!(listing(&mount_path(&mount)).len(), 129 + skeleton);
}
