//! An image that comes from elsewhere layer by layer: received, verified, and made part of the store or not there at all.

use std::{
    fs::File,
    io::{self, Read, Write},
    sync::Arc,
    time::SystemTime,
};

use bytes::{Buf, Bytes};
use skiff_snapshots::{ChainId, StagedLayer};
use skiff_types::{Digest, Hasher, ImageId};

use crate::{
    Error, ImageConfig, ImageStore, Publication, Reference, Result,
    decompress::{Compression, decompressed, peek},
    hold::Hold,
    partial::PartialLayer,
};

/// How far a layer may expand whatever its size: no gzip stream exceeds the factor, and no layer that people make exceeds both.
const FREE_EXPANSION: u64 = 4 << 30;
const MOST_EXPANSION: u64 = 1100;

/// Gives the next piece of a blob, and nothing at its end.
pub type LayerFeed<'a> = &'a mut (dyn FnMut() -> io::Result<Option<Bytes>> + Send);

impl ImageStore {
    /// What an earlier attempt has left of a layer's blob. Waits until nobody else receives it.
    pub fn partial_layer(&self, blob: &Digest, size: u64) -> Result<PartialLayer> {
        Ok(self.partials.open_blob(blob, size)?)
    }

    /// Forgets what is left of a layer's blob.
    pub fn forget_partial(&self, blob: &Digest) {
        self.partials.remove(blob);
    }

    /// What pulls that have ended have left of layers' blobs: bytes on disk, and when the last came.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn left_partials(&self) -> Result<Vec<(Digest, u64, SystemTime)>> {
        Ok(self.partials.left()?)
    }

    /// Removes what pulls that have ended have left of layers' blobs, where the last byte came at a time that is `chosen`. The
    /// bytes on disk that were freed.
    ///
    /// # Errors
    /// The directory cannot be read, or what is in it not removed.
    pub fn remove_left_partials(&self, chosen: impl Fn(SystemTime) -> bool) -> Result<u64> {
        Ok(self.partials.remove_left(chosen)?)
    }

    /// Takes a layer's blob in: what is there of it and then what `feed` gives, which goes on from there. It is verified,
    /// decompressed and staged as it comes. What has come is kept if the feed fails, and forgotten if it is not the blob.
    ///
    /// # Errors
    /// [`Error::Digest`] if it is not the blob, [`Error::Io`] with the feed's error; those of the snapshotter for a blob that
    /// is no layer.
    pub fn receive_layer(&self, partial: PartialLayer, feed: LayerFeed<'_>) -> Result<StagedLayer> {
        let (blob, size, there) = (partial.blob, partial.size, partial.len());
        let (file, blob) = (partial.file, &blob);
        let mut claim = self.claim();
        // What is there already counts again from now on: nobody measures what is being received.
        claim.grow(size)?;
        let mut incoming = Incoming {
            kept: file.try_clone()?.take(there),
            file,
            feed,
            piece: Bytes::new(),
            hash: Hasher::default(),
            len: 0,
            ended: false,
            failure: None,
        };
        let staged = self.stage_compressed(&mut incoming, size);
        let whole = incoming.drain();
        if let Some(failure) = incoming.failure.take() {
            if matches!(failure.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                self.partials.remove(blob);
            }
            return Err(failure.into());
        }
        whole?;
        let (found, len) = (incoming.hash.finish(), incoming.len);
        if found != *blob || len != size {
            self.partials.remove(blob);
            return Err(Error::Digest { what: "filesystem layer".to_owned(), expected: *blob, found });
        }
        staged.inspect_err(|_| self.partials.remove(blob))
    }

    /// Takes a layer's blob in that is a file already and not compressed: where the storage driver can, the file becomes the
    /// layer's own, by another name for the same bytes. Nobody may write to it from now on.
    ///
    /// # Errors
    /// As with [`receive_layer`](Self::receive_layer).
    pub fn receive_file(&self, file: File, blob: &Digest, size: u64) -> Result<StagedLayer> {
        // It may have to be copied.
        let mut claim = self.claim();
        claim.grow(size)?;
        let mut staged = self.snapshots.stage_file(file)?;
        staged.accompany(claim.companion());
        let (found, len) = (*staged.diff_id(), staged.tar_size());
        if found != *blob || len != size {
            return Err(Error::Digest { what: "filesystem layer".to_owned(), expected: *blob, found });
        }
        Ok(staged)
    }

    fn stage_compressed(&self, incoming: &mut Incoming<'_>, size: u64) -> Result<StagedLayer> {
        let (head, mut whole) = peek(incoming)?;
        decompressed(&mut whole, Compression::detect(&head), |plain| {
            let most = size.saturating_mul(MOST_EXPANSION).max(FREE_EXPANSION);
            self.stage(&mut Bounded { input: plain, left: most })
        })?
    }

    /// Begins to receive the image of this configuration. Its layers are not removed meanwhile.
    ///
    /// # Errors
    /// [`Error::Archive`] for what is no configuration of a Linux image.
    pub fn receive(self: &Arc<Self>, config: Vec<u8>) -> Result<Receiving> {
        let invalid = |e: serde_json::Error| Error::Archive(format!("image configuration: {e}"));
        let parsed = ImageConfig::parse(&config).map_err(invalid)?;
        let diff_ids = parsed.rootfs.diff_ids.clone();
        let chains = ChainId::all(&diff_ids);
        let mut hold = Hold::new(Arc::clone(self));
        chains.iter().for_each(|chain| hold.pin(*chain));
        let config = (config, parsed);
        Ok(Receiving { hold, config, diff_ids, chains })
    }
}

