//! The audit log: who changed what, one JSON object a line, in `audit.jsonl`. Pulls are not in it.
//!
//! A line is written before the change is acknowledged. The file that is full becomes `audit.1.jsonl`.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};

use crate::{Error, auth::Caller, clock, error::at};

/// Bytes of a full file.
const FULL: u64 = 64 << 20;
/// Bytes that are looked through for the last lines.
const TAIL: u64 = 1 << 20;

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
}

impl Audit {
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let this = Self { path: root.join("audit.jsonl"), file: Mutex::default() };
        *this.file.lock().expect("no panic under this lock") = Some(this.append()?);
        Ok(this)
    }

    fn append(&self) -> Result<(File, u64), Error> {
        let file =
            fs_err::OpenOptions::new().create(true).append(true).open(&self.path).map_err(at(&self.path))?;
        let length = file.metadata().map_err(at(&self.path))?.len();
        Ok((file.into_parts().0, length))
    }

    /// Writes a line. That it cannot be written stops nobody, and is told in the registry's own log.
    pub(crate) fn note(&self, caller: &Caller, action: &str, what: &str) {
        let entry = Entry {
            time: clock::rfc3339(clock::now()),
            who: caller.name.to_string(),
            from: caller.address.map(|address| address.to_string()).unwrap_or_default(),
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
