//! Tar archives as layers use them: ustar, PAX and GNU (tar(5), POSIX.1-2017 pax).

mod entry;
mod error;
mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use entry::{Device, Entry, EntryKind, Extent, Position, Timestamp};
pub use error::Error;
pub use reader::Reader;
pub use writer::{END, encode, padding};
