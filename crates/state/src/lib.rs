//! The transactional store of everything the engine must remember.
//!
//! One redb file. [`Database::open`] brings it to the current [`Schema`] and answers what is in it; then
//! [`Database::into_writer`] gives it to a thread that commits: requests that arrive while a commit is being flushed
//! share the next one, so that many clients cost few flushes. What is acknowledged survives a power cut.
//!
//! The engine keeps everything in memory as well: nobody reads the store after the start. Values are JSON, because a
//! field added to a type needs no migration then; what is not an addition does ([`Migration`]).

mod batch;
mod database;
mod error;
mod writer;

pub use batch::{Batch, Table};
pub use database::{Database, Migration, Schema};
pub use error::{CommitError, OpenError};
pub use writer::{Pending, Writer};

#[cfg(test)]
mod tests;
