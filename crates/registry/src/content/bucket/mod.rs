//! Blobs as objects of an S3 bucket: `<prefix>/blobs/<algorithm>/<two digits>/<hex>`.
//!
//! An object is put in one request, or in [`parts`], whose bytes are checked by the store (`Content-MD5`); it is there when all of
//! it is. What is sent at a time shares a few places in memory.
//!
//! A removal whose outcome nobody knows may still happen later, and must not meet a blob that was pushed again meanwhile. Its
//! signature is good for ten seconds, so whoever removes waits for the end of that, holding the digest's pin.
//!
//! Source: Amazon S3 API Reference, 2006-03-01.

mod client;
mod keys;
mod object;
mod parts;
mod settings;

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use rusty_s3::{S3Action, actions::ListObjectsV2};
use serde::{Deserialize, Serialize};
use skiff_distribution::Answer;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Error, digest::Digest, error::at, manifest::MAX_MANIFEST, range::Span, service::blocking};

use self::client::{Client, Failure};
pub(crate) use self::object::Object;
pub use self::settings::{BucketSettings, Encryption};

/// Parts of all uploads that are in memory at a time.
const PARTS: usize = 4;
/// How long a removal may begin, and what clocks may differ.
const REMOVAL: Duration = Duration::from_secs(10);
const MARGIN: Duration = Duration::from_secs(5);
/// The object that says whose content this is.
const OWNER: &str = "registry.json";
/// How long clients may begin to read from the bucket itself.
const REDIRECT: Duration = Duration::from_secs(20 * 60);

/// The bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    client: Client,
    settings: BucketSettings,
    /// Where notes of uploads in parts lie.
    multipart: PathBuf,
    places: Semaphore,
}

/// The content of [`OWNER`].
#[derive(Deserialize, Serialize)]
struct Owner {
    registry: String,
}

impl Bucket {
    /// Reads certificates and makes the directory for notes. Asks nobody. Blocks.
    pub(super) fn open(root: &Path, settings: &BucketSettings) -> Result<Self, Error> {
        let multipart = root.join("multipart");
        fs_err::create_dir_all(&multipart).map_err(at(&multipart))?;
        let client = Client::new(settings)?;
        Ok(Self { client, settings: settings.clone(), multipart, places: Semaphore::new(PARTS) })
    }

