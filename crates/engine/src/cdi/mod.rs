//! The container device interface: devices by a vendor's name for them, with everything that they need in a container.
//!
//! Specifications are files of the host, read whenever a container with such devices starts: there is nothing to be kept up to date.
//! Of two directories the later one wins; two files of one directory that describe the same device hide it.

mod edit;
mod spec;
mod yaml;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use skiff_runtime::spec::Spec;

use self::spec::{CdiSpec, Edits};
use crate::{Error, Result, model::DeviceRequest};

/// Kind of the devices that `--gpus` means.
const GPUS: &str = "nvidia.com/gpu";

/// All devices that specifications describe, by qualified name: `vendor.com/class=name`.
#[derive(Default)]
pub(crate) struct Devices {
    specs: Vec<CdiSpec>,
    /// The specification and the device in it; none if there are several.
    found: BTreeMap<String, Option<(usize, usize)>>,
}

impl Devices {
    /// Reads the directories. A file that cannot be read has no devices, and is told of in the log. Blocks.
    pub(crate) fn read(dirs: &[PathBuf]) -> Self {
        let mut out = Self::default();
        for dir in dirs {
            let mut here: BTreeMap<String, Option<(usize, usize)>> = BTreeMap::new();
            for path in files(dir) {
                match load(&path) {
                    Ok(spec) => {
                        let index = out.specs.len();
                        for (number, device) in spec.devices.iter().enumerate() {
                            let name = format!("{}={}", spec.kind, device.name);
                            here.entry(name)
                                .and_modify(|found| *found = None)
                                .or_insert(Some((index, number)));
                        }
                        out.specs.push(spec);
                    }
                    Err(e) => tracing::warn!("CDI specification {}: {e}", path.display()),
                }
            }
            out.found.extend(here);
        }
        out
    }

    /// The names of all devices that can be asked for.
    pub(crate) fn names(&self) -> Vec<String> {
        self.found.iter().filter(|(_, found)| found.is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// The devices that requests ask for.
    ///
    /// # Errors
    /// One that only a driver could find.
    pub(crate) fn asked_for(&self, requests: &[DeviceRequest]) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for request in requests {
            let ids = request.device_ids.clone().unwrap_or_default();
            match request.driver.as_str() {
                "cdi" => names.extend(ids),
                "" | "nvidia" if is_gpu(request) && self.has_gpus() => {
                    names.extend(self.gpus(request.count, &ids));
                }
                _ => return Err(no_driver(request)),
            }
        }
        Ok(names)
    }

    fn has_gpus(&self) -> bool {
        self.specs.iter().any(|spec| spec.kind == GPUS)
    }

    fn gpus(&self, count: i64, ids: &[String]) -> Vec<String> {
        let name = |id: &dyn std::fmt::Display| format!("{GPUS}={id}");
        match (ids, count) {
            ([], -1) => vec![name(&"all")],
            ([], count) => (0..count.max(0)).map(|index| name(&index)).collect(),
            (ids, _) => ids.iter().map(|id| name(id)).collect(),
        }
    }

    /// Edits a container's specification for devices.
    ///
    /// # Errors
    /// A device that nothing describes; a device file that is not there.
    pub(crate) fn inject(&self, names: &[String], spec: &mut Spec) -> Result<()> {
        let failed = |why: String| Error::Internal(format!("CDI device injection failed: {why}"));
        let find = |name: &String| self.found.get(name).copied().flatten();
        let missing: Vec<_> = names.iter().filter(|name| find(name).is_none()).map(String::as_str).collect();
        if !missing.is_empty() {
            return Err(failed(format!("unresolvable CDI devices {}", missing.join(", "))));
        }
        let mut edits = Edits::default();
        let mut seen = Vec::new();
        for (index, number) in names.iter().filter_map(find) {
            let of = &self.specs[index];
            if !seen.contains(&index) {
                seen.push(index);
                edits.append(&of.container_edits);
            }
            edits.append(&of.devices[number].container_edits);
        }
        edit::apply(&edits, spec).map_err(failed)
    }
}

fn is_gpu(request: &DeviceRequest) -> bool {
    request.capabilities.iter().flatten().flatten().any(|capability| capability == "gpu")
}

/// Docker's words.
fn no_driver(request: &DeviceRequest) -> Error {
    let capabilities = request.capabilities.iter().flatten().map(|set| format!("[{}]", set.join(" ")));
    Error::Internal(format!(
        "could not select device driver \"{}\" with capabilities: [{}]",
        request.driver,
        capabilities.collect::<Vec<_>>().join(" ")
    ))
}

fn is_yaml(path: &Path) -> Option<bool> {
    match path.extension()?.to_str()? {
        "json" => Some(false),
        "yaml" => Some(true),
        _ => None,
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    // Most hosts have none of these directories.
    let entries = fs_err::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| is_yaml(path).is_some()).collect();
    files.sort();
    files
}

fn load(path: &Path) -> std::result::Result<CdiSpec, String> {
    let text = fs_err::read_to_string(path).map_err(|e| e.to_string())?;
    CdiSpec::parse(&text, is_yaml(path) == Some(true))
}

#[cfg(test)]
mod tests;
