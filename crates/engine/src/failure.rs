//! Why a program did not start: from a stage and an error number to Docker's words and exit codes.

use rustix::io::Errno;
use skiff_runtime::{
    apply::{Stage, StageError, errno_text},
    launcher::StartError,
    plan::PlanError,
};

use crate::{Error, error::CREATE};

/// Exit codes that tell a program which could not be run from one that ran (`docker run`'s contract).
pub(crate) const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
/// Everything else that keeps a container from starting.
pub(crate) const NOT_STARTED: i32 = 128;

/// A start that failed, as the API tells it.
pub(crate) fn start(error: StartError) -> Error {
    match error {
        StartError::Failed(StageError { stage: Stage::Runtime, detail, .. }) => {
            let exit_code = exit_code_of(&detail);
            Error::NotStarted { text: format!("{CREATE}{detail}"), exit_code }
        }
        StartError::Failed(failure) => {
            let (text, exit_code) = words(&failure);
            Error::create_failed(format!("unable to start container process: {text}"), exit_code)
        }
        // Found while the request was put together: its words are whole.
        StartError::RunDir(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            Error::NotStarted { text: error.to_string(), exit_code: NOT_STARTED }
        }
        other => Error::create_failed(other, NOT_STARTED),
    }
}

/// The exit code for what another runtime said: Docker too looks for words in it.
fn exit_code_of(text: &str) -> i32 {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["executable file not found", "no such file or directory"]) {
        NOT_FOUND
    } else if says(&["permission denied", "not a directory", "invalid argument", "exec format error"]) {
        NOT_EXECUTABLE
    } else {
        NOT_STARTED
    }
}

/// A plan that cannot be made, in runc's words where Docker's users know them.
pub(crate) fn plan(error: &PlanError) -> Error {
    let text = match error {
        PlanError::Invalid { field: "linux.sysctl", reason } => {
            let reason = reason
                .replace(
                    "is not allowed in the host's network namespace",
                    "not allowed in host network namespace",
                )
                .replace("in the host's IPC namespace", "in the hosts ipc namespace")
                .replace(
                    "conflicts with hostname",
                    "is not allowed as it conflicts with the OCI \"hostname\" field",
                );
            format!("sysctl {reason}")
        }
        PlanError::Invalid { field: "linux.resources", reason } => match reason.split_once(": ") {
            Some(("invalid cpu.shares", bound)) => format!(
                "unable to start container process: error during container init: error setting cgroup config for procHooks process: {bound}"
            ),
            _ => error.to_string(),
        },
        other => other.to_string(),
    };
    Error::create_failed(text, NOT_STARTED)
}

/// An exec that failed: what the client is told, and its exit code.
pub(crate) fn exec(failure: &StageError) -> (String, i32) {
    if failure.stage == Stage::Runtime {
        return (format!("OCI runtime exec failed: {}", failure.detail), exit_code_of(&failure.detail));
    }
    let (text, exit_code) = words(failure);
    let text = text.strip_prefix("error during container init: ").unwrap_or(&text);
    (format!("OCI runtime exec failed: exec failed: unable to start container process: {text}"), exit_code)
}

fn words(failure: &StageError) -> (String, i32) {
    let errno = failure.kernel_errno();
    let program = &failure.detail;
    let text = match failure.stage {
        // The runtime's own words are Docker's already.
        Stage::Lookup if errno == Some(Errno::ISDIR) => format!("exec: {program}: permission denied"),
        Stage::Lookup => format!("exec: {program}"),
        Stage::Exec => format!("exec: {program:?}: {}", errno_text(failure.errno)),
        Stage::WorkingDirectory => {
            format!("chdir to cwd ({program:?}) set in config.json failed: {}", errno_text(failure.errno))
        }
        Stage::Label if program.starts_with("AppArmor") => format!(
            "unable to apply apparmor profile: apparmor failed to apply profile: write /proc/thread-self/attr/apparmor/exec: {}",
            errno_text(failure.errno)
        ),
        Stage::Mount if errno == Some(Errno::NOTDIR) => format!(
            "error mounting {program}: not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type"
        ),
        // The detail tells which limit and, where a privilege is missing, which.
        Stage::Rlimit => {
            let errno = errno_text(failure.errno);
            format!("error setting rlimits for ready process: error setting rlimit {program}: {errno}")
        }
        Stage::Sysctl => sysctl(failure),
        Stage::Hostname => format!("{program}: {}", errno_text(failure.errno)),
        Stage::Cgroup => {
            let errno = errno_text(failure.errno);
            format!("error setting cgroup config for procHooks process: {program}: {errno}")
        }
        _ => failure.to_string(),
    };
    let runs = matches!(failure.stage, Stage::Lookup | Stage::Exec);
    let exit_code = match errno {
        // A profile that is not loaded: Docker looks for the program's name in the words.
        _ if failure.stage == Stage::Label => NOT_STARTED,
        Some(Errno::NOENT | Errno::NOTDIR) => NOT_FOUND,
        Some(Errno::ACCESS | Errno::ISDIR | Errno::NOEXEC) if runs => NOT_EXECUTABLE,
        _ => NOT_STARTED,
    };
    (format!("error during container init: {text}"), exit_code)
}

/// The detail of a kernel parameter that could not be set is `name = "value"`.
fn sysctl(failure: &StageError) -> String {
    let name = failure.detail.split(" = ").next().unwrap_or_default();
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let errno = errno_text(failure.errno);
    match failure.kernel_errno() {
        Some(Errno::NOENT) => format!("open sysctl {name} file: open {path}: {errno}"),
        _ => format!("failed to write sysctl {}: write {path}: {errno}", failure.detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(stage: Stage, errno: Errno, detail: &str) -> StageError {
        StageError::new(stage, errno, detail)
    }

    #[test]
    fn a_process_that_was_killed_on_the_way_is_told_without_an_error_number() {
        let killed = "the process was killed by signal 9 before it was ready";
        let (text, code) = exec(&StageError::refused(Stage::Sync, killed));
        assert!(text.contains(killed), "{text}");
        assert_eq!(code, NOT_STARTED);
    }

    /// As a real Docker answers.
    #[test]
    fn failures_become_dockers_words_and_exit_codes() {
        const CREATE: &str = "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: ";
        for (failure, text, code) in [
            (
                failure(Stage::Lookup, Errno::NOENT, r#""nope": executable file not found in $PATH"#),
                r#"exec: "nope": executable file not found in $PATH"#,
                127,
            ),
            (
                failure(Stage::Exec, Errno::ACCESS, "/etc/passwd"),
                r#"exec: "/etc/passwd": permission denied"#,
                126,
            ),
            (
                failure(Stage::Lookup, Errno::ISDIR, r#""/etc": is a directory"#),
                r#"exec: "/etc": is a directory: permission denied"#,
                126,
            ),
        ] {
            let (on_exec, exec_code) = exec(&failure);
            assert!(on_exec.ends_with(&format!("unable to start container process: {text}")), "{on_exec}");
            assert_eq!(exec_code, code);
            match start(StartError::Failed(failure)) {
                Error::NotStarted { text: whole, exit_code } => {
                    assert_eq!(whole, format!("{CREATE}{text}"));
                    assert_eq!(exit_code, code);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_missing_directory_of_an_exec_is_not_found() {
        let (text, code) = exec(&failure(Stage::WorkingDirectory, Errno::NOENT, "/nope"));
        assert_eq!(
            text,
            r#"OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd ("/nope") set in config.json failed: no such file or directory"#
        );
        assert_eq!(code, 127);
    }
}
