//! What pulls and pushes tell while they work.

use tokio::sync::mpsc::UnboundedSender;

/// A line of progress, in Docker's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// About the whole; `id` may be empty.
    Status {
        /// What it is about.
        id: String,
        /// The words.
        status: String,
    },
    /// About a layer.
    Layer {
        /// Twelve digits of its digest.
        id: String,
        /// The words.
        status: String,
        /// Bytes so far and altogether.
        bytes: Option<(u64, u64)>,
    },
    /// A tag was pushed, for programs.
    Pushed {
        /// The tag.
        tag: String,
        /// The manifest's digest.
        digest: String,
        /// The manifest's size in bytes.
        size: u64,
    },
}

/// Who is told. Nobody may be listening any more.
pub type ProgressSender = UnboundedSender<Progress>;

/// Ways of telling.
pub(super) trait Tell {
    fn status(&self, id: &str, status: String);
    fn layer(&self, id: &str, status: impl Into<String>);
    fn bytes(&self, id: &str, status: &str, current: u64, total: u64);
    fn pushed(&self, tag: &str, digest: &str, size: u64);
}

impl Tell for ProgressSender {
    fn status(&self, id: &str, status: String) {
        let _ = self.send(Progress::Status { id: id.to_owned(), status });
    }

    fn layer(&self, id: &str, status: impl Into<String>) {
        let _ = self.send(Progress::Layer { id: id.to_owned(), status: status.into(), bytes: None });
    }

    fn bytes(&self, id: &str, status: &str, current: u64, total: u64) {
        let bytes = Some((current, total));
        let _ = self.send(Progress::Layer { id: id.to_owned(), status: status.to_owned(), bytes });
    }

    fn pushed(&self, tag: &str, digest: &str, size: u64) {
        let _ = self.send(Progress::Pushed { tag: tag.to_owned(), digest: digest.to_owned(), size });
    }
}

/// The twelve digits by which a layer is shown.
pub(super) fn short(digest: &skiff_types::Digest) -> String {
    digest.hex()[..12].to_owned()
}