    /// The bucket and the prefix, for people.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", self.settings.bucket, self.settings.prefix)
    }

    fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    fn key(&self, digest: &Digest) -> String {
        let hex = digest.hex();
        let algorithm = digest.algorithm().name();
        format!("{}blobs/{algorithm}/{}/{hex}", self.settings.prefix, &hex[..2])
    }

    fn owner_key(&self) -> String {
        format!("{}{OWNER}", self.settings.prefix)
    }

    /// The registry whose content is here, if one has claimed it.
    pub(crate) async fn owner(&self) -> Result<Option<String>, Error> {
        let bytes = match self.get_small(&self.owner_key()).await {
            Ok(bytes) => bytes,
            Err(Failure::Missing) => return Ok(None),
            Err(failure) => return Err(failure.into()),
        };
        let owner: Owner = serde_json::from_slice(&bytes).map_err(|e| Error::Storage {
            reason: format!("the object {} is not what a registry writes: {e}", self.owner_key()),
        })?;
        Ok(Some(owner.registry))
    }

    /// Writes whose content is here, unless it is somebody's already. Stores that do not know the condition write it anyway:
    /// [`owner`](Self::owner) tells who was last.
    pub(crate) async fn claim(&self, registry: &str) -> Result<(), Error> {
        let text = serde_json::to_vec(&Owner { registry: registry.to_owned() }).expect("it has string keys");
        let key = self.owner_key();
        let mut action = self.client.bucket.put_object(None, &key);
        action.headers_mut().insert("if-none-match", "*");
        match self.client.send(action, text.into()).await {
            Ok(answer) => {
                answer.discard().await;
                Ok(())
            }
            Err(Failure::Refused { code, .. }) if code == "PreconditionFailed" => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let key = self.key(digest);
        let action = self.client.bucket.head_object(None, &key);
        match self.client.send(action, Bytes::new()).await {
            Ok(answer) => Ok(client::length(&answer)),
            Err(Failure::Missing) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn get_small(&self, key: &str) -> Result<Bytes, Failure> {
        let action = self.client.bucket.get_object(None, key);
        let answer = self.client.send(action, Bytes::new()).await?;
        Ok(answer.bytes("the object", MAX_MANIFEST).await?)
    }

    pub(super) async fn read(&self, digest: &Digest) -> Result<Bytes, Error> {
        self.get_small(&self.key(digest)).await.map_err(|failure| failure.of(digest))
    }

    /// Bytes of an object, whose headers are there.
    async fn get_part(&self, digest: &Digest, span: Span) -> Result<Answer, Failure> {
        let key = self.key(digest);
        let mut action = self.client.bucket.get_object(None, &key);
        action.headers_mut().insert("range", format!("bytes={}-{}", span.from, span.to - 1));
        self.client.send(action, Bytes::new()).await
    }

    pub(super) async fn open_object(self: &Arc<Self>, digest: &Digest, span: Span) -> Result<Object, Error> {
        Object::open(self.clone(), digest.clone(), span).await
    }

    /// Where a client may read a blob itself, if clients are to do that.
    pub(crate) async fn redirect(&self, digest: &Digest) -> Result<Option<String>, Error> {
        if !self.settings.redirect {
            return Ok(None);
        }
        let key = self.key(digest);
        let action = self.client.bucket.get_object(None, &key);
        Ok(Some(self.client.address(action, REDIRECT).await?.into()))
    }

    pub(super) async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), Error> {
        let key = self.key(digest);
        let mut action = self.client.bucket.put_object(None, &key);
        self.settings.describe(action.headers_mut());
        action.headers_mut().insert("content-md5", STANDARD.encode(Md5::digest(&bytes)));
        self.client.send(action, bytes).await?.discard().await;
        Ok(())
    }

    /// A place in memory for what is sent. Who waits for one gives up when nobody gets on.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Error> {
        let begun = Instant::now();
        let mut place = pin!(self.places.acquire());
        loop {
            if let Ok(place) = tokio::time::timeout(self.settings.timeout, &mut place).await {
                return Ok(place.expect("it is never closed"));
            }
            if self.client.answered().max(begun).elapsed() > self.settings.timeout * 4 {
                return Err(Error::Storage { reason: "the store does not answer anybody".into() });
            }
        }
    }

    pub(super) async fn put_file(self: &Arc<Self>, digest: &Digest, path: &Path) -> Result<(), Error> {
        let from = path.to_owned();
        let opened = blocking(move || -> Result<(File, u64), Error> {
            let file = fs_err::File::open(&from).map_err(at(&from))?.into_parts().0;
            let size = file.metadata().map_err(at(&from))?.len();
            Ok((file, size))
        });
        let (file, size) = opened.await??;
        let file = Arc::new(file);
        if size <= self.settings.part {
            let _turn = self.turn().await?;
            let (bytes, _) = read_part(&file, Span { from: 0, to: size }).await.map_err(at(path))?;
            return self.put(digest, bytes).await;
        }
        self.put_parts(digest, &file, size).await
    }

    /// Removes an object. When this returns, nobody will do it later.
    pub(super) async fn remove(&self, digest: &Digest) -> Result<(), Error> {
        let key = self.key(digest);
        let action = self.client.bucket.delete_object(None, &key);
        match self.client.send_within(action, Bytes::new(), REMOVAL).await {
            Ok(answer) => {
                answer.discard().await;
                Ok(())
            }
            Err(Failure::Missing) => Ok(()),
            Err(failure) => {
                if failure.is_uncertain() {
                    tokio::time::sleep(REMOVAL + MARGIN).await;
                }
                Err(failure.into())
            }
        }
    }

    pub(super) async fn unnamed(
        &self,
        age: u64,
        named: impl Fn(&Digest) -> bool,
    ) -> Result<Vec<Digest>, Error> {
        let (mut found, mut next) = (Vec::new(), None);
        let prefix = format!("{}blobs/", self.settings.prefix);
        let before = Timestamp::now().as_second() - age as i64;
        loop {
            let mut action = self.client.bucket.list_objects_v2(None);
            action.with_prefix(prefix.as_str());
            if let Some(token) = next.take() {
                action.with_continuation_token(token);
            }
            let page = self.client.text(action, Bytes::new()).await?;
            let page = ListObjectsV2::parse_response(&page).map_err(client::unreadable)?;
            for object in page.contents {
                let Some(digest) = digest_of(&object.key, &prefix).filter(|digest| !named(digest)) else {
                    continue;
                };
                let changed = object.last_modified.and_then(|time| time.parse::<Timestamp>().ok());
                if changed.is_some_and(|time| time.as_second() <= before) {
                    found.push(digest);
                }
            }
            match page.next_continuation_token {
                None => return Ok(found),
                token => next = token,
            }
        }
    }
}

/// The digest of an object's name.
fn digest_of(key: &str, prefix: &str) -> Option<Digest> {
    let mut parts = key.strip_prefix(prefix)?.split('/');
    let (algorithm, _, hex) = (parts.next()?, parts.next()?, parts.next()?);
    format!("{algorithm}:{hex}").parse().ok()
}

/// Bytes of a file, and their `Content-MD5`.
async fn read_part(file: &Arc<File>, span: Span) -> std::io::Result<(Bytes, String)> {
    let file = file.clone();
    let read = tokio::task::spawn_blocking(move || -> std::io::Result<(Bytes, String)> {
        let mut bytes = vec![0; span.len() as usize];
        file.read_exact_at(&mut bytes, span.from)?;
        let sum = STANDARD.encode(Md5::digest(&bytes));
        Ok((Bytes::from(bytes), sum))
    });
    read.await?
}
