//! What tests and benchmarks share: a plain HTTP client, images made of Debian's busybox-static, throw-away daemons.

pub mod apparmor;
mod daemon;
pub mod http;
pub mod image;
pub mod plugin;
pub mod registry;

pub use daemon::{Daemon, Engine};
