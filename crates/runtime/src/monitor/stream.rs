//! The output streams of a process.

/// Which one. A terminal has only the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// The header of a frame of `len` bytes in the multiplexed form of the Docker API.
    pub(crate) fn frame_header(self, len: usize) -> [u8; 8] {
        let [a, b, c, d] = (len as u32).to_be_bytes();
        [if self == Self::Stdout { 1 } else { 2 }, 0, 0, 0, a, b, c, d]
    }
}
