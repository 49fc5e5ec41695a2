//! Keys that leave a terminal without ending what runs there: `ctrl-p,ctrl-q`.

use crate::{Error, Result};

/// Control-P, control-Q.
const DEFAULT: [u8; 2] = [16, 17];

/// The bytes that the terminal sends for a list of keys: single characters and `ctrl-` with a letter or one of `@ [ \ ] ^ _`.
///
/// # Errors
/// A key that is neither.
pub(crate) fn parse(keys: Option<&str>) -> Result<Vec<u8>> {
    let Some(keys) = keys.filter(|k| !k.is_empty()) else { return Ok(DEFAULT.to_vec()) };
    // Recorded: Docker answers 500 here.
    keys.split(',')
        .map(|key| byte(key).ok_or_else(|| Error::Internal(format!("Invalid escape keys ({keys}) provided"))))
        .collect()
}

fn byte(key: &str) -> Option<u8> {
    match key.as_bytes() {
        [one] => Some(*one),
        [b'c', b't', b'r', b'l', b'-', c @ b'a'..=b'z'] => Some(c - b'a' + 1),
        [b'c', b't', b'r', b'l', b'-', b'@'] => Some(0),
        [b'c', b't', b'r', b'l', b'-', c @ b'['..=b'_'] => Some(c - b'[' + 27),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_what_the_terminal_sends() {
        assert_eq!(parse(None).unwrap(), [16, 17]);
        assert_eq!(parse(Some("")).unwrap(), [16, 17]);
        assert_eq!(parse(Some("ctrl-a,x,ctrl-@,ctrl-[,ctrl-_")).unwrap(), [1, b'x', 0, 27, 31]);
        for bad in ["ctrl-?", "ctrl-A", "ab", "a,,b"] {
            let expected = format!("Invalid escape keys ({bad}) provided");
            assert_eq!(parse(Some(bad)).unwrap_err().to_string(), expected);
        }
    }
}
