//! Resource limits and the out-of-memory score.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit as Values};

use super::{Stage, StageError, idmap};
use crate::plan::Rlimit;

/// By number, as in asm-generic/resource.h.
const RESOURCES: [(Resource, &str); 16] = [
    (Resource::Cpu, "RLIMIT_CPU"),
    (Resource::Fsize, "RLIMIT_FSIZE"),
    (Resource::Data, "RLIMIT_DATA"),
    (Resource::Stack, "RLIMIT_STACK"),
    (Resource::Core, "RLIMIT_CORE"),
    (Resource::Rss, "RLIMIT_RSS"),
    (Resource::Nproc, "RLIMIT_NPROC"),
    (Resource::Nofile, "RLIMIT_NOFILE"),
    (Resource::Memlock, "RLIMIT_MEMLOCK"),
    (Resource::As, "RLIMIT_AS"),
    (Resource::Locks, "RLIMIT_LOCKS"),
    (Resource::Sigpending, "RLIMIT_SIGPENDING"),
    (Resource::Msgqueue, "RLIMIT_MSGQUEUE"),
    (Resource::Nice, "RLIMIT_NICE"),
    (Resource::Rtprio, "RLIMIT_RTPRIO"),
    (Resource::Rttime, "RLIMIT_RTTIME"),
];

/// Sets the limits of the calling process.
pub(super) fn set(limits: &[Rlimit]) -> Result<(), StageError> {
    limits.iter().try_for_each(|limit| change(None, limit, values(limit)))
}

/// Raises the hard limits of a child that are too low for its plan. A process in a user namespace may lower its limits
/// itself, but it takes privileges of the host's to raise them.
pub(super) fn raise(pid: Pid, limits: &[Rlimit]) -> Result<(), StageError> {
    for limit in limits {
        let Some((resource, _)) = RESOURCES.get(limit.resource as usize) else { continue };
        let current = rustix::process::getrlimit(*resource);
        if current.maximum.is_some_and(|maximum| limit.hard > maximum) {
            let raised = Values { current: current.current, maximum: values(limit).maximum };
            change(Some(pid), limit, raised)?;
        }
    }
    Ok(())
}

fn values(limit: &Rlimit) -> Values {
    let finite = |value: u64| (value != u64::MAX).then_some(value);
    Values { current: finite(limit.soft), maximum: finite(limit.hard) }
}

fn change(pid: Option<Pid>, limit: &Rlimit, values: Values) -> Result<(), StageError> {
    let Some((resource, name)) = RESOURCES.get(limit.resource as usize) else {
        return Err(StageError::new(Stage::Rlimit, Errno::INVAL, format!("resource {}", limit.resource)));
    };
    rustix::process::prlimit(pid, *resource, values).map(drop).map_err(|errno| {
        let hard = rustix::process::getrlimit(*resource).maximum;
        let shown = |value: Option<u64>| value.map_or("unlimited".to_owned(), |value| value.to_string());
        let detail = match hard {
            Some(maximum) if errno == Errno::PERM && limit.hard > maximum => format!(
                "{name}: raising the hard limit from {maximum} to {} needs CAP_SYS_RESOURCE",
                shown(values.maximum)
            ),
            _ => format!("{name} {}:{}", shown(values.current), shown(values.maximum)),
        };
        let detail = format!("type {} ({detail})", limit.resource);
        StageError::new(Stage::Rlimit, errno, detail)
    })
}

/// Sets the out-of-memory score of a process, by its directory in procfs.
pub(super) fn set_oom_score(
    score: Option<i32>,
    proc: BorrowedFd<'_>,
    process: &str,
) -> Result<(), StageError> {
    let Some(score) = score else { return Ok(()) };
    let text = score.to_string();
    idmap::write_at(proc, &format!("{process}/oom_score_adj"), text.as_bytes()).map_err(|errno| {
        let detail = match errno {
            Errno::ACCESS | Errno::PERM => format!("lowering the score to {score} needs CAP_SYS_RESOURCE"),
            _ => text,
        };
        StageError::new(Stage::OomScore, errno, detail)
    })
}
