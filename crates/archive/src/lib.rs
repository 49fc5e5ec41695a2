//! Tar archives ([`tar`]), and live trees packed into them ([`pack`]) and unpacked from them ([`extract()`]).
//!
//! A live tree may change while it is read or written, and whoever changes it may be hostile. So every name is looked up in
//! a directory that is held open, links are followed by hand and below a root only, and what has been looked at is
//! addressed by its descriptor from then on. Nothing but regular files and directories is ever opened: no device, no pipe.
//!
//! What a layer's archive means beyond that (whiteouts) is `snapshots`'s.

pub mod attributes;
mod error;
mod extract;
mod pack;
pub mod path;
mod remove;
mod sink;
pub mod tar;
mod walk;

use std::io;

pub use error::ExtractError;
pub use extract::{Extract, extract};
pub use pack::pack;
pub use remove::{remove_at, remove_tree};
pub use sink::ArchiveSink;
use skiff_types::ErrorKind;
pub use walk::make_directory;

/// The kind of an I/O error that has no more specific meaning.
pub fn io_kind(e: &io::Error) -> ErrorKind {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::OutOfSpace,
        _ => ErrorKind::Internal,
    }
}
