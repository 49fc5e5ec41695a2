//! The dialects as GNU tar writes them, round trips with our own writer, and what must be refused.

use std::{
    io::{Cursor, Write as _},
    process::{Command, Stdio},
};

use proptest::prelude::*;

use super::super::{Device, encode, padding, writer::END};
use super::*;

type Contents = Vec<(Entry, Vec<u8>)>;

fn read_all(bytes: &[u8]) -> Result<Contents, Error> {
    // A small buffer, so that headers and contents straddle its ends.
    let mut reader = Reader::new(io::BufReader::with_capacity(700, bytes));
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut contents = Vec::new();
        reader.copy_contents(&mut contents)?;
        let at = entry.position.data as usize;
        assert_eq!(contents, bytes[at..at + entry.position.stored as usize]);
        entries.push((entry, contents));
    }
    Ok(entries)
}

/// The archive that GNU tar makes of the directory with these options.
fn gnu_tar(dir: &std::path::Path, options: &[&str]) -> Vec<u8> {
    let out = Command::new("tar")
        .args(["--sort=name", "--numeric-owner", "-C"])
        .arg(dir)
        .args(options)
        .args(["-cf", "-", "."])
        .stderr(Stdio::inherit())
        .output()
        .expect("tar runs");
    assert!(out.status.success());
    out.stdout
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs_err::write(root.join("a"), "hello").unwrap();
    fs_err::create_dir(root.join("d")).unwrap();
    fs_err::write(root.join("d").join("n".repeat(180)), "long").unwrap();
    fs_err::hard_link(root.join("a"), root.join("h")).unwrap();
    fs_err::os::unix::fs::symlink("t/".repeat(120), root.join("s")).unwrap();
    dir
}

#[test]
fn every_dialect_of_gnu_tar_reads_the_same() {
    let dir = tree();
    let mut seen = Vec::new();
    for format in ["--format=gnu", "--format=pax", "--format=oldgnu"] {
        let entries = read_all(&gnu_tar(dir.path(), &[format])).unwrap();
        let facts: Vec<_> = entries
            .into_iter()
            .map(|(e, data)| (e.path, e.kind, e.mode, e.uid, e.gid, e.mtime.secs, e.size, data))
            .collect();
        assert_eq!(facts.len(), 6);
        assert_eq!(facts[4].1, EntryKind::HardLink(b"./a".to_vec()));
        assert_eq!(facts[5].1, EntryKind::Symlink("t/".repeat(120).into_bytes()));
        assert_eq!(facts[3].0.len(), 4 + 180);
        seen.push(facts);
    }
    assert!(seen.windows(2).all(|w| w[0] == w[1]));
}

#[test]
fn sparse_files_of_every_format_give_the_same_map() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = fs_err::File::create(dir.path().join("sparse")).unwrap();
    for i in 0..60u64 {
        io::Seek::seek(&mut file, io::SeekFrom::Start(i * 1_000_000)).unwrap();
        file.write_all(format!("stretch {i}").as_bytes()).unwrap();
    }
    file.file().set_len(100_000_000).unwrap();
    drop(file);
    let mut maps = Vec::new();
    for options in [
        &["--format=gnu", "-S"][..],
        &["--format=pax", "-S", "--sparse-version=0.0"],
        &["--format=pax", "-S", "--sparse-version=0.1"],
        &["--format=pax", "-S", "--sparse-version=1.0"],
    ] {
        let entries = read_all(&gnu_tar(dir.path(), options)).unwrap();
        let (entry, data) = entries.last().unwrap();
        assert_eq!((&entry.path[..], entry.size), (&b"./sparse"[..], 100_000_000), "{options:?}");
        let map = entry.sparse.clone().expect("a map");
        assert!(map.len() >= 60);
        let before: u64 = map.iter().take_while(|e| e.offset + e.len <= 1_000_000).map(|e| e.len).sum();
        let extent = map.iter().find(|e| e.offset + e.len > 1_000_000).unwrap();
        assert!(data[(before + 1_000_000 - extent.offset) as usize..].starts_with(b"stretch 1"));
        maps.push((map, data.clone()));
    }
    assert!(maps.windows(2).all(|w| w[0] == w[1]));
}

#[test]
fn xattrs_and_nanoseconds_come_from_pax_records() {
    let mut archive = Vec::new();
    let entry = Entry {
        path: b"bin/ping".to_vec(),
        mode: 0o4755,
        mtime: Timestamp { secs: -7, nanos: 123_456_789 },
        xattrs: vec![(b"security.capability".to_vec(), b"\x01\0\0\x02\n=\0".to_vec())],
        ..Entry::default()
    };
    encode(&entry, &mut archive);
    let read = read_all(&archive).unwrap().remove(0).0;
    assert_eq!(Entry { position: Position::default(), ..read }, entry);
}

