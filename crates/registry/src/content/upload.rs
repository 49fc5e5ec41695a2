//! Uploads under way: one file each, `uploads/<id>-<repository>-<project>`, whose length is how far it is.
//!
//! The name holds all that must be remembered: the id that the client has, and hashes of the repository and of the project that
//! it belongs to. So an upload goes on after a kill, once what is there has been hashed again. It is not flushed before it
//! is finished: after a power cut the client begins again. One request at a time may write to an upload, and none to one
//! that is finished, until its file has gone to another place.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io::{self, Read, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use skiff_sys::writeback::Follower;
use tokio::sync::{OwnedMutexGuard, watch};

use super::share::{Share, Shares};
use crate::{
    Error,
    digest::{Algorithm, Digest, Hashing},
    error::at,
    name::Name,
    service::Passed,
};

/// Names an upload: 32 random hexadecimal digits, which nobody guesses.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct UploadId(Box<str>);

impl FromStr for UploadId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let good = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if good { Ok(Self(text.into())) } else { Err(Error::UploadUnknown) }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All uploads.
#[derive(Debug)]
pub(crate) struct Uploads {
    dir: PathBuf,
    /// What is known of those that this process has seen.
    open: Mutex<HashMap<UploadId, Entry>>,
    /// How many bytes the uploads of each project have.
    shares: Shares,
}

/// An upload.
#[derive(Clone, Debug)]
struct Entry {
    progress: Arc<tokio::sync::Mutex<Progress>>,
    share: Arc<Share>,
}

/// How far an upload is: the hash of its bytes and their number. `None` until it has been looked at.
#[derive(Debug, Default)]
struct Progress(Option<(Hashing, u64)>);

/// The right to write to one upload.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) id: UploadId,
    path: PathBuf,
    file: File,
    hashing: Hashing,
    offset: u64,
    progress: OwnedMutexGuard<Progress>,
    share: Arc<Share>,
    disk: Follower,
    /// Who is told how many bytes are there.
    told: Option<Arc<watch::Sender<Passed>>>,
}

/// A finished upload: a file whose digest is known.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) id: UploadId,
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Nobody writes to it meanwhile.
    _lock: Arc<OwnedMutexGuard<Progress>>,
    share: Arc<Share>,
}

