//! Import: an image from a bare root file system.

use jiff::Timestamp;

use crate::{Platform, Reference};

/// How `import` makes an image.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The name it gets.
    pub reference: Option<Reference>,
    /// Dockerfile instructions that change its configuration.
    pub changes: Vec<String>,
    /// The comment.
    pub message: String,
    /// What it is for; this machine's platform if nothing is said.
    pub platform: Option<Platform>,
    /// When it was made; now if nothing is said.
    pub created: Option<Timestamp>,
    /// The engine's version, for the configuration.
    pub engine_version: String,
}
