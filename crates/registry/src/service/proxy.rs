//! A cache of another registry: what is asked for and not here is fetched, verified and kept.
//!
//! A tag that was asked about lately is served from here, and any tag while the other registry does not answer. Lists are the
//! other registry's, or of what is here while it does not answer. What nobody has asked for in a while may go. A blob is fetched
//! once, however many ask for it, and passed on while it comes (`passing`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use hyper::body::Body as _;
use tokio::sync::watch;

use super::{
    Allowance, Registry, blocking,
    passing::{Passing, Progress},
    unstoppable,
};
use crate::{
    Error,
    catalog::{Found, Policy},
    clock,
    content::Writing,
    digest::Digest,
    http::receive,
    name::{Name, Reference},
    remote::{Remote, RemoteList},
};

/// Smaller blobs are waited for: then an error can still be told.
const WORTHWHILE: u64 = 1 << 20;

/// The other registry, and what is known of it.
#[derive(Debug)]
pub(crate) struct Proxy {
    remote: Remote,
    tag_ttl: Duration,
    /// How long what nobody asks for is kept.
    keep: Option<Duration>,
    /// When a tag was last asked about.
    fresh: Mutex<HashMap<(Name, String), Instant>>,
    /// Blobs under way.
    fetches: Mutex<HashMap<Digest, Weak<Fetch>>>,
}

/// A blob that somebody fetches.
#[derive(Debug)]
pub(super) struct Fetch {
    turn: tokio::sync::Mutex<()>,
    /// What can be read of it already.
    pub(super) passing: watch::Sender<Option<Passing>>,
}

/// How a cache is configured.
#[derive(Clone)]
pub struct ProxySettings {
    /// The other registry.
    pub url: String,
    /// Who to be there.
    pub user: Option<String>,
    /// The password for that.
    pub password: Option<String>,
    /// How long a tag is served without asking again.
    pub tag_ttl: Duration,
    /// How long what nobody asks for is kept; for ever without it.
    pub keep: Option<Duration>,
}

impl std::fmt::Debug for ProxySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxySettings").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Proxy {
    pub(crate) fn new(settings: &ProxySettings) -> Result<Self, String> {
        let remote = Remote::new(&settings.url, settings.user.as_deref(), settings.password.as_deref())?;
        let (tag_ttl, keep) = (settings.tag_ttl, settings.keep);
        Ok(Self { remote, tag_ttl, keep, fresh: Mutex::default(), fetches: Mutex::default() })
    }

    fn is_fresh(&self, name: &Name, tag: &str) -> bool {
        let fresh = self.fresh.lock().expect("no panic under this lock");
        fresh.get(&(name.clone(), tag.to_owned())).is_some_and(|at| at.elapsed() < self.tag_ttl)
    }

    fn mark(&self, name: &Name, tag: &str) {
        let mut fresh = self.fresh.lock().expect("no panic under this lock");
        if fresh.len() > 10_000 {
            fresh.retain(|_, at| at.elapsed() < self.tag_ttl);
        }
        fresh.insert((name.clone(), tag.to_owned()), Instant::now());
    }

    pub(super) fn fetch(&self, digest: &Digest) -> Arc<Fetch> {
        let mut fetches = self.fetches.lock().expect("no panic under this lock");
        fetches.retain(|_, fetch| fetch.strong_count() > 0);
        if let Some(fetch) = fetches.get(digest).and_then(Weak::upgrade) {
            return fetch;
        }
        let fetch =
            Arc::new(Fetch { turn: tokio::sync::Mutex::default(), passing: watch::Sender::new(None) });
        fetches.insert(digest.clone(), Arc::downgrade(&fetch));
        fetch
    }
}

impl Registry {
    /// Brings a manifest here, if this is a cache and it is not here or may have moved.
    pub(super) async fn refresh(self: &Arc<Self>, name: &Name, reference: &Reference) -> Result<(), Error> {
        let Some(proxy) = self.proxy.clone() else { return Ok(()) };
        let here: Option<Found> = self.catalog.manifest(name, reference).ok();
        match reference {
            Reference::Digest(_) if here.is_some() => return Ok(()),
            Reference::Tag(tag) if here.is_some() && proxy.is_fresh(name, tag.as_str()) => return Ok(()),
            _ => {}
        }
        let outcome = self.fetch_manifest(&proxy, name, reference, here.as_ref()).await;
        match (&outcome, reference) {
            (Ok(()), Reference::Tag(tag)) => proxy.mark(name, tag.as_str()),
            (Err(Error::Upstream { .. }), _) if here.is_some() => {
                tracing::warn!(%name, %reference, host = proxy.remote.host(), ?outcome, "served from the cache");
                return Ok(());
            }
            _ => {}
        }
        outcome
    }

    async fn fetch_manifest(
        self: &Arc<Self>,
        proxy: &Arc<Proxy>,
        name: &Name,
        reference: &Reference,
        here: Option<&Found>,
    ) -> Result<(), Error> {
        let unknown = || Error::ManifestUnknown { name: name.clone(), reference: reference.to_string() };
        // Heads cost nothing where manifests are counted.
        if let Some(here) = here {
            let head = proxy.remote.briefly(proxy.remote.manifest(name, reference, true)).await?;
            let head = head.ok_or_else(unknown)?;
            if head.digest == here.digest {
                return Ok(());
            }
        }
        let manifest = proxy.remote.manifest(name, reference, false).await?.ok_or_else(unknown)?;
        let (this, name, reference) = (self.clone(), name.clone(), reference.clone());
        unstoppable(async move {
            let kind = Some(manifest.content_type.as_str());
            this.store_manifest("cache", &name, &reference, manifest.bytes, kind, true).await.map(|_| ())
        })
        .await
    }

