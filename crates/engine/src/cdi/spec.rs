//! A specification of the container device interface, versions 0.3 to 1.0: what a vendor says that its devices need in a container.

use serde::Deserialize;

/// A file in one of the directories.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CdiSpec {
    cdi_version: String,
    /// `vendor.com/class`.
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) devices: Vec<CdiDevice>,
    /// Edits for whoever gets any of the devices.
    #[serde(default)]
    pub(crate) container_edits: Edits,
}

/// A device.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CdiDevice {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) container_edits: Edits,
}

/// What is changed in a container's OCI specification.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Edits {
    pub(crate) env: Vec<String>,
    pub(crate) device_nodes: Vec<DeviceNode>,
    pub(crate) mounts: Vec<CdiMount>,
    pub(crate) hooks: Vec<CdiHook>,
    pub(crate) additional_gids: Vec<u32>,
    pub(crate) intel_rdt: Option<IntelRdt>,
    /// Of version 1.1, which is not supported.
    net_devices: Vec<serde_json::Value>,
}

/// A device file. What is not said is as on the host.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct DeviceNode {
    pub(crate) path: String,
    /// The path on the host, if that is another.
    pub(crate) host_path: String,
    /// `b`, `c`, `u` or `p`.
    pub(crate) r#type: String,
    pub(crate) major: i64,
    pub(crate) minor: i64,
    pub(crate) file_mode: Option<u32>,
    /// Letters out of `rwm`.
    pub(crate) permissions: String,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct CdiMount {
    pub(crate) host_path: String,
    pub(crate) container_path: String,
    pub(crate) options: Vec<String>,
    pub(crate) r#type: String,
}

/// A program that runs at a moment of the container's life.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct CdiHook {
    pub(crate) hook_name: String,
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) timeout: Option<i64>,
}

/// A class of service (resctrl).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct IntelRdt {
    #[serde(rename = "closID")]
    pub(crate) clos_id: String,
    pub(crate) l3_cache_schema: String,
    pub(crate) mem_bw_schema: String,
    #[serde(rename = "enableCMT")]
    pub(crate) enable_cmt: bool,
    #[serde(rename = "enableMBM")]
    pub(crate) enable_mbm: bool,
}

/// The hooks that runtimes have.
const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

impl CdiSpec {
    /// Reads a file by what its name ends in.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str, yaml: bool) -> Result<Self, String> {
        let json = if yaml {
            super::yaml::to_json(text)?
        } else {
            serde_json::from_str(text).map_err(|e| e.to_string())?
        };
        let spec: Self = serde_json::from_value(json).map_err(|e| e.to_string())?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), String> {
        let version: Vec<u32> = self.cdi_version.split('.').filter_map(|part| part.parse().ok()).collect();
        if !matches!(version[..], [0, 3..=8, _] | [1, 0, _]) {
            return Err(format!("the version {:?} is not one from 0.3.0 to 1.0.0", self.cdi_version));
        }
        let (vendor, class) = self.kind.split_once('/').unwrap_or_default();
        if !is_name(vendor, "_-.") || !is_name(class, "_-") {
            return Err(format!("invalid kind {:?}", self.kind));
        }
        self.container_edits.check()?;
        for (index, device) in self.devices.iter().enumerate() {
            if !is_name(&device.name, "_-.:") {
                return Err(format!("invalid device name {:?}", device.name));
            }
            if self.devices[..index].iter().any(|other| other.name == device.name) {
                return Err(format!("two devices are called {:?}", device.name));
            }
            device.container_edits.check().map_err(|e| format!("device {:?}: {e}", device.name))?;
        }
        Ok(())
    }
}

