//! The files of one log, oldest first: `path.2`, `path.1`, `path`, where the older ones may end in `.gz`.
//!
//! The writer renames them while they are looked up. So the newest is opened first and each file is taken once, by its
//! inode; what is opened stays readable whatever becomes of its name.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use fs_err::File;

use crate::lines::Input;

/// One file of a log.
pub(crate) struct LogFile {
    pub(crate) input: Input,
    /// Device and inode.
    pub(crate) identity: (u64, u64),
}

/// More generations than any configuration keeps.
const MOST: u32 = 100_000;

/// Opens every file there is, oldest first.
///
/// # Errors
/// What the file system says about a file that is there; a log without files is empty.
pub(crate) fn open_all(path: &Path) -> io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = open(path, false)?.into_iter().collect();
    let mut missing = 0;
    for number in 1..MOST {
        let plain = open(&numbered(path, number, ""), false)?;
        match plain.map_or_else(|| open(&numbered(path, number, ".gz"), true), |file| Ok(Some(file)))? {
            Some(file) => {
                missing = 0;
                if !files.iter().any(|known| known.identity == file.identity) {
                    files.push(file);
                }
            }
            // One may be missing for the moment in which the writer shifts the names.
            None => missing += 1,
        }
        if missing == 2 {
            break;
        }
    }
    files.reverse();
    Ok(files)
}

/// The identity of the file at a path, if one is there.
pub(crate) fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match fs_err::metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The file that was current before the current one, if it is not compressed.
pub(crate) fn previous(path: &Path) -> PathBuf {
    numbered(path, 1, "")
}

fn numbered(path: &Path, number: u32, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}{end}"));
    name.into()
}

/// Opens one file, if it is there.
pub(crate) fn open(path: &Path, gzip: bool) -> io::Result<Option<LogFile>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let found = file.metadata()?;
    let identity = (found.dev(), found.ino());
    Ok(Some(LogFile { input: if gzip { Input::gzip(file) } else { Input::Plain(file) }, identity }))
}