#[test]
fn global_headers_are_read_and_not_applied() {
    let body = b"30 mtime=1350244992.023960108\n11 uid=123\n";
    let mut archive = Vec::new();
    for path in ["first", "second"] {
        encode(&Entry { path: path.into(), ..Entry::default() }, &mut archive);
    }
    let mut global = archive[..BLOCK].to_vec();
    global[156] = b'g';
    global[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
    fix_checksum(&mut global);
    global.extend_from_slice(body);
    global.resize(2 * BLOCK, 0);
    global.extend_from_slice(&archive);
    let read = read_all(&global).unwrap();
    assert_eq!(read.len(), 2);
    assert!(read.iter().all(|(entry, _)| (entry.uid, entry.mtime.nanos) == (0, 0)));
    global[BLOCK] = b'x';
    assert!(read_all(&global).is_err());
}

fn fix_checksum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..BLOCK].iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn damage_is_refused() {
    let dir = tree();
    for format in ["--format=gnu", "--format=pax"] {
        let good = gnu_tar(dir.path(), &[format]);
        let entries = read_all(&good).unwrap();
        let starts: Vec<_> = entries.iter().map(|(e, _)| e.position.header as usize).collect();
        let last = entries.last().unwrap().0.position.data as usize;
        for cut in (1..last).step_by(100).filter(|cut| !starts.contains(cut)) {
            // Between entries an archive may end, also behind what only extends the next one, as for Go; within one it
            // may not.
            let may_end = entries.iter().any(|(e, _)| {
                let (p, block) = (e.position, BLOCK as u64);
                let padding = p.data + p.stored..(p.data + p.stored).next_multiple_of(block);
                let extensions = p.header + block..p.data.saturating_sub(block);
                padding.contains(&(cut as u64)) || extensions.contains(&(cut as u64))
            });
            let answer = read_all(&good[..cut]);
            assert!(matches!(answer, Err(Error::Truncated)) || may_end, "{format} {cut}: {answer:?}");
        }
        for start in starts {
            let mut bad = good.clone();
            bad[start + 20] ^= 1;
            assert!(matches!(read_all(&bad), Err(Error::Header { .. })), "{format} {start}");
        }
    }
}

#[test]
fn hostile_headers_are_refused() {
    let mut base = Vec::new();
    encode(&Entry { path: b"f".to_vec(), ..Entry::default() }, &mut base);
    let with = |edit: &dyn Fn(&mut [u8])| {
        let mut bytes = base.clone();
        edit(&mut bytes);
        fix_checksum(&mut bytes);
        bytes.extend_from_slice(&END);
        read_all(&bytes)
    };
    let huge_extension = |b: &mut [u8]| {
        b[156] = b'x';
        b[124..135].copy_from_slice(b"77777777777");
    };
    assert!(matches!(with(&huge_extension), Err(Error::TooLong { .. })));
    let negative_size = |b: &mut [u8]| b[124..136].fill(0xff);
    assert!(matches!(with(&negative_size), Err(Error::Header { .. })));
    let huge_size = |b: &mut [u8]| b[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    assert!(matches!(with(&huge_size), Err(Error::Truncated)));
    let no_owner = |b: &mut [u8]| b[108..116].copy_from_slice(b"\x80\0\0\0\xff\xff\xff\xff");
    assert!(matches!(with(&no_owner), Err(Error::Header { .. })));
    let unknown = |b: &mut [u8]| b[156] = b'M';
    assert!(matches!(with(&unknown), Err(Error::Unsupported { kind: b'M', .. })));
    assert!(matches!(read_all(&[0x55; 2048]), Err(Error::Header { .. })));
    assert!(read_all(&END).unwrap().is_empty());
    assert!(read_all(b"").unwrap().is_empty());
}

fn kinds() -> impl Strategy<Value = (EntryKind, Vec<u8>)> {
    let target = proptest::collection::vec(1u8..=255, 1..300);
    let device = (0u32..1 << 20, 0u32..1 << 20).prop_map(|(major, minor)| Device { major, minor });
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..2000).prop_map(|data| (EntryKind::File, data)),
        Just((EntryKind::Directory, Vec::new())),
        Just((EntryKind::Fifo, Vec::new())),
        target.clone().prop_map(|t| (EntryKind::Symlink(t), Vec::new())),
        target.prop_map(|t| (EntryKind::HardLink(t), Vec::new())),
        device.prop_map(|d| (EntryKind::CharDevice(d), Vec::new())),
    ]
}

prop_compose! {
    fn entries()(
        path in proptest::collection::vec(1u8..=255, 1..300),
        (kind, data) in kinds(),
        mode in 0u32..0o10000,
        uid in 0..u32::MAX,
        gid in 0..u32::MAX,
        secs in -1_000_000_000_000i64..1_000_000_000_000,
        nanos in 0u32..1_000_000_000,
        xattrs in proptest::collection::btree_map("[a-z.]{1,20}", proptest::collection::vec(any::<u8>(), 1..50), 0..4),
    ) -> (Entry, Vec<u8>) {
        let xattrs = xattrs.into_iter().map(|(k, v)| (k.into_bytes(), v)).collect();
        let mtime = Timestamp { secs, nanos };
        let size = data.len() as u64;
        (Entry { path, kind, mode, uid, gid, mtime, xattrs, size, ..Entry::default() }, data)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back(entries in proptest::collection::vec(entries(), 0..5)) {
        let mut archive = Vec::new();
        for (entry, data) in &entries {
            encode(entry, &mut archive);
            archive.extend_from_slice(data);
            archive.resize(archive.len() + padding(data.len() as u64), 0);
        }
        archive.extend_from_slice(&END);
        let read = read_all(&archive).unwrap();
        prop_assert_eq!(read.len(), entries.len());
        for ((got, got_data), (want, want_data)) in read.into_iter().zip(entries) {
            prop_assert_eq!(Entry { position: Position::default(), ..got }, want);
            prop_assert_eq!(got_data, want_data);
        }
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ = read_all(&bytes);
    }

    #[test]
    fn a_flipped_bit_never_panics(at in 0usize..2048, bit in 0u8..8, map in any::<bool>()) {
        let mut archive = Vec::new();
        let xattrs = vec![(b"user.x".to_vec(), vec![1; 30])];
        encode(&Entry { path: vec![b'p'; 150], xattrs, ..Entry::default() }, &mut archive);
        let at = at % archive.len();
        archive[at] ^= 1 << bit;
        if map {
            fix_checksum(&mut archive[..BLOCK]);
        }
        let _ = Reader::new(Cursor::new(archive)).next_entry();
    }
}
