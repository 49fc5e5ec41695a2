//! How much a layer may copy from those below it: an entry of a few bytes, a hard link, asks for a file of any size.

use std::io;

use crate::StagedLayer;

/// The most that all layers of an image may copy from those below them, in bytes. Images that need it at all are rare: where
/// Docker unpacks layers for overlayfs, it refuses them.
const MOST: u64 = 1 << 30;

/// Room for what a layer copies.
pub(crate) struct Copies<'a> {
    /// Who is asked for room on the disk.
    staged: Option<&'a mut StagedLayer>,
    /// What the layers below have copied, in bytes.
    below: u64,
    /// What this one has.
    here: u64,
}

impl<'a> Copies<'a> {
    /// Room for a layer that stands on layers which have copied so much.
    pub(crate) fn new(staged: &'a mut StagedLayer, below: u64) -> Self {
        Self { staged: Some(staged), below, here: 0 }
    }

    /// Room for what a layer of the store copied once, and is only compared with.
    pub(crate) fn again() -> Copies<'static> {
        Copies { staged: None, below: 0, here: 0 }
    }

    /// So much is about to be copied.
    pub(crate) fn take(&mut self, bytes: u64) -> io::Result<()> {
        self.here = self.here.saturating_add(bytes);
        let Some(staged) = &mut self.staged else { return Ok(()) };
        if self.below.saturating_add(self.here) > MOST {
            let why = format!("the image copies more than {MOST} bytes from layer to layer by hard links");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        staged.take_room(bytes)
    }

    /// What the layer has copied, in bytes.
    pub(crate) fn here(&self) -> u64 {
        self.here
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Archive, Store};

    #[test]
    fn all_layers_of_an_image_share_one_bound() {
        let store = Store::new("vfs");
        let mut staged = store.open().stage(&mut &Archive::new().finish()[..]).unwrap();
        let mut copies = Copies::new(&mut staged, MOST - 10);
        copies.take(6).unwrap();
        copies.take(4).unwrap();
        assert_eq!(copies.here(), 10);
        assert!(copies.take(1).unwrap_err().to_string().contains("from layer to layer"));
        assert!(Copies::new(&mut staged, 5).take(u64::MAX).is_err());
        Copies::again().take(u64::MAX).unwrap();
    }
}
