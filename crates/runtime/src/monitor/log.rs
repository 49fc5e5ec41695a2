//! The container's log, written in Docker's `json-file` format by the monitor itself, so that no line waits for a
//! daemon.
//!
//! A full disk never stops a container: lines that cannot be written are counted and dropped, and the count is
//! reported in [`super::protocol::LogHealth`].

mod file;
mod json;
mod lines;
mod rotate;
mod time;

pub(crate) use file::LogFile;
pub(crate) use lines::{Message, Splitter};
