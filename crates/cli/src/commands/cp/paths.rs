//! What a copy does to paths: the rules of docker's `cp`, which are those of Unix's with an archive in between.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::failure::Failure;

/// What is copied.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// With a slash or `/.` at its end if it was asked for so.
    pub(super) path: String,
    pub(super) is_dir: bool,
    /// What it is to be called, if a link in the path has another name than what it leads to.
    pub(super) rename: String,
}

/// Where it goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) path: String,
    pub(super) exists: bool,
    pub(super) is_dir: bool,
}

/// The directory that the archive is unpacked in, and what the source is called in it, if not by its own name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) dir: String,
    pub(super) name: Option<String>,
}

impl Plan {
    /// What becomes of a source at a destination.
    pub(super) fn new(source: &Source, to: &Destination) -> Result<Self, Failure> {
        if to.exists && to.is_dir {
            return Ok(Self { dir: to.path.clone(), name: None });
        }
        if to.exists && source.is_dir {
            return Err("cannot copy directory".into());
        }
        let asserts_dir = to.path.ends_with('/') || is_dot(&to.path);
        if !to.exists && !source.is_dir && asserts_dir {
            return Err("no such directory".into());
        }
        let (dir, name) = split_entry(&to.path);
        Ok(Self { dir, name: Some(name) })
    }
}

/// Absolute; a slash or `/.` at the end stays.
pub(super) fn local(path: &str) -> io::Result<String> {
    let absolute = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{}/{path}", std::env::current_dir()?.display()),
    };
    Ok(with_end_of(clean(&absolute), path))
}

/// Go's `filepath.Clean`.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}

/// Go's `filepath.Base`.
fn base(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".",
        "" => "/",
        path => path.rsplit('/').next().unwrap_or(path),
    }
}

fn is_dot(path: &str) -> bool {
    base(path) == "."
}

/// A clean path with the slash or `/.` that another has at its end.
fn with_end_of(mut path: String, other: &str) -> String {
    if is_dot(other) && !is_dot(&path) {
        if !path.ends_with('/') {
            path.push('/');
        }
        path.push('.');
    }
    if other.ends_with('/') && !path.ends_with('/') {
        path.push('/');
    }
    path
}

/// The directory and the entry in it that a path stands for; `.` for what is in the directory itself.
pub(super) fn split_entry(path: &str) -> (String, String) {
    let mut cleaned = clean(path);
    if is_dot(path) && cleaned != "." {
        cleaned.push_str("/.");
    }
    match cleaned.rsplit_once('/') {
        None => (".".to_owned(), cleaned),
        Some((_, "")) => ("/".to_owned(), "/".to_owned()),
        Some((dir, name)) => (clean(&format!("{dir}/")), name.to_owned()),
    }
}

/// Where a link at `path` leads.
pub(super) fn from_parent(path: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    clean(&format!("{}/{target}", split_entry(path).0))
}

/// A path whose link has been resolved, and what its target is to be called for that.
pub(super) fn rebased(path: &str, target: &str) -> (String, String) {
    let mut resolved = from_parent(path, target);
    if is_dot(path) && !is_dot(&resolved) {
        resolved.push_str("/.");
    }
    if path.ends_with('/') && !resolved.ends_with('/') {
        resolved.push('/');
    }
    let rename = if base(path) == base(&resolved) { String::new() } else { base(path).to_owned() };
    (resolved, rename)
}

/// An error about a path, as Go words it.
pub(super) fn go_error(operation: &str, path: &str, error: &io::Error) -> Failure {
    let text = error.to_string();
    let number =
        text.rsplit_once(" (os error ").and_then(|(_, rest)| rest.trim_end_matches(')').parse().ok());
    let why = number.map_or(text, |number: i32| {
        let text = io::Error::from_raw_os_error(number).to_string();
        text.split(" (os error ").next().unwrap_or_default().to_lowercase()
    });
    Failure::new(format!("{operation} {path}: {why}"))
}

/// Links that docker follows to a destination.
const MAX_LINKS: u32 = 10;

impl Destination {
    /// A path of this machine, links followed; it need not exist, but its directory must.
    pub(super) fn of_host(path: &str) -> Result<Self, Failure> {
        let mut at = path.to_owned();
        for _ in 0..=MAX_LINKS {
            match fs_err::symlink_metadata(&at) {
                Ok(metadata) if metadata.is_symlink() => {
                    let target = fs_err::read_link(&at).map_err(|e| go_error("readlink", &at, &e))?;
                    at = from_parent(&at, &target.to_string_lossy());
                }
                Ok(metadata) => return Ok(Self { path: at, exists: true, is_dir: metadata.is_dir() }),
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(go_error("lstat", &at, &e)),
                Err(_) => {
                    let (parent, _) = split_entry(&at);
                    let metadata = fs_err::metadata(&parent).map_err(|e| go_error("stat", &parent, &e))?;
                    if !metadata.is_dir() {
                        return Err("not a directory".into());
                    }
                    return Ok(Self { path: at, exists: false, is_dir: false });
                }
            }
        }
        Err(format!("too many symlinks in {path}").into())
    }
}

