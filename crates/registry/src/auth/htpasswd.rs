//! Users of a file, one `name:hash` a line, as Apache's htpasswd writes it. Only bcrypt hashes are taken, as in docker's
//! registry. The file is read again when it changes.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::SystemTime,
};

use super::passwords;
use crate::Error;

/// The users of a file.
#[derive(Debug)]
pub(crate) struct Htpasswd {
    path: PathBuf,
    pub(crate) realm: String,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    stamp: Option<(SystemTime, u64)>,
    users: Arc<HashMap<String, String>>,
}

impl Htpasswd {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or a line is not of its form.
    pub(crate) fn open(path: &Path, realm: &str) -> Result<Self, String> {
        let users = load(path)?;
        let read = Mutex::new(Read { stamp: stamp(path), users: Arc::new(users) });
        Ok(Self { path: path.to_owned(), realm: realm.to_owned(), read })
    }

    /// The hash of a user, or the cost of those of others.
    pub(crate) fn hash(&self, user: &str) -> Result<String, u32> {
        let mut read = self.read.lock().expect("no panic under this lock");
        let now = stamp(&self.path);
        if now != read.stamp {
            match load(&self.path) {
                Ok(users) => read.users = Arc::new(users),
                // The users that were there stay: half a file must not lock everybody out.
                Err(reason) => tracing::error!(reason, "cannot read the password file again"),
            }
            read.stamp = now;
        }
        let most = || read.users.values().map(|hash| passwords::cost(hash)).max();
        read.users.get(user).cloned().ok_or_else(|| most().unwrap_or(passwords::COST))
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs_err::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn load(path: &Path) -> Result<HashMap<String, String>, String> {
    let text = fs_err::read_to_string(path).map_err(|error| error.to_string())?;
    parse(&text).map_err(|reason| format!("{}: {reason}", path.display()))
}

/// Reads the lines.
pub(crate) fn parse(text: &str) -> Result<HashMap<String, String>, String> {
    let mut users = HashMap::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = at + 1;
        let (user, hash) =
            line.split_once(':').ok_or_else(|| format!("line {place} is not \"user:hash\""))?;
        if user.is_empty() {
            return Err(format!("line {place} names no user"));
        }
        let bcrypt = ["$2y$", "$2a$", "$2b$"].iter().any(|start| hash.starts_with(start)) && hash.len() == 60;
        if !bcrypt {
            return Err(format!(
                "line {place}: the hash of {user:?} is not bcrypt; make it with `htpasswd -B`"
            ));
        }
        users.insert(user.to_owned(), hash.to_owned());
    }
    Ok(users)
}

/// A line for a user.
///
/// # Errors
/// A name or password that cannot be one.
pub fn line(user: &str, password: &str, cost: u32) -> Result<String, Error> {
    if user.is_empty() || user.contains([':', '\n', '\r']) {
        return Err(Error::Invalid {
            reason: "a user's name has neither colons nor line ends, and is not empty".into(),
        });
    }
    if !(4..=17).contains(&cost) {
        return Err(Error::Invalid { reason: "the cost is a number from 4 to 17".into() });
    }
    Ok(format!("{user}:{}", passwords::hash(password, cost)?))
}

/// The text of a file with a user's line put in or replaced.
pub fn with_line(text: &str, user: &str, line: &str) -> String {
    let others = text.lines().filter(|other| other.split_once(':').is_none_or(|(name, _)| name != user));
    let mut out: String = others.map(|other| format!("{other}\n")).collect();
    out.push_str(line);
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_users_with_bcrypt_hashes() {
        let line = line("bob", "secret", 4).unwrap();
        assert!(line.starts_with("bob:$2y$04$"), "{line}");
        let users = parse(&format!("# users\n\n{line}\r\n")).unwrap();
        assert!(bcrypt::verify("secret", &users["bob"]).unwrap());
        assert!(!bcrypt::verify("Secret", &users["bob"]).unwrap());
        for (bad, reason) in [
            ("bob", "line 1 is not"),
            (":x", "line 1 names no user"),
            ("bob:{SHA}x", "not bcrypt"),
            ("bob:$apr1$x$y", "not bcrypt"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_line_replaces_the_users_older_one() {
        let text = "a:1\nb:2\n";
        assert_eq!(with_line(text, "a", "a:3"), "b:2\na:3\n");
        assert_eq!(with_line("", "c", "c:1"), "c:1\n");
    }

    #[test]
    fn names_that_would_break_the_file_are_refused() {
        for (user, password) in [("a:b", "x"), ("a\nb", "x"), ("", "x"), ("a", &"x".repeat(73))] {
            assert!(line(user, password, 4).is_err());
        }
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("htpasswd");
        fs_err::write(&path, line("a", "x", 4).unwrap()).unwrap();
        let users = Htpasswd::open(&path, "r").unwrap();
        assert!(users.hash("a").is_ok() && users.hash("b") == Err(4));
        fs_err::write(&path, format!("{}\n{}\n", line("a", "x", 4).unwrap(), line("b", "x", 4).unwrap()))
            .unwrap();
        assert!(users.hash("b").is_ok());
        fs_err::write(&path, "half a li").unwrap();
        assert!(users.hash("b").is_ok());
    }

    proptest! {
        #[test]
        fn whatever_the_file_holds_reading_it_answers(text in "[a-z:$2y#\\n\\PC]{0,200}") {
            if let Ok(users) = parse(&text) {
                prop_assert!(users.iter().all(|(user, hash)| !user.is_empty() && hash.len() == 60));
            }
        }
    }
}
