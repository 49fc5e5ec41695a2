//! The keys that leave a container running: how they are written, and how they are noticed.

/// `ctrl-p,ctrl-q`.
const DEFAULT: [u8; 2] = [16, 17];

/// The bytes of `ctrl-p,ctrl-q`, `ctrl-@,x` and the like.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    text.split(',')
        .map(|key| match key.as_bytes() {
            [byte] => Ok(*byte),
            [b'c', b't', b'r', b'l', b'-', key @ b'a'..=b'z'] => Ok(key - b'a' + 1),
            [b'c', b't', b'r', b'l', b'-', b'@'] => Ok(0),
            [b'c', b't', b'r', b'l', b'-', key @ (b'[' | b'\\' | b']' | b'^' | b'_')] => Ok(key - b'[' + 27),
            _ => Err(format!("Unknown character: '{key}'")),
        })
        .collect()
}

/// Looks for the keys in what is typed. Keys that may be the beginning are held back until it is known.
#[derive(Debug)]
pub(crate) struct Watcher {
    keys: Vec<u8>,
    matched: usize,
}

impl Watcher {
    /// Watches for `keys`, or the default where they are missing or wrong.
    pub(crate) fn new(keys: Option<&str>) -> Self {
        let keys = keys.and_then(|text| parse(text).ok()).unwrap_or_else(|| DEFAULT.to_vec());
        Self { keys, matched: 0 }
    }

    /// What of `typed` is to be sent on, and whether the keys were seen (then nothing after them counts).
    pub(crate) fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(typed.len() + self.matched);
        for &byte in typed {
            if byte != self.keys[self.matched] {
                out.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (out, true);
                }
            } else {
                out.push(byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_docker_reads_them() {
        assert_eq!(parse("ctrl-p,ctrl-q"), Ok(vec![16, 17]));
        assert_eq!(parse("a,ctrl-@,ctrl-[,ctrl-_"), Ok(vec![b'a', 0, 27, 31]));
        assert_eq!(parse("foo"), Err("Unknown character: 'foo'".into()));
    }

    #[test]
    fn keys_are_found_across_reads_and_false_starts_are_sent_on() {
        let mut watcher = Watcher::new(None);
        assert_eq!(watcher.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(watcher.filter(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(watcher.filter(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(watcher.filter(b"\x11rest"), (Vec::new(), true));
    }
}