impl Uploads {
    /// The uploads below `root`.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let dir = root.join("uploads");
        fs_err::create_dir_all(&dir).map_err(at(&dir))?;
        let (shares, mut open) = (Shares::default(), HashMap::new());
        for entry in fs_err::read_dir(&dir).map_err(at(&dir))? {
            let entry = entry.map_err(at(&dir))?;
            let name = entry.file_name();
            let mut parts = name.to_str().unwrap_or_default().split('-');
            let (Some(Ok(id)), _, Some(project)) =
                (parts.next().map(str::parse::<UploadId>), parts.next(), parts.next())
            else {
                continue;
            };
            let share = shares.share(project);
            share.set(entry.metadata().map_err(at(entry.path()))?.len());
            open.insert(id, Entry { progress: Arc::default(), share });
        }
        Ok(Self { dir, open: Mutex::new(open), shares })
    }

    fn path(&self, name: &Name, id: &UploadId) -> PathBuf {
        self.dir.join(format!("{id}-{}-{}", short_hash(name.as_str()), short_hash(name.project())))
    }

    /// Bytes that uploads under way to a repository's project have together.
    pub(crate) fn of_project(&self, name: &Name) -> u64 {
        self.shares.bytes(&short_hash(name.project()))
    }

    fn entry(&self, name: &Name, progress: Progress) -> Entry {
        let share = self.shares.share(&short_hash(name.project()));
        Entry { progress: Arc::new(tokio::sync::Mutex::new(progress)), share }
    }

    /// Begins an upload. Blocks for the making of a file.
    pub(crate) fn begin(&self, name: &Name, algorithm: Algorithm) -> Result<UploadId, Error> {
        let id = UploadId(skiff_types::hex(&rand::random::<[u8; 16]>()).into());
        let path = self.path(name, &id);
        fs_err::OpenOptions::new().write(true).create_new(true).open(&path).map_err(at(&path))?;
        let entry = self.entry(name, Progress(Some((Hashing::new(algorithm), 0))));
        self.open.lock().expect("no panic under this lock").insert(id.clone(), entry);
        Ok(id)
    }

    /// How many bytes an upload has.
    pub(crate) fn size(&self, name: &Name, id: &UploadId) -> Result<u64, Error> {
        match fs_err::metadata(self.path(name, id)) {
            Ok(metadata) => Ok(metadata.len()),
            Err(_) => Err(Error::UploadUnknown),
        }
    }

    /// Forgets an upload. Whether it was there.
    pub(crate) fn cancel(&self, name: &Name, id: &UploadId) -> Result<(), Error> {
        fs_err::remove_file(self.path(name, id)).map_err(|_| Error::UploadUnknown)?;
        self.forget(id);
        Ok(())
    }

    fn forget(&self, id: &UploadId) {
        self.open.lock().expect("no panic under this lock").remove(id);
    }

    /// The right to write. Blocks: after a restart, or when another hash is needed, what is there is read.
    pub(crate) fn write(
        &self,
        name: &Name,
        id: &UploadId,
        algorithm: Option<Algorithm>,
    ) -> Result<Writing, Error> {
        self.size(name, id)?;
        let entry = {
            let mut open = self.open.lock().expect("no panic under this lock");
            open.entry(id.clone()).or_insert_with(|| self.entry(name, Progress::default())).clone()
        };
        let busy = || Error::UploadInvalid { reason: "another request is writing to it".into() };
        let mut progress = entry.progress.try_lock_owned().map_err(|_| busy())?;
        // Only now: who had the lock may have finished it, and the file is a blob.
        let path = self.path(name, id);
        let Ok(file) = fs_err::OpenOptions::new().read(true).append(true).open(&path) else {
            self.forget(id);
            return Err(Error::UploadUnknown);
        };
        let file = file.into_parts().0;
        // Whoever goes on with it is not idle.
        let _ = file.set_modified(SystemTime::now());
        let length = file.metadata().map_err(at(&path))?.len();
        entry.share.set(length);
        let wanted = |hashing: &Hashing| algorithm.is_none_or(|algorithm| algorithm == hashing.algorithm());
        let (hashing, offset) = match progress.0.take() {
            Some((hashing, offset)) if offset == length && wanted(&hashing) => (hashing, offset),
            _ => hash_file(&path, algorithm.unwrap_or(Algorithm::Sha256))?,
        };
        Ok(Writing {
            id: id.clone(),
            path,
            file,
            hashing,
            offset,
            progress,
            share: entry.share,
            disk: Follower::from(offset),
            told: None,
        })
    }

    /// Gives the file of a finished upload away; the id is forgotten.
    pub(crate) fn taken(&self, received: &Received) {
        received.share.set(0);
        self.forget(&received.id);
    }

    /// Removes the file of a finished upload that is not needed or not good.
    pub(crate) fn drop_received(&self, received: &Received) {
        let _ = fs_err::remove_file(&received.path);
        received.share.set(0);
        self.forget(&received.id);
    }

    /// Removes uploads that nobody has written to for this long, all or those to a repository's project. Answers how many. Blocks.
    pub(crate) fn expire(&self, after: Duration, of: Option<&Name>) -> Result<usize, Error> {
        let mut gone = 0;
        let project = of.map(|name| format!("-{}", short_hash(name.project())));
        let is_meant = |file: &str| project.as_ref().is_none_or(|project| file.ends_with(project));
        for entry in fs_err::read_dir(&self.dir).map_err(at(&self.dir))? {
            let entry = entry.map_err(at(&self.dir))?;
            if !entry.file_name().to_str().is_some_and(is_meant) {
                continue;
            }
            let idle = entry.metadata().ok().and_then(|m| m.modified().ok()).and_then(|t| t.elapsed().ok());
            if idle.is_some_and(|idle| idle >= after) && fs_err::remove_file(entry.path()).is_ok() {
                gone += 1;
                let name = entry.file_name();
                if let Some(Ok(id)) = name.to_str().and_then(|n| n.split('-').next()).map(str::parse) {
                    self.forget(&id);
                }
            }
        }
        Ok(gone)
    }
}

/// Enough of a name's hash to tell it from others.
fn short_hash(name: &str) -> String {
    Digest::of(Algorithm::Sha256, name.as_bytes()).hex()[..16].to_owned()
}

/// Hashes a file, and counts its bytes.
pub(crate) fn hash_file(path: &Path, algorithm: Algorithm) -> Result<(Hashing, u64), Error> {
    let (mut hashing, mut size) = (Hashing::new(algorithm), 0);
    let mut file = fs_err::File::open(path).map_err(at(path))?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((hashing, size)),
            Ok(n) => {
                hashing.update(&buffer[..n]);
                size += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(at(path)(error)),
        }
    }
}

impl Writing {
    /// The same file, to be read while it is written.
    pub(crate) fn reader(&self) -> Result<File, Error> {
        self.file.try_clone().map_err(at(&self.path))
    }

    /// Tells from now on how many bytes are there.
    pub(crate) fn tell(&mut self, told: Arc<watch::Sender<Passed>>) {
        self.told = Some(told);
    }

    /// What it has of its project's room.
    pub(crate) fn share(&self) -> Arc<Share> {
        self.share.clone()
    }

