//! A process: what it runs, as whom, with which privileges and limits.

use std::collections::HashSet;
use std::path::PathBuf;

use oci_spec::runtime as oci;
use oci_spec::runtime::{IOPriorityClass, LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy};
use serde::{Deserialize, Serialize};

use super::{HostFacts, PlanError};
use crate::capabilities::CapSet;
use crate::seccomp::{self, Program};

/// One process of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The program and its arguments; never empty.
    pub args: Vec<String>,
    /// Its whole environment, `NAME=value`.
    pub env: Vec<String>,
    /// Its working directory, absolute in the container.
    pub cwd: String,
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode mask; 0o022 unless said otherwise.
    pub umask: u32,
    /// Whether it gets a pseudo terminal.
    pub terminal: bool,
    /// Columns and rows of the terminal.
    pub console_size: Option<(u16, u16)>,
    /// Capability sets; what the user id gives if there are none.
    pub capabilities: Option<Capabilities>,
    /// No gain of privileges by exec.
    pub no_new_privs: bool,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// How willingly the kernel kills it when memory runs out, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// SELinux label.
    pub selinux: Option<String>,
    /// I/O class (`IOPRIO_CLASS_*`) and level.
    pub io_priority: Option<(u8, u8)>,
    /// CPU scheduling.
    pub scheduling: Option<Scheduling>,
    /// CPUs while it joins its cgroup (exec only).
    pub initial_cpus: Option<Vec<u32>>,
    /// CPUs once it has joined its cgroup (exec only).
    pub final_cpus: Option<Vec<u32>>,
    /// Execution domain, as personality(2) takes it.
    pub personality: Option<u32>,
    /// System call filter.
    pub seccomp: Option<SeccompFilter>,
}

/// Capability sets, as the kernel's bit masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What can ever be had.
    pub bounding: u64,
    /// What counts.
    pub effective: u64,
    /// What passes exec of a file with the same bits.
    pub inheritable: u64,
    /// What can be made effective.
    pub permitted: u64,
    /// What passes exec of any file.
    pub ambient: u64,
}

/// One resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Soft limit; `u64::MAX` is none.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is none.
    pub hard: u64,
}

/// CPU scheduling, as sched_setattr(2) takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduling {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Static priority.
    pub priority: u32,
    /// Run time per period, nanoseconds.
    pub runtime: u64,
    /// Relative deadline, nanoseconds.
    pub deadline: u64,
    /// Period, nanoseconds.
    pub period: u64,
}

/// The parts of a process that the specification keeps in its `linux` section.
pub(super) struct OfLinux<'spec> {
    pub(super) personality: Option<&'spec oci::LinuxPersonality>,
    pub(super) seccomp: Option<SeccompFilter>,
}

/// Turns a process of the specification into one of a plan.
pub(super) fn plan(
    process: &oci::Process,
    linux: OfLinux<'_>,
    host: &HostFacts,
) -> Result<Process, PlanError> {
    let args = process.args().clone().unwrap_or_default();
    if args.is_empty() {
        return Err(PlanError::Missing { field: "process.args" });
    }
    let env = environment(process.env().clone().unwrap_or_default())?;
    for text in args.iter().chain(&env) {
        if text.contains('\0') {
            return Err(PlanError::invalid("process", format!("{text:?} contains a null byte")));
        }
    }
    let user = process.user();
    let affinity = process.exec_cpu_affinity().as_ref();
    Ok(Process {
        args,
        env,
        cwd: super::absolute_path("process.cwd", process.cwd())?,
        uid: user.uid(),
        gid: user.gid(),
        groups: user.additional_gids().clone().unwrap_or_default(),
        umask: user.umask().unwrap_or(0o022) & 0o777,
        terminal: process.terminal().unwrap_or(false),
        console_size: console_size(process),
        capabilities: process.capabilities().as_ref().map(capabilities).transpose()?,
        no_new_privs: process.no_new_privileges().unwrap_or(false),
        rlimits: rlimits(process.rlimits().as_deref().unwrap_or_default())?,
        oom_score_adj: oom_score_adj(process.oom_score_adj())?,
        apparmor: apparmor(process.apparmor_profile().as_deref(), host)?,
        selinux: selinux(process.selinux_label().as_deref(), host)?,
        io_priority: process.io_priority().as_ref().map(io_priority).transpose()?,
        scheduling: process.scheduler().as_ref().map(scheduling).transpose()?,
        initial_cpus: cpus(affinity.and_then(|affinity| affinity.initial().as_deref()))?,
        final_cpus: cpus(affinity.and_then(|affinity| affinity.cpu_affinity_final().as_deref()))?,
        personality: linux.personality.map(personality).transpose()?,
        seccomp: linux.seccomp,
    })
}

