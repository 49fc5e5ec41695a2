//! From a spec's `seccomp` section to a program.

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
    LinuxSyscall,
};
use rustix::io::Errno;
use skiff_sys::seccomp as flags;
use skiff_types::ErrorKind;

use super::Program;
use super::assemble::{self, Assembler, Condition, Place, Test};
use super::syscalls::{Abi, Gate, X32_MARK};

const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

/// `BPF_MAXINSNS`: the kernel refuses longer programs.
const MAX_INSTRUCTIONS: usize = 4096;
/// A system call has six arguments.
const MAX_ARGUMENTS: usize = 6;
/// `MAX_ERRNO`: the kernel would silently lower anything above it.
const MAX_ERRNO: u32 = 4095;

/// A profile that cannot become a filter. Where runc refuses the same, the wording is runc's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// An argument number above five.
    #[error(
        "error creating seccomp syscall condition for syscall {syscall}: syscalls only have up to 6 arguments ({} given)",
        index
    )]
    ArgumentIndex {
        /// The call.
        syscall: String,
        /// The number given.
        index: usize,
    },
    /// An error number that no call can return.
    #[error("seccomp errnoRet {errno} is above 4095")]
    Errno {
        /// The number given.
        errno: u32,
    },
    /// The runtime itself writes between loading the filter and handing its listener on.
    #[error("SCMP_ACT_NOTIFY cannot be used for the {syscall} syscall")]
    NotifyOnSyscall {
        /// The call.
        syscall: String,
    },
    /// As above.
    #[error("SCMP_ACT_NOTIFY cannot be used as default action")]
    NotifyByDefault,
    /// Calls are to be handed to a supervisor, and nobody says to which.
    #[error("seccomp listenerPath is not set, but SCMP_ACT_NOTIFY is used")]
    NoListener,
    /// Metadata for a supervisor that does not exist.
    #[error("seccomp listenerMetadata is set, but listenerPath is not")]
    NoListenerForMetadata,
    /// The kernel takes no longer program.
    #[error(
        "seccomp profile is too large: {instructions} instructions, and the kernel takes {MAX_INSTRUCTIONS}"
    )]
    TooLarge {
        /// Its length.
        instructions: usize,
    },
}

impl CompileError {
    /// Which sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Compiles a profile for the architectures it names and the native one.
///
/// # Errors
/// See [`CompileError`].
pub fn compile(profile: &LinuxSeccomp) -> Result<Program, CompileError> {
    compile_for(profile, Abi::NATIVE)
}

/// [`compile`] as if on another machine.
pub(super) fn compile_for(profile: &LinuxSeccomp, native: Abi) -> Result<Program, CompileError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let notifies = check_notify(profile)?;
    let mut abis: BTreeSet<Abi> = BTreeSet::from([native]);
    abis.extend(profile.architectures().iter().flatten().copied().filter_map(Abi::from_oci));

    // The native architecture is asked for first, and so comes last here.
    let mut in_order: Vec<Abi> = abis.iter().copied().filter(|abi| *abi != Abi::X32).collect();
    in_order.sort_by_key(|abi| abi.audit() == native.audit());
    let mut code = Assembler::default();
    let mut dispatch = code.answer(KILL_PROCESS);
    for abi in in_order {
        let mut tree = section(&mut code, profile, abi, default)?;
        if abi == Abi::X86_64 {
            let x32 = match abis.contains(&Abi::X32) {
                true => section(&mut code, profile, Abi::X32, default)?,
                false => code.answer(KILL_PROCESS),
            };
            tree = code.at_least(X32_MARK, x32, tree);
        }
        let start = code.before(assemble::load_number(), tree);
        dispatch = code.equal(abi.audit(), start, dispatch);
    }
    code.before(assemble::load_architecture(), dispatch);
    let instructions = code.finish();
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(CompileError::TooLarge { instructions: instructions.len() });
    }
    Ok(Program { instructions, flags: filter_flags(profile), notifies })
}

/// Without a list, speculation is left alone, as runc does; an empty list means no flag at all.
fn filter_flags(profile: &LinuxSeccomp) -> u32 {
    let Some(list) = profile.flags() else { return flags::FLAG_SPEC_ALLOW };
    list.iter().fold(0, |set, flag| {
        set | match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => flags::FLAG_LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => flags::FLAG_TSYNC,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => flags::FLAG_SPEC_ALLOW,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => flags::FLAG_WAIT_KILLABLE_RECV,
        }
    })
}

