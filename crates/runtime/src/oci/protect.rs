//! Executes this very program once more from where no container can write to it, before it enters one.

use std::ffi::{CString, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use skiff_sys::exe;
use skiff_sys::exec::{self, StringList};

use super::OciError;

/// Set in the environment of the protected execution. Whoever sets it himself does without.
const MARK: &str = "_SKIFF_RUNTIME_PROTECTED";

/// Comes back in the protected execution only.
pub(super) fn ensure() -> Result<(), OciError> {
    if std::env::var_os(MARK).is_some() {
        return Ok(());
    }
    let failed = OciError::kernel("protecting the runtime's binary");
    let program = match exe::read_only_view() {
        Ok(view) => view,
        Err(_) => match exe::sealed_copy(c"skiff-runtime") {
            Ok(copy) => copy,
            Err(errno) => return Err(failed(errno)),
        },
    };
    let variables = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    });
    let args = strings(std::env::args_os())?;
    let env = strings(variables.chain([OsString::from(format!("{MARK}=1"))]))?;
    let Err(errno) = exec::execveat(program.as_fd(), &args, &env);
    Err(failed(errno))
}

fn strings(list: impl Iterator<Item = OsString>) -> Result<StringList, OciError> {
    let list: Result<Vec<CString>, _> = list.map(|text| CString::new(text.as_bytes())).collect();
    list.map(StringList::new).map_err(|_| OciError::Argument("a null byte in an argument".to_owned()))
}
