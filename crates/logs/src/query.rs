//! What a client wants to see of a log.

use crate::Time;

/// Which entries, and how they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Only the last so many entries (of both streams, and whatever their times: Docker counts first and chooses then).
    pub tail: Option<u64>,
    /// Only entries of this time or later.
    pub since: Option<Time>,
    /// Only entries of this time or earlier; the first later one ends the reading.
    pub until: Option<Time>,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Each entry begins with its time (nine digits of fraction) and a space.
    pub timestamps: bool,
    /// Each entry begins with its attributes (`a=b,c=d`, as in a URL) and a space.
    pub details: bool,
    /// Go on when the end is reached.
    pub follow: bool,
    /// How entries are told apart.
    pub framing: Framing,
}

/// How entries are written to the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// As frames of an 8-byte header (stream, three zeros, big-endian length) and the text.
    #[default]
    Multiplexed,
    /// Only the text: for a container with a terminal.
    Raw,
}

impl Default for Query {
    /// Everything of both streams, without times.
    fn default() -> Self {
        Self {
            tail: None,
            since: None,
            until: None,
            stdout: true,
            stderr: true,
            timestamps: false,
            details: false,
            follow: false,
            framing: Framing::default(),
        }
    }
}
