//! Names of archive members as paths below a layer's root.

use crate::tar::Error;

/// The path below the root, without leading, trailing or double slashes, `.` or `..`; empty for the root itself. As
/// Docker does, `..` is taken lexically.
///
/// # Errors
/// [`Error::Escape`] for a relative path that leads above the root.
pub fn clean(path: &[u8]) -> Result<Vec<u8>, Error> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if parts.pop().is_none() && !path.starts_with(b"/") {
                    return Err(Error::Escape { path: path.escape_ascii().to_string() });
                }
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

/// The same for where a hard link leads.
///
/// # Errors
/// [`Error::LinkEscape`] for a relative path that leads above the root, and for the root itself.
pub fn clean_target(target: &[u8]) -> Result<Vec<u8>, Error> {
    let cleaned = clean(target).ok().filter(|path| !path.is_empty());
    cleaned.ok_or_else(|| Error::LinkEscape { target: target.escape_ascii().to_string() })
}

/// The parent and the last component.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// The parent and a name in it.
pub fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, name].join(&b'/') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        for (path, cleaned) in [
            ("./", ""),
            ("/", ""),
            ("a//b/./c/", "a/b/c"),
            ("/etc/passwd", "etc/passwd"),
            ("/../../etc", "etc"),
            ("a/../b", "b"),
            ("a/b/../../c", "c"),
        ] {
            assert_eq!(clean(path.as_bytes()).unwrap(), cleaned.as_bytes(), "{path}");
        }
        for path in ["..", "../x", "a/../../x", "./../x"] {
            assert!(matches!(clean(path.as_bytes()), Err(Error::Escape { .. })), "{path}");
        }
    }
}
