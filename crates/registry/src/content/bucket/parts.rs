//! Objects that are sent in parts, and what is left of them in the store when they are given up.
//!
//! Who uploads in parts leaves a note in `multipart/` of the registry's directory until that is over. An upload that fails is
//! aborted behind the answer, for as long as that takes; what a kill leaves is aborted at the next start. Somebody pays for parts
//! that nobody aborts.

use std::{fs::File, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{StatusCode, header};
use rusty_s3::{
    S3Action,
    actions::{CompleteMultipartUpload, CreateMultipartUpload},
};
use serde::{Deserialize, Serialize};

use super::{
    Bucket, PARTS,
    client::{self, Failure},
    read_part,
};
use crate::{Error, digest::Digest, error::at, range::Span, service::blocking};

/// The most parts that an object may have.
const MOST_PARTS: u64 = 10_000;
/// How often an upload is aborted: a part whose answer nobody waited for may be stored after the first
/// time. And the time in between.
const ROUNDS: u32 = 2;
const SETTLED: Duration = Duration::from_secs(5);
/// The pauses after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// An upload in parts that may have to be aborted.
#[derive(Deserialize, Serialize)]
struct Note {
    key: String,
    upload: String,
}

impl Bucket {
    /// Aborts the uploads that an earlier process has left.
    pub(crate) async fn abort_old(self: &Arc<Self>) -> Result<(), Error> {
        let directory = self.multipart.clone();
        let notes = blocking(move || -> Result<Vec<PathBuf>, Error> {
            let entries = fs_err::read_dir(&directory).map_err(at(&directory))?;
            Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        });
        for path in notes.await?? {
            let note = fs_err::read(&path).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok());
            match note {
                // Nobody sends parts of it any more.
                Some(note) => match self.abort(&note).await {
                    Ok(()) => fs_err::remove_file(&path).map_err(at(path))?,
                    Err(_) => self.give_up(note, path),
                },
                // Killed before it was written: nothing was sent yet.
                None => fs_err::remove_file(&path).map_err(at(path))?,
            }
        }
        Ok(())
    }

    /// Aborts an upload behind, as soon as the store does it. If the process ends before, the next one does it.
    fn give_up(self: &Arc<Self>, note: Note, path: PathBuf) {
        let this = self.clone();
        tokio::spawn(async move {
            let (mut pause, mut rounds) = (FIRST_PAUSE, 0);
            while rounds < ROUNDS {
                match this.abort(&note).await {
                    Ok(()) => {
                        rounds += 1;
                        tokio::time::sleep(SETTLED).await;
                    }
                    Err(failure) => {
                        tracing::warn!(key = note.key, %failure, "cannot abort an upload yet");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
            let _ = fs_err::remove_file(&path);
        });
    }

    async fn abort(&self, note: &Note) -> Result<(), Failure> {
        let action = self.client.bucket.abort_multipart_upload(None, &note.key, &note.upload);
        match self.client.send(action, Bytes::new()).await {
            Ok(answer) => {
                answer.discard().await;
                Ok(())
            }
            Err(Failure::Missing) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn put_parts(
        self: &Arc<Self>,
        digest: &Digest,
        file: &Arc<File>,
        size: u64,
    ) -> Result<(), Error> {
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
                self.give_up(note, path);
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
        match self.client.text(action, body).await {
            // An error may come with the status 200; what the root is called otherwise is not the same with all stores.
            Ok(answer) if client::element(&answer, "ETag").is_none() => {
                return Err(client::refusal(StatusCode::OK, &answer).into());
            }
            // It was done, and the answer was lost: there is no such upload any more.
            Ok(_) | Err(Failure::Missing) => {}
            Err(failure) => return Err(failure.into()),
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
        let _turn = self.turn().await?;
        let (bytes, sum) = read_part(file, span).await.map_err(at(&note.key))?;
        let mut action = self.client.bucket.upload_part(None, &note.key, number, &note.upload);
        action.headers_mut().insert("content-md5", sum);
        let answer = self.client.send(action, bytes).await?;
        let tag = answer.header(header::ETAG).map(str::to_owned);
        answer.discard().await;
        tag.ok_or_else(|| Error::Storage { reason: "a part was answered without an ETag".into() })
    }
}
