//! The text of `/proc/pid/mountinfo`, see proc_pid_mountinfo(5).

use std::path::PathBuf;

/// The path that a word of it stands for: blanks, tabs, line ends and backslashes are written as three octal digits.
pub fn path(word: &str) -> PathBuf {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte.into());
                rest = &after[3..];
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    (out + rest).into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn mountinfo_is_unescaped() {
        assert_eq!(path(r"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(path(r"/a\x"), Path::new(r"/a\x"));
    }
}
