//! Intel RDT: a container's class of service and monitoring group, in the resctrl file system.
//!
//! The rules about `closID` are config-linux.md's ("IntelRdt"): a class that is named is shared, must exist already if
//! nothing is said about its schemata, must agree with what is said if it exists, and is never removed; one that is not
//! named has the container's id, and goes with the container. The files are the kernel's filesystems/resctrl.rst.

use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxIntelRdt;
use serde::{Deserialize, Serialize};

use crate::apply::{Stage, StageError};
use crate::plan::PlanError;

const FIELD: &str = "linux.intelRdt";
const SCHEMATA: &str = "schemata";
const TASKS: &str = "tasks";

/// The groups of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RdtPlan {
    /// Where resctrl is mounted.
    root: PathBuf,
    /// The directory of the class of service.
    class: String,
    /// Whether the class is the container's own.
    own: bool,
    /// Lines for the class's `schemata`.
    schemata: Vec<String>,
    /// The directory of the monitoring group in the class, if there is to be one.
    monitor: Option<String>,
}

/// Turns the section into a plan for the container of that id; `root` is where resctrl is mounted.
pub(crate) fn plan(
    section: Option<&LinuxIntelRdt>,
    id: &str,
    root: Option<&Path>,
) -> Result<Option<RdtPlan>, PlanError> {
    let Some(section) = section else { return Ok(None) };
    let root = root.ok_or_else(|| PlanError::unsupported(FIELD, "no resctrl file system is mounted"))?;
    let class = section.clos_id().as_deref().filter(|class| !class.is_empty());
    let reserved = ["info", "mon_groups", "mon_data", ".", ".."];
    if let Some(class) = class.filter(|class| class.contains(['/', '\0']) || reserved.contains(class)) {
        return Err(PlanError::invalid(FIELD, format!("closID {class:?} is not the name of a directory")));
    }
    let mut schemata = Vec::new();
    for (field, text) in
        [("l3CacheSchema", section.l3_cache_schema()), ("memBwSchema", section.mem_bw_schema())]
    {
        schemata.extend(lines(field, text.as_deref().unwrap_or_default())?);
    }
    for text in section.schemata().iter().flatten() {
        schemata.extend(lines("schemata", text)?);
    }
    Ok(Some(RdtPlan {
        root: root.to_owned(),
        class: class.unwrap_or(id).to_owned(),
        own: class.is_none(),
        schemata,
        monitor: wants_monitoring(section).then(|| id.to_owned()),
    }))
}

#[allow(deprecated, reason = "both are the specification's until 1.2")]
fn wants_monitoring(section: &LinuxIntelRdt) -> bool {
    [section.enable_cmt(), section.enable_mbm(), section.enable_monitoring()].contains(&&Some(true))
}

/// The lines of a schema: `RESOURCE:ID=VALUE;…`.
fn lines(field: &str, text: &str) -> Result<Vec<String>, PlanError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| match line.split_once(':') {
            Some((name, rest)) if !name.is_empty() && rest.contains('=') => Ok(line.to_owned()),
            _ => Err(PlanError::invalid(FIELD, format!("{field}: {line:?} is not RESOURCE:ID=VALUE"))),
        })
        .collect()
}

impl RdtPlan {
    /// The plan with other schemata, for an update.
    ///
    /// # Errors
    /// When a line is none.
    pub fn with_schemata(&self, l3: Option<&str>, bandwidth: Option<&str>) -> Result<Self, PlanError> {
        let mut schemata = lines("l3CacheSchema", l3.unwrap_or_default())?;
        schemata.extend(lines("memBwSchema", bandwidth.unwrap_or_default())?);
        Ok(Self { schemata, ..self.clone() })
    }

    fn class_directory(&self) -> PathBuf {
        self.root.join(&self.class)
    }

    fn monitor_directory(&self) -> Option<PathBuf> {
        self.monitor.as_ref().map(|name| self.class_directory().join("mon_groups").join(name))
    }

    /// Makes the groups, or checks those that are there.
    ///
    /// # Errors
    /// What is missing or differs; what the kernel refuses. Nothing is left of a class that was made here.
    pub fn create(&self) -> Result<(), StageError> {
        let directory = self.class_directory();
        let exists = directory.is_dir();
        if !self.own && exists {
            self.compare(&directory)?;
        } else if !self.own && self.schemata.is_empty() {
            let reason = format!("{} does not exist, and no schemata are given for it", directory.display());
            return Err(refused(reason));
        } else {
            fs_err::create_dir_all(&directory).map_err(failed)?;
            self.write().inspect_err(|_| drop(fs_err::remove_dir(&directory)))?;
        }
        match self.monitor_directory() {
            Some(monitor) => fs_err::create_dir(monitor).map_err(failed).inspect_err(|_| {
                if !exists {
                    // The error that is already there is the one to tell.
                    let _ = fs_err::remove_dir(&directory);
                }
            }),
            None => Ok(()),
        }
    }

