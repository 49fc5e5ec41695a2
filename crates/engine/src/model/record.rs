//! A container as it is remembered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use skiff_types::{ContainerId, ImageId};

use super::{ContainerConfig, EndpointConfig, Health, HostConfig, Link, MountPoint, NetworkState, Timestamp};

/// What `create` is asked for.
#[derive(Clone, Debug, Default)]
pub struct CreateRequest {
    /// Name with or without the leading slash; none or empty makes one up.
    pub name: Option<String>,
    /// `os/arch[/variant]`, or empty.
    pub platform: String,
    /// The program.
    pub config: ContainerConfig,
    /// Its place on the host.
    pub host: HostConfig,
    /// Endpoints by network name.
    pub endpoints: BTreeMap<String, EndpointConfig>,
}

/// The answer to `create`.
#[derive(Clone, Debug)]
pub struct Created {
    /// The new container.
    pub id: ContainerId,
    /// What was changed or left out of the request.
    pub warnings: Vec<String>,
}

/// Everything the engine remembers of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Id.
    pub id: ContainerId,
    /// Name without the leading slash.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// The image it was made of.
    pub image: ImageId,
    /// The program and its arguments, entry point and command put together.
    pub args: Vec<String>,
    /// The program's configuration, the image's merged in.
    pub config: ContainerConfig,
    /// As asked for, defaults filled in.
    pub host: HostConfig,
    /// What it does now.
    pub state: ContainerState,
    /// How often the restart policy started it again.
    #[serde(default)]
    pub restart_count: u32,
    /// Whether a person stopped it: `unless-stopped` leaves it alone then.
    #[serde(default)]
    pub stopped_by_user: bool,
    /// Mounts.
    #[serde(default)]
    pub mounts: Vec<MountPoint>,
    /// Networks.
    #[serde(default)]
    pub network: NetworkState,
    /// Links to containers on the default bridge.
    #[serde(default)]
    pub links: Vec<Link>,
    /// The snapshot driver that holds its file system.
    pub driver: String,
    /// The AppArmor profile of the last start; before the first the one that was asked for. Empty without AppArmor.
    #[serde(default)]
    pub apparmor_profile: String,
    /// `linux`.
    #[serde(default)]
    pub platform: String,
}

impl ContainerRecord {
    /// How long its file system has to last.
    pub(crate) fn lifetime(&self) -> skiff_snapshots::Lifetime {
        self.host.lifetime()
    }
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never started.
    #[default]
    Created,
    /// Intent: being started. Seen only until the daemon has reconciled.
    Starting,
    /// Runs.
    Running,
    /// Runs, frozen.
    Paused,
    /// Ended; the restart policy will start it again.
    Restarting,
    /// Ended.
    Exited,
    /// Intent: being removed.
    Removing,
    /// Could not be removed.
    Dead,
}

/// What a container does, and how it last ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// Where it is in its life.
    pub status: Status,
    /// The memory limit killed something in it.
    pub oom_killed: bool,
    /// Process 1, as the host numbers it; 0 while it does not run.
    pub pid: i32,
    /// How it last ended; 0 while it runs.
    pub exit_code: i32,
    /// Why it last could not start; empty if it could.
    pub error: String,
    /// When it last started.
    pub started_at: Option<Timestamp>,
    /// When it last ended.
    pub finished_at: Option<Timestamp>,
    /// The control group it was last started in, below each hierarchy.
    pub cgroup: String,
    /// What its health checks say; none before its first start, and without checks.
    pub health: Option<Health>,
}

impl Status {
    /// The word in `State.Status` and of the `status` filter.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Created | Status::Starting => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Exited => "exited",
            Status::Removing => "removing",
            Status::Dead => "dead",
        }
    }

    /// Whether a process is there: Docker's `State.Running`, which a paused container keeps.
    pub fn is_running(self) -> bool {
        matches!(self, Status::Running | Status::Paused | Status::Restarting)
    }
}
