//! Downloads of layers. Pulls that need the same one at the same time share it; it stops when none of them needs it any more.
//!
//! A layer is verified, decompressed and made ready for the store while it comes, by a thread of its own: when its last byte
//! has come, it only has to be put on the layers below it.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use bytes::Bytes;
use skiff_distribution::{Descriptor, Session};
use skiff_images::ImageStore;
use skiff_types::Digest;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::AbortHandle,
};

use super::{encoding::Encoding, words};
use crate::{Error, Result, containers::blocking};

/// Pieces between the network and the thread that works on them.
const PIECES: usize = 16;

/// How far a download is.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Others come first.
    Waiting,
    /// So many bytes are there.
    Loading(u64),
    /// The registry is asked again in so many seconds.
    Pausing(u64),
    /// All of it is there, verified, and has this diff id.
    Complete(Digest),
    /// It failed.
    Failed(Arc<Error>),
}

/// A layer that is made ready for the store.
pub(super) type Staged = skiff_images::StagedLayer;

/// All downloads.
pub(super) struct Downloads {
    images: Arc<ImageStore>,
    slots: Arc<Semaphore>,
    under_way: Mutex<HashMap<(Digest, u64), Weak<Download>>>,
}

/// One of them.
pub(super) struct Download {
    stage: watch::Receiver<Stage>,
    staged: Arc<Mutex<Option<Staged>>>,
    task: AbortHandle,
}

impl Drop for Download {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Download {
    /// How far it is, as it changes.
    pub(super) fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.clone()
    }

    /// Gives `commit` the layer, if nobody had it before; nobody else can have it meanwhile. Blocks.
    pub(super) fn committing<T>(&self, commit: impl FnOnce(Option<Staged>) -> T) -> T {
        let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        let layer = staged.take();
        commit(layer)
    }
}

impl Downloads {
    pub(super) fn new(images: Arc<ImageStore>, at_once: usize) -> Self {
        Self { images, slots: Arc::new(Semaphore::new(at_once)), under_way: Mutex::default() }
    }

    /// The download of a layer of a repository: one that is under way already, or a new one.
    pub(super) fn begin(&self, session: &Arc<Session>, path: &str, blob: &Descriptor) -> Arc<Download> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|_, download| download.strong_count() > 0);
        let key = (blob.digest, blob.size);
        let usable = |d: &Arc<Download>| !matches!(*d.stage.borrow(), Stage::Failed(_));
        if let Some(download) = under_way.get(&key).and_then(Weak::upgrade).filter(usable) {
            return download;
        }
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok();
        let first = if slot.is_some() { Stage::Loading(0) } else { Stage::Waiting };
        let (sender, stage) = watch::channel(first);
        let staged = Arc::new(Mutex::new(None));
        let work = Work {
            images: Arc::clone(&self.images),
            session: Arc::clone(session),
            path: path.to_owned(),
            blob: blob.clone(),
            stage: sender,
        };
        let task = tokio::spawn(work.run(slot, Arc::clone(&self.slots), Arc::clone(&staged)));
        let download = Arc::new(Download { stage, staged, task: task.abort_handle() });
        under_way.insert(key, Arc::downgrade(&download));
        download
    }
}

/// What a download works with.
struct Work {
    images: Arc<ImageStore>,
    session: Arc<Session>,
    path: String,
    blob: Descriptor,
    stage: watch::Sender<Stage>,
}

/// What became of one attempt.
enum Attempt {
    Staged(Staged),
    /// What an earlier pull had left was no part of the blob.
    Spoiled,
}

