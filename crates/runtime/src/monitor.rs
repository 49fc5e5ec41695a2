//! The monitor: one small synchronous process per container, parent of the container's init and of its execs.
//!
//! It owns the stdio pipes or the terminal, writes the log file, serves attach streams, reaps, and writes the exit
//! record before it tells anyone. The daemon talks to it over a `SOCK_SEQPACKET` socket, `monitor.sock` in the
//! container's run directory, and may come and go at any time: nothing in a monitor waits for a daemon.
//!
//! Invariants:
//! - The listening socket is made by the daemon *before* it asks for a start and is handed over with the request. A
//!   daemon that starts later therefore always learns the truth: either it can connect (and [`protocol::Event::Hello`]
//!   comes as soon as the start is decided), or no monitor exists and [`record::ExitRecord::load`] says how it ended;
//!   no record either means that the monitor was killed, and its container with it.
//! - `exit.json` is complete before the first [`protocol::Event::Exited`] is sent.
//! - A monitor leaves the run directory to the daemon, which removes it when it has read the record.

pub mod connection;
pub mod foreign;
pub mod protocol;
pub mod record;

mod attachment;
mod cgroup;
mod child;
mod client;
mod input;
mod log;
mod output;
pub(crate) mod process;
mod reactor;
mod requests;
mod server;
mod stdio;
mod stream;
pub(crate) mod wire;

pub use wire::WireError;