/// An image on its way into the store; what was committed of it is removed again unless it arrives.
pub struct Receiving {
    hold: Hold<Arc<ImageStore>>,
    config: (Vec<u8>, ImageConfig),
    diff_ids: Vec<Digest>,
    chains: Vec<ChainId>,
}

impl Receiving {
    /// The image's id.
    pub fn id(&self) -> ImageId {
        Digest::of(&self.config.0).into()
    }

    /// What its configuration says.
    pub fn config(&self) -> &ImageConfig {
        &self.config.1
    }

    /// The diff ids of its layers, lowest first.
    pub fn diff_ids(&self) -> &[Digest] {
        &self.diff_ids
    }

    /// Whether the store has a layer of it already, counted from the lowest.
    pub fn has(&self, layer: usize) -> bool {
        self.chains.get(layer).is_some_and(|chain| self.hold.store().snapshots.layer(chain).is_ok())
    }

    /// Whether a layer with this diff id is the one that the configuration says.
    ///
    /// # Errors
    /// [`Error::Archive`] if it is another one.
    pub fn check(&self, layer: usize, found: &Digest) -> Result<()> {
        let expected = self.diff_ids[layer];
        match *found == expected {
            true => Ok(()),
            false => Err(Error::Archive(format!(
                "wrong diff id calculated on extraction {:?}, the image configuration says {:?}",
                found.to_string(),
                expected.to_string()
            ))),
        }
    }

    /// Puts a layer that has been received on those below it, which are there. Without one, the store has the same layer
    /// somewhere else, and it is read from there.
    ///
    /// # Errors
    /// [`Error::Archive`] if it is another layer than the configuration says; those of the snapshotter.
    pub fn commit(&mut self, layer: usize, staged: Option<StagedLayer>) -> Result<()> {
        let (diff_id, chain) = (self.diff_ids[layer], self.chains[layer]);
        if self.has(layer) {
            return Ok(());
        }
        let staged = match staged {
            Some(staged) => staged,
            None => {
                let elsewhere = crate::load::find_diff_id(self.hold.store(), &diff_id);
                let elsewhere = elsewhere
                    .ok_or_else(|| Error::Archive(format!("layer {diff_id} has gone while it was needed")))?;
                self.hold.store().stage(&mut self.hold.store().snapshots.layer_tar(&elsewhere)?)?
            }
        };
        self.check(layer, staged.diff_id())?;
        let parent = layer.checked_sub(1).map(|below| self.chains[below]);
        self.hold.store().snapshots.commit(staged, parent.as_ref())?;
        self.hold.has_made(chain);
        Ok(())
    }

    /// All layers are there: makes the image part of the store under these names, with what it is published as. Answers which
    /// of the names are new or were another image's.
    pub fn record(
        mut self,
        names: &[Reference],
        publication: Option<Publication>,
    ) -> Result<(ImageId, Vec<Reference>)> {
        let id = self.id();
        let (changed, forgotten) = self.hold.store().records.update(|records| {
            // Within the update: a removal of the same image does not take the blob away again.
            self.hold.store().blobs.put(&self.config.0)?;
            records.images.entry(id.digest()).or_default();
            Ok(records.call(&id, names, publication.as_ref()))
        })?;
        self.hold.keep();
        self.hold.store().drop_blobs(&forgotten)?;
        Ok((id, changed))
    }
}

/// A blob as it comes: first what is kept of it, then pieces, which are kept too. Everything is hashed.
struct Incoming<'a> {
    kept: io::Take<std::fs::File>,
    file: std::fs::File,
    feed: LayerFeed<'a>,
    piece: Bytes,
    hash: Hasher,
    len: u64,
    /// The feed has given all it had; it is not asked again.
    ended: bool,
    /// Why the feed stopped, or the file could not be written: not a fault of what was read.
    failure: Option<io::Error>,
}

impl Incoming<'_> {
    /// Reads to the end what nobody wanted: it counts for the digest.
    fn drain(&mut self) -> io::Result<()> {
        if self.failure.is_some() {
            return Ok(());
        }
        io::copy(self, &mut io::sink()).map(drop)
    }

    fn next_piece(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let Some(piece) = (self.feed)()? else {
            self.ended = true;
            return Ok(false);
        };
        self.file.write_all(&piece)?;
        self.hash.update(&piece);
        self.len += piece.len() as u64;
        self.piece = piece;
        Ok(true)
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.failure.is_some() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if self.kept.limit() > 0 {
            let n = self.kept.read(buf)?;
            if n > 0 {
                self.hash.update(&buf[..n]);
                self.len += n as u64;
                return Ok(n);
            }
        }
        loop {
            let n = buf.len().min(self.piece.len());
            if n > 0 || buf.is_empty() {
                self.piece.copy_to_slice(&mut buf[..n]);
                return Ok(n);
            }
            match self.next_piece() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(error) => {
                    let kind = error.kind();
                    self.failure = Some(error);
                    return Err(kind.into());
                }
            }
        }
    }
}

/// An end to what a small blob can become.
struct Bounded<'a> {
    input: &'a mut (dyn Read + Send),
    left: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buf)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the layer expands to more than any layer does")
        })?;
        Ok(n)
    }
}
