//! Device files: those every container has, and those asked for.

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use serde::{Deserialize, Serialize};

use super::PlanError;

/// A device file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// Where, absolute in the container.
    pub path: String,
    /// Which sort.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permissions.
    pub mode: u32,
    /// Owner, in the container.
    pub uid: u32,
    /// Group, in the container.
    pub gid: u32,
}

/// The sort of a device file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// Character device.
    Character,
    /// Block device.
    Block,
    /// Named pipe.
    Fifo,
}

/// What the specification promises every container on Linux (config-linux.md, "Default Devices"); `/dev/console`
/// and `/dev/ptmx` are made with the terminal and the links.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The default devices, each replaced by the specification's own of the same path, then the others.
pub(super) fn plan(asked: &[LinuxDevice]) -> Result<Vec<DeviceNode>, PlanError> {
    let mut devices = standard();
    for device in asked {
        let device = node(device)?;
        match devices.iter_mut().find(|other| other.path == device.path) {
            Some(other) => *other = device,
            None => devices.push(device),
        }
    }
    Ok(devices)
}

/// The default devices.
pub(crate) fn standard() -> Vec<DeviceNode> {
    DEFAULT.into_iter().map(default_device).collect()
}

fn default_device((path, major, minor): (&str, u32, u32)) -> DeviceNode {
    let kind = DeviceKind::Character;
    DeviceNode { path: path.to_owned(), kind, major, minor, mode: 0o666, uid: 0, gid: 0 }
}

fn node(device: &LinuxDevice) -> Result<DeviceNode, PlanError> {
    let path = super::absolute_path("linux.devices.path", device.path())?;
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Character,
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::P => DeviceKind::Fifo,
        LinuxDeviceType::A => {
            return Err(PlanError::invalid("linux.devices.type", format!("{path}: \"a\" is no device file")));
        }
    };
    let number = |name: &str, value: i64| {
        let reason = || format!("{path}: {name} number {value} is out of range");
        u32::try_from(value).map_err(|_| PlanError::invalid("linux.devices", reason()))
    };
    Ok(DeviceNode {
        kind,
        major: number("major", device.major())?,
        minor: number("minor", device.minor())?,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(json: serde_json::Value) -> LinuxDevice {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_device_of_the_specification_replaces_the_default_of_its_path() {
        let null = device(
            serde_json::json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}),
        );
        let fuse = device(serde_json::json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}));
        let devices = plan(&[null, fuse]).unwrap();
        assert_eq!(devices.len(), DEFAULT.len() + 1);
        assert_eq!((devices[0].path.as_str(), devices[0].mode), ("/dev/null", 0o600));
        assert_eq!(devices.last().unwrap().minor, 229);
    }

    #[test]
    fn nonsense_is_refused() {
        let all = device(serde_json::json!({"path": "/dev/x", "type": "a", "major": 1, "minor": 3}));
        assert!(plan(&[all]).is_err());
        let negative = device(serde_json::json!({"path": "/dev/x", "type": "c", "major": -1, "minor": 3}));
        assert!(plan(&[negative]).is_err());
        let relative = device(serde_json::json!({"path": "dev/x", "type": "p", "major": 0, "minor": 0}));
        assert!(plan(&[relative]).is_err());
    }
}
