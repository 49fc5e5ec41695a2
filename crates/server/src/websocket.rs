//! Attaching through a WebSocket (RFC 6455), as browsers do: each direction is a sequence of messages instead of bytes,
//! and there are no frames of Docker's own inside.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha1::{Digest, Sha1};

/// The magic of RFC 6455, section 1.3.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Control frames are never longer.
const MAX_CONTROL: usize = 125;

/// The head of the answer to a client that sent this `Sec-WebSocket-Key`.
pub(crate) fn head(key: &[u8]) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize();
    let accept = BASE64_STANDARD.encode(digest);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    Text = 1,
    Binary = 2,
    Close = 8,
    Pong = 10,
}

/// Appends one unmasked frame, as servers send them.
pub(crate) fn encode(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    const FINAL: u8 = 0x80;
    out.push(FINAL | opcode as u8);
    match payload.len() {
        len @ 0..=125 => out.push(len as u8),
        len @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// What the client did, beside sending data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Answer with a pong of the same payload.
    Ping(Vec<u8>),
    Close,
}

/// The client broke the protocol.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed WebSocket frame")]
pub(crate) struct FrameError;

/// Takes a client's frames apart, however the bytes are cut when they arrive.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    header: Vec<u8>,
    frame: Option<Frame>,
}

#[derive(Debug)]
struct Frame {
    opcode: u8,
    mask: [u8; 4],
    left: u64,
    at: usize,
    control: Vec<u8>,
}

impl Decoder {
    /// Appends the data in `input` to `out`, and answers what else the client said.
    ///
    /// # Errors
    /// Frames that are not masked, use reserved bits, or are of no known kind.
    pub(crate) fn decode(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<Vec<Signal>, FrameError> {
        let mut signals = Vec::new();
        loop {
            if self.frame.is_none() {
                let Some((&byte, rest)) = input.split_first() else { return Ok(signals) };
                self.header.push(byte);
                input = rest;
                self.frame = parse_header(&self.header)?;
            }
            let Some(frame) = &mut self.frame else { continue };
            self.header.clear();
            let take = usize::try_from(frame.left).unwrap_or(usize::MAX).min(input.len());
            let (payload, rest) = input.split_at(take);
            let target = if frame.opcode < 8 { &mut *out } else { &mut frame.control };
            target.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ frame.mask[(frame.at + i) % 4]));
            frame.at += take;
            frame.left -= take as u64;
            input = rest;
            if frame.left > 0 {
                return Ok(signals);
            }
            match (frame.opcode, std::mem::take(&mut frame.control)) {
                (8, _) => signals.push(Signal::Close),
                (9, payload) => signals.push(Signal::Ping(payload)),
                _ => {}
            }
            self.frame = None;
        }
    }
}

/// The frame that a whole header begins.
fn parse_header(header: &[u8]) -> Result<Option<Frame>, FrameError> {
    let [first, second, rest @ ..] = header else { return Ok(None) };
    let opcode = first & 0x0f;
    let (reserved, masked, short) = (first & 0x70, second & 0x80 != 0, second & 0x7f);
    let known = matches!(opcode, 0..=2 | 8..=10);
    if reserved != 0 || !masked || !known || (opcode >= 8 && usize::from(short) > MAX_CONTROL) {
        return Err(FrameError);
    }
    let (left, mask) = match (short, rest) {
        (126, [a, b, mask @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), mask),
        (127, [a, b, c, d, e, f, g, h, mask @ ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), mask)
        }
        (126 | 127, _) => return Ok(None),
        (len, mask) => (u64::from(len), mask),
    };
    Ok(mask.try_into().ok().map(|mask| Frame { opcode, mask, left, at: 0, control: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as clients send it.
    fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
        const MASK: [u8; 4] = [1, 2, 3, 4];
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            len @ 0..=125 => frame.push(0x80 | len as u8),
            len => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(len as u16).to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend(payload.iter().enumerate().map(|(i, b)| b ^ MASK[i % 4]));
        frame
    }

    #[test]
    fn the_answer_is_the_one_of_the_standard() {
        assert!(
            head(b"dGhlIHNhbXBsZSBub25jZQ==")
                .contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")
        );
    }

    #[test]
    fn frames_survive_any_cut() {
        let frames =
            [masked(2, b"hello "), masked(9, b"ping"), masked(1, &[b'x'; 300]), masked(8, b"")].concat();
        let mut data = b"hello ".to_vec();
        data.extend_from_slice(&[b'x'; 300]);
        for cut in 1..=frames.len() {
            let (mut decoder, mut out, mut signals) = (Decoder::default(), Vec::new(), Vec::new());
            for chunk in frames.chunks(cut) {
                signals.extend(decoder.decode(chunk, &mut out).unwrap());
            }
            assert_eq!(out, data, "cut every {cut}");
            assert_eq!(signals, [Signal::Ping(b"ping".to_vec()), Signal::Close], "cut every {cut}");
        }
    }

    #[test]
    fn long_payloads_have_long_headers() {
        let encoded = |len| {
            let mut out = Vec::new();
            encode(Opcode::Binary, &vec![0; len], &mut out);
            out
        };
        assert_eq!(encoded(5)[..2], [0x82, 5]);
        assert_eq!(encoded(300)[..4], [0x82, 126, 1, 44]);
        assert_eq!(encoded(70_000)[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        for bad in [[0x82, 0x05], [0xc2, 0x85], [0x83, 0x85], [0x89, 0xfe]] {
            assert_eq!(Decoder::default().decode(&bad, &mut Vec::new()), Err(FrameError), "{bad:x?}");
        }
    }
}
