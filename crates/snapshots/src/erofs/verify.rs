//! Proving layers, and putting good ones in the place of damaged ones.
//!
//! A layer's archive is proved by its diff id, and its index by being made again from the archive. So whatever stands in a
//! container's file system is proved by the digests of the image's configuration.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use super::layers::{Layers, SecondArchive, derive, read_tree};
use crate::{
    ChainId, Damage, Error, Result, StagedLayer, copies::Copies, dirs::sync_dir, layer_record::LayerRecord,
    verify,
};

impl Layers {
    /// What is wrong with a layer.
    pub(super) fn verify(&self, chain: &ChainId) -> Result<Vec<Damage>> {
        let (layer, dir) = (self.index.layer(chain)?, self.dirs.layer(chain));
        let archive = || -> Result<File> { Ok(from_disk(&dir.join("tar"))?) };
        let tar = archive().map(|file| file.take(layer.tar_size));
        if let Some(damage) = verify::archive(&layer, tar) {
            // What else is made of it cannot be right or wrong.
            return Ok(vec![damage]);
        }
        let tar = archive()?;
        let mut tree = read_tree(BufReader::with_capacity(256 << 10, (&tar).take(layer.tar_size)))?;
        let below = self.mounts(layer.parent.as_ref())?;
        let staging = self.dirs.staging()?;
        let (index, extra) =
            derive(&mut tree, (&tar, layer.tar_size), &below, staging.path(), &mut Copies::again())?;
        let mut damage = Vec::new();
        let mut compare = |what, same: io::Result<bool>| match same {
            Ok(true) => {}
            Ok(false) => damage.push(Damage::Derived(what)),
            Err(e) => damage.push(Damage::Unreadable(e.to_string())),
        };
        compare("index", from_disk(&dir.join("index")).and_then(|file| same(file, &index[..])));
        let record = LayerRecord::<SecondArchive>::read(&dir);
        match record {
            Ok(record) if record.layer(*chain) != layer || record.more.extra != extra => {
                compare("record", Ok(false));
            }
            Ok(_) => {}
            Err(e) => compare("record", Err(io::Error::other(e.to_string()))),
        }
        if extra {
            let made = fs_err::File::open(staging.path().join("extra"))?.into_file();
            compare(
                "copy of what it links to",
                from_disk(&dir.join("extra")).and_then(|file| same(file, made)),
            );
        }
        Ok(damage)
    }

    /// Puts a staged layer in the place of the one that has its diff id, file by file: each is right in itself, whatever
    /// becomes of the others.
    pub(super) fn mend(&self, chain: &ChainId, mut staged: StagedLayer) -> Result<()> {
        let layer = self.index.layer(chain)?;
        if *staged.diff_id() != layer.diff_id {
            return Err(Error::DiffId { expected: layer.diff_id, found: *staged.diff_id() });
        }
        let below = self.mounts(layer.parent.as_ref())?;
        let record = self.finish(&mut staged, layer.parent.as_ref(), &below)?;
        let (from, to) = (staged.dir().path(), self.dirs.layer(chain));
        for file in ["tar", "extra", "index", "meta"].iter().filter(|f| **f != "extra" || record.more.extra) {
            fs_err::rename(from.join(file), to.join(file))?;
        }
        sync_dir(&to)?;
        self.forget_mount(chain);
        Ok(())
    }
}

/// Opens a file whose clean pages are forgotten: what is read comes from the disk, unless somebody has it in use.
fn from_disk(path: &Path) -> io::Result<File> {
    let file = fs_err::File::open(path)?.into_file();
    // Only advice.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    Ok(file)
}

/// Whether both have the same bytes.
fn same(left: impl Read, right: impl Read) -> io::Result<bool> {
    let (mut left, mut right) = (BufReader::new(left), BufReader::new(right));
    loop {
        use std::io::BufRead;
        let (a, b) = (left.fill_buf()?, right.fill_buf()?);
        let n = a.len().min(b.len());
        if a[..n] != b[..n] || (n == 0 && a.len() != b.len()) {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
        left.consume(n);
        right.consume(n);
    }
}
