//! Attached streams and logs: the frames that carry standard output and standard error over one connection.
//!
//! Each frame is eight bytes (stream, three zeros, length as a big-endian number) and the payload. Terminals are
//! sent raw instead, as they have one stream only.

/// Content type of a stream of frames, from version 1.42 on.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// Content type of a raw stream; before version 1.42 also that of frames.
pub const RAW: &str = "application/vnd.docker.raw-stream";
/// Bytes before each payload.
pub const HEADER_LEN: usize = 8;

/// Which stream a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamKind {
    /// Standard input, never seen in practice.
    Stdin = 0,
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// An error of the engine itself, as text.
    SystemError = 3,
}

/// The bytes do not begin a frame: the stream is not multiplexed, or broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized input header: {0}")]
pub struct FrameError(pub u8);

/// The eight bytes before `len` bytes of `kind`.
pub fn header(kind: StreamKind, len: u32) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = len.to_be_bytes();
    [kind as u8, 0, 0, 0, a, b, c, d]
}

/// Appends one frame to `out`.
///
/// # Panics
/// If `payload` has 4 GiB or more.
pub fn encode(kind: StreamKind, payload: &[u8], out: &mut Vec<u8>) {
    let len = u32::try_from(payload.len()).expect("a frame is shorter than 4 GiB");
    out.extend_from_slice(&header(kind, len));
    out.extend_from_slice(payload);
}

/// Takes frames apart, however the bytes are cut when they arrive.
#[derive(Debug, Default)]
pub struct Decoder {
    header: [u8; HEADER_LEN],
    have: usize,
    left: usize,
    kind: Option<StreamKind>,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece of a payload off the front of `input`; `None` when more bytes are needed. A payload may
    /// come in several pieces, none of them empty.
    ///
    /// # Errors
    /// A header whose stream is not one of the four.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<(StreamKind, &'a [u8])>, FrameError> {
        loop {
            if self.left == 0 {
                let take = (HEADER_LEN - self.have).min(input.len());
                self.header[self.have..self.have + take].copy_from_slice(&input[..take]);
                self.have += take;
                *input = &input[take..];
                if self.have < HEADER_LEN {
                    return Ok(None);
                }
                let [kind, _, _, _, a, b, c, d] = self.header;
                self.kind = Some(match kind {
                    0 => StreamKind::Stdin,
                    1 => StreamKind::Stdout,
                    2 => StreamKind::Stderr,
                    3 => StreamKind::SystemError,
                    other => return Err(FrameError(other)),
                });
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.have = 0;
            }
            if input.is_empty() {
                return Ok(None);
            }
            if let (Some(kind), 1..) = (self.kind, self.left) {
                let (piece, rest) = input.split_at(self.left.min(input.len()));
                self.left -= piece.len();
                *input = rest;
                return Ok(Some((kind, piece)));
            }
        }
    }

    /// Whether the stream could end here without a frame being cut short.
    pub fn at_boundary(&self) -> bool {
        self.left == 0 && self.have == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], cut: usize) -> Result<Vec<(u8, Vec<u8>)>, FrameError> {
        let mut decoder = Decoder::new();
        let mut out: Vec<(u8, Vec<u8>)> = Vec::new();
        for mut chunk in bytes.chunks(cut) {
            while let Some((kind, piece)) = decoder.next(&mut chunk)? {
                match out.last_mut() {
                    Some((k, v)) if *k == kind as u8 => v.extend_from_slice(piece),
                    _ => out.push((kind as u8, piece.to_vec())),
                }
            }
            assert!(chunk.is_empty());
        }
        assert!(decoder.at_boundary());
        Ok(out)
    }

    #[test]
    fn frames_survive_any_cut() {
        let mut bytes = Vec::new();
        encode(StreamKind::Stdout, b"hello\n", &mut bytes);
        encode(StreamKind::Stderr, &[7; 1000], &mut bytes);
        encode(StreamKind::Stdout, b"", &mut bytes);
        encode(StreamKind::SystemError, b"x", &mut bytes);
        assert_eq!(bytes[..8], [1, 0, 0, 0, 0, 0, 0, 6]);
        let whole = vec![(1, b"hello\n".to_vec()), (2, vec![7; 1000]), (3, b"x".to_vec())];
        for cut in 1..bytes.len() + 1 {
            assert_eq!(decode(&bytes, cut).unwrap(), whole, "cut every {cut}");
        }
    }

    #[test]
    fn text_is_not_a_frame() {
        let mut input: &[u8] = b"total 12\n";
        assert_eq!(Decoder::new().next(&mut input), Err(FrameError(b't')));
    }
}
