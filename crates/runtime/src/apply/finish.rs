//! The last stretch of every process of a container, first or further: it is in its namespaces and sees its root, and
//! becomes what its plan says, up to the execution of its program.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::ContainerState;
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::thread::CpuSet;
use skiff_sys::sched::{self, SchedAttr};

use super::console::{self, Terminal};
use super::gate::{self, OwnedGate};
use super::hooks;
use super::sync::{self, Report};
use super::{Stage, StageError, Start, Stdio, Surroundings, idmap, limits, privileges, program};
use crate::plan::{Hook, Plan, Process};

/// As many as fit into the set; those that are not there or not allowed are left out by the kernel.
const EVERY_CPU: [u32; CpuSet::MAX_CPU] = {
    let mut all = [0; CpuSet::MAX_CPU];
    let mut cpu = 0;
    while cpu < all.len() {
        all[cpu] = cpu as u32;
        cpu += 1;
    }
    all
};

/// What the last stretch needs.
pub(super) struct Finish<'a> {
    pub(super) process: &'a Process,
    pub(super) surroundings: &'a Surroundings<'a>,
    /// The host's procfs.
    pub(super) proc: BorrowedFd<'a>,
    pub(super) channel: Channel,
    pub(super) terminal: Option<Terminal>,
    /// The name of the session keyring.
    pub(super) keyring: Option<CString>,
    /// Whether the process is in a user namespace of the container's, so that the parent does what takes the host's
    /// privileges.
    pub(super) in_userns: bool,
    /// The plan of the container, for a first process.
    pub(super) plan: Option<&'a Plan>,
}

/// The socket to the parent; after a `create`, what leads to whoever gives the start signal.
#[derive(Debug)]
pub(super) enum Channel {
    /// The parent waits.
    Parent(OwnedFd),
    /// The parent has gone, and the gate is where failures are told.
    Gate(OwnedFd),
}

