//! Names of local volumes.

use crate::{Error, Result};

/// Checks that a name can be a directory's: letters, digits, `_`, `.`, `-`, and at least two of them.
///
/// # Errors
/// [`Error::InvalidName`], [`Error::NameTooShort`].
pub fn check_name(name: &str) -> Result<()> {
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    match name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(rest) {
        true if name.len() == 1 => Err(Error::NameTooShort),
        true => Ok(()),
        false => Err(Error::InvalidName(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_directories_and_nothing_else() {
        for good in ["ab", "a.b_c-d", "0x", "data.", &"f".repeat(64)] {
            check_name(good).unwrap();
        }
        for bad in ["", ".", "..", ".new-a", "_a", "a/b", "/a", "a b", "ä", "a\0", "a:b"] {
            assert!(matches!(check_name(bad), Err(Error::InvalidName(name)) if name == bad), "{bad}");
        }
        assert!(matches!(check_name("x"), Err(Error::NameTooShort)));
    }
}
