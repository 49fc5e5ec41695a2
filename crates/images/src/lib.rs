//! Image references, configurations and content: the image store, load, save, import.

mod blobs;
mod changes;
mod commit;
mod config;
mod decompress;
mod error;
mod gojson;
mod image;
mod import;
mod load;
mod pins;
mod records;
mod reference;
mod remove;
mod save;
mod store;

pub use changes::apply_changes;
pub use commit::CommitOptions;
pub use config::{ContainerConfig, Empty, Healthcheck, History, ImageConfig, RootFs};
pub use decompress::plain;
pub use error::{Conflict, Error, Result};
pub use image::{HistoryEntry, Image, Platform};
pub use import::ImportOptions;
pub use load::{LoadEvent, Loaded, Progress};
pub use reference::{ParseReferenceError, Reference};
pub use remove::{ImageUser, RemoveOptions, Removed, Users};
pub use save::Plain;
pub use skiff_archive::ArchiveSink;
pub use store::ImageStore;
