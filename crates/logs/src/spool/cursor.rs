//! How far a receiver has a log: one line of digits, overwritten in place.
//!
//! It is shorter than a sector, so that a power cut leaves the old one or the new one. It is written after the receiver has the
//! lines, never before: what is sent twice is a nuisance, what is not sent is lost.

use std::{io, path::Path};

/// A place in a spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The last line that was sent; 0 for none.
    pub(crate) number: u64,
    /// Lines that were never sent and never will be.
    pub(crate) lost: u64,
    /// Device and inode of the file in which it stands.
    pub(crate) file: (u64, u64),
    /// Where the next line begins in that file.
    pub(crate) offset: u64,
    /// The number of the first part of the line whose last part was not there yet; 0 if the line was whole.
    pub(crate) begun: u64,
    /// How many parts of it were sent.
    pub(crate) parts: u64,
}

const FIELDS: usize = 7;
/// Twenty digits and a separator for each field.
const LENGTH: usize = FIELDS * 21;

impl Cursor {
    /// Reads one; none if there is none or it makes no sense.
    pub(crate) fn load(path: &Path) -> io::Result<Option<Self>> {
        match fs_err::read_to_string(path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [number, lost, device, inode, offset, begun, parts] = fields.try_into().ok()?;
        (text.len() == LENGTH).then_some(Self { number, lost, file: (device, inode), offset, begun, parts })
    }

    /// Writes it over the one that is there.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let fields: [u64; FIELDS] =
            [self.number, self.lost, self.file.0, self.file.1, self.offset, self.begun, self.parts];
        let mut text: String = fields.map(|field| format!("{field:020} ")).concat();
        text.replace_range(LENGTH - 1.., "\n");
        let file = fs_err::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        std::os::unix::fs::FileExt::write_all_at(file.file(), text.as_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        assert_eq!(Cursor::load(&path).unwrap(), None);
        let cursor = Cursor { number: u64::MAX, lost: 3, file: (7, 8), offset: 1 << 40, begun: 2, parts: 1 };
        for written in [cursor, Cursor::default(), cursor] {
            written.save(&path).unwrap();
            assert_eq!(Cursor::load(&path).unwrap(), Some(written));
        }
        for damage in ["", "1 2 3 4 5 6 7\n", "garbage", &"\0".repeat(LENGTH)] {
            fs_err::write(&path, damage).unwrap();
            assert_eq!(Cursor::load(&path).unwrap(), None, "{damage:?}");
        }
        fs_err::write(&path, [0xff; LENGTH]).unwrap();
        assert_eq!(Cursor::load(&path).unwrap(), None);
    }
}
