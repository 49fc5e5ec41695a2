//! Images: the engine's view of the image store.

use std::io::{Read, Write};

use crate::{
    Error, Result,
    model::{DeletedImage, Filters, HistoryEntry, ImageInspect, ImageSummary},
};

/// The service.
#[derive(Clone)]
pub struct Images {}

/// Which images `list` shows.
#[derive(Clone, Debug, Default)]
pub struct ImageListOptions {
    /// Intermediate images too.
    pub all: bool,
    /// Filters.
    pub filters: Filters,
    /// Compute the shared size.
    pub shared_size: bool,
    /// Count containers.
    pub containers: bool,
}

/// What `remove` may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveImageOptions {
    /// Although a stopped container uses it or it has several names.
    pub force: bool,
    /// Keep untagged parents.
    pub no_prune: bool,
}

/// What `import` is told beside the tar.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// The new image's name; empty for none.
    pub repository: String,
    /// The new image's tag; empty for `latest`.
    pub tag: String,
    /// Comment.
    pub message: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// `os/arch[/variant]`, or empty.
    pub platform: String,
    /// Where the tar came from, as the history shows it: `-` for the body.
    pub source: String,
}

/// Receives progress as it happens: text of one status line.
pub type ProgressSink = Box<dyn FnMut(&str) + Send>;

fn missing<T>() -> Result<T> {
    Err(Error::NotImplemented("not there yet".into()))
}

#[expect(unused_variables, reason = "signatures first")]
impl Images {
    /// Lists images, latest first.
    ///
    /// # Errors
    /// Unknown filters or values.
    pub async fn list(&self, options: ImageListOptions) -> Result<Vec<ImageSummary>> {
        missing()
    }

    /// Everything about one image.
    ///
    /// # Errors
    /// There is no such image.
    pub async fn inspect(&self, image: &str) -> Result<ImageInspect> {
        missing()
    }

    /// The steps of its making.
    ///
    /// # Errors
    /// There is no such image.
    pub async fn history(&self, image: &str) -> Result<Vec<HistoryEntry>> {
        missing()
    }

    /// Gives it another name. An empty tag means `latest`.
    ///
    /// # Errors
    /// There is no such image; the name is invalid.
    pub async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<()> {
        missing()
    }

    /// Takes a name away, and the image with its last one.
    ///
    /// # Errors
    /// There is no such image; a container uses it.
    pub async fn remove(&self, image: &str, options: RemoveImageOptions) -> Result<Vec<DeletedImage>> {
        missing()
    }

    /// Makes an image of the tar of a root file system, compressed or not. Answers its id (`sha256:…`).
    ///
    /// # Errors
    /// The tar or the request is malformed.
    pub async fn import(
        &self,
        request: ImportRequest,
        tar: Box<dyn Read + Send>,
        progress: ProgressSink,
    ) -> Result<String> {
        missing()
    }

    /// Takes over the images of an archive (docker-archive or OCI layout), compressed or not. What was loaded is told
    /// through `progress`, a line each, in Docker's words.
    ///
    /// # Errors
    /// The archive is malformed.
    pub async fn load(&self, tar: Box<dyn Read + Send>, progress: ProgressSink) -> Result<()> {
        missing()
    }

    /// Checks the names, then answers a writer of an archive of these images; call it on a thread that may block.
    ///
    /// # Errors
    /// There is no such image.
    pub async fn save(
        &self,
        images: Vec<String>,
    ) -> Result<Box<dyn FnOnce(&mut dyn Write) -> Result<()> + Send>> {
        missing()
    }
}