impl Source {
    /// A path of this machine. The last link is followed if asked for, or if the path goes on with a slash.
    pub(super) fn of_host(path: &str, follow: bool) -> Result<Self, Failure> {
        let (path, rename) = if follow {
            rebased(path, &resolved(Path::new(path))?.to_string_lossy())
        } else {
            let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
            let dir = resolved(Path::new(if dir.is_empty() { "/" } else { dir }))?;
            let dir = dir.to_string_lossy();
            let resolved = format!("{}/{name}", if dir == "/" { "" } else { &dir });
            let kept = !path.ends_with('/') || base(path) == base(&resolved);
            (resolved, if kept { String::new() } else { base(path).to_owned() })
        };
        let metadata = fs_err::symlink_metadata(&path).map_err(|e| go_error("lstat", &path, &e))?;
        let is_dir = metadata.is_dir() || path.ends_with('/');
        Ok(Self { path, is_dir, rename })
    }
}

/// A path without links. What does not exist is named as Go names it: the first part that is not there.
fn resolved(path: &Path) -> Result<PathBuf, Failure> {
    fs_err::canonicalize(path).map_err(|e| {
        let mut at = path.to_owned();
        for _ in 0..MAX_LINKS {
            match fs_err::read_link(&at) {
                Ok(target) => at = from_parent(&at.to_string_lossy(), &target.to_string_lossy()).into(),
                Err(_) => break,
            }
        }
        let missing = at.ancestors().filter(|a| fs_err::symlink_metadata(a).is_err()).last().unwrap_or(&at);
        go_error("lstat", &missing.to_string_lossy(), &e)
    })
}

/// Opens a source as a mere place: a device or a pipe is copied, not read.
pub(super) fn open(path: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|e| go_error("lstat", path, &e.into()))
}

/// Refuses a path that nothing can be written to.
pub(super) fn check_output(path: &str) -> Result<(), Failure> {
    let parent = clean(path);
    let (parent, _) = split_entry(&parent);
    if !matches!(parent.as_str(), "" | ".") && !Path::new(&parent).exists() {
        return Err(format!("invalid output path: directory {parent:?} does not exist").into());
    }
    let Ok(stat) = rustix::fs::stat(path) else { return Ok(()) };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice | FileType::BlockDevice => {
            Err(format!("invalid output path: {path:?} must be a directory or a regular file: got a device")
                .into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, is_dir: bool) -> Source {
        Source { path: path.into(), is_dir, rename: String::new() }
    }

    fn to(path: &str, kind: Option<bool>) -> Destination {
        Destination { path: path.into(), exists: kind.is_some(), is_dir: kind == Some(true) }
    }

    #[test]
    fn an_archive_is_unpacked_where_docker_does_it() {
        let (file, dir, nothing) = (Some(false), Some(true), None);
        for (from, is_dir, at, kind, unpacked, name) in [
            ("/s/a", false, "/t", dir, "/t", None),
            ("/s/a", false, "/t/b", file, "/t", Some("b")),
            ("/s/a", false, "/t/b", nothing, "/t", Some("b")),
            ("/s/a", false, "/b", nothing, "/", Some("b")),
            ("/s/d", true, "/t", dir, "/t", None),
            ("/s/d/.", true, "/t", dir, "/t", None),
            ("/s/d", true, "/t/new", nothing, "/t", Some("new")),
            ("/s/d/.", true, "/t/new/", nothing, "/t", Some("new")),
        ] {
            let plan = Plan::new(&source(from, is_dir), &to(at, kind)).unwrap();
            assert_eq!((plan.dir.as_str(), plan.name.as_deref()), (unpacked, name), "{from} {at}");
        }
        let refused = |is_dir, at, kind| Plan::new(&source("/s", is_dir), &to(at, kind)).unwrap_err().message;
        assert_eq!(refused(true, "/t", file), "cannot copy directory");
        assert_eq!(refused(false, "/t/", nothing), "no such directory");
        assert_eq!(refused(false, "/t/.", nothing), "no such directory");
        assert_eq!(refused(false, "", nothing), "no such directory");
    }

    #[test]
    fn paths_are_taken_apart_as_docker_does_it() {
        for (path, dir, name) in [
            ("/a/b", "/a", "b"),
            ("/a/b/", "/a", "b"),
            ("/a/b/.", "/a/b", "."),
            ("/a", "/", "a"),
            ("/", "/", "/"),
            ("a", ".", "a"),
            (".", ".", "."),
        ] {
            assert_eq!(split_entry(path), (dir.to_owned(), name.to_owned()), "{path}");
        }
        for (path, target, resolved, rename) in [
            ("/d/l", "/x/f", "/x/f", "l"),
            ("/d/l/", "/x/e", "/x/e/", "l"),
            ("/d/l/.", "/x", "/x/.", ""),
            ("/d/l", "/x/l", "/x/l", ""),
            ("l", "f", "f", "l"),
        ] {
            assert_eq!(rebased(path, target), (resolved.to_owned(), rename.to_owned()), "{path}");
        }
        assert_eq!(local("/a/../b/./").unwrap(), "/b/./");
        assert_eq!(local("/a/.").unwrap(), "/a/.");
    }
}
