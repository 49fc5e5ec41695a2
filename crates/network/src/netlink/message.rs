//! Netlink messages (netlink(7), rtnetlink(7)): several in one buffer, each a header, a fixed part and attributes.

/// `NLM_F_REQUEST`: every message we send has it.
const REQUEST: u16 = 1;
/// `NLM_F_ACK`: the kernel answers even if all is well.
pub(crate) const ACK: u16 = 4;
/// `NLM_F_ROOT | NLM_F_MATCH`: all objects of a kind.
pub(crate) const DUMP: u16 = 0x300;
/// `NLM_F_REPLACE`: an object that exists already is replaced.
pub(crate) const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: an object that exists already is an error.
pub(crate) const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: an object that does not exist is made.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: the object goes behind the others of its kind.
pub(crate) const APPEND: u16 = 0x800;
/// `NLA_F_NESTED`: an attribute holds attributes.
pub(crate) const NESTED: u16 = 0x8000;
/// The length of a message's header.
pub(crate) const HEADER: usize = 16;

/// Messages to be sent at once. The kernel works through them in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    buffer: Vec<u8>,
    /// Where each message starts.
    starts: Vec<usize>,
}

impl Batch {
    /// Adds a message; `build` writes its fixed part and attributes.
    pub(crate) fn push(&mut self, kind: u16, flags: u16, build: impl FnOnce(&mut Message<'_>)) {
        let start = self.buffer.len();
        self.starts.push(start);
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.buffer.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.buffer.extend_from_slice(&[0; 8]);
        build(&mut Message { buffer: &mut self.buffer });
        let length = (self.buffer.len() - start) as u32;
        self.buffer[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// The bytes to send.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The number of messages so far.
    pub(crate) fn count(&self) -> u32 {
        self.starts.len() as u32
    }

    /// Numbers the messages from `first` on.
    pub(crate) fn number(&mut self, first: u32) {
        for (i, start) in self.starts.iter().enumerate() {
            let sequence = first.wrapping_add(i as u32);
            self.buffer[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
        }
    }
}

/// A message or a nested attribute that is being written.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    buffer: &'a mut Vec<u8>,
}

impl Message<'_> {
    /// A fixed part, which comes before any attribute.
    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.pad();
    }

    /// An attribute with these bytes.
    pub(crate) fn bytes(&mut self, attribute: u16, value: &[u8]) {
        self.buffer.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
        self.buffer.extend_from_slice(&attribute.to_ne_bytes());
        self.buffer.extend_from_slice(value);
        self.pad();
    }

    /// A 16-bit number in the machine's byte order.
    pub(crate) fn u16(&mut self, attribute: u16, value: u16) {
        self.bytes(attribute, &value.to_ne_bytes());
    }

    /// A number in the machine's byte order, as rtnetlink has them.
    pub(crate) fn u32(&mut self, attribute: u16, value: u32) {
        self.bytes(attribute, &value.to_ne_bytes());
    }

    /// A single byte.
    pub(crate) fn u8(&mut self, attribute: u16, value: u8) {
        self.bytes(attribute, &[value]);
    }

    /// A number in network order, as nfnetlink has them.
    pub(crate) fn be32(&mut self, attribute: u16, value: u32) {
        self.bytes(attribute, &value.to_be_bytes());
    }

    /// A string with the zero behind it.
    pub(crate) fn str(&mut self, attribute: u16, value: &str) {
        let length = value.len() as u16 + 5;
        self.buffer.extend_from_slice(&length.to_ne_bytes());
        self.buffer.extend_from_slice(&attribute.to_ne_bytes());
        self.buffer.extend_from_slice(value.as_bytes());
        self.buffer.push(0);
        self.pad();
    }

    /// An attribute that holds what `build` writes.
    pub(crate) fn nest(&mut self, attribute: u16, build: impl FnOnce(&mut Message<'_>)) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 2]);
        self.buffer.extend_from_slice(&(attribute | NESTED).to_ne_bytes());
        build(&mut Message { buffer: &mut *self.buffer });
        let length = self.buffer.len() - start;
        debug_assert!(length <= usize::from(u16::MAX), "an attribute's length has 16 bits");
        self.buffer[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
    }

    fn pad(&mut self) {
        self.buffer.resize(self.buffer.len().next_multiple_of(4), 0);
    }
}

/// A message the kernel sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    /// The message type.
    pub(crate) kind: u16,
    /// The sequence number of the message it answers.
    pub(crate) sequence: u32,
    /// The port of the socket whose message it answers or, of a notification, tells the effect.
    pub(crate) port: u32,
    /// Fixed part and attributes.
    pub(crate) body: &'a [u8],
}

/// The messages in a datagram. What is cut short ends the iteration.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(datagram, 0)? as usize;
        let body = datagram.get(HEADER..length)?;
        let message = Received {
            kind: u16_at(datagram, 4)?,
            sequence: u32_at(datagram, 8)?,
            port: u32_at(datagram, 12)?,
            body,
        };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes in a body, without the flags in their types.
pub(crate) fn attributes(mut body: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(body, 0)?);
        let kind = u16_at(body, 2)? & 0x3fff;
        let value = body.get(4..length)?;
        body = body.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a type.
pub(crate) fn attribute(body: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(body).find_map(|(k, value)| (k == kind).then_some(value))
}

/// A text, up to the zero at its end.
pub(crate) fn zero_terminated(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A number in the machine's byte order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A number in the machine's byte order.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_in_order_with_its_padding() {
        let mut batch = Batch::default();
        batch.push(16, ACK, |m| {
            m.fixed(&[1, 2, 3]);
            m.str(3, "eth0");
            m.nest(18, |m| m.u32(1, 7));
        });
        batch.push(17, 0, |m| m.u8(2, 9));
        batch.number(5);
        assert_eq!(batch.bytes().len() % 4, 0);
        let read: Vec<_> = messages(batch.bytes()).collect();
        assert_eq!(read.iter().map(|m| (m.kind, m.sequence)).collect::<Vec<_>>(), [(16, 5), (17, 6)]);
        let body = &read[0].body[4..];
        assert_eq!(attribute(body, 3), Some(&b"eth0\0"[..]));
        assert_eq!(attribute(attribute(body, 18).unwrap(), 1), Some(&7u32.to_ne_bytes()[..]));
        assert_eq!(attribute(body, 4), None);
    }

    #[test]
    fn a_message_that_is_cut_short_is_not_read() {
        let mut batch = Batch::default();
        batch.push(16, 0, |m| m.u32(1, 1));
        assert_eq!(messages(&batch.bytes()[..batch.bytes().len() - 1]).count(), 0);
        assert_eq!(attributes(&[8, 0, 1, 0, 0, 0, 0]).count(), 0);
        assert_eq!(attributes(&[2, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
    }
}
