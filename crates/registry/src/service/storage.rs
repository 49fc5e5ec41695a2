//! Whose content lies where: a registry's content is in its files or in one bucket, and a bucket's prefix belongs to one
//! registry, since each collects what it does not name.
//!
//! The bucket has an object with the registry's id, and the database that id. It is written there first, as an intent, so that a
//! kill in between leaves nothing that the next start does not go on with.

use serde::{Deserialize, Serialize};
use skiff_state::{Batch, OpenError, Table};

use super::{Registry, chain};
use crate::{content::Bucket, store::Snapshot};

/// The bucket that holds the content; one entry, [`CONTENT`].
const STORAGE: Table<Claim> = Table::new("storage");
const CONTENT: &str = "content";

/// A bucket that is this registry's.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Claim {
    /// For people: bucket and prefix.
    place: String,
    /// The registry's id there.
    id: String,
    /// The bucket said so once.
    held: bool,
}

impl Claim {
    pub(super) fn load(snapshot: &Snapshot) -> Result<Option<Self>, OpenError> {
        Ok(snapshot.all(&STORAGE)?.into_iter().find(|(key, _)| key == CONTENT).map(|(_, claim)| claim))
    }
}

impl Registry {
    /// Makes sure that the content of this registry is where the settings say, and nobody else's. To be called before
    /// anything else.
    ///
    /// # Errors
    /// The content is elsewhere, the bucket belongs to another registry, or it cannot be reached.
    pub async fn claim_storage(&self) -> Result<(), String> {
        let Some(bucket) = self.content.bucket() else {
            return match &self.claim {
                None => Ok(()),
                Some(Claim { place, .. }) => Err(format!(
                    "the content of this registry is in the bucket {place}: storage.s3 must name it"
                )),
            };
        };
        let claim = match &self.claim {
            Some(claim) => claim.clone(),
            None if !self.catalog.read().blobs.is_empty() => {
                return Err(format!(
                    "the content of this registry is in files below {}: to move it to a bucket, replicate it to another registry",
                    self.settings.root.display()
                ));
            }
            None => {
                let id = skiff_types::hex(&rand::random::<[u8; 16]>());
                self.remember(Claim { place: bucket.place(), id, held: false }).await?
            }
        };
        let text = |error: crate::Error| error.to_string();
        let mut owner = bucket.owner().await.map_err(text)?;
        if owner.is_none() && !claim.held {
            bucket.claim(&claim.id).await.map_err(text)?;
            owner = bucket.owner().await.map_err(text)?;
        }
        owned(bucket, &claim, owner)?;
        if !claim.held {
            self.remember(Claim { held: true, ..claim }).await?;
        }
        bucket.abort_old().await.map_err(text)
    }

    async fn remember(&self, claim: Claim) -> Result<Claim, String> {
        let pending = self.store.commit(Batch::new().put(&STORAGE, CONTENT, &claim));
        pending.await.map_err(|error| chain(&error))?;
        Ok(claim)
    }
}

fn owned(bucket: &Bucket, claim: &Claim, owner: Option<String>) -> Result<(), String> {
    let place = bucket.place();
    match owner {
        Some(id) if id == claim.id => Ok(()),
        Some(_) => Err(format!(
            "{place} belongs to another registry: each needs a bucket or a storage.s3.rootdirectory of its own"
        )),
        None => {
            Err(format!("{place} does not hold the content of this registry, which was in {}", claim.place))
        }
    }
}
