//! Registries: pulling and pushing images, signing in, searching.
//!
//! The distribution crate speaks with registries, the image store keeps what they give; here both meet, and say what Docker
//! says meanwhile. Everything stops when the future of a request is dropped; what was half done is then of use to the next.

mod ask;
mod attestations;
mod encoding;
mod layers;
mod platform;
mod progress;
mod published;
mod pull;
mod push;
mod relay;
mod verify;
mod words;

use std::sync::Arc;

use skiff_distribution::{Limits, Proxies};
use skiff_images::{ImageStore, Reference};
use tokio::sync::Semaphore;

use self::layers::Downloads;
use crate::{
    Config, Error, Events, Result,
    containers::Parts,
    last_use::LastUse,
    model::{Actor, EventKind},
};

pub(crate) use ask::platform_of;

pub use ask::DistributionInfo;
pub use encoding::Encoding;
pub use progress::{Progress, ProgressSender};
pub use pull::PullRequest;
pub use push::PushRequest;
pub use skiff_distribution::{Credentials, Descriptor, Found, Platform, Secret};
pub use verify::VerifyRequest;

/// The service.
#[derive(Clone)]
pub struct Registries {
    client: Arc<skiff_distribution::Registries>,
    images: Arc<ImageStore>,
    downloads: Arc<Downloads>,
    uploads: Arc<Semaphore>,
    /// How layers are encoded that are pushed, unless the request says it.
    encoding: Option<Encoding>,
    events: Events,
    last_use: Arc<LastUse>,
}

impl Registries {
    pub(crate) fn new(parts: &Parts) -> Self {
        let (config, images, events) = (&parts.config, parts.images.clone(), parts.events.clone());
        let client = skiff_distribution::Registries::new(client_config(config));
        let downloads = Arc::new(Downloads::new(images.clone(), config.max_concurrent_downloads));
        let uploads = Arc::new(Semaphore::new(config.max_concurrent_uploads));
        let last_use = parts.last_use.clone();
        let encoding = config.push_compression;
        Self { client: Arc::new(client), images, downloads, uploads, encoding, events, last_use }
    }

    /// Tells what happened to an image by this name.
    fn tell(&self, action: &str, reference: &Reference) {
        let attributes = [("name".to_owned(), reference.familiar_name())].into();
        self.events.publish(EventKind::Image, action, Actor { id: reference.familiar(), attributes });
    }
}

fn client_config(config: &Config) -> skiff_distribution::Config {
    let environment = Proxies::from_environment();
    skiff_distribution::Config {
        insecure: config.insecure_registries.clone(),
        mirrors: config.registry_mirrors.clone(),
        proxies: Proxies {
            http: config.http_proxy.clone().or(environment.http),
            https: config.https_proxy.clone().or(environment.https),
            no_proxy: config.no_proxy.clone().unwrap_or(environment.no_proxy),
        },
        limits: Limits { attempts: config.max_download_attempts, ..Limits::default() },
        ..skiff_distribution::Config::default()
    }
}

/// A name of an image as requests give it.
fn parse(name: &str) -> Result<Reference> {
    Ok(name.parse().map_err(skiff_images::Error::from)?)
}

/// What the registry of a name is.
fn not_reserved(reference: &Reference) -> Result<()> {
    match reference.familiar_name() == "scratch" {
        true => Err(Error::Forbidden("'scratch' is a reserved name".to_owned())),
        false => Ok(()),
    }
}
