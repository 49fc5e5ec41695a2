//! Layers that an operation relies on, and those that it makes. Those it has made go with it unless it keeps them, and so do others that a
//! removal has wanted meanwhile and could not have.

use std::{ops::Deref, sync::Arc};

use skiff_snapshots::ChainId;

use crate::{Image, ImageStore, pins::PinSet};

/// What one operation holds, until it is dropped.
pub(crate) struct Hold<S: Deref<Target = ImageStore>> {
    store: S,
    pins: PinSet,
    /// Layers that were not there before, in order.
    made: Vec<ChainId>,
}

impl<S: Deref<Target = ImageStore>> Hold<S> {
    /// Of nothing yet.
    pub(crate) fn new(store: S) -> Self {
        let pins = store.pins.begin();
        Self { store, pins, made: Vec::new() }
    }

    /// The store.
    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    /// From now on this layer is not removed, if it is there at all.
    pub(crate) fn pin(&mut self, chain: ChainId) {
        self.pins.pin(chain);
    }

    /// This layer is there for this operation.
    pub(crate) fn has_made(&mut self, chain: ChainId) {
        self.made.push(chain);
    }

    /// What was made is an image's now.
    pub(crate) fn keep(&mut self) {
        self.made.clear();
    }
}

impl<S: Deref<Target = ImageStore>> Drop for Hold<S> {
    fn drop(&mut self) {
        let wanted = self.pins.end();
        // Children go before their parents.
        for chain in self.made.iter().chain(&wanted).rev() {
            self.store.take_back(*chain);
        }
    }
}

/// The layers of an image, which stay for as long as this is there.
pub struct HeldLayers {
    _hold: Hold<Arc<ImageStore>>,
}

impl ImageStore {
    /// Holds an image's layers, whether the image is removed meanwhile or not.
    pub fn hold_layers(self: &Arc<Self>, image: &Image) -> HeldLayers {
        let mut hold = Hold::new(Arc::clone(self));
        ChainId::all(&image.config.rootfs.diff_ids).into_iter().for_each(|chain| hold.pin(chain));
        HeldLayers { _hold: hold }
    }

    /// Removes a layer that no image has, nobody relies on and nothing stands on, and then those below it of which the same is true.
    fn take_back(&self, chain: ChainId) {
        let mut next = Some(chain);
        while let Some(chain) = next {
            let Ok(layer) = self.snapshots.layer(&chain) else { return };
            let is_useless = || !self.is_top_of_an_image(&chain, &[]);
            // What is left is of use to somebody, or goes at the next start.
            let remove = || is_useless() && self.snapshots.remove_layer(&chain).is_ok();
            let is_gone = self.pins.unless_pinned(&chain, remove) == Some(true);
            next = layer.parent.filter(|_| is_gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use skiff_types::Digest;

    use super::*;

    /// A layer without files is a layer, too.
    const TAR: [u8; 1024] = [0; 1024];

    fn commit(store: &ImageStore, hold: &mut Hold<&ImageStore>) -> ChainId {
        let staged = store.stage(&mut &TAR[..]).unwrap();
        let chain = ChainId::new(None, staged.diff_id());
        hold.pin(chain);
        store.snapshots.commit(staged, None).unwrap();
        hold.has_made(chain);
        chain
    }

    #[test]
    fn what_was_made_goes_unless_somebody_has_it_by_then() {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = skiff_snapshots::open(&dir.path().join("snapshots"), Some("vfs")).unwrap();
        let store = ImageStore::open(&dir.path().join("images"), snapshots).unwrap();
        let is_there = |chain| store.snapshots.layer(&chain).is_ok();

        let mut hold = Hold::new(&store);
        let chain = commit(&store, &mut hold);
        drop(hold);
        assert!(!is_there(chain), "nobody has it");

        let mut hold = Hold::new(&store);
        commit(&store, &mut hold);
        let mut other = Hold::new(&store);
        other.pin(chain);
        drop(hold);
        assert!(is_there(chain), "somebody else relies on it");
        drop(other);
        assert!(!is_there(chain), "until he is done");

        let mut hold = Hold::new(&store);
        commit(&store, &mut hold);
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(TAR).to_string()] },
        });
        store.adopt(config.to_string().as_bytes(), None, None).unwrap();
        drop(hold);
        assert!(is_there(chain), "an image has it");
    }
}