impl Channel {
    fn report(&self, report: &Report, fds: &[BorrowedFd<'_>]) -> Result<(), StageError> {
        match self {
            Self::Parent(socket) => sync::report(socket, report, fds),
            Self::Gate(_) => Ok(()),
        }
    }

    /// Tells why it failed.
    pub(super) fn fail(&self, error: StageError) {
        match self {
            Self::Parent(socket) => sync::report_failure(socket, error),
            Self::Gate(reports) => gate::report(reports, error),
        }
    }
}

/// Ends in the program, or in the end of the process. Nothing is ever dropped on the way: descriptors of the program's
/// are placed at numbers at which this process may have had some of its own.
pub(super) fn run(mut finish: Finish<'_>) -> ! {
    let error = match prepare(&mut finish) {
        Ok((program, gate)) => match wait(&mut finish, gate, program.env()) {
            Ok(()) => program.execute(),
            Err(error) => error,
        },
        Err(error) => error,
    };
    finish.channel.fail(error);
    skiff_sys::exec::exit_now(1)
}

fn prepare(finish: &mut Finish<'_>) -> Result<(program::Program, Option<OwnedGate>), StageError> {
    let process = finish.process;
    if let Some(name) = &finish.keyring {
        match skiff_sys::keyring::join_session(Some(name)) {
            // A kernel without keyrings has none to share.
            Ok(()) | Err(Errno::NOSYS) => {}
            Err(errno) => return Err(StageError::new(Stage::Keyring, errno, name.to_string_lossy())),
        }
    }
    schedule(process)?;
    if !finish.in_userns {
        limits::set_oom_score(process.oom_score_adj, finish.proc, "self")?;
    }
    set_labels(process, finish.proc)?;
    if process.no_new_privs {
        rustix::thread::set_no_new_privs(true)
            .map_err(|errno| StageError::new(Stage::Capabilities, errno, "no_new_privs"))?;
    }
    rustix::process::umask(Mode::from_raw_mode(process.umask));
    let gate = clear_the_way(finish)?;
    place_descriptors(finish)?;
    let gate = gate.map(|gate| keep_only(gate, finish)).transpose()?;
    close_the_rest(finish, gate.as_ref())?;
    limits::set(&process.rlimits)?;
    // Without no_new_privs loading a filter takes CAP_SYS_ADMIN; with it the filter comes as late as possible.
    if !process.no_new_privs {
        load_filter(finish)?;
    }
    let entered = rustix::process::chdir(process.cwd.as_str());
    privileges::become_process(process, true)?;
    enter_working_directory(process, entered)?;
    if finish.surroundings.die_with_parent {
        // After the change of user, which resets it.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|errno| StageError::new(Stage::Sync, errno, "parent death signal"))?;
    }
    skiff_sys::signal::default_all();
    let program = program::find(process)?;
    if process.no_new_privs {
        load_filter(finish)?;
    }
    Ok((program, gate))
}

/// Waits for the start signal, and runs the last hooks.
fn wait(finish: &mut Finish<'_>, gate: Option<OwnedGate>, env: &[String]) -> Result<(), StageError> {
    finish.channel.report(&Report::Ready, &[])?;
    match (gate, &finish.channel) {
        (Some(gate), _) => {
            // The parent has what it waited for: its end of the socket closes.
            finish.channel = Channel::Gate(gate.reports);
            gate::wait(&gate.start)?;
        }
        (None, Channel::Parent(socket)) if matches!(finish.surroundings.start, Start::Parent) => {
            sync::wait(socket)?;
        }
        (None, Channel::Parent(_)) => {}
        (None, Channel::Gate(_)) => {}
    }
    finish.plan.map_or(Ok(()), |plan| run_start_hooks(plan, env))
}

fn run_start_hooks(plan: &Plan, env: &[String]) -> Result<(), StageError> {
    let start: &[Hook] = &plan.hooks.start_container;
    if start.is_empty() {
        return Ok(());
    }
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let place = hooks::Place { directory: Path::new("."), env: Some(env) };
    hooks::run("startContainer", start, &hooks::state(plan, ContainerState::Created, Some(pid)), place)
}

/// A directory that only root, or only the user, can enter: one of both has succeeded. What is outside of the root
/// shows by its name (CVE-2024-21626).
fn enter_working_directory(process: &Process, entered: Result<(), Errno>) -> Result<(), StageError> {
    let failed = |errno| StageError::new(Stage::WorkingDirectory, errno, &process.cwd);
    match rustix::process::chdir(process.cwd.as_str()) {
        Ok(()) => {}
        Err(Errno::ACCESS) => entered.map_err(failed)?,
        Err(errno) => return Err(failed(errno)),
    }
    let name = rustix::process::getcwd(Vec::new()).map_err(failed)?;
    if name.as_bytes().starts_with(b"/") { Ok(()) } else { Err(failed(Errno::NOENT)) }
}

fn load_filter(finish: &Finish<'_>) -> Result<(), StageError> {
    let Some(filter) = &finish.process.seccomp else { return Ok(()) };
    if let Some(listener) = privileges::load_filter(filter)? {
        finish.channel.report(&Report::Listener, &[listener.as_fd()])?;
    }
    Ok(())
}

fn schedule(process: &Process) -> Result<(), StageError> {
    let failed = |what: &str| {
        let detail = what.to_owned();
        move |errno| StageError::new(Stage::Scheduling, errno, detail)
    };
    match (&process.final_cpus, &process.initial_cpus) {
        (Some(cpus), _) => set_affinity(cpus).map_err(failed("CPU affinity"))?,
        // To whatever CPUs the runtime was bound, the container may use those of its cgroup.
        (None, None) => set_affinity(&EVERY_CPU).map_err(failed("CPU affinity"))?,
        (None, Some(_)) => {}
    }
    if let Some(plan) = &process.scheduling {
        let attributes = SchedAttr {
            policy: plan.policy,
            flags: plan.flags,
            nice: plan.nice,
            priority: plan.priority,
            runtime: plan.runtime,
            deadline: plan.deadline,
            period: plan.period,
        };
        sched::set_scheduler(&attributes).map_err(failed("scheduler"))?;
    }
    if let Some((class, level)) = process.io_priority {
        sched::set_io_priority(class, level).map_err(failed("I/O priority"))?;
    }
    if let Some(persona) = process.personality {
        sched::set_personality(persona).map_err(failed("personality"))?;
    }
    Ok(())
}

/// Binds the calling process to these CPUs.
pub(super) fn set_affinity(cpus: &[u32]) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu as usize);
    }
    rustix::thread::sched_setaffinity(None, &set)
}

/// Labels take effect at exec.
fn set_labels(process: &Process, proc: BorrowedFd<'_>) -> Result<(), StageError> {
    let set = |file: &str, label: &str| idmap::write_at(proc, file, label.as_bytes());
    if let Some(profile) = &process.apparmor {
        let command = format!("exec {profile}");
        // Before Linux 5.8 AppArmor has no directory of its own.
        let written = match set("self/attr/apparmor/exec", &command) {
            Err(Errno::NOENT) if !exists(proc, "self/attr/apparmor/exec") => set("self/attr/exec", &command),
            written => written,
        };
        // A profile that is not loaded is ENOENT.
        written
            .map_err(|errno| StageError::new(Stage::Label, errno, format!("AppArmor profile {profile:?}")))?;
    }
    match &process.selinux {
        Some(label) => set("self/attr/exec", label)
            .map_err(|errno| StageError::new(Stage::Label, errno, format!("SELinux label {label:?}"))),
        None => Ok(()),
    }
}

fn exists(proc: BorrowedFd<'_>, file: &str) -> bool {
    rustix::fs::accessat(proc, file, rustix::fs::Access::EXISTS, rustix::fs::AtFlags::empty()).is_ok()
}

