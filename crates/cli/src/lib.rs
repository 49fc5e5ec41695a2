//! The docker-compatible command line.
//!
//! The way of a command: global options → settings ([`session`]) → the tree of names ([`table`]) → its options
//! ([`grammar`]) → its function ([`commands`]). Whatever docker prints or answers is matched byte for byte where
//! scripts can see it; the tests hold recordings of the real command line.

mod commands;
mod completion;
mod config;
mod confirm;
mod contexts;
mod credentials;
mod dispatch;
mod failure;
mod format;
mod grammar;
mod launch;
mod listing;
mod options;
mod progress;
mod reference;
mod say;
mod session;
mod shapes;
mod streams;
mod table;
mod template;

pub use dispatch::main;
