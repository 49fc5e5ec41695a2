//! Finding the program in the container, and executing it.

use std::ffi::CString;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use skiff_sys::exec::{self, StringList};

use super::{Stage, StageError};
use crate::plan::Process;

/// No more of the list of users is read.
const PASSWD_MAX: usize = 1 << 20;

/// A program found, with everything execve wants.
pub(super) struct Program {
    path: CString,
    args: StringList,
    env: Vec<String>,
    env_list: StringList,
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
    let env = environment(process);
    Ok(Program { path, args: strings(&process.args)?, env_list: strings(&env)?, env })
}

/// The variables of the plan, and where the user is at home if they do not say so.
fn environment(process: &Process) -> Vec<String> {
    let mut env = process.env.clone();
    if env.iter().any(|variable| variable.starts_with("HOME=") && variable.len() > "HOME=".len()) {
        return env;
    }
    env.retain(|variable| variable != "HOME=");
    env.push(format!("HOME={}", home(process.uid)));
    env
}

/// As the container's own list of users has it; `/` for whoever is not in it.
fn home(uid: u32) -> String {
    let mut text = vec![0; PASSWD_MAX];
    // The file is the container's, and may be anything at all.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let length = rustix::fs::open("/etc/passwd", flags, Mode::empty())
        .and_then(|file| {
            let mut length = 0;
            while length < text.len() {
                match rustix::io::read(&file, &mut text[length..])? {
                    0 => break,
                    more => length += more,
                }
            }
            Ok(length)
        })
        .unwrap_or(0);
    let text = String::from_utf8_lossy(&text[..length]);
    let of_user = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let own = fields.next()?.parse() == Ok(uid);
        fields.nth(2).filter(|home| own && home.starts_with('/')).map(str::to_owned)
    };
    text.lines().find_map(of_user).unwrap_or_else(|| "/".to_owned())
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
    // By the real ids, which are the effective ones by now: the call for the latter is younger than many a filter.
    match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::empty()) {
        // The filter's answer, not the file's: exec will tell.
        Err(Errno::PERM | Errno::NOSYS) => Ok(()),
        other => other,
    }
}

impl Program {
    /// Its environment.
    pub(super) fn env(&self) -> &[String] {
        &self.env
    }

    /// Executes it; gives back why it could not.
    pub(super) fn execute(&self) -> StageError {
        match exec::execve(&self.path, &self.args, &self.env_list) {
            Ok(never) => match never {},
            Err(errno) => StageError::new(Stage::Exec, errno, self.path.to_string_lossy()),
        }
    }
}
