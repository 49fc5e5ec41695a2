//! Image references, configurations and content: the image store, load, save, import.

mod blobs;
mod changes;
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
pub use config::{ContainerConfig, Empty, Healthcheck, History, ImageConfig, RootFs};
pub use error::{Conflict, Error, Result};
pub use image::{HistoryEntry, Image, Platform};
pub use import::ImportOptions;
pub use load::{LoadEvent, Loaded, Progress};
pub use reference::{ParseReferenceError, Reference};
pub use remove::{ImageUser, RemoveOptions, Removed, Users};
pub use save::{ArchiveSink, Plain};
pub use store::ImageStore;
