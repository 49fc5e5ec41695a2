//! Container logs: reads back what monitors write, in the form in which the API sends it.
//!
//! [`Reader`] is blocking and asks nothing of its caller but a buffer: it fills in chunks that are already framed, so
//! that they can be copied to a connection untouched. Following a log is a loop around [`Reader::fill`]: what is
//! [caught up](Progress::CaughtUp) waits for the descriptor of [`Reader::wakeup`] to become readable, and ends after
//! [`Reader::producer_ended`].
//!
//! The one format on disk is Docker's `json-file`: one JSON object a line, `log`, `stream`, optional `attrs`, `time`;
//! rotated files `path.1`, `path.2`…, or with `.gz`. Lines that are no such thing are skipped.
//!
//! A log that goes elsewhere is written to disk all the same, to a [`Spool`], and [`forward()`] sends it on to a [`Receiver`].
//! [`check`] says which options a driver takes.

mod driver;
mod entry;
mod error;
mod facts;
mod files;
mod forward;
mod limits;
mod lines;
mod query;
mod reader;
mod remote;
mod render;
mod spool;
mod tail;
mod time;
mod url;
mod watch;

pub use driver::{Driver, Options, check};
pub use error::OptionError;
pub use facts::ContainerFacts;
pub use forward::{Producer, Progress as ForwardProgress, forward};
pub use limits::FileLimits;
pub use query::{Framing, Query};
pub use reader::{Progress, Reader};
pub use remote::Receiver;
pub use spool::{Destination, Spool};
pub use time::Time;
