//! Lists under work: a directory each in `manifests` beside `config.json`, with a file for each image.

use std::{io::ErrorKind, path::PathBuf};

use super::{image::Image, name::Name};
use crate::{failure::Failure, session::Session};

pub(super) struct Lists {
    directory: PathBuf,
}

/// That there is no such list, or no such image in it.
pub(super) fn missing(name: &Name) -> Failure {
    Failure::new(format!("No such manifest: {name}"))
}

impl Lists {
    pub(super) fn of(session: &Session) -> Self {
        Self { directory: session.directory().join("manifests") }
    }

    fn path(&self, list: &Name) -> PathBuf {
        self.directory.join(file_name(&list.full()))
    }

    /// The images of a list, by the names of their files; none if there is no such list.
    pub(super) fn read(&self, list: &Name) -> Result<Vec<Image>, Failure> {
        let entries = match fs_err::read_dir(self.path(list)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        // One that was being written when its program was killed.
        paths.retain(|path| path.extension().is_none_or(|extension| extension != PARTIAL));
        paths.sort();
        let image = |path: &PathBuf| {
            let text = fs_err::read(path)?;
            serde_json::from_slice(&text).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
        };
        paths.iter().map(image).collect()
    }

    /// Puts an image into a list, or in place of itself.
    pub(super) fn write(&self, list: &Name, image: &Image) -> Result<(), Failure> {
        let directory = self.path(list);
        fs_err::create_dir_all(&directory)?;
        let path = directory.join(file_name(&image.reference));
        let partial = path.with_added_extension(PARTIAL);
        fs_err::write(&partial, image.to_json())?;
        Ok(fs_err::rename(partial, path)?)
    }

    /// Forgets a list; false if there is none.
    pub(super) fn remove(&self, list: &Name) -> Result<bool, Failure> {
        match fs_err::remove_dir_all(self.path(list)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

/// What a file is called while it is written: no tag ends so, for tags have no `~`.
const PARTIAL: &str = "~";

fn file_name(reference: &str) -> String {
    reference.replace(':', "-").replace('/', "_")
}
