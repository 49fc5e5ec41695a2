//! The audit log: who changed what, one JSON object a line, in `audit.jsonl`. Pulls are not in it.
//!
//! A line is written before the change is acknowledged. The file that is full becomes `audit.1.jsonl`. Sign-ins that failed are in it,
//! but for a few lines a minute only: a stranger is not to push out what was changed.

use std::{
    fs::{File, Permissions},
    io::{Read, Seek, SeekFrom, Write},
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use fs_err::os::unix::fs::OpenOptionsExt;
use serde::{Deserialize, Serialize};

use crate::{Error, auth::Caller, clock, error::at};

/// Bytes of a full file.
const FULL: u64 = 64 << 20;
/// Bytes that are looked through for the last lines.
const TAIL: u64 = 1 << 20;

/// Lines a minute about sign-ins that failed.
const FAILURES: u64 = 10;
/// Characters of a name that is nobody's.
const NAME: usize = 64;

/// A line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) time: String,
    /// Empty for nobody.
    pub(crate) who: String,
    /// The client's address; empty for the operator.
    #[serde(default)]
    pub(crate) from: String,
    /// `push`, `remove`, `user.add`, …
    pub(crate) action: String,
    /// What it was done to.
    pub(crate) what: String,
}

/// The open log.
#[derive(Debug)]
pub(crate) struct Audit {
    path: PathBuf,
    file: Mutex<Option<(File, u64)>>,
    failures: Mutex<Failures>,
}

/// Sign-ins that failed within a minute.
#[derive(Debug, Default)]
struct Failures {
    minute: u64,
    seen: u64,
}

impl Failures {
    /// What to say of another one, if anything.
    fn another(&mut self, now: u64, name: &str) -> Option<String> {
        let untold = self.seen.saturating_sub(FAILURES);
        let is_new = self.minute != now / 60;
        if is_new {
            *self = Self { minute: now / 60, seen: 0 };
        }
        self.seen += 1;
        let name: String = name.chars().take(NAME).collect();
        match untold {
            1.. if is_new => Some(format!("{name}, after {untold} that are not told of")),
            _ => (self.seen <= FAILURES).then_some(name),
        }
    }
}

impl Audit {
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let this =
            Self { path: root.join("audit.jsonl"), file: Mutex::default(), failures: Mutex::default() };
        *this.file.lock().expect("no panic under this lock") = Some(this.append()?);
        Ok(this)
    }

    fn append(&self) -> Result<(File, u64), Error> {
        // Who pushes what is nobody else's business.
        const MODE: u32 = 0o600;
        let mut options = fs_err::OpenOptions::new();
        let file = options.create(true).append(true).mode(MODE).open(&self.path).map_err(at(&self.path))?;
        file.set_permissions(Permissions::from_mode(MODE)).map_err(at(&self.path))?;
        let length = file.metadata().map_err(at(&self.path))?.len();
        Ok((file.into_parts().0, length))
    }

    /// Writes a line. That it cannot be written stops nobody, and is told in the registry's own log.
    pub(crate) fn note(&self, caller: &Caller, action: &str, what: &str) {
        self.note_of(&caller.name, caller.address, action, what);
    }

    /// Somebody gave a wrong password, or the name of nobody.
    pub(crate) fn refused(&self, from: Option<IpAddr>, name: &str) {
        let told = self.failures.lock().expect("no panic under this lock").another(clock::now(), name);
        if let Some(what) = told {
            self.note_of("", from, "login.failed", &what);
        }
    }

    fn note_of(&self, who: &str, from: Option<IpAddr>, action: &str, what: &str) {
        let entry = Entry {
            time: clock::rfc3339(clock::now()),
            who: who.to_owned(),
            from: from.map(|address| address.to_string()).unwrap_or_default(),
            action: action.to_owned(),
            what: what.to_owned(),
        };
        if let Err(error) = self.write(&entry) {
            tracing::error!(%error, ?entry, "cannot write to the audit log");
        }
    }

    fn write(&self, entry: &Entry) -> Result<(), Error> {
        let mut line = serde_json::to_vec(entry).expect("an entry is plain data");
        line.push(b'\n');
        let mut open = self.file.lock().expect("no panic under this lock");
        let (mut file, mut length) = match open.take() {
            Some(open) => open,
            None => self.append()?,
        };
        if length > FULL {
            fs_err::rename(&self.path, self.path.with_file_name("audit.1.jsonl")).map_err(at(&self.path))?;
            (file, length) = self.append()?;
        }
        file.write_all(&line).map_err(at(&self.path))?;
        *open = Some((file, length + line.len() as u64));
        Ok(())
    }

    /// The last lines, newest first, as far as `wanted` picks them. Blocks.
    pub(crate) fn last(&self, n: usize, wanted: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>, Error> {
        let mut file = fs_err::File::open(&self.path).map_err(at(&self.path))?;
        let length = file.metadata().map_err(at(&self.path))?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).map_err(at(&self.path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(at(&self.path))?;
        let lines = bytes.split(|byte| *byte == b'\n').rev();
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).filter(wanted).take(n).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_write_a_few_lines_a_minute() {
        let mut failures = Failures::default();
        let lines: Vec<_> = (0..1000).filter_map(|n| failures.another(60, &format!("u{n}"))).collect();
        assert_eq!(lines.len(), 10);
        assert_eq!(lines[9], "u9");
        assert_eq!(failures.another(119, "bob"), None);
        assert_eq!(failures.another(120, "bob").unwrap(), "bob, after 991 that are not told of");
        assert_eq!(failures.another(121, &"x".repeat(100)).unwrap().len(), NAME);
        assert_eq!(failures.another(180, "eve").unwrap(), "eve");
    }

    #[test]
    fn the_last_lines_come_first_and_half_a_line_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path()).unwrap();
        for n in 0..5 {
            audit.note(&Caller::operator(), "push", &format!("a:{n}"));
        }
        fs_err::OpenOptions::new()
            .append(true)
            .open(dir.path().join("audit.jsonl"))
            .unwrap()
            .write_all(b"{\"ti")
            .unwrap();
        let last = audit.last(2, |_| true).unwrap();
        assert_eq!(last.iter().map(|e| e.what.as_str()).collect::<Vec<_>>(), ["a:4", "a:3"]);
        assert_eq!(audit.last(9, |e| e.what == "a:1").unwrap().len(), 1);
        assert_eq!((last[0].who.as_str(), last[0].action.as_str()), ("operator", "push"));
    }
}
