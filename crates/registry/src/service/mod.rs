//! The service: everything that can be asked of a registry, without HTTP.
//!
//! What changes something runs to its end even when the client leaves in the middle.

mod access;
mod blobs;
mod cache;
mod handover;
pub(crate) mod maintenance;
mod manifests;
mod passing;
mod proxy;
mod replication;
mod retention;
mod samples;
mod sessions;
mod storage;
mod webhooks;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    Error,
    accounts::{ADMIN, Accounts, State},
    audit::Audit,
    auth::{Auth, Caller},
    catalog::{Catalog, Removed},
    config::AuthMode,
    content::{BucketSettings, Content, Uploads},
    digest::Digest,
    store::Store,
};

use self::{
    cache::ManifestCache, handover::Tickets, proxy::Proxy, replication::Replicator, samples::Samples,
    sessions::Sessions, storage::Claim, webhooks::Teller,
};

pub use self::proxy::ProxySettings;
pub(crate) use self::{access::Allowance, passing::Progress as Passed};

/// How a registry behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory of everything.
    pub root: PathBuf,
    /// Whether manifests, tags and blobs may be removed by clients.
    pub delete: bool,
    /// Whether nothing may change.
    pub read_only: bool,
    /// Uploads that nobody has written to for so long are given up.
    pub upload_age: Duration,
    /// Who may come in.
    pub auth: AuthMode,
    /// How often unreferenced content is collected; zero for once, at the start.
    pub gc_interval: Duration,
    /// How long content that nothing refers to is kept, for a push that may be under way.
    pub gc_grace: Duration,
    /// Be a cache of another registry.
    pub proxy: Option<ProxySettings>,
    /// How clients reach the registry, if they do not say themselves: `https://registry.example.com`.
    pub url: Option<String>,
    /// Signs tokens and sessions, instead of the secret that the registry makes for itself.
    pub secret: Option<String>,
    /// Whether engines of this machine may hand over files instead of their bytes.
    pub handover: bool,
    /// Keep the content of blobs in this bucket instead of files.
    pub bucket: Option<BucketSettings>,
}

impl Settings {
    /// The defaults, for this directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            delete: true,
            read_only: false,
            upload_age: Duration::from_secs(7 * 24 * 3600),
            auth: AuthMode::None,
            gc_interval: Duration::from_secs(3600),
            gc_grace: Duration::from_secs(24 * 3600),
            proxy: None,
            url: None,
            secret: None,
            handover: true,
            bucket: None,
        }
    }
}

/// A registry.
#[derive(Debug)]
pub struct Registry {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<Store>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) content: Content,
    pub(crate) uploads: Uploads,
    pub(crate) auth: Auth,
    pub(crate) accounts: Accounts,
    pub(crate) audit: Audit,
    pub(crate) samples: Samples,
    pub(crate) sessions: Sessions,
    tickets: Tickets,
    replicator: Replicator,
    proxy: Option<Arc<Proxy>>,
    teller: Teller,
    manifests: ManifestCache,
    collecting: tokio::sync::Mutex<()>,
    /// The bucket that was this registry's when it was opened.
    claim: Option<Claim>,
}

impl Registry {
    /// Opens the registry in its directory, or makes one. Blocks.
    ///
    /// # Errors
    /// The directory cannot be used, or another process uses it.
    pub fn open(settings: Settings) -> Result<Arc<Self>, String> {
        let text = |error: Error| error.to_string();
        let root = &settings.root;
        fs_err::create_dir_all(root).map_err(|error| error.to_string())?;
        // First the database: it is locked, so that no second process touches the rest.
        let opened = Store::open(&Self::database(root), |snapshot| {
            Ok((
                Catalog::load(snapshot)?,
                State::load(snapshot)?,
                Samples::load(snapshot)?,
                Sessions::load(snapshot)?,
                Replicator::load(snapshot)?,
                Claim::load(snapshot)?,
            ))
        });
        let (store, (contents, state, samples, ended, replicated, claim)) =
            opened.map_err(|error| chain(&error))?;
        let store = Arc::new(store);
        let sessions = Sessions::new(store.clone(), ended);
        let samples = Samples::new(store.clone(), samples);
        let content = Content::open(root, settings.bucket.as_ref()).map_err(text)?;
        let uploads = Uploads::open(root).map_err(text)?;
        let accounts = Accounts::new(store.clone(), state)?;
        // Accounts are those of this directory, so another registry's tokens are never good, whatever secret is shared with it.
        let auth = Auth::new(
            &settings.auth,
            &[settings.secret.as_deref().unwrap_or_default(), &accounts.secret()].concat(),
        )?;
        Ok(Arc::new(Self {
            catalog: Arc::new(Catalog::new(store.clone(), contents)),
            store,
            content,
            uploads,
            auth,
            accounts,
            audit: Audit::open(root).map_err(text)?,
            teller: Teller::new()?,
            tickets: Tickets::default(),
            replicator: Replicator::new(replicated),
            samples,
            sessions,
            proxy: settings.proxy.as_ref().map(Proxy::new).transpose()?.map(Arc::new),
            manifests: ManifestCache::default(),
            collecting: tokio::sync::Mutex::default(),
            claim,
            settings,
        }))
    }

