//! `kill`.

use rustix::io::Errno;
use rustix::process::Signal;

use super::OciError;
use super::args::{Global, Kill};
use super::record::{self, Status};

/// Names without `SIG`, by number from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Sends a signal to the first process of a container, or to all of its processes.
pub(super) fn kill(global: &Global, args: &Kill) -> Result<(), OciError> {
    let signal = parse(&args.signal)?;
    let (directory, record) = record::find(global, &args.id)?;
    let cgroup = record.cgroup();
    let stopped = || OciError::State("container not running".to_owned());
    if args.all {
        return match signal {
            Some(signal) if cgroup.exists() => Ok(cgroup.signal_all(signal)?),
            _ => Ok(()),
        };
    }
    // Without a pid namespace of its own a container outlives its first process, and dies only process by process.
    if signal == Some(Signal::KILL) && !record.owns_pids() && !cgroup.pids()?.is_empty() {
        cgroup.kill_all()?;
        return if cgroup.is_frozen()? { Ok(cgroup.thaw()?) } else { Ok(()) };
    }
    if record.status(&directory) == Status::Stopped {
        return Err(stopped());
    }
    let (_, pidfd) = record.open_process().ok_or_else(stopped)?;
    let Some(signal) = signal else { return Ok(()) };
    match rustix::process::pidfd_send_signal(&pidfd, signal) {
        Err(Errno::SRCH) => return Err(stopped()),
        other => other.map_err(OciError::kernel("kill"))?,
    }
    // On v1 what is frozen does not even die.
    if signal == Signal::KILL && record.status(&directory) == Status::Paused {
        cgroup.thaw()?;
    }
    Ok(())
}

/// The signal of that name or number; `None` for 0, which only asks whether the container runs.
fn parse(text: &str) -> Result<Option<Signal>, OciError> {
    if text == "0" {
        return Ok(None);
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = match text.parse::<i32>() {
        Ok(number) => Some(number),
        Err(_) => real_time(name).or_else(|| {
            NAMES.iter().position(|known| *known == name).and_then(|index| i32::try_from(index + 1).ok())
        }),
    };
    match number.and_then(skiff_sys::signal::from_number) {
        Some(signal) => Ok(Some(signal)),
        None => Err(OciError::Argument(format!("unknown signal {text:?}"))),
    }
}

/// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`.
fn real_time(name: &str) -> Option<i32> {
    let offset = |rest: &str| if rest.is_empty() { Some(0) } else { rest.parse::<i32>().ok() };
    match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => Some(34 + offset(rest)?),
        (_, Some(rest)) => Some(64 + offset(rest)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in
            [("SIGKILL", 9), ("term", 15), ("9", 9), ("RTMIN+3", 37), ("SIGRTMAX", 64), ("SYS", 31)]
        {
            assert_eq!(parse(text).unwrap().unwrap().as_raw(), number, "{text}");
        }
        assert_eq!(parse("0").unwrap(), None);
        for text in ["", "65", "SIGNONE", "RTMIN+x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
