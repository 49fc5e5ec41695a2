//! Files that come from and go to an engine of this machine without their bytes being moved (crate `handover`, ADR 33).
//!
//! Who may do what was settled over HTTP: who has an upload's id may fill it, who has a ticket may have that one blob. A file
//! that comes is linked first and hashed then, so that nobody can put another one in its place; from there on it is an
//! upload like any other.

use std::{
    collections::HashMap,
    fs::File,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::fs::{Mode, OFlags};
use skiff_handover::{Connection, Listener, Request, SOCKET, link};
use tokio::{net::UnixListener, sync::watch};
use tracing::{debug, error};

use super::{Registry, blocking, unstoppable};
use crate::{
    Error,
    content::{Received, UploadId, hash_file},
    digest::Digest,
    name::Name,
};

/// Pause after a failed accept: file descriptors may be short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a ticket is good.
const TICKET_LIFE: Duration = Duration::from_secs(60);
/// The most tickets at a time: who asks for more takes blobs over HTTP.
const MOST_TICKETS: usize = 4096;

/// Rights to take one blob each, once.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<HashMap<String, (Digest, Instant)>>);

impl Tickets {
    fn issue(&self, digest: &Digest) -> Option<String> {
        let mut tickets = self.0.lock().expect("no panic under this lock");
        if tickets.len() >= MOST_TICKETS {
            tickets.retain(|_, (_, issued)| issued.elapsed() < TICKET_LIFE);
        }
        if tickets.len() >= MOST_TICKETS {
            return None;
        }
        let ticket = skiff_types::hex(&rand::random::<[u8; 16]>());
        tickets.insert(ticket.clone(), (digest.clone(), Instant::now()));
        Some(ticket)
    }

    fn redeem(&self, ticket: &str) -> Option<Digest> {
        let (digest, issued) = self.0.lock().expect("no panic under this lock").remove(ticket)?;
        (issued.elapsed() < TICKET_LIFE).then_some(digest)
    }
}

impl Registry {
    /// Where files are handed over, if they are.
    pub(crate) fn handover_socket(&self) -> Option<PathBuf> {
        // Others look for it from where they are.
        let files = self.settings.handover && self.content.bucket().is_none();
        files.then(|| std::path::absolute(self.settings.root.join(SOCKET)).ok()).flatten()
    }

    /// A ticket for a blob, for who may have it.
    pub(crate) fn ticket(&self, digest: &Digest) -> Option<String> {
        self.tickets.issue(digest)
    }

    /// Serves the socket until it is dropped. While a file is handed over, there is a receiver.
    pub(crate) async fn hand_over(self: Arc<Self>, listener: Listener, alive: watch::Receiver<bool>) {
        let listener = match UnixListener::from_std(listener.into()) {
            Ok(listener) => listener,
            Err(error) => return error!(%error, "files cannot be handed over"),
        };
        loop {
            let accepted = match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
                Ok(accepted) => accepted,
                Err(error) => {
                    error!(%error, "cannot accept a connection that hands over a file");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match Connection::new(accepted) {
                Ok(connection) => {
                    let (this, alive) = (self.clone(), alive.clone());
                    tokio::spawn(async move {
                        this.answer_handover(connection).await;
                        drop(alive);
                    });
                }
                Err(error) => debug!(%error, "a client of the handover socket was not let in"),
            }
        }
    }

    async fn answer_handover(self: Arc<Self>, connection: Connection) {
        let asked = blocking(move || connection.request().map(|asked| (connection, asked))).await;
        let (connection, request) = match asked {
            Ok(Ok(asked)) => asked,
            Ok(Err(error)) => return debug!(%error, "a request for a file was not understood"),
            Err(error) => return debug!(%error, "a request for a file was not read"),
        };
        let done = match request {
            Request::Give { repository, upload, digest, path } => {
                self.take_over(&repository, &upload, &digest, path).await.map(|()| None)
            }
            Request::Take { ticket } => self.redeem(&ticket).map(Some),
        };
        let told = blocking(move || match done {
            Ok(file) => connection.done(file.as_ref()),
            Err(error) => {
                debug!(%error, "a file was not handed over");
                connection.refuse(&error.to_string())
            }
        });
        if let Ok(Err(error)) = told.await {
            debug!(%error, "a client of the handover socket has gone");
        }
    }

    fn redeem(&self, ticket: &str) -> Result<File, Error> {
        let digest = self
            .tickets
            .redeem(ticket)
            .ok_or_else(|| Error::Denied { reason: "the ticket is not good any more".into() })?;
        let file = self.content.file(&digest)?;
        file.ok_or_else(|| Error::Unsupported { reason: "there are no files here".into() })
    }

    /// Makes a file the content of an upload and ends it. The upload goes on if the file cannot be had.
    async fn take_over(
        self: &Arc<Self>,
        repository: &str,
        upload: &str,
        digest: &str,
        file: PathBuf,
    ) -> Result<(), Error> {
        self.writable()?;
        let (name, id, digest) = (repository.parse::<Name>()?, upload.parse::<UploadId>()?, digest.parse()?);
        let this = self.clone();
        unstoppable(async move {
            let (registry, of) = (this.clone(), name.clone());
            let received = blocking(move || registry.link_upload(&of, &id, digest, &file)).await??;
            this.adopt(name, received).await
        })
        .await
    }

    /// Links a file to a place of ours and hashes what is there. Blocks.
    fn link_upload(
        &self,
        name: &Name,
        id: &UploadId,
        digest: Digest,
        file: &Path,
    ) -> Result<Received, Error> {
        let writing = self.uploads.write(name, id, None)?;
        if writing.offset() != 0 {
            writing.pause();
            return Err(Error::UploadInvalid { reason: "some of it has come already".into() });
        }
        let path = self.content.staging();
        let linked = open(file)
            .and_then(|file| {
                link(file, &path).map_err(|error| Error::Unsupported { reason: error.to_string() })
            })
            .and_then(|()| size_of(&path, &digest))
            .and_then(|size| self.room(name, Some(&digest), size).map(|()| size));
        let size = match linked {
            Ok(size) => size,
            Err(error) => {
                let _ = fs_err::remove_file(&path);
                writing.pause();
                return Err(error);
            }
        };
        // Nobody can append to what has been taken over: the upload is gone before the file has a name in its place.
        self.uploads.cancel(name, id)?;
        Ok(writing.finish_with(path, digest, size))
    }
}

/// Takes hold of what a client calls a file, without opening it.
fn open(path: &Path) -> Result<OwnedFd, Error> {
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    file.map_err(|errno| Error::Unsupported { reason: errno.to_string() })
}

/// The size of a file that has this digest.
fn size_of(path: &Path, digest: &Digest) -> Result<u64, Error> {
    let (hashing, size) = hash_file(path, digest.algorithm())?;
    match hashing.finish() {
        found if found == *digest => Ok(size),
        found => Err(Error::DigestInvalid { reason: format!("the content has {found}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, digest::Algorithm};

    #[test]
    fn a_ticket_is_good_once() {
        let (tickets, digest) = (Tickets::default(), Digest::of(Algorithm::Sha256, b"x"));
        let ticket = tickets.issue(&digest).unwrap();
        assert_eq!(tickets.redeem(&ticket), Some(digest));
        assert_eq!(tickets.redeem(&ticket), None);
    }

    #[tokio::test]
    async fn a_file_is_an_uploads_content_only_if_it_has_the_digest() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::new(dir.path().join("registry"));
        let registry = blocking(|| Registry::open(settings)).await.unwrap().unwrap();
        let (name, path) = ("a/b".parse::<Name>().unwrap(), dir.path().join("layer"));
        fs_err::write(&path, b"hello").unwrap();
        let id = registry.begin_upload(&name, Algorithm::Sha256).await.unwrap().to_string();
        let (right, wrong) = (
            Digest::of(Algorithm::Sha256, b"hello").to_string(),
            Digest::of(Algorithm::Sha256, b"other").to_string(),
        );
        let refused = registry.take_over("a/b", &id, &wrong, path.clone()).await.unwrap_err();
        assert!(matches!(refused, Error::DigestInvalid { .. }));
        assert!(matches!(
            registry.take_over("a/c", &id, &right, path.clone()).await,
            Err(Error::UploadUnknown)
        ));
        let nothing = dir.path().join("nothing");
        assert!(registry.take_over("a/b", &id, &right, nothing).await.is_err());
        // The upload is still there, for bytes.
        assert_eq!(registry.uploads.size(&name, &id.parse().unwrap()).unwrap(), 0);
        registry.take_over("a/b", &id, &right, path.clone()).await.unwrap();
        assert_eq!(registry.blob(&name, &right.parse().unwrap()).await.unwrap(), 5);
        assert!(registry.uploads.size(&name, &id.parse().unwrap()).is_err());
        // Two names for one file; either may go.
        fs_err::remove_file(&path).unwrap();
        assert_eq!(registry.content.read(&right.parse().unwrap()).await.unwrap(), b"hello"[..]);
        assert_eq!(fs_err::read_dir(dir.path().join("registry/staging")).unwrap().count(), 0);
        blocking(move || registry.close()).await.unwrap();
    }
}