    fn database(root: &Path) -> PathBuf {
        root.join("registry.redb")
    }

    /// Makes the first administrator, if there is nobody. Answers the name and the password, which is kept nowhere.
    /// Blocks.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn first_start(&self) -> Result<Option<(&'static str, String)>, String> {
        match self.settings.auth {
            AuthMode::Accounts => Ok(self.accounts.first_start()?.map(|password| (ADMIN, password))),
            _ => Ok(None),
        }
    }

    /// Writes what is queued and closes the database. Blocks.
    pub fn close(&self) {
        self.store.close();
    }

    /// Writes a change to the audit log.
    pub(crate) fn note(&self, caller: &Caller, action: &str, what: impl std::fmt::Display) {
        self.audit.note(caller, action, &what.to_string());
    }

    /// Removes a project that has no repositories, with its robots.
    pub(crate) async fn remove_project(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        self.require_admin(caller)?;
        self.accounts.project(name)?;
        let repositories = self.catalog.read().of_project(name).count();
        if repositories > 0 {
            return Err(Error::Conflict {
                reason: format!("project {name} has {repositories} repositories"),
            });
        }
        self.accounts.remove_project(name).await?;
        self.note(caller, "project.remove", name);
        Ok(())
    }

    fn writable(&self) -> Result<(), Error> {
        if self.settings.read_only {
            return Err(Error::Unsupported { reason: "the registry is read-only".into() });
        }
        if self.proxy.is_some() {
            return Err(Error::Unsupported { reason: "this registry is a cache of another one".into() });
        }
        Ok(())
    }

    fn deletable(&self) -> Result<(), Error> {
        // What a cache holds may go: it comes again.
        if !self.settings.delete || self.settings.read_only {
            return Err(Error::Unsupported { reason: "deletion is switched off".into() });
        }
        Ok(())
    }

    /// Waits until a removal is durable, then removes the files that nothing names any more.
    pub(crate) async fn removed(self: &Arc<Self>, removed: Removed) -> Result<(), Error> {
        self.catalog.durable(removed.pending).await?;
        if !removed.orphans.is_empty() {
            let this = self.clone();
            tokio::spawn(async move { this.try_discard(&removed.orphans).await });
        }
        Ok(())
    }

    /// Removes content that nothing names any more.
    ///
    /// # Errors
    /// The bucket's store does not do it. The rest is not tried: with a store that is silent each would take its time.
    async fn discard(&self, orphans: &[Digest]) -> Result<(), Error> {
        for digest in orphans {
            self.content.discard(digest, || self.catalog.knows(digest)).await?;
        }
        Ok(())
    }

    /// The same; what cannot be removed now is left to the next collection.
    async fn try_discard(&self, orphans: &[Digest]) {
        if let Err(error) = self.discard(orphans).await {
            tracing::warn!(%error, "content that nothing names is left for now");
        }
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

/// Runs what blocks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(run).await.map_err(|error| Error::Internal { reason: error.to_string() })
}

/// Runs to the end, whether or not somebody waits.
pub(crate) async fn unstoppable<T: Send + 'static>(
    run: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    tokio::spawn(run).await.map_err(|error| Error::Internal { reason: error.to_string() })?
}
