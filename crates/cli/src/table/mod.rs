//! Every command and option, each declared once: parser, help and completion all read these tables.
//!
//! The words are docker's, of command line 28.5: `--help` is part of what people and scripts read.

mod create;
mod files;
mod image;
mod lifecycle;
mod look;
mod manifest;
mod network;
mod registry;
mod root;
mod start;
mod system;
mod text;
mod volume;

pub(crate) use root::{GLOBAL, ROOT, UNSUPPORTED};
