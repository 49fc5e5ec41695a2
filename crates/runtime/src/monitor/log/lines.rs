//! Cuts a stream into messages: lines, or parts of lines where a line is longer than [`LONGEST`].
//!
//! Docker's rule: a part is exactly 16 KiB and has no newline; the rest of the line, which may be empty, ends it; what
//! stands at the end of the stream without a newline is a part too.

/// The longest part, newline not counted.
pub(super) const LONGEST: usize = 16 << 10;

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Without the newline.
    pub(crate) text: &'a [u8],
    /// Whether a newline followed.
    pub(crate) ends: bool,
}

/// What has been read of one stream and is not yet a message.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    begun: Vec<u8>,
}

impl Splitter {
    /// Takes in what was read, and gives each message that it completes to `each`.
    pub(crate) fn push(&mut self, mut data: &[u8], mut each: impl FnMut(Message<'_>)) {
        while !data.is_empty() {
            let room = LONGEST - self.begun.len();
            let window = &data[..data.len().min(room)];
            let newline = memchr::memchr(b'\n', window);
            let (text, used) = match newline {
                Some(at) => (&window[..at], at + 1),
                None if window.len() == room => (window, room),
                None => {
                    self.begun.extend_from_slice(window);
                    return;
                }
            };
            let ends = newline.is_some();
            if self.begun.is_empty() {
                each(Message { text, ends });
            } else {
                self.begun.extend_from_slice(text);
                each(Message { text: &self.begun, ends });
                self.begun.clear();
            }
            data = &data[used..];
        }
    }

    /// The end of the stream: gives what is left.
    pub(crate) fn finish(&mut self, each: impl FnOnce(Message<'_>)) {
        if !self.begun.is_empty() {
            each(Message { text: &self.begun, ends: false });
        }
        self.begun = Vec::new();
    }

    /// Lets go of memory that a long line took, if no line is begun.
    pub(crate) fn shrink(&mut self) {
        if self.begun.is_empty() {
            self.begun = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut splitter = Splitter::default();
        let mut out = Vec::new();
        for chunk in chunks {
            splitter.push(chunk, |m| out.push((m.text.to_vec(), m.ends)));
        }
        splitter.finish(|m| out.push((m.text.to_vec(), m.ends)));
        out
    }

    fn shape(messages: &[(Vec<u8>, bool)]) -> Vec<(usize, bool)> {
        messages.iter().map(|(text, ends)| (text.len(), *ends)).collect()
    }

    #[test]
    fn lines_do_not_depend_on_how_they_were_read() {
        let whole: &[u8] = b"one\n\ntwo\nrest";
        let expected = split(&[whole]);
        assert_eq!(shape(&expected), [(3, true), (0, true), (3, true), (4, false)]);
        for cut in 0..whole.len() {
            assert_eq!(split(&[&whole[..cut], &whole[cut..]]), expected, "cut at {cut}");
        }
        assert_eq!(split(&[]), []);
    }

    #[test]
    fn long_lines_are_cut_where_docker_cuts_them() {
        let x = |n: usize| vec![b'x'; n];
        let line = |n: usize| [x(n), vec![b'\n']].concat();
        for (input, expected) in [
            (line(LONGEST - 1), vec![(LONGEST - 1, true)]),
            (line(LONGEST), vec![(LONGEST, false), (0, true)]),
            (line(LONGEST + 1), vec![(LONGEST, false), (1, true)]),
            (x(2 * LONGEST), vec![(LONGEST, false), (LONGEST, false)]),
            ([line(5), line(LONGEST + 2)].concat(), vec![(5, true), (LONGEST, false), (2, true)]),
        ] {
            for chunk in [1, 7, 4096, LONGEST, 65536] {
                let chunks: Vec<_> = input.chunks(chunk).collect();
                assert_eq!(shape(&split(&chunks)), expected, "{} bytes by {chunk}", input.len());
            }
        }
    }
}
