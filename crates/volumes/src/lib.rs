//! Volumes: where the data of containers lies that outlives them.
//!
//! The [`Local`] driver keeps directories below its root and mounts what its options name over them; a [`Plugin`] is a
//! driver in another process, which speaks the protocol of Docker's volume plugins over a socket. Neither knows of
//! containers, records or events: the engine says who uses what, keeps the records and decides. Everything here blocks.
//!
//! Invariants: a volume's directory appears under its name as a whole or not at all ([`Staged`]); what is removed loses its
//! name first; nothing is ever removed through a mount; paths inside a volume are resolved in it ([`open_inside`]).

mod copy;
mod error;
mod local;
mod name;
mod plugin;
mod subpath;

pub use copy::{Content, measure};
pub use error::{Error, Result};
pub use local::{Local, Options, Recovered, Staged, unlimit};
pub use name::check_name;
pub use plugin::{Plugin, PluginVolume, Plugins};
pub use subpath::{clone_mount, open_inside, open_inside_of};

/// Name of the driver that is always there.
pub const LOCAL: &str = "local";