impl Work {
    async fn run(
        self,
        slot: Option<OwnedSemaphorePermit>,
        slots: Arc<Semaphore>,
        staged: Arc<Mutex<Option<Staged>>>,
    ) {
        let _slot = match slot {
            Some(slot) => Some(slot),
            None => slots.acquire_owned().await.ok(),
        };
        let layer = match self.attempt().await {
            // From the beginning now.
            Ok(Attempt::Spoiled) => self.attempt().await,
            attempt => attempt,
        };
        match layer {
            Ok(Attempt::Staged(layer)) => {
                let diff_id = *layer.diff_id();
                *staged.lock().unwrap_or_else(PoisonError::into_inner) = Some(layer);
                self.stage.send_replace(Stage::Complete(diff_id));
            }
            Ok(Attempt::Spoiled) => {
                let digest = self.blob.digest;
                let error =
                    Error::Internal(format!("filesystem layer verification failed for digest {digest}"));
                self.stage.send_replace(Stage::Failed(Arc::new(error)));
            }
            Err(error) => {
                self.stage.send_replace(Stage::Failed(Arc::new(error)));
            }
        }
    }

    /// The layer from the file that a registry of this machine gives; none if it has to be loaded.
    async fn given(&self) -> Result<Option<Staged>> {
        if Encoding::of(&self.blob.media_type) != Encoding::Plain {
            return Ok(None);
        }
        let Some(file) = self.session.repository(&self.path).blob_file(&self.blob).await? else {
            return Ok(None);
        };
        let (images, digest, size) = (Arc::clone(&self.images), self.blob.digest, self.blob.size);
        // Whatever else was given could be read for ever.
        if !file.metadata().is_ok_and(|given| given.is_file() && given.len() == size) {
            return Ok(None);
        }
        blocking(move || images.receive_file(file, &digest, size)).await?.map(Some).map_err(words::layer)
    }

    async fn attempt(&self) -> Result<Attempt> {
        if let Some(layer) = self.given().await? {
            return Ok(Attempt::Staged(layer));
        }
        let (digest, size) = (self.blob.digest, self.blob.size);
        let images = Arc::clone(&self.images);
        let partial = blocking(move || images.partial_layer(&digest, size)).await??;
        let from = partial.len();
        let images = Arc::clone(&self.images);
        let (sender, mut receiver) = mpsc::channel::<Option<Bytes>>(PIECES);
        let receiving = tokio::task::spawn_blocking(move || {
            images.receive_layer(partial, &mut || match receiver.blocking_recv() {
                Some(piece) => Ok(piece),
                None => Err(io::ErrorKind::ConnectionAborted.into()),
            })
        });
        let loaded = self.load(from, sender).await;
        let received = receiving.await.map_err(|e| Error::Internal(format!("internal failure: {e}")))?;
        match (loaded, received) {
            (_, Ok(layer)) => Ok(Attempt::Staged(layer)),
            (_, Err(skiff_images::Error::Digest { .. })) if from > 0 => Ok(Attempt::Spoiled),
            // The reader stopped because nothing came any more. What a registry that lies has sent is of no use.
            (Err(error), Err(_)) => {
                if matches!(error, skiff_distribution::Error::Untrue(_)) {
                    let images = Arc::clone(&self.images);
                    blocking(move || images.forget_partial(&digest)).await?;
                }
                Err(error.into())
            }
            (Ok(()), Err(error)) => Err(words::layer(error)),
        }
    }

    /// Passes on what comes, as long as somebody takes it.
    async fn load(&self, from: u64, sender: mpsc::Sender<Option<Bytes>>) -> skiff_distribution::Result<()> {
        let repository = self.session.repository(&self.path);
        let mut reader = repository
            .blob(&self.blob, from)
            .on_pause(|seconds| drop(self.stage.send_replace(Stage::Pausing(seconds))));
        let mut loaded = from;
        self.stage.send_replace(Stage::Loading(loaded));
        loop {
            let piece = reader.next().await?;
            let last = piece.is_none();
            loaded += piece.as_ref().map_or(0, |p| p.len() as u64);
            if sender.send(piece).await.is_err() || last {
                return Ok(());
            }
            self.stage.send_replace(Stage::Loading(loaded));
        }
    }
}
