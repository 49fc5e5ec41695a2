//! Rotation as Docker's: the current file `path`, the one before `path.1`, older ones `path.2`…; with compression these
//! end in `.gz`.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The file of a generation; 0 is the current one.
pub(super) fn generation(path: &Path, number: u32, compress: bool) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if number > 0 {
        name.push(format!(".{number}"));
        if compress {
            name.push(".gz");
        }
    }
    name.into()
}

/// Makes room for a new current file: shifts every generation by one and drops the oldest of `files`.
/// The newest rotated file is `path.1`, not yet compressed.
pub(super) fn shift(path: &Path, files: u32, compress: bool) -> io::Result<()> {
    if files < 2 {
        return missing_is_fine(fs_err::remove_file(path));
    }
    missing_is_fine(fs_err::remove_file(generation(path, files - 1, compress)))?;
    for number in (2..files).rev() {
        let (from, to) = (generation(path, number - 1, compress), generation(path, number, compress));
        missing_is_fine(fs_err::rename(from, to))?;
    }
    missing_is_fine(fs_err::rename(path, generation(path, 1, false)))
}

fn missing_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Compresses `path.1` into `path.1.gz`. Takes long: not for the monitor's own thread.
pub(super) fn compress(path: &Path) -> io::Result<()> {
    let (plain, packed) = (generation(path, 1, false), generation(path, 1, true));
    let new = generation(path, 1, false).with_added_extension("gz.new");
    let result = (|| {
        let mut from = fs_err::File::open(&plain)?;
        let to = fs_err::File::create(&new)?;
        let mut encoder = flate2::write::GzEncoder::new(to, flate2::Compression::default());
        io::copy(&mut from, &mut encoder)?;
        encoder.finish()?.sync_data()?;
        fs_err::rename(&new, &packed)?;
        fs_err::remove_file(&plain)
    })();
    if result.is_err() {
        // The plain file stays readable; half a compressed one is no use.
        let _ = fs_err::remove_file(&new);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs_err::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn generations_shift_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for content in ["a", "b", "c", "d"] {
            fs_err::write(&path, content).unwrap();
            shift(&path, 3, false).unwrap();
        }
        assert_eq!(names(dir.path()), ["log.1", "log.2"]);
        assert_eq!(fs_err::read_to_string(dir.path().join("log.1")).unwrap(), "d");
        fs_err::write(&path, "e").unwrap();
        shift(&path, 1, false).unwrap();
        assert_eq!(names(dir.path()), ["log.1", "log.2"]);
    }

    #[test]
    fn compressed_generations_shift_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for content in ["a", "b", "c"] {
            fs_err::write(&path, content).unwrap();
            shift(&path, 3, true).unwrap();
            compress(&path).unwrap();
        }
        assert_eq!(names(dir.path()), ["log.1.gz", "log.2.gz"]);
        let mut text = String::new();
        let file = fs_err::File::open(dir.path().join("log.2.gz")).unwrap();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
        assert_eq!(text, "b");
    }
}
