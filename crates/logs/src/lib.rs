//! Container logs: reads back what monitors write, in the form in which the API sends it.
//!
//! [`Reader`] is blocking and asks nothing of its caller but a buffer: it fills in chunks that are already framed, so
//! that they can be copied to a connection untouched. Following a log is a loop around [`Reader::fill`]: what is
//! [caught up](Progress::CaughtUp) waits for the descriptor of [`Reader::wakeup`] to become readable, and ends after
//! [`Reader::producer_ended`].
//!
//! The one format is Docker's `json-file`: one JSON object a line, `log`, `stream`, optional `attrs`, `time`;
//! rotated files `path.1`, `path.2`…, or with `.gz`. Lines that are no such thing are skipped.

mod entry;
mod files;
mod lines;
mod query;
mod reader;
mod render;
mod tail;
mod time;
mod watch;

pub use query::{Framing, Query};
pub use reader::{Progress, Reader};
pub use time::Time;