/// A name that is there more than once has its last value.
fn environment(given: Vec<String>) -> Result<Vec<String>, PlanError> {
    let mut seen = HashSet::new();
    let mut env = Vec::with_capacity(given.len());
    for variable in given.iter().rev() {
        match variable.split_once('=') {
            Some(("", _)) => {
                return Err(PlanError::invalid("process.env", format!("{variable:?} has no name")));
            }
            None => return Err(PlanError::invalid("process.env", format!("{variable:?} has no \"=\""))),
            Some((name, _)) if !seen.insert(name) => {}
            Some(_) => env.push(variable.clone()),
        }
    }
    env.reverse();
    Ok(env)
}

fn console_size(process: &oci::Process) -> Option<(u16, u16)> {
    let size = process.console_size()?;
    let cells = |count: u64| u16::try_from(count).unwrap_or(u16::MAX);
    Some((cells(size.width()), cells(size.height())))
}

fn capabilities(sets: &oci::LinuxCapabilities) -> Result<Capabilities, PlanError> {
    let bits = |set: &Option<oci::Capabilities>| set.as_ref().map_or(0, |set| CapSet::from(set).bits());
    let mut planned = Capabilities {
        bounding: bits(sets.bounding()),
        effective: bits(sets.effective()),
        inheritable: bits(sets.inheritable()),
        permitted: bits(sets.permitted()),
        ambient: bits(sets.ambient()),
    };
    if planned.effective & !planned.permitted != 0 {
        let reason = "the effective set holds capabilities which the permitted one lacks";
        return Err(PlanError::invalid("process.capabilities", reason));
    }
    // The kernel has no ambient capability that is not inheritable; the bundle that `runc spec` writes names some.
    planned.ambient &= planned.permitted & planned.inheritable;
    Ok(planned)
}

fn rlimits(limits: &[oci::PosixRlimit]) -> Result<Vec<Rlimit>, PlanError> {
    let mut planned: Vec<Rlimit> = Vec::new();
    for limit in limits {
        let resource = rlimit_number(limit.typ());
        if planned.iter().any(|other| other.resource == resource) {
            return Err(PlanError::invalid("process.rlimits", format!("{} is there twice", limit.typ())));
        }
        if limit.soft() > limit.hard() {
            let reason = format!("the soft limit of {} is above its hard limit", limit.typ());
            return Err(PlanError::invalid("process.rlimits", reason));
        }
        planned.push(Rlimit { resource, soft: limit.soft(), hard: limit.hard() });
    }
    Ok(planned)
}

/// The numbers of asm-generic/resource.h, which x86-64 and aarch64 share.
fn rlimit_number(kind: oci::PosixRlimitType) -> u32 {
    use oci::PosixRlimitType as Type;
    match kind {
        Type::RlimitCpu => 0,
        Type::RlimitFsize => 1,
        Type::RlimitData => 2,
        Type::RlimitStack => 3,
        Type::RlimitCore => 4,
        Type::RlimitRss => 5,
        Type::RlimitNproc => 6,
        Type::RlimitNofile => 7,
        Type::RlimitMemlock => 8,
        Type::RlimitAs => 9,
        Type::RlimitLocks => 10,
        Type::RlimitSigpending => 11,
        Type::RlimitMsgqueue => 12,
        Type::RlimitNice => 13,
        Type::RlimitRtprio => 14,
        Type::RlimitRttime => 15,
    }
}

fn oom_score_adj(score: Option<i32>) -> Result<Option<i32>, PlanError> {
    match score {
        Some(score) if !(-1000..=1000).contains(&score) => {
            Err(PlanError::invalid("process.oomScoreAdj", format!("{score} is not between -1000 and 1000")))
        }
        score => Ok(score),
    }
}

fn apparmor(profile: Option<&str>, host: &HostFacts) -> Result<Option<String>, PlanError> {
    match profile.filter(|profile| !profile.is_empty()) {
        Some("unconfined") if !host.apparmor => Ok(None),
        Some(profile) if !host.apparmor => {
            let reason = format!("the profile {profile:?} was asked for, and this kernel has no AppArmor");
            Err(PlanError::unsupported("process.apparmorProfile", reason))
        }
        profile => Ok(profile.map(str::to_owned)),
    }
}

