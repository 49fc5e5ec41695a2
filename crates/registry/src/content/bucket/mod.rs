//! Blobs as objects of an S3 bucket: `<prefix>/blobs/<algorithm>/<two digits>/<hex>`.
//!
//! An object is put in one request, or in parts whose bytes are checked by the store (`Content-MD5`); it is there when all of
//! it is. Parts of all uploads share a few places in memory. Who uploads in parts leaves a note in `multipart/` of the
//! registry's directory until that is over: what a kill leaves is aborted at the next start.
//!
//! A removal whose outcome nobody knows may still happen later, and must not meet a blob that was pushed again meanwhile. Its
//! signature is good for ten seconds, so whoever removes waits for the end of that, holding the digest's pin.
//!
//! Source: Amazon S3 API Reference, 2006-03-01.

mod client;
mod keys;
mod object;
mod settings;

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{StatusCode, header};
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use rusty_s3::{
    S3Action,
    actions::{CompleteMultipartUpload, CreateMultipartUpload, ListObjectsV2},
};
use serde::{Deserialize, Serialize};
use skiff_distribution::Answer;
use tokio::sync::Semaphore;

use crate::{Error, digest::Digest, error::at, manifest::MAX_MANIFEST, range::Span, service::blocking};

use self::client::{Client, Failure};
pub(crate) use self::object::Object;
pub use self::settings::{BucketSettings, Encryption};

/// Parts of all uploads that are in memory at a time.
const PARTS: usize = 4;
/// The most parts that an object may have.
const MOST_PARTS: u64 = 10_000;
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

/// An upload in parts that may have to be aborted.
#[derive(Deserialize, Serialize)]
struct Note {
    key: String,
    upload: String,
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

    /// Aborts the uploads in parts that an earlier process has left. What cannot be aborted is tried again at the next start.
    pub(crate) async fn abort_old(&self) -> Result<(), Error> {
        let directory = self.multipart.clone();
        let notes = blocking(move || -> Result<Vec<PathBuf>, Error> {
            let entries = fs_err::read_dir(&directory).map_err(at(&directory))?;
            Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        });
        for path in notes.await?? {
            let note = fs_err::read(&path).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok());
            match note {
                Some(note) => self.abort(&note, &path).await,
                // Killed before it was written: nothing was sent yet.
                None => fs_err::remove_file(&path).map_err(at(path))?,
            }
        }
        Ok(())
    }

    async fn abort(&self, note: &Note, path: &Path) {
        let action = self.client.bucket.abort_multipart_upload(None, &note.key, &note.upload);
        match self.client.send(action, Bytes::new()).await {
            Ok(_) | Err(Failure::Missing) => {
                let _ = fs_err::remove_file(path);
            }
            Err(failure) => tracing::warn!(key = note.key, %failure, "cannot abort an upload"),
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

    pub(super) async fn put_file(&self, digest: &Digest, path: &Path) -> Result<(), Error> {
        let from = path.to_owned();
        let opened = blocking(move || -> Result<(File, u64), Error> {
            let file = fs_err::File::open(&from).map_err(at(&from))?.into_parts().0;
            let size = file.metadata().map_err(at(&from))?.len();
            Ok((file, size))
        });
        let (file, size) = opened.await??;
        let file = Arc::new(file);
        if size <= self.settings.part {
            let _place = self.places.acquire().await.expect("it is never closed");
            let (bytes, _) = read_part(&file, Span { from: 0, to: size }).await.map_err(at(path))?;
            return self.put(digest, bytes).await;
        }
        self.put_parts(digest, &file, size).await
    }

    async fn put_parts(&self, digest: &Digest, file: &Arc<File>, size: u64) -> Result<(), Error> {
        let key = self.key(digest);
        let mut action = self.client.bucket.create_multipart_upload(None, &key);
        self.settings.describe(action.headers_mut());
        let created = self.client.text(action, Bytes::new()).await?;
        let created = CreateMultipartUpload::parse_response(&created).map_err(client::unreadable)?;
        let note = Note { key, upload: created.upload_id().to_owned() };
        let path = self.leave(&note).await?;
        match self.fill(&note, digest, file, size).await {
            Ok(()) => {
                // What is left is tried in vain at the next start.
                let _ = fs_err::remove_file(&path);
                Ok(())
            }
            Err(error) => {
                self.abort(&note, &path).await;
                Err(error)
            }
        }
    }

    /// Writes a note. It is not flushed: what a power cut leaves in the bucket is for its owner's rules.
    async fn leave(&self, note: &Note) -> Result<PathBuf, Error> {
        let path = self.multipart.join(skiff_types::hex(&rand::random::<[u8; 16]>()));
        let (to, text) = (path.clone(), serde_json::to_vec(note).expect("it has string keys"));
        blocking(move || fs_err::write(&to, text).map_err(at(to))).await??;
        Ok(path)
    }

    async fn fill(&self, note: &Note, digest: &Digest, file: &Arc<File>, size: u64) -> Result<(), Error> {
        let part = self.settings.part.max(size.div_ceil(MOST_PARTS));
        let spans = (0..size.div_ceil(part)).map(|n| Span { from: n * part, to: size.min((n + 1) * part) });
        let sent = spans.zip(1u16..).map(|(span, number)| self.put_part(note, number, file, span));
        let tags: Vec<String> = stream::iter(sent).buffered(PARTS).try_collect().await?;
        let tags = tags.iter().map(String::as_str);
        let action = CompleteMultipartUpload::new(&self.client.bucket, None, &note.key, &note.upload, tags);
        let body = action.clone().body().into();
        // An error may come with the status 200; what the root is called otherwise is not the same with all stores.
        let answer = self.client.text(action, body).await?;
        if client::element(&answer, "ETag").is_none() {
            return Err(client::refusal(StatusCode::OK, &answer).into());
        }
        match self.size(digest).await? {
            Some(there) if there == size => Ok(()),
            there => {
                let reason =
                    format!("the store has {there:?} of {size} bytes after all parts of {digest} were sent");
                Err(Error::Storage { reason })
            }
        }
    }

    async fn put_part(
        &self,
        note: &Note,
        number: u16,
        file: &Arc<File>,
        span: Span,
    ) -> Result<String, Error> {
        let _place = self.places.acquire().await.expect("it is never closed");
        let (bytes, sum) = read_part(file, span).await.map_err(at(&note.key))?;
        let mut action = self.client.bucket.upload_part(None, &note.key, number, &note.upload);
        action.headers_mut().insert("content-md5", sum);
        let answer = self.client.send(action, bytes).await?;
        let tag = answer.header(header::ETAG).map(str::to_owned);
        answer.discard().await;
        tag.ok_or_else(|| Error::Storage { reason: "a part was answered without an ETag".into() })
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
