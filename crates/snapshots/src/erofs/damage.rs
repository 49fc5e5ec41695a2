//! A fuzzer of the whole way from an archive to an index: whatever is done to good archives, reading them and writing what
//! they say as an index answers, and what is written is a file system that `fsck.erofs` accepts.

use std::{fs::File, process::Command};

use super::{
    index::{Archive as Source, encode},
    tree::Tree,
};
use crate::{
    conformance::Archive,
    tar::{Entry, EntryKind, Reader},
};

const BLOCK: usize = 512;

/// Archives to damage: every kind of entry, every way to extend one.
fn seeds() -> Vec<Vec<u8>> {
    let entry = |path: &str, size: u64| Entry { path: path.into(), size, mode: 0o644, ..Entry::default() };
    let record = |key: &str, value: &str| {
        let len = key.len() + value.len() + 3;
        let digits = (len + 1).to_string().len().max(len.to_string().len());
        format!("{} {key}={value}\n", len + digits)
    };
    // An extension header is an entry of another type.
    let extension = |kind: u8, body: &[u8]| {
        let mut bytes = Vec::new();
        crate::tar::encode(&entry("x", body.len() as u64), &mut bytes);
        bytes[156] = kind;
        fix(&mut bytes);
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    };
    let xattrs = Entry {
        xattrs: vec![(b"user.a".to_vec(), b"1".to_vec()), (b"security.capability".to_vec(), vec![1; 20])],
        ..entry("attributes", 0)
    };
    let rich = Archive::new()
        .dir("d/")
        .file("d/file", &"contents ".repeat(100))
        .link("d/same", "d/file")
        .symlink("link", "d")
        .file("link/through", "x")
        .device("null", 1, 3)
        .fifo("pipe")
        .file("d/.wh.gone", "")
        .file("d/.wh..wh..opq", "")
        .entry(&xattrs, b"")
        .file(&"long/".repeat(60), "x")
        .finish();
    let sparse = |map: &str| {
        let records = record("GNU.sparse.major", "1")
            + &record("GNU.sparse.minor", "0")
            + &record("GNU.sparse.name", "sparse")
            + &record("GNU.sparse.realsize", "100000");
        let mut head = Vec::new();
        crate::tar::encode(&entry("x", BLOCK as u64 + 24), &mut head);
        let mut map = map.as_bytes().to_vec();
        map.resize(BLOCK, 0);
        Archive::new()
            .raw(&extension(b'x', records.as_bytes()))
            .raw(&head)
            .raw(&map)
            .raw(&[b'z'; 24])
            .raw(&[0; BLOCK - 24])
            .finish()
    };
    let pax = record("path", "by/pax") + &record("mtime", "-1.5") + &record("size", "3");
    let extended = Archive::new()
        .raw(&extension(b'g', record("comment", "x").as_bytes()))
        .raw(&extension(b'L', b"a/long/name\0"))
        .file("a", "1")
        .raw(&extension(b'K', b"../../target\0"))
        .symlink("b", "short")
        .raw(&extension(b'x', pax.as_bytes()))
        .file("c", "123")
        .finish();
    vec![rich, extended, sparse("2\n0\n12\n50000\n12\n"), sparse("1\n4096\n24\n")]
}

fn fix(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header[..BLOCK].iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Xorshift: a failure can be met again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

fn damage(archive: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(archive.len().max(1));
        if archive.is_empty() {
            return;
        }
        let block = at / BLOCK * BLOCK;
        match random.below(6) {
            0 => archive[at] = random.below(256) as u8,
            1 => archive[at] = b"0123456789 \n=,-./\0"[random.below(18)],
            2 => archive.truncate(at.max(1)),
            3 => drop(archive.drain(block..(block + BLOCK).min(archive.len()))),
            4 => {
                let copy = archive[block..(block + BLOCK).min(archive.len())].to_vec();
                archive.splice(block..block, copy);
            }
            _ => {
                let end = (block + BLOCK).min(archive.len());
                archive[block + random.below(end - block)] = b'x';
            }
        }
        // A checksum that is right lets the damage in.
        let block = at / BLOCK * BLOCK;
        if archive.get(block + 257..block + 262) == Some(b"ustar") && archive.len() >= block + BLOCK {
            fix(&mut archive[block..block + BLOCK]);
        }
    }
}

#[test]
fn damaged_archives_are_refused_or_make_sound_indexes() {
    let rounds: usize = std::env::var("SKIFF_FUZZ_ROUNDS").map_or(1500, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(0x2545_f491_4f6c_dd1d ^ rounds as u64);
    let seeds = seeds();
    let (mut refused, mut written) = (0, 0);
    for round in 0..rounds {
        let mut archive = seeds[round % seeds.len()].clone();
        damage(&mut archive, &mut random);
        let (tar, index) = (dir.path().join("tar"), dir.path().join("index"));
        fs_err::write(&tar, &archive).unwrap();
        let read = || -> crate::Result<Tree> {
            let mut reader = Reader::new(&archive[..]);
            let mut tree = Tree::new();
            while let Some(entry) = reader.next_entry()? {
                assert!(entry.kind == EntryKind::File || entry.size == 0);
                tree.apply(entry)?;
            }
            Ok(tree)
        };
        let Ok(tree) = read() else {
            refused += 1;
            continue;
        };
        let file: File = fs_err::File::open(&tar).unwrap().into();
        let Ok(bytes) = encode(&tree, &[Source { file: &file, len: archive.len() as u64 }]) else {
            refused += 1;
            continue;
        };
        written += 1;
        if written % 40 == 0 {
            fs_err::write(&index, bytes).unwrap();
            let device = format!("--device={}", tar.display());
            let output = Command::new("fsck.erofs").arg(device).arg(&index).output().unwrap();
            assert!(output.status.success(), "round {round}: {output:?}");
        }
    }
    assert!(refused > 0 && written > 0);
}