    /// Bytes that are there.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Appends and hashes. Blocks.
    pub(crate) fn append(&mut self, pieces: &[Bytes]) -> Result<(), Error> {
        for piece in pieces {
            if let Err(error) = self.file.write_all(piece) {
                // What was written of it is not hashed: the next request hashes again.
                self.offset = u64::MAX;
                return Err(at(&self.path)(error));
            }
            self.hashing.update(piece);
            self.offset += piece.len() as u64;
        }
        self.disk.follow(self.file.as_fd(), self.offset);
        if let Some(told) = &self.told {
            told.send_replace(Passed::Coming(self.offset));
        }
        Ok(())
    }

    /// Ends the upload with what is there.
    pub(crate) fn finish(self) -> Received {
        let Self { id, path, hashing, offset, progress, share, .. } = self;
        Received { id, path, digest: hashing.finish(), size: offset, _lock: Arc::new(progress), share }
    }

    /// Ends the upload with another file.
    pub(crate) fn finish_with(self, path: PathBuf, digest: Digest, size: u64) -> Received {
        Received { id: self.id, path, digest, size, _lock: Arc::new(self.progress), share: self.share }
    }

    /// Leaves it for the next request.
    pub(crate) fn pause(mut self) {
        self.progress.0 = Some((self.hashing, self.offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> [Bytes; 1] {
        [Bytes::copy_from_slice(text.as_bytes())]
    }

    #[test]
    fn an_upload_goes_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let name: Name = "a/b".parse().unwrap();
        let before = Uploads::open(dir.path()).unwrap();
        let id = before.begin(&name, Algorithm::Sha256).unwrap();
        let mut writing = before.write(&name, &id, None).unwrap();
        writing.append(&bytes("hello ")).unwrap();
        writing.pause();
        // Written, but not accounted for: killed in between.
        let path = before.path(&name, &id);
        fs_err::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"wor").unwrap();
        drop(before);
        let after = Uploads::open(dir.path()).unwrap();
        assert_eq!(after.size(&name, &id).unwrap(), 9);
        assert_eq!(after.of_project(&name), 9);
        let mut writing = after.write(&name, &id, None).unwrap();
        assert_eq!(writing.offset(), 9);
        writing.append(&bytes("ld")).unwrap();
        assert_eq!(writing.finish().digest, Digest::of(Algorithm::Sha256, b"hello world"));
    }

    #[test]
    fn an_upload_belongs_to_its_repository_and_to_one_request_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let (name, other): (Name, Name) = ("a".parse().unwrap(), "b".parse().unwrap());
        let uploads = Uploads::open(dir.path()).unwrap();
        let id = uploads.begin(&name, Algorithm::Sha256).unwrap();
        assert!(matches!(uploads.size(&other, &id), Err(Error::UploadUnknown)));
        let writing = uploads.write(&name, &id, None).unwrap();
        assert!(matches!(uploads.write(&name, &id, None), Err(Error::UploadInvalid { .. })));
        writing.pause();
        assert!(uploads.write(&name, &id, Some(Algorithm::Sha512)).is_ok());
        uploads.cancel(&name, &id).unwrap();
        assert!(uploads.cancel(&name, &id).is_err());
    }

    #[test]
    fn nobody_writes_to_what_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let name: Name = "a".parse().unwrap();
        let uploads = Uploads::open(dir.path()).unwrap();
        let id = uploads.begin(&name, Algorithm::Sha256).unwrap();
        let received = uploads.write(&name, &id, None).unwrap().finish();
        assert!(matches!(uploads.write(&name, &id, None), Err(Error::UploadInvalid { .. })));
        // One that saw the file, and gets the lock when it is a blob.
        let late = uploads.open.lock().unwrap()[&id].clone();
        fs_err::rename(&received.path, dir.path().join("blob")).unwrap();
        uploads.taken(&received);
        drop(received);
        uploads.open.lock().unwrap().insert(id.clone(), late);
        assert!(matches!(uploads.write(&name, &id, None), Err(Error::UploadUnknown)));
    }

    #[test]
    fn only_old_uploads_expire() {
        let dir = tempfile::tempdir().unwrap();
        let name: Name = "a".parse().unwrap();
        let uploads = Uploads::open(dir.path()).unwrap();
        let id = uploads.begin(&name, Algorithm::Sha256).unwrap();
        assert_eq!(uploads.expire(Duration::from_secs(60), None).unwrap(), 0);
        let other: Name = "p/a".parse().unwrap();
        assert_eq!(uploads.expire(Duration::ZERO, Some(&other)).unwrap(), 0, "it is another project's");
        assert_eq!(uploads.expire(Duration::ZERO, None).unwrap(), 1);
        assert!(uploads.size(&name, &id).is_err());
    }
}
