//! Finding the program in the container, and executing it.

use std::ffi::CString;

use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;
use skiff_sys::exec::{self, StringList};

use super::{Stage, StageError};
use crate::plan::Process;

/// A program found, with everything execve wants.
pub(super) struct Program {
    path: CString,
    args: StringList,
    env: StringList,
}

/// Looks the program up as a shell would, with the eyes of the user that the process now is. The words are those of
/// Go's `exec.LookPath`, by which callers of OCI runtimes recognise the case.
pub(super) fn find(process: &Process) -> Result<Program, StageError> {
    let name = process.args.first().map_or("", String::as_str);
    let path = if name.contains('/') { check_given(name)? } else { search(name, process)? };
    let strings = |list: &[String]| {
        let list: Result<Vec<CString>, _> = list.iter().map(|text| CString::new(text.as_str())).collect();
        list.map(StringList::new).map_err(|_| StageError::new(Stage::Exec, Errno::INVAL, name))
    };
    let path = CString::new(path).map_err(|_| StageError::new(Stage::Exec, Errno::INVAL, name))?;
    Ok(Program { path, args: strings(&process.args)?, env: strings(&process.env)? })
}

fn check_given(name: &str) -> Result<String, StageError> {
    check(name).map(|()| name.to_owned()).map_err(|errno| {
        let what = match errno {
            Errno::ACCESS => "permission denied".to_owned(),
            Errno::ISDIR => "is a directory".to_owned(),
            errno => format!("stat {name}: {}", super::error::errno_text(errno.raw_os_error())),
        };
        StageError::new(Stage::Lookup, errno, format!("{name:?}: {what}"))
    })
}

fn search(name: &str, process: &Process) -> Result<String, StageError> {
    let path = process.env.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
    let mut denied = false;
    for directory in path.unwrap_or_default().split(':') {
        if name.is_empty() {
            break;
        }
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = format!("{directory}/{name}");
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(errno) => denied |= errno == Errno::ACCESS,
        }
    }
    let (errno, what) = match denied {
        true => (Errno::ACCESS, "permission denied"),
        false => (Errno::NOENT, "executable file not found in $PATH"),
    };
    Err(StageError::new(Stage::Lookup, errno, format!("{name:?}: {what}")))
}

fn check(path: &str) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    // Root passes access checks for files that nobody may execute, and fails at exec.
    if stat.st_mode & 0o111 == 0 {
        return Err(Errno::ACCESS);
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

impl Program {
    /// Executes it; gives back why it could not.
    pub(super) fn execute(&self) -> StageError {
        match exec::execve(&self.path, &self.args, &self.env) {
            Ok(never) => match never {},
            Err(errno) => StageError::new(Stage::Exec, errno, self.path.to_string_lossy()),
        }
    }
}