impl Edits {
    fn check(&self) -> Result<(), String> {
        if let Some(variable) =
            self.env.iter().find(|v| v.split_once('=').is_none_or(|(name, _)| name.is_empty()))
        {
            return Err(format!("invalid variable {variable:?}"));
        }
        for node in &self.device_nodes {
            if node.path.is_empty() {
                return Err("a device node has no path".to_owned());
            }
            if !matches!(node.r#type.as_str(), "" | "b" | "c" | "u" | "p") {
                return Err(format!("device node {:?}: invalid type {:?}", node.path, node.r#type));
            }
            if node.permissions.chars().any(|c| !"rwm".contains(c)) {
                return Err(format!(
                    "device node {:?}: invalid permissions {:?}",
                    node.path, node.permissions
                ));
            }
        }
        if self.mounts.iter().any(|mount| mount.host_path.is_empty() || mount.container_path.is_empty()) {
            return Err("a mount lacks one of its paths".to_owned());
        }
        for hook in &self.hooks {
            if hook.path.is_empty() {
                return Err(format!("a hook {:?} has no path", hook.hook_name));
            }
            if !HOOKS.contains(&hook.hook_name.as_str()) {
                return Err(format!("there are no hooks {:?}", hook.hook_name));
            }
        }
        if !self.net_devices.is_empty() {
            return Err("network devices are not supported by this version of Skiff".to_owned());
        }
        Ok(())
    }

    /// Adds other edits behind these.
    pub(crate) fn append(&mut self, other: &Self) {
        self.env.extend_from_slice(&other.env);
        self.device_nodes.extend_from_slice(&other.device_nodes);
        self.mounts.extend_from_slice(&other.mounts);
        self.hooks.extend_from_slice(&other.hooks);
        self.additional_gids.extend_from_slice(&other.additional_gids);
        if other.intel_rdt.is_some() {
            self.intel_rdt.clone_from(&other.intel_rdt);
        }
    }
}

fn is_name(text: &str, extra: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let json = r#"{"cdiVersion":"0.6.0","kind":"vendor.com/class","devices":[{"name":"one","containerEdits":
            {"env":["A=b"],"deviceNodes":[{"path":"/dev/null"}],"additionalGids":[5]}}]}"#;
        let yaml = "cdiVersion: \"0.6.0\"\nkind: vendor.com/class\ndevices:\n- name: one\n  containerEdits:\n    env: [A=b]\n    \
            deviceNodes:\n    - path: /dev/null\n    additionalGids: [5]\n";
        let (one, other) = (CdiSpec::parse(json, false).unwrap(), CdiSpec::parse(yaml, true).unwrap());
        assert_eq!(one.devices[0].container_edits, other.devices[0].container_edits);
        assert_eq!(one.devices[0].container_edits.env, ["A=b"]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let device = |edits: &str| {
            let text = format!(
                r#"{{"cdiVersion":"0.8.0","kind":"v.com/c","devices":[{{"name":"d","containerEdits":{edits}}}]}}"#
            );
            CdiSpec::parse(&text, false).unwrap_err()
        };
        for (edits, reason) in [
            (r#"{"env":["=x"]}"#, "invalid variable \"=x\""),
            (r#"{"deviceNodes":[{}]}"#, "a device node has no path"),
            (r#"{"deviceNodes":[{"path":"/d","type":"x"}]}"#, "invalid type \"x\""),
            (r#"{"mounts":[{"hostPath":"/a"}]}"#, "a mount lacks one of its paths"),
            (r#"{"hooks":[{"hookName":"later","path":"/x"}]}"#, "there are no hooks \"later\""),
            (r#"{"netDevices":[{}]}"#, "network devices are not supported by this version of Skiff"),
        ] {
            let said = device(edits);
            assert!(said.ends_with(reason), "{said}");
        }
        for (text, reason) in [
            (r#"{"cdiVersion":"2.0.0","kind":"v/c"}"#, "is not one from 0.3.0 to 1.0.0"),
            (r#"{"cdiVersion":"1.0.0","kind":"v"}"#, "invalid kind \"v\""),
            (r#"{"kind":"v/c"}"#, "missing field `cdiVersion` at line 1 column 14"),
            ("[]", "expected struct CdiSpec"),
        ] {
            let said = CdiSpec::parse(text, false).unwrap_err();
            assert!(said.contains(reason.split(" at line").next().unwrap()), "{said}");
        }
    }
}
