//! Paths in a container, as Docker reads them, and what is at them.

use std::{
    collections::VecDeque,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{FileType, OFlags, Stat, fstat, readlinkat},
    io::Errno,
};

use skiff_snapshots::resolve;

use crate::{Error, model::Timestamp};

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStat {
    /// The path's last part as it was given.
    pub name: String,
    /// Its size in bytes.
    pub size: i64,
    /// Type and permissions, in the bits of Go's `fs.FileMode`.
    pub mode: u32,
    /// When it was last changed.
    pub mtime: Timestamp,
    /// Where a link leads to in the end, as an absolute path; empty if it is none.
    pub link_target: String,
}

/// What went wrong at a path.
#[derive(Debug)]
pub(super) enum PathError {
    /// It cannot be reached.
    Lstat(String, Errno),
    /// Links without end.
    TooManyLinks(String),
}

impl PathError {
    /// In Docker's words: the path and the container as they were given.
    pub(super) fn told(self, path: &str, container: &str) -> Error {
        match self {
            Self::Lstat(_, Errno::NOENT) => missing(path, container),
            Self::Lstat(at, e) => {
                Error::Internal(format!("lstat {at}: {}", skiff_runtime::apply::errno_text(e.raw_os_error())))
            }
            Self::TooManyLinks(at) => Error::Internal(format!("evalSymlinksInScope: too many links in {at}")),
        }
    }
}

/// Nothing is there.
pub(super) fn missing(path: &str, container: &str) -> Error {
    Error::NotFound(format!("Could not find the file {path} in container {container}"))
}

/// Absolute and without `.`, `..` (taken lexically) and double slashes; a slash or `/.` at the end stays.
pub(super) fn rooted(path: &str) -> String {
    let mut clean = clean(path);
    if base(path) == "." && base(&clean) != "." {
        if !clean.ends_with('/') {
            clean.push('/');
        }
        clean.push('.');
    }
    if path.ends_with('/') && !clean.ends_with('/') {
        clean.push('/');
    }
    clean
}

fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The last part, as Go's `filepath.Base` takes it.
pub(super) fn base(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".",
        "" => "/",
        path => path.rsplit('/').next().unwrap_or(path),
    }
}

/// What is at the path.
pub(super) fn stat(root: BorrowedFd<'_>, path: &str) -> Result<PathStat, PathError> {
    let object = open(root, path)?;
    let failed = |e| PathError::Lstat(path.to_owned(), e);
    let stat = fstat(&object).map_err(failed)?;
    let link_target = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => link_target(root, path)?,
        _ => String::new(),
    };
    let mtime = Timestamp::new(stat.st_mtime, stat.st_mtime_nsec as i32).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(PathStat {
        name: base(path).to_owned(),
        size: stat.st_size,
        mode: gos_mode(&stat),
        mtime,
        link_target,
    })
}

/// Opens what is at the path as a mere place; a link at the end is followed only if the path goes on with a slash.
pub(super) fn open(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, PathError> {
    let at = if path.is_empty() { "." } else { path };
    resolve(root, at.as_bytes(), OFlags::PATH | OFlags::NOFOLLOW)
        .map_err(|e| PathError::Lstat(path.to_owned(), e))
}

/// Steps that the resolution of one link may take, as in Docker.
const STEPS: u32 = 255;

/// Where a link leads to, with everything on the way followed; what does not exist stands as it is.
fn link_target(root: BorrowedFd<'_>, path: &str) -> Result<String, PathError> {
    let mut todo: VecDeque<String> = clean(path).split('/').map(str::to_owned).collect();
    let mut found: Vec<String> = Vec::new();
    let mut steps = 0;
    while let Some(part) = todo.pop_front() {
        steps += 1;
        if steps > STEPS {
            return Err(PathError::TooManyLinks(path.to_owned()));
        }
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                found.pop();
                continue;
            }
            _ => found.push(part),
        }
        let here = format!("/{}", found.join("/"));
        let object = match open(root, &here) {
            Err(PathError::Lstat(_, Errno::NOENT)) => continue,
            object => object?,
        };
        let is_link = fstat(&object).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Symlink);
        if !is_link {
            continue;
        }
        let target = readlinkat(&object, c"", Vec::new()).map_err(|e| PathError::Lstat(here, e))?;
        let target = target.to_string_lossy();
        if target.starts_with('/') {
            found.clear();
        } else {
            found.pop();
        }
        for part in target.rsplit('/') {
            todo.push_front(part.to_owned());
        }
    }
    Ok(format!("/{}", found.join("/")))
}

/// `fs.FileMode`: Go's own bits above the permissions.
fn gos_mode(stat: &Stat) -> u32 {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        FileType::RegularFile => 0,
        FileType::Unknown => 1 << 19,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special.iter().filter(|(bit, _)| stat.st_mode & bit != 0).map(|(_, go)| go);
    kind | special.sum::<u32>() | (stat.st_mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Docker 28.5.2.
    #[test]
    fn paths_are_read_as_docker_reads_them() {
        for (path, root, name) in [
            ("d", "/d", "d"),
            ("/d/", "/d/", "d"),
            ("/d/.", "/d/.", "."),
            ("/", "/", "/"),
            (".", "/.", "."),
            ("/.", "/.", "."),
            ("/d/f/..", "/d", "d"),
            ("/../../d", "/d", "d"),
            ("//d//f", "/d/f", "f"),
            ("", "/.", "."),
        ] {
            assert_eq!((rooted(path).as_str(), base(&rooted(path))), (root, name), "{path}");
        }
    }

    #[test]
    fn links_are_followed_within_the_root() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("d/sub")).unwrap();
        for (link, target) in [
            ("lf", "d/f"),
            ("d/lrel", "sub/g"),
            ("lup", "../../../etc/passwd"),
            ("ldang", "/nope/x"),
            ("llink", "/lf"),
            ("lloop", "lloop"),
        ] {
            fs_err::os::unix::fs::symlink(target, dir.path().join(link)).unwrap();
        }
        let open = fs_err::File::open(dir.path()).unwrap();
        let root = std::os::fd::AsFd::as_fd(open.file());
        for (link, target) in [
            ("lf", "/d/f"),
            ("/d/lrel", "/d/sub/g"),
            ("/lup", "/etc/passwd"),
            ("/ldang", "/nope/x"),
            ("/llink", "/d/f"),
        ] {
            let stat = stat(root, link).unwrap();
            assert_eq!((stat.link_target.as_str(), stat.mode), (target, 1 << 27 | 0o777), "{link}");
        }
        let told = |path: &str| stat(root, path).unwrap_err().told(path, "c").to_string();
        assert_eq!(told("/lloop"), "evalSymlinksInScope: too many links in /lloop");
        assert_eq!(told("/lloop/"), "lstat /lloop/: too many levels of symbolic links");
        assert_eq!(told("/nope"), "Could not find the file /nope in container c");
    }
}
