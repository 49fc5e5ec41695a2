//! Tar archives as layers use them: ustar, PAX and GNU (tar(5), POSIX.1-2017 pax).

mod entry;
mod error;

pub use entry::{Device, Entry, EntryKind, Extent, Position, Timestamp};
pub use error::Error;