    /// The other registry's list, if this is a cache; none if it does not answer, and what is here has to do.
    pub(crate) async fn list_elsewhere(
        &self,
        name: &Name,
        which: &str,
        query: Option<&str>,
    ) -> Result<Option<RemoteList>, Error> {
        let Some(proxy) = &self.proxy else { return Ok(None) };
        match proxy.remote.briefly(proxy.remote.list(name, which, query)).await {
            Ok(Some(list)) => Ok(Some(list)),
            // For a client too this means that there is none, and to look elsewhere for what refers to an image.
            Ok(None) => Err(Error::NotFound { what: "list", name: format!("{name}/{which}") }),
            Err(error @ Error::Upstream { .. }) => {
                tracing::warn!(%name, which, %error, "listed from the cache");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The size of a blob of the other registry that is not here.
    pub(crate) async fn size_elsewhere(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, Error> {
        match &self.proxy {
            Some(proxy) if self.catalog.blob(name, digest).is_err() => {
                proxy.remote.blob_size(name, digest).await
            }
            _ => Ok(None),
        }
    }

    /// Removes what nobody has asked for in a while from a cache. Its blobs go with the collection.
    pub(super) async fn expire_cached(self: &Arc<Self>) -> Result<usize, Error> {
        let Some(keep) = self.proxy.as_ref().and_then(|proxy| proxy.keep) else { return Ok(0) };
        let before = clock::now().saturating_sub(keep.as_secs());
        let mut old: Vec<(bool, Name, Digest)> = Vec::new();
        for (name, repository) in &self.catalog.read().repositories {
            let aged = repository
                .manifests
                .iter()
                .filter(|(_, manifest)| manifest.record.pushed.max(manifest.touched.get()) <= before);
            old.extend(aged.map(|(digest, m)| (m.record.manifests.is_empty(), name.clone(), digest.clone())));
        }
        // Indexes first: they keep what they name.
        old.sort();
        let mut gone = 0;
        for (_, name, digest) in old {
            if let Ok(removed) = self.catalog.remove_manifest(&name, &digest, &Policy::default()) {
                self.removed(removed).await?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    /// Brings a blob here, if this is a cache and it is not here.
    pub(super) async fn fetch_blob(self: &Arc<Self>, name: &Name, digest: &Digest) -> Result<(), Error> {
        let Some(proxy) = self.proxy.clone() else { return Ok(()) };
        if self.catalog.blob(name, digest).is_ok() {
            return Ok(());
        }
        // Goes on when who asked first leaves: others wait for it.
        let (this, name, digest) = (self.clone(), name.clone(), digest.clone());
        unstoppable(async move {
            let fetch = proxy.fetch(&digest);
            let _turn = fetch.turn.lock().await;
            if this.catalog.blob(&name, &digest).is_ok() {
                return Ok(());
            }
            let body = proxy.remote.blob(&name, &digest).await?;
            let mut body = body.ok_or_else(|| Error::BlobUnknown { digest: digest.clone() })?;
            let (uploading, repository, algorithm) = (this.clone(), name.clone(), digest.algorithm());
            let mut writing = blocking(move || {
                let id = uploading.uploads.begin(&repository, algorithm)?;
                uploading.uploads.write(&repository, &id, Some(algorithm))
            })
            .await??;
            let (progress, seen) = watch::channel(Progress::Coming(0));
            let progress = Arc::new(progress);
            if let Some(size) = body.size_hint().exact().filter(|size| *size >= WORTHWHILE) {
                let (file, name) = (Arc::new(writing.reader()?), name.clone());
                writing.tell(progress.clone());
                fetch.passing.send_replace(Some(Passing { name, file, size, progress: seen }));
            }
            let (writing, appended) = receive::append(&mut body, writing, &Allowance::all(), u64::MAX).await;
            // Who comes from now on waits for the end.
            fetch.passing.send_replace(None);
            let received = writing.map(Writing::finish).ok_or(Error::Cut)?;
            if let Err(error) = appended {
                blocking(move || this.uploads.drop_received(&received)).await?;
                let reason = format!("blob {digest} ended early");
                return Err(match error {
                    Error::Cut => Error::Upstream { host: proxy.remote.host().to_owned(), reason },
                    other => other,
                });
            }
            if received.digest != digest {
                let reason = format!("blob {digest} has the digest {}", received.digest);
                blocking(move || this.uploads.drop_received(&received)).await?;
                return Err(Error::Upstream { host: proxy.remote.host().to_owned(), reason });
            }
            let kept = received.clone();
            if let Err(error) = this.clone().adopt(name, received).await {
                // Nobody will go on with it.
                blocking(move || this.uploads.drop_received(&kept)).await?;
                return Err(error);
            }
            progress.send_replace(Progress::Whole);
            Ok(())
        })
        .await
    }
}
