//! Image references, configurations and content: the image store, load, save, import.

mod config;
mod error;
mod image;
mod import;
mod load;
mod reference;
mod remove;
mod save;
mod store;

pub use config::{ContainerConfig, Empty, Healthcheck, History, ImageConfig, RootFs};
pub use error::{Conflict, Error, Result};
pub use image::{HistoryEntry, Image, Platform};
pub use import::ImportOptions;
pub use load::{LoadEvent, Loaded};
pub use reference::{ParseReferenceError, Reference};
pub use remove::{ImageUser, RemoveOptions, Removed};
pub use save::ArchiveSink;
pub use store::ImageStore;
