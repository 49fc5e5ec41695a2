//! Standard streams, terminals and the engine's hijacked connections, joined.

pub(crate) mod detach_keys;
mod input;
mod output;
pub(crate) mod pump;
pub(crate) mod resize;
pub(crate) mod signals;
pub(crate) mod terminal;

pub(crate) use output::Output;
