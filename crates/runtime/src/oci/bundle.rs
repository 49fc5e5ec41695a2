//! Reading what callers write: a bundle's `config.json`, the process of an `exec`.
//!
//! Both are taken as leniently as runc takes them where the specification says so, and what is left out is said in a
//! warning: capabilities that no kernel knows or that this process has none of itself (config.md: "Runtimes SHOULD NOT
//! fail if the container configuration requests capabilities that cannot be granted").

use std::path::Path;

use oci_spec::runtime::{Capabilities, LinuxCapabilities, LinuxNamespaceType, Process, Spec};
use rustix::thread::CapabilitySets;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::args::Global;
use super::{OciError, log};
use crate::capabilities::{self, CapSet};

const FILE: &str = "config.json";
/// Names of config.md which the parser of the specification has wrong, and what it has instead.
const SCHEDULER_FLAGS: [(&str, &str); 2] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];
const SETS: [&str; 5] = ["bounding", "effective", "inheritable", "permitted", "ambient"];

/// Reads the configuration of a bundle.
pub(super) fn read_spec(global: &Global, bundle: &Path) -> Result<Spec, OciError> {
    let path = bundle.join(FILE);
    let text = match fs_err::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(OciError::Argument(format!("JSON specification file {FILE} not found")));
        }
        other => other?,
    };
    let mut spec: Spec = parse(global, &path, &text, "/process")?;
    if spec.version().split('.').next() != Some("1") {
        let reason = format!("the specification's version {:?} is not 1.x", spec.version());
        return Err(OciError::Argument(reason));
    }
    let grantable = grantable(&spec)?;
    if let Some(process) = spec.process_mut() {
        settle_capabilities(global, process, grantable);
    }
    Ok(spec)
}

/// Reads the process of an `exec` in a container of that specification.
pub(super) fn read_process(global: &Global, path: &Path, spec: &Spec) -> Result<Process, OciError> {
    let text = fs_err::read(path)?;
    let mut process: Process = parse(global, path, &text, "")?;
    settle_capabilities(global, &mut process, grantable(spec)?);
    Ok(process)
}

/// Parses a file that holds a process at that place. What is well-formed needs only one pass.
fn parse<T: DeserializeOwned>(global: &Global, path: &Path, text: &[u8], at: &str) -> Result<T, OciError> {
    let failed = |source| OciError::Json { path: path.to_owned(), source };
    let first = match serde_json::from_slice(text) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error,
    };
    let Ok(mut value) = serde_json::from_slice::<Value>(text) else { return Err(failed(first)) };
    let unknown = value.pointer_mut(at).filter(|process| process.is_object()).map(complete);
    // The first error names the line.
    let parsed = serde_json::from_value(value).map_err(|_| failed(first))?;
    warn_of_ignored(global, &unknown.unwrap_or_default());
    Ok(parsed)
}

/// Adds the user that Go's callers leave out when it is root, translates names, and takes out the capabilities that have
/// no meaning; gives theirs.
fn complete(process: &mut Value) -> Vec<String> {
    if process.get("user").is_none_or(Value::is_null) {
        process["user"] = json!({"uid": 0, "gid": 0});
    }
    if let Some(flags) = process.pointer_mut("/scheduler/flags").and_then(Value::as_array_mut) {
        for flag in flags {
            let parsed = SCHEDULER_FLAGS.iter().find(|(specified, _)| flag == specified);
            if let Some((_, parsed)) = parsed {
                *flag = Value::from(*parsed);
            }
        }
    }
    let mut unknown = Vec::new();
    for set in SETS {
        let list = process.pointer_mut(&format!("/capabilities/{set}")).and_then(Value::as_array_mut);
        let Some(list) = list else { continue };
        list.retain(|name| match name.as_str() {
            Some(name) if capabilities::parse(name).is_err() => {
                unknown.push(name.to_owned());
                false
            }
            _ => true,
        });
    }
    unknown.sort();
    unknown.dedup();
    unknown
}

/// What this process may hand on. A user namespace made for the container brings all capabilities along.
fn grantable(spec: &Spec) -> Result<u64, OciError> {
    let own_userns = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.namespaces().as_ref())
        .is_some_and(|list| list.iter().any(|namespace| namespace.typ() == LinuxNamespaceType::User));
    if own_userns {
        return Ok(u64::MAX);
    }
    let CapabilitySets { permitted, .. } =
        rustix::thread::capabilities(None).map_err(OciError::kernel("capget"))?;
    Ok(permitted.bits())
}

/// Takes out what cannot be granted, with a warning.
fn settle_capabilities(global: &Global, process: &mut Process, grantable: u64) {
    let Some(mut sets) = process.capabilities().clone() else { return };
    let bits = |set: &Option<Capabilities>| set.as_ref().map_or(0, |set| CapSet::from(set).bits());
    let asked = bits(sets.bounding()) | bits(sets.effective()) | bits(sets.permitted());
    warn_of_ignored(global, &names(asked & !grantable));
    let keep = |set: &Option<Capabilities>| {
        set.as_ref().map(|set| {
            set.iter().copied().filter(|one| grantable >> capabilities::number(*one) & 1 == 1).collect()
        })
    };
    let kept: [Option<Capabilities>; 5] =
        [sets.bounding(), sets.effective(), sets.inheritable(), sets.permitted(), sets.ambient()].map(keep);
    let [bounding, effective, inheritable, permitted, ambient] = kept;
    sets.set_bounding(bounding).set_effective(effective).set_inheritable(inheritable);
    sets.set_permitted(permitted).set_ambient(ambient);
    warn_of_ambient(global, &sets);
    process.set_capabilities(Some(sets));
}

fn warn_of_ignored(global: &Global, capabilities: &[String]) {
    if !capabilities.is_empty() {
        let list = capabilities.join(" ");
        log::warning(global, &format!("ignoring unknown or unavailable capabilities: [{list}]"));
    }
}

/// The kernel has no ambient capability that is not inheritable and permitted as well.
fn warn_of_ambient(global: &Global, sets: &LinuxCapabilities) {
    let bits = |set: &Option<Capabilities>| set.as_ref().map_or(0, |set| CapSet::from(set).bits());
    let possible = bits(sets.permitted()) & bits(sets.inheritable());
    for name in names(bits(sets.ambient()) & !possible) {
        log::warning(
            global,
            &format!("can't raise ambient capability {name}: it is not inheritable and permitted"),
        );
    }
}

fn names(bits: u64) -> Vec<String> {
    CapSet::from_bits(bits).iter().map(capabilities::name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_leaves_out_is_filled_in_and_what_means_nothing_taken_out() {
        let mut process =
            json!({"capabilities": {"bounding": ["CAP_KILL", "CAP_NOPE"], "ambient": ["XX", "CAP_NOPE"]}});
        assert_eq!(complete(&mut process), ["CAP_NOPE", "XX"]);
        let expected = json!({
            "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": ["CAP_KILL"], "ambient": []},
        });
        assert_eq!(process, expected);
    }
}
