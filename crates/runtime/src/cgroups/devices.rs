//! Device access: from the ordered rules of a spec to v1 writes or a v2 program.
//!
//! Rules are applied in order, and a later one wins over an earlier one. A rule for type `a` forgets everything before it, as the v1 kernel does,
//! whatever numbers it carries. v2 programs can express every list. The v1 kernel cannot: it keeps one default and a set of exceptions,
//! removes an exception only when asked for exactly that one, and silently does nothing otherwise. A list that would fail open in this way is refused.

mod program;

use std::fmt::Write;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType};

use super::plan::Step;
use super::{CgroupError, Controller};

/// Access bits, with the values of `linux/bpf.h`.
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const FULL: u8 = MKNOD | READ | WRITE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Block,
    Char,
}

/// One rule for one kind of device; `None` is any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

/// The rules after the last one for everything, and what that one said.
#[derive(Debug, PartialEq, Eq)]
struct Rules {
    /// `None`: there is no rule for everything, so the parent's decision is inherited.
    everything: Option<bool>,
    rules: Vec<Rule>,
}

/// What every container may use, whatever its spec says: creating nodes, and the devices that a runtime puts into `/dev`
/// (null, zero, full, random, urandom, tty, the ptys), and `/dev/net/tun`, which is of no use without a capability over a
/// network and is counted on by those who have one. It comes after the spec's own list.
pub fn runtime_default_rules() -> Vec<LinuxDeviceCgroup> {
    let rule = |typ, major: Option<i64>, minor: Option<i64>, access: &str| {
        let builder = LinuxDeviceCgroupBuilder::default().allow(true).typ(typ).access(access);
        let builder = if let Some(major) = major { builder.major(major) } else { builder };
        let builder = if let Some(minor) = minor { builder.minor(minor) } else { builder };
        builder.build().unwrap_or_default()
    };
    let char_device = |major, minor| rule(LinuxDeviceType::C, Some(major), minor, "rwm");
    vec![
        rule(LinuxDeviceType::C, None, None, "m"),
        rule(LinuxDeviceType::B, None, None, "m"),
        char_device(1, Some(3)),
        char_device(1, Some(8)),
        char_device(1, Some(7)),
        char_device(5, Some(0)),
        char_device(1, Some(5)),
        char_device(1, Some(9)),
        char_device(136, None),
        char_device(5, Some(2)),
        char_device(10, Some(200)),
    ]
}

/// The program that decides about devices on v2, as words for bpf(2).
pub(super) fn program(list: &[LinuxDeviceCgroup]) -> Result<Vec<u64>, CgroupError> {
    Ok(program::compile(&Rules::parse(list)?))
}

/// The writes to `devices.allow` and `devices.deny`.
pub(super) fn v1_steps(list: &[LinuxDeviceCgroup]) -> Result<Vec<Step>, CgroupError> {
    let Rules { everything, rules } = Rules::parse(list)?;
    let allowed_by_default = everything.unwrap_or(true);
    let mut exceptions: Vec<Rule> = Vec::new();
    for rule in rules {
        let same =
            |other: &Rule| (other.kind, other.major, other.minor) == (rule.kind, rule.major, rule.minor);
        let known = exceptions.iter_mut().find(|other| same(other));
        if rule.allow != allowed_by_default {
            match known {
                Some(exception) => exception.access |= rule.access,
                None => exceptions.push(rule),
            }
            continue;
        }
        if let Some(exception) = known {
            exception.access &= !rule.access;
        }
        exceptions.retain(|exception| exception.access != 0);
        if let Some(wider) = exceptions.iter().find(|other| other.covers_part_of(&rule)) {
            let verb = if rule.allow { "allow" } else { "deny" };
            let reason = format!(
                "cgroup v1 cannot {verb} {:?} as an exception from the rule {:?}",
                rule.v1_text(),
                wider.v1_text()
            );
            return Err(CgroupError::invalid("devices", reason));
        }
    }
    let write = |allow: bool, value: String| {
        Step::new(Controller::Devices, if allow { "devices.allow" } else { "devices.deny" }, value)
    };
    let reset = everything.map(|allow| write(allow, "a".to_owned()));
    Ok(reset.into_iter().chain(exceptions.iter().map(|rule| write(rule.allow, rule.v1_text()))).collect())
}

impl Rules {
    fn parse(list: &[LinuxDeviceCgroup]) -> Result<Self, CgroupError> {
        let mut parsed = Self { everything: None, rules: Vec::new() };
        for entry in list {
            match Rule::parse(entry)? {
                Some(rule) => parsed.rules.push(rule),
                None => parsed = Self { everything: Some(entry.allow()), rules: Vec::new() },
            }
        }
        Ok(parsed)
    }
}

impl Rule {
    /// `None` is a rule for everything.
    fn parse(entry: &LinuxDeviceCgroup) -> Result<Option<Self>, CgroupError> {
        let kind = match entry.typ().unwrap_or(LinuxDeviceType::A) {
            LinuxDeviceType::A => return Ok(None),
            LinuxDeviceType::B => Kind::Block,
            LinuxDeviceType::C | LinuxDeviceType::U => Kind::Char,
            LinuxDeviceType::P => {
                return Err(CgroupError::invalid("devices", "a FIFO is not a device to be controlled"));
            }
        };
        let number = |name: &str, value: Option<i64>| match value {
            None | Some(-1) => Ok(None),
            Some(value) => u32::try_from(value)
                .ok()
                .filter(|value| i32::try_from(*value).is_ok())
                .map(Some)
                .ok_or_else(|| CgroupError::invalid("devices", format!("{value} is not a {name} number"))),
        };
        Ok(Some(Self {
            allow: entry.allow(),
            kind,
            major: number("major", entry.major())?,
            minor: number("minor", entry.minor())?,
            access: parse_access(entry.access().as_deref().unwrap_or_default())?,
        }))
    }

    /// Whether this rule also decides about some, but not all, of what the other one names.
    fn covers_part_of(&self, other: &Self) -> bool {
        let meets = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind
            && meets(self.major, other.major)
            && meets(self.minor, other.minor)
            && self.access & other.access != 0
    }

    fn v1_text(&self) -> String {
        let mut text = String::from(if self.kind == Kind::Block { "b " } else { "c " });
        for (number, after) in [(self.major, ':'), (self.minor, ' ')] {
            match number {
                Some(number) => _ = write!(text, "{number}"),
                None => text.push('*'),
            }
            text.push(after);
        }
        let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        text.extend(letters.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter));
        text
    }
}

/// No letters mean all of them.
fn parse_access(letters: &str) -> Result<u8, CgroupError> {
    if letters.is_empty() {
        return Ok(FULL);
    }
    letters.chars().try_fold(0, |access, letter| match letter {
        'r' => Ok(access | READ),
        'w' => Ok(access | WRITE),
        'm' => Ok(access | MKNOD),
        _ => Err(CgroupError::invalid("devices", format!("access {letters:?} is not made of r, w and m"))),
    })
}

#[cfg(test)]
mod tests;
