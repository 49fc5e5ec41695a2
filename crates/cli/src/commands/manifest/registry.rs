//! The registry of a list: what is read from it and pushed to it.

use bytes::Bytes;
use skiff_distribution::{
    Config, Credentials, Descriptor, Document, Error, Fetched, Index, Mounted, Platform, Proxies, Purpose,
    Registries, Repository, Secret, Session as Connection,
    media::{self, DOCKER_MANIFEST, OCI_MANIFEST},
};
use skiff_types::{Digest, ErrorKind};
use tokio::sync::mpsc;

use super::{
    image::{Image, list_of},
    name::Name,
};
use crate::{credentials::server_of, failure::Failure, say, session::Session};

/// How many pieces of a blob are on their way through here at a time.
const PIECES: usize = 4;

/// A registry, and who the user is to it.
pub(super) struct Remote {
    client: Registries,
    registry: String,
    credentials: Credentials,
}

/// What a name stands for.
pub(super) enum Found {
    Image(Box<Image>),
    List(Index),
}

impl Remote {
    /// The registry of a name. With `insecure` it needs no TLS, or none that somebody vouches for.
    pub(super) fn new(session: &Session, name: &Name, insecure: bool) -> Result<Self, Failure> {
        let registry = name.registry().to_owned();
        let known = session.credentials().get(&server_of(&name.repository()))?;
        Ok(Self {
            client: Registries::new(Config {
                insecure: if insecure { vec![registry.clone()] } else { Vec::new() },
                proxies: Proxies::from_environment(),
                ..Config::default()
            }),
            registry,
            credentials: Credentials {
                username: known.username,
                password: Secret::new(known.password),
                identity_token: Secret::new(known.identity_token),
                registry_token: Secret::new(known.registry_token),
            },
        })
    }

    /// What a name stands for.
    pub(super) async fn find(&self, name: &Name) -> Result<Found, Failure> {
        let (connection, fetched) = self.fetch(name, name.version()).await?;
        match &fetched.document {
            Document::Index(index) => Ok(Found::List(index.clone())),
            Document::Manifest(manifest) => {
                let repository = connection.repository(name.path());
                let config = repository.small_blob(&manifest.config).await.map_err(told)?;
                Image::new(name.full(), &fetched, Some(platform(&config))).map(Box::new).map(Found::Image)
            }
        }
    }

    /// An image of a list in the registry.
    pub(super) async fn entry(&self, list: &Name, entry: &Descriptor) -> Result<Image, Failure> {
        let (_, fetched) = self.fetch(list, &entry.digest.to_string()).await?;
        Image::new(format!("{list}@{}", entry.digest), &fetched, entry.platform.clone())
    }

    /// A manifest or index, from the first place that has it.
    async fn fetch(&self, name: &Name, version: &str) -> Result<(Connection, Fetched), Failure> {
        let mut last: Option<Error> = None;
        for candidate in self.client.candidates(&self.registry, Purpose::Pull).await.map_err(told)? {
            let fetched = async {
                let connection = self.client.open(&candidate, &self.credentials).await?;
                let fetched = connection.repository(name.path()).manifest(version).await?;
                Ok((connection, fetched))
            };
            match fetched.await {
                Ok(found) => return Ok(found),
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(error) if error.kind() == ErrorKind::NotFound => {
                Failure::new(format!("no such manifest: {name}"))
            }
            Some(error) => told(error),
            None => Failure::new(format!("no endpoints found for {}", self.registry)),
        })
    }

    /// Pushes the images of a list and then the list itself, whose digest is answered.
    pub(super) async fn push(&self, list: &Name, images: &[Image]) -> Result<Digest, Failure> {
        let candidates = self.client.candidates(&self.registry, Purpose::Push).await.map_err(told)?;
        let candidate = candidates
            .first()
            .ok_or_else(|| Failure::new(format!("no endpoints found for {}", self.registry)))?;
        let connection = self.client.open(candidate, &self.credentials).await.map_err(told)?;
        let target = connection.repository(list.path());
        for image in images {
            let source = Name::parse(&image.reference)?;
            let bytes = image.bytes()?;
            let (media_type, document) = media::parse(&image.descriptor.media_type, &bytes).map_err(told)?;
            let Document::Manifest(manifest) = document else {
                return Err(format!("{source} is a manifest list").into());
            };
            if source.path() != list.path() {
                let from = connection.repository(source.path());
                let layers = manifest.layers.iter().filter(|layer| layer.urls.is_empty());
                for blob in layers.chain([&manifest.config]) {
                    bring(blob, &from, source.path(), &target).await.map_err(told)?;
                }
            }
            let media_type = if media_type == OCI_MANIFEST { OCI_MANIFEST } else { DOCKER_MANIFEST };
            let digest = image.descriptor.digest;
            target.put_manifest(&digest.to_string(), media_type, bytes.into()).await.map_err(told)?;
            say::line(&format!("Pushed ref {}@{digest} with digest: {digest}", list.repository()));
        }
        let (media_type, text) = list_of(images);
        let digest = Digest::of(&text);
        target.put_manifest(list.version(), media_type, text.into()).await.map_err(told)?;
        Ok(digest)
    }
}

/// Brings a blob into another repository of its registry: mounted if the registry does that, else through here.
async fn bring(
    blob: &Descriptor,
    from: &Repository<'_>,
    path: &str,
    to: &Repository<'_>,
) -> skiff_distribution::Result<()> {
    let Mounted::No(mut upload) = to.mount(&blob.digest, path).await? else { return Ok(()) };
    let (pieces, received) = mpsc::channel::<std::io::Result<Bytes>>(PIECES);
    let read = async {
        let mut reader = from.blob(blob, 0);
        while let Some(piece) = reader.next().await? {
            if pieces.send(Ok(piece)).await.is_err() {
                break;
            }
        }
        drop(pieces);
        Ok(())
    };
    tokio::try_join!(read, upload.send(received))?;
    upload.finish(&blob.digest).await
}

/// For whom an image is, by its configuration.
fn platform(config: &[u8]) -> Platform {
    // One that is none says nothing.
    serde_json::from_slice(config).unwrap_or_default()
}

fn told(error: Error) -> Failure {
    Failure::new(error.to_string())
}