pub(super) fn selinux(label: Option<&str>, host: &HostFacts) -> Result<Option<String>, PlanError> {
    match label.filter(|label| !label.is_empty()) {
        Some(label) if !host.selinux => {
            let reason = format!("the label {label:?} was asked for, and this kernel has no SELinux");
            Err(PlanError::unsupported("selinuxLabel", reason))
        }
        label => Ok(label.map(str::to_owned)),
    }
}

fn io_priority(priority: &oci::LinuxIOPriority) -> Result<(u8, u8), PlanError> {
    let class = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u8::try_from(priority.priority()) {
        Ok(level @ 0..=7) => Ok((class, level)),
        _ => {
            let reason = format!("the priority {} is not between 0 and 7", priority.priority());
            Err(PlanError::invalid("process.ioPriority", reason))
        }
    }
}

fn scheduling(scheduler: &oci::Scheduler) -> Result<Scheduling, PlanError> {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => {
            return Err(PlanError::unsupported("process.scheduler", "Linux has no SCHED_ISO"));
        }
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let invalid = |reason: &str| Err(PlanError::invalid("process.scheduler", reason));
    let (nice, priority) = (scheduler.nice().unwrap_or(0), scheduler.priority().unwrap_or(0));
    if !(-20..=19).contains(&nice) {
        return invalid("the nice value is not between -20 and 19");
    }
    if priority != 0 && !matches!(policy, 1 | 2) {
        return invalid("a priority is for SCHED_FIFO and SCHED_RR only");
    }
    let timed = [scheduler.runtime(), scheduler.deadline(), scheduler.period()];
    if policy != 6 && timed.iter().any(|time| time.is_some_and(|time| time != 0)) {
        return invalid("runtime, deadline and period are for SCHED_DEADLINE only");
    }
    let Ok(priority) = u32::try_from(priority) else { return invalid("the priority is negative") };
    let flags = scheduler.flags().as_deref().unwrap_or_default();
    Ok(Scheduling {
        policy,
        flags: flags.iter().fold(0, |bits, flag| bits | scheduler_flag(*flag)),
        nice,
        priority,
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    })
}

fn scheduler_flag(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

/// A list such as `0-3,7`, as numbers.
fn cpus(list: Option<&str>) -> Result<Option<Vec<u32>>, PlanError> {
    let Some(list) = list.filter(|list| !list.is_empty()) else { return Ok(None) };
    let mut numbers = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            (Ok(first), Ok(last)) if first <= last && last < 1024 => numbers.extend(first..=last),
            _ => {
                let reason = format!("{list:?} is not a list of CPUs such as 0-3,7");
                return Err(PlanError::invalid("process.execCPUAffinity", reason));
            }
        }
    }
    Ok(Some(numbers))
}

fn personality(personality: &oci::LinuxPersonality) -> Result<u32, PlanError> {
    if personality.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        let reason = "the specification defines no flags";
        return Err(PlanError::unsupported("linux.personality.flags", reason));
    }
    Ok(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

/// A compiled system call filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompFilter {
    /// The filter.
    pub program: Program,
    /// Who answers its notifications.
    pub listener: Option<SeccompListener>,
}

impl SeccompFilter {
    /// Compiles a profile of the specification.
    pub(super) fn compile(profile: &oci::LinuxSeccomp) -> Result<Self, PlanError> {
        let invalid = |reason: String| PlanError::invalid("linux.seccomp", reason);
        let program = seccomp::compile(profile).map_err(|error| invalid(error.to_string()))?;
        let path = profile.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty());
        if program.notifies && path.is_none() {
            return Err(invalid("an action is SCMP_ACT_NOTIFY, and listenerPath is missing".to_owned()));
        }
        let metadata = profile.listener_metadata().clone().filter(|metadata| !metadata.is_empty());
        let listener = path.map(|path| SeccompListener { path: path.clone(), metadata });
        Ok(Self { program, listener })
    }
}

/// Who answers the notifications of a filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompListener {
    /// The Unix socket that receives the descriptor.
    pub path: PathBuf,
    /// What is passed on to it.
    pub metadata: Option<String>,
}