    /// Writes the schemata of the class.
    ///
    /// # Errors
    /// The kernel's, with its own explanation.
    pub fn write(&self) -> Result<(), StageError> {
        if self.schemata.is_empty() {
            return Ok(());
        }
        let text = self.schemata.join("\n") + "\n";
        fs_err::write(self.class_directory().join(SCHEMATA), text).map_err(|error| {
            let status = fs_err::read_to_string(self.root.join("info/last_cmd_status")).unwrap_or_default();
            refused(format!("{error}: {}", status.trim()))
        })
    }

    fn compare(&self, directory: &Path) -> Result<(), StageError> {
        let present = fs_err::read_to_string(directory.join(SCHEMATA)).map_err(failed)?;
        let present: Vec<&str> = present.lines().map(str::trim).collect();
        match self.schemata.iter().find(|line| !present.contains(&line.as_str())) {
            Some(line) => {
                Err(refused(format!("{} exists, and its schemata are not {line:?}", directory.display())))
            }
            None => Ok(()),
        }
    }

    /// Puts a process into the groups.
    ///
    /// # Errors
    /// The kernel's.
    pub fn join(&self, pid: rustix::process::Pid) -> Result<(), StageError> {
        let pid = pid.as_raw_nonzero().to_string();
        // A monitoring group only takes processes that are in its class.
        let directories = [Some(self.class_directory()), self.monitor_directory()];
        for directory in directories.into_iter().flatten() {
            fs_err::write(directory.join(TASKS), &pid).map_err(failed)?;
        }
        Ok(())
    }

    /// Removes what belongs to the container. What is gone already is fine.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&self) -> Result<(), StageError> {
        let class = self.own.then(|| self.class_directory());
        for directory in [self.monitor_directory(), class].into_iter().flatten() {
            match fs_err::remove_dir(directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn refused(reason: String) -> StageError {
    StageError::refused(Stage::Rdt, reason)
}

fn failed(error: std::io::Error) -> StageError {
    refused(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(json: serde_json::Value, root: &Path) -> Result<RdtPlan, PlanError> {
        let section = serde_json::from_value(json).unwrap();
        plan(Some(&section), "box", Some(root)).map(Option::unwrap)
    }

    #[test]
    fn without_resctrl_the_section_is_refused() {
        let section = serde_json::from_value(serde_json::json!({"closID": "gold"})).unwrap();
        assert!(matches!(plan(Some(&section), "box", None), Err(PlanError::Unsupported { .. })));
        assert_eq!(plan(None, "box", None), Ok(None));
    }

    #[test]
    fn names_and_lines_are_checked() {
        let root = Path::new("/nowhere");
        for class in ["../x", "info", "a/b", ".."] {
            assert!(planned(serde_json::json!({"closID": class}), root).is_err(), "{class}");
        }
        assert!(planned(serde_json::json!({"l3CacheSchema": "L3"}), root).is_err());
        let plan =
            planned(serde_json::json!({"l3CacheSchema": "L3:0=f\nL2:0=3", "memBwSchema": "MB:0=20"}), root);
        assert_eq!(plan.unwrap().schemata, ["L3:0=f", "L2:0=3", "MB:0=20"]);
    }

    #[test]
    fn an_own_class_comes_and_goes_with_the_container() {
        let root = tempfile::tempdir().unwrap();
        let plan = planned(serde_json::json!({"l3CacheSchema": "L3:0=f"}), root.path()).unwrap();
        plan.create().unwrap();
        let class = root.path().join("box");
        assert_eq!(fs_err::read_to_string(class.join(SCHEMATA)).unwrap(), "L3:0=f\n");
        plan.join(rustix::process::getpid()).unwrap();
        let pid = std::process::id().to_string();
        assert_eq!(fs_err::read_to_string(class.join(TASKS)).unwrap(), pid);
        // In a resctrl these files are the kernel's.
        fs_err::remove_file(class.join(SCHEMATA)).unwrap();
        fs_err::remove_file(class.join(TASKS)).unwrap();
        plan.remove().unwrap();
        plan.remove().unwrap();
        assert!(!class.exists());
    }

    #[test]
    fn a_named_class_is_shared_and_must_agree() {
        let root = tempfile::tempdir().unwrap();
        let named = |schema: &str| {
            let mut section = serde_json::json!({"closID": "gold", "enableMonitoring": true});
            if !schema.is_empty() {
                section["l3CacheSchema"] = schema.into();
            }
            planned(section, root.path()).unwrap()
        };
        assert!(named("").create().unwrap_err().detail.contains("does not exist"));
        fs_err::create_dir_all(root.path().join("gold/mon_groups")).unwrap();
        fs_err::write(root.path().join("gold/schemata"), "    L3:0=f\n    MB:0=100\n").unwrap();
        assert!(named("L3:0=3").create().unwrap_err().detail.contains("are not"));
        let plan = named("L3:0=f");
        plan.create().unwrap();
        let monitor = root.path().join("gold/mon_groups/box");
        assert!(monitor.is_dir());
        plan.remove().unwrap();
        assert!(!monitor.exists() && root.path().join("gold").exists());
    }
}