/// Moves what this process itself still needs above the numbers that the program's descriptors take.
fn clear_the_way(finish: &mut Finish<'_>) -> Result<Option<OwnedGate>, StageError> {
    let failed = |errno| StageError::new(Stage::Streams, errno, "descriptors");
    let above = 3 + finish.surroundings.preserved.len() as i32;
    let moved = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, above).map_err(failed);
    if let Channel::Parent(socket) = &finish.channel {
        finish.channel = Channel::Parent(moved(socket.as_fd())?);
    }
    let Start::Gate(gate) = &finish.surroundings.start else { return Ok(None) };
    Ok(Some(OwnedGate { start: moved(gate.start)?, reports: moved(gate.reports)? }))
}

/// Standard streams at 0 to 2, preserved descriptors from 3 on, and everything else closed by exec.
fn place_descriptors(finish: &Finish<'_>) -> Result<(), StageError> {
    let failed = |errno| StageError::new(Stage::Streams, errno, "descriptors");
    let above = 3 + finish.surroundings.preserved.len() as i32;
    let moved = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, above);
    let preserved: Result<Vec<OwnedFd>, Errno> =
        finish.surroundings.preserved.iter().map(|fd| moved(fd.as_fd())).collect();
    let streams: [BorrowedFd<'_>; 3] = match (&finish.terminal, &finish.surroundings.stdio) {
        (Some(terminal), _) => {
            console::take_control(&terminal.slave)?;
            [terminal.slave.as_fd(); 3]
        }
        (None, Stdio::Fds { stdin, stdout, stderr }) => [*stdin, *stdout, *stderr],
        (None, Stdio::Terminal) => return Err(failed(Errno::NOTTY)),
    };
    let copies: Result<Vec<OwnedFd>, Errno> = streams.iter().map(|fd| moved(*fd)).collect();
    for (number, stream) in (0..).zip(copies.map_err(failed)?) {
        give_to_user(stream.as_fd(), finish.process).map_err(failed)?;
        skiff_sys::fd::place_at(stream.as_fd(), number).map_err(failed)?;
    }
    skiff_sys::fd::cloexec_from(3).map_err(failed)?;
    for (number, fd) in (3..).zip(preserved.map_err(failed)?) {
        skiff_sys::fd::place_at(fd.as_fd(), number).map_err(failed)?;
    }
    Ok(())
}

/// Closes what has been used up, before any path of the container's choice is looked at: through `/proc/self/fd` a working
/// directory or a program would otherwise lead to the host's file systems (CVE-2024-21626).
fn close_the_rest(finish: &Finish<'_>, gate: Option<&OwnedGate>) -> Result<(), StageError> {
    let above = 3 + finish.surroundings.preserved.len() as i32;
    let mut keep = vec![match &finish.channel {
        Channel::Parent(socket) | Channel::Gate(socket) => socket.as_fd(),
    }];
    keep.extend(gate.iter().flat_map(|gate| [gate.start.as_fd(), gate.reports.as_fd()]));
    skiff_sys::fd::close_from_but(above, &keep)
        .map_err(|errno| StageError::new(Stage::Streams, errno, "descriptors"))
}

/// A process that waits at the gate may wait for long: it keeps nothing open but the gate, the socket until then, and what
/// the program gets. Before the filter, which may not know the calls. What owned the other descriptors is never dropped
/// (see [`run`]).
fn keep_only(gate: OwnedGate, finish: &mut Finish<'_>) -> Result<OwnedGate, StageError> {
    let failed = |errno| StageError::new(Stage::Streams, errno, "descriptors");
    let Channel::Parent(socket) = &mut finish.channel else { return Ok(gate) };
    let first = 3 + finish.surroundings.preserved.len() as i32;
    // Above their places first, so that none is overwritten before it is moved.
    let above = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, first + 3).map_err(failed);
    let copies = [above(socket)?, above(&gate.start)?, above(&gate.reports)?];
    let placed = |fd: &OwnedFd, number: i32| -> Result<OwnedFd, StageError> {
        skiff_sys::fd::place_at(fd.as_fd(), number).map_err(failed)?;
        let placed = skiff_sys::fd::adopt(number).map_err(failed)?;
        rustix::io::fcntl_setfd(&placed, rustix::io::FdFlags::CLOEXEC).map_err(failed)?;
        Ok(placed)
    };
    let old = std::mem::replace(socket, placed(&copies[0], first)?);
    let kept = OwnedGate { start: placed(&copies[1], first + 1)?, reports: placed(&copies[2], first + 2)? };
    std::mem::forget((old, gate, copies));
    skiff_sys::fd::close_from(first + 3).map_err(failed)?;
    Ok(kept)
}

/// A process must be able to open its own standard streams again through `/proc/self/fd`. The null device stays root's.
fn give_to_user(stream: BorrowedFd<'_>, process: &Process) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(stream)?;
    if stat.st_uid == process.uid || stat.st_rdev == rustix::fs::makedev(1, 3) {
        return Ok(());
    }
    match rustix::fs::fchown(stream, Some(Uid::from_raw(process.uid)), Some(Gid::from_raw(stat.st_gid))) {
        // Owners that have no name in a user namespace, sockets, and read-only file systems.
        Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => Ok(()),
        Err(errno) => Err(errno),
    }
}
