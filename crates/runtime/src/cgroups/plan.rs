//! From the `resources` section of a spec to ordered writes. Pure: nothing here touches the file system.

mod v1;
mod v2;

use std::borrow::Cow;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources};
use serde::{Deserialize, Serialize};

use super::{CgroupError, Controller, Layout};

/// What applying a section means on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourcePlan {
    /// The writes, in order.
    pub steps: Vec<Step>,
    /// The eBPF program that decides about devices on v2, as instruction words; on v1 devices are steps.
    pub device_program: Option<Vec<u64>>,
}

/// One value for one file of the cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Whose file it is; on v1 this says in which hierarchy.
    pub controller: Controller,
    /// The file's name.
    pub file: Cow<'static, str>,
    /// What to write.
    pub value: Cow<'static, str>,
    /// What to write elsewhere when that file does not exist.
    pub otherwise: Option<Alternative>,
    /// What to do when the kernel refuses.
    pub tolerance: Tolerance,
}

/// The file and value that take the place of those of a [`Step`] whose file is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternative {
    /// The file's name.
    pub file: Cow<'static, str>,
    /// What to write.
    pub value: Cow<'static, str>,
}

/// What to do when the kernel refuses a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tolerance {
    /// Everything stops with an error.
    None,
    /// A missing file is as good as a written one: the value asks for nothing that this kernel does not do anyway.
    Missing,
    /// The value may only fit after later ones: on `EINVAL` it is tried again after all others.
    Postpone,
    /// Fail if the cgroup uses more memory than this already, and otherwise as `None` (v2 would kill instead of refusing).
    UsageBelow(u64),
}

impl Step {
    pub(super) fn new(
        controller: Controller,
        file: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            controller,
            file: file.into(),
            value: value.into(),
            otherwise: None,
            tolerance: Tolerance::None,
        }
    }

    fn tolerating(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self
    }

    fn or(mut self, file: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        self.otherwise = Some(Alternative { file: file.into(), value: value.into() });
        self
    }
}

/// What is known about the limits in force, for a live update. A new cgroup has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// The memory limit in bytes, unless it is unlimited; see [`super::Cgroup::current`].
    pub memory_limit: Option<u64>,
}

/// The writes that bring a cgroup to what the section asks for.
///
/// Devices are only touched when the section lists any; `extra_devices` are rules appended to that list (what every container may use:
/// [`super::runtime_default_rules`]).
///
/// # Errors
/// [`CgroupError::MissingController`] for a limit whose controller this machine lacks, [`CgroupError::Invalid`] for a value out of range or
/// one that this cgroup version cannot express.
pub fn plan(
    resources: &LinuxResources,
    extra_devices: &[LinuxDeviceCgroup],
    layout: &Layout,
    current: Current,
) -> Result<ResourcePlan, CgroupError> {
    let devices: Option<Vec<LinuxDeviceCgroup>> = resources
        .devices()
        .as_ref()
        .filter(|rules| !rules.is_empty())
        .map(|rules| rules.iter().chain(extra_devices).cloned().collect());
    let plan = if layout.is_unified() {
        v2::plan(resources, devices.as_deref())?
    } else {
        v1::plan(resources, devices.as_deref(), current)?
    };
    for step in &plan.steps {
        if !layout.has(step.controller) && step.tolerance != Tolerance::Missing {
            return Err(CgroupError::MissingController {
                controller: step.controller,
                setting: step.file.to_string(),
            });
        }
    }
    Ok(plan)
}

/// A memory amount as the kernel wants it: -1 is no limit. 0 is "not set".
fn memory_amount(setting: &str, value: Option<i64>) -> Result<Option<i64>, CgroupError> {
    match value {
        None | Some(0) => Ok(None),
        Some(amount) if amount >= -1 => Ok(Some(amount)),
        Some(amount) => Err(CgroupError::invalid(setting, format!("{amount} is neither an amount nor -1"))),
    }
}

/// The rules about memory and swap that hold on both versions.
fn check_swap(limit: Option<i64>, swap: Option<i64>) -> Result<(), CgroupError> {
    match (limit, swap) {
        (Some(limit), Some(swap)) if limit > 0 && swap > 0 && swap < limit => {
            Err(CgroupError::invalid("memory.swap", "memory+swap limit should be >= memory limit"))
        }
        _ => Ok(()),
    }
}

/// cgroupfs reads a list of processors or memory nodes such as `0-3,5`.
fn check_list(setting: &str, list: &str) -> Result<(), CgroupError> {
    let range_ok = |range: &str| {
        let mut ends = range.split('-').map(|end| end.parse::<u32>().ok());
        match (ends.next().flatten(), ends.next(), ends.next()) {
            (Some(_), None, None) => true,
            (Some(from), Some(Some(to)), None) => from <= to,
            _ => false,
        }
    };
    if list.split(',').all(|range| range_ok(range.trim())) {
        Ok(())
    } else {
        Err(CgroupError::invalid(setting, format!("{list:?} is not a list such as 0-3,5")))
    }
}

#[cfg(test)]
mod tests;