/// Whether a supervisor is asked anything, and can be.
fn check_notify(profile: &LinuxSeccomp) -> Result<bool, CompileError> {
    if profile.default_action() == LinuxSeccompAction::ScmpActNotify {
        return Err(CompileError::NotifyByDefault);
    }
    let rules = || profile.syscalls().iter().flatten();
    let mut notified = rules().filter(|rule| rule.action() == LinuxSeccompAction::ScmpActNotify).peekable();
    let notifies = notified.peek().is_some();
    if notified.any(|rule| rule.names().iter().any(|name| name == "write")) {
        return Err(CompileError::NotifyOnSyscall { syscall: "write".to_owned() });
    }
    let has_path = profile.listener_path().as_ref().is_some_and(|path| !path.as_os_str().is_empty());
    if notifies && !has_path {
        return Err(CompileError::NoListener);
    }
    if !has_path && profile.listener_metadata().as_ref().is_some_and(|metadata| !metadata.is_empty()) {
        return Err(CompileError::NoListenerForMetadata);
    }
    Ok(notifies)
}

/// The kernel's return value.
fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, CompileError> {
    let errno = errno.unwrap_or(Errno::PERM.raw_os_error() as u32);
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => KILL_THREAD,
        LinuxSeccompAction::ScmpActKillProcess => KILL_PROCESS,
        LinuxSeccompAction::ScmpActTrap => TRAP,
        LinuxSeccompAction::ScmpActErrno if errno > MAX_ERRNO => return Err(CompileError::Errno { errno }),
        LinuxSeccompAction::ScmpActErrno => ERRNO | errno,
        LinuxSeccompAction::ScmpActNotify => NOTIFY,
        LinuxSeccompAction::ScmpActTrace => TRACE | errno & 0xffff,
        LinuxSeccompAction::ScmpActLog => LOG,
        LinuxSeccompAction::ScmpActAllow => ALLOW,
    })
}

/// What happens to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// Always the same.
    Fixed(u32),
    /// The first set of conditions that holds decides, and the default if none does.
    Conditional(Vec<(Vec<Condition>, u32)>),
}

/// The code for one architecture; the accumulator holds the number.
fn section(
    code: &mut Assembler,
    profile: &LinuxSeccomp,
    abi: Abi,
    default: u32,
) -> Result<Place, CompileError> {
    let mut outcomes: BTreeMap<u32, Outcome> = BTreeMap::new();
    let mut highest = None;
    for rule in profile.syscalls().iter().flatten() {
        let value = action(rule.action(), rule.errno_ret())?;
        let alternatives = conditions(rule)?;
        for name in rule.names() {
            // Even a rule that says nothing shows that the profile's author knew the call.
            let number = abi.number(name);
            highest = highest.max(number);
            if value == default {
                continue;
            }
            if let Some(number) = number {
                add(&mut outcomes, number, &alternatives, value);
            }
            let gate = abi.gate(name).filter(|gate| alternatives.is_empty() && !is_named(profile, gate.name));
            if let Some(Gate { name, mask, call }) = gate
                && let Some(number) = abi.number(name)
            {
                let test = Test::MaskedEqual { mask, value: call };
                add(&mut outcomes, number, &[vec![Condition { argument: 0, test }]], value);
            }
        }
    }
    let tree = decide(code, &ranges(outcomes, default), default, abi);
    // Trace counts as allowing: a tracer answers for unknown calls itself.
    let allows = matches!(default & 0xffff_0000, ALLOW | LOG | TRACE);
    Ok(match highest {
        Some(highest) if !allows => {
            let unknown = code.answer(ERRNO | Errno::NOSYS.raw_os_error() as u32);
            code.greater(highest, unknown, tree)
        }
        _ => tree,
    })
}

fn is_named(profile: &LinuxSeccomp, call: &str) -> bool {
    profile.syscalls().iter().flatten().any(|rule| rule.names().iter().any(|name| name == call))
}

fn add(outcomes: &mut BTreeMap<u32, Outcome>, number: u32, alternatives: &[Vec<Condition>], value: u32) {
    let new = || alternatives.iter().map(|conditions| (conditions.clone(), value));
    match outcomes.get_mut(&number) {
        Some(Outcome::Fixed(_)) => {}
        Some(Outcome::Conditional(rules)) if !alternatives.is_empty() => rules.extend(new()),
        _ if alternatives.is_empty() => _ = outcomes.insert(number, Outcome::Fixed(value)),
        _ => _ = outcomes.insert(number, Outcome::Conditional(new().collect())),
    }
}

