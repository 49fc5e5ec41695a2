//! Garbage: content that no manifest names, uploads that nobody continues, files that nothing names. Collected while
//! pushes and pulls go on.
//!
//! A link between a repository and a blob goes when no manifest of the repository names the blob and nobody has pushed
//! it, or heard that it is there, for a while: a push may still rely on it. The check and the removal are one step of
//! the catalog, so a manifest either comes before and keeps its blobs, or comes after and is refused. A file goes only
//! after the removal is durable, and never while somebody is about to put it back. A kill at any point leaves files
//! that nothing names; the next collection takes them.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use super::{Registry, Settings, blocking};
use crate::{Error, clock, name::Name};

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Collected {
    /// Tags and manifests that the rules of their projects removed.
    pub(crate) expired: usize,
    /// Blobs that a repository no longer gives.
    pub(crate) links: usize,
    /// Files that are gone because nothing named them any more.
    pub(crate) blobs: usize,
    /// Files that a crash had left.
    pub(crate) leftovers: usize,
    /// Uploads that were given up.
    pub(crate) uploads: usize,
}

/// Seconds that a file without a name is left alone.
const LEFTOVER_AGE: u64 = 60;

impl Registry {
    /// Collects at the configured times until it is dropped.
    pub(crate) async fn maintain(self: Arc<Self>) {
        loop {
            self.samples.take(self.catalog.figures().bytes);
            match self.collect().await {
                Ok(collected) if collected == Collected::default() => {}
                Ok(collected) => tracing::info!(?collected, "garbage collected"),
                Err(error) => tracing::error!(%error, "cannot collect garbage"),
            }
            match self.settings.gc_interval {
                Duration::ZERO => return std::future::pending().await,
                interval => tokio::time::sleep(interval).await,
            }
        }
    }

    /// Collects everything now.
    pub(crate) async fn collect(self: &Arc<Self>) -> Result<Collected, Error> {
        let _one = self.collecting.lock().await;
        let mut collected = Collected::default();
        if !self.settings.read_only {
            collected.expired = self.retain().await? + self.expire_cached().await?;
            let names: Vec<Name> = self.catalog.read().repositories.keys().cloned().collect();
            let before = clock::now().saturating_sub(self.settings.gc_grace.as_secs());
            for name in names {
                let old = |since: u64, touched: u64| since.max(touched) <= before;
                let Some(removed) =
                    self.catalog.unlink_unused(&name, |link| old(link.since, link.touched.get()))
                else {
                    continue;
                };
                collected.links += removed.links;
                collected.blobs += removed.orphans.len();
                // Who asked for it may look whether the room is there.
                self.catalog.durable(removed.pending).await?;
                self.discard(&removed.orphans).await?;
                tokio::task::yield_now().await;
            }
        }
        collected.leftovers = self.leftovers().await?;
        let this = self.clone();
        collected.uploads = blocking(move || this.uploads.expire(this.settings.upload_age, None)).await??;
        Ok(collected)
    }

    /// Collects everything of a registry that does not run, and whose clients are in the middle of nothing. Answers what
    /// `POST /api/v1/gc` answers.
    ///
    /// # Errors
    /// There is no registry, or it runs, or its storage fails.
    pub async fn collect_stopped(mut settings: Settings) -> Result<serde_json::Value, String> {
        if !Self::database(&settings.root).exists() {
            return Err(format!("there is no registry in {}", settings.root.display()));
        }
        settings.gc_grace = Duration::ZERO;
        let text = |error: Error| error.to_string();
        let registry = blocking(move || Self::open(settings)).await.map_err(text)??;
        registry.claim_storage().await?;
        let collected = registry.collect().await;
        blocking(move || registry.close()).await.map_err(text)?;
        serde_json::to_value(collected.map_err(text)?).map_err(|error| error.to_string())
    }

    /// Removes content that nothing names.
    async fn leftovers(&self) -> Result<usize, Error> {
        let catalog = self.catalog.clone();
        let mut gone = 0;
        for digest in self.content.unnamed(LEFTOVER_AGE, move |digest| catalog.knows(digest)).await? {
            gone += usize::from(self.content.discard(&digest, || self.catalog.knows(&digest)).await?);
        }
        Ok(gone)
    }
}