/// The sets of conditions of a rule, any of which suffices; none at all for a rule without conditions.
fn conditions(rule: &LinuxSyscall) -> Result<Vec<Vec<Condition>>, CompileError> {
    let args = rule.args().as_deref().unwrap_or_default();
    let mut seen = [false; MAX_ARGUMENTS];
    let mut repeated = false;
    for arg in args {
        let Some(seen) = seen.get_mut(arg.index()) else {
            let syscall = rule.names().first().cloned().unwrap_or_default();
            return Err(CompileError::ArgumentIndex { syscall, index: arg.index() });
        };
        repeated |= std::mem::replace(seen, true);
    }
    let all: Vec<Condition> = args.iter().map(condition).collect();
    Ok(match all.len() {
        0 => Vec::new(),
        _ if repeated => all.into_iter().map(|one| vec![one]).collect(),
        _ => vec![all],
    })
}

fn condition(arg: &LinuxSeccompArg) -> Condition {
    let value = arg.value();
    let test = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => Test::NotEqual(value),
        LinuxSeccompOperator::ScmpCmpLt => Test::Less(value),
        LinuxSeccompOperator::ScmpCmpLe => Test::LessOrEqual(value),
        LinuxSeccompOperator::ScmpCmpEq => Test::Equal(value),
        LinuxSeccompOperator::ScmpCmpGe => Test::GreaterOrEqual(value),
        LinuxSeccompOperator::ScmpCmpGt => Test::Greater(value),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            Test::MaskedEqual { mask: value, value: arg.value_two().unwrap_or(0) }
        }
    };
    Condition { argument: arg.index() as u32, test }
}

/// All numbers, as ranges of the same outcome, each with its first number.
fn ranges(outcomes: BTreeMap<u32, Outcome>, default: u32) -> Vec<(u32, Outcome)> {
    let mut ranges = vec![(0, Outcome::Fixed(default))];
    let mut push = |first: u32, outcome: Outcome| match ranges.last_mut() {
        Some(last) if last.0 == first => last.1 = outcome,
        Some(last) if last.1 == outcome => {}
        _ => ranges.push((first, outcome)),
    };
    let mut next = 0;
    for (number, outcome) in outcomes {
        if number > next {
            push(next, Outcome::Fixed(default));
        }
        push(number, outcome);
        next = number + 1;
    }
    push(next, Outcome::Fixed(default));
    ranges.dedup_by(|later, earlier| later.1 == earlier.1);
    ranges
}

/// A binary search over groups of ranges.
fn decide(code: &mut Assembler, ranges: &[(u32, Outcome)], default: u32, abi: Abi) -> Place {
    search(code, &grouped(ranges), default, abi)
}

fn search(code: &mut Assembler, groups: &[&[(u32, Outcome)]], default: u32, abi: Abi) -> Place {
    match groups {
        [] => code.answer(default),
        [[(_, usual), others @ ..]] => {
            // Every second one is as the first.
            let rest = outcome(code, usual, default, abi);
            others.iter().step_by(2).rev().fold(rest, |rest, (number, single)| {
                let place = outcome(code, single, default, abi);
                code.equal(*number, place, rest)
            })
        }
        _ => {
            let (low, high) = groups.split_at(groups.len() / 2);
            let [high_part, low_part] = [high, low].map(|part| search(code, part, default, abi));
            code.at_least(high[0][0].0, high_part, low_part)
        }
    }
}

fn outcome(code: &mut Assembler, outcome: &Outcome, default: u32, abi: Abi) -> Place {
    match outcome {
        Outcome::Fixed(action) => code.answer(*action),
        Outcome::Conditional(rules) => {
            let otherwise = code.answer(default);
            rules.iter().rev().fold(otherwise, |next, (conditions, action)| {
                code.rule(conditions, *action, abi.is_32_bit(), next)
            })
        }
    }
}

/// Ranges that are told apart by naming single numbers: of the same outcome, with one number of another between two of them.
/// Each such number then costs one test, and no search.
fn grouped(ranges: &[(u32, Outcome)]) -> Vec<&[(u32, Outcome)]> {
    /// More would be asked one after the other for too long.
    const MOST_SINGLES: usize = 3;
    let mut groups = Vec::new();
    let mut rest = ranges;
    while let Some((_, usual)) = rest.first() {
        let goes_on = |at: usize| match rest.get(at + 1..at + 3) {
            Some([single, next]) => next.0 == single.0 + 1 && next.1 == *usual,
            _ => false,
        };
        let singles = (0..MOST_SINGLES).take_while(|n| goes_on(2 * n)).count();
        let (group, later) = rest.split_at(1 + 2 * singles);
        groups.push(group);
        rest = later;
    }
    groups
}
