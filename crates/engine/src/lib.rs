//! The services of the engine: containers, execs, images, networks, events, system.
//!
//! [`Engine::start`] opens the store, finds what the last daemon left behind and wires the services. Each service is a
//! cheap handle that holds only what it needs; requests may run concurrently, each container has its own order.
//! Errors speak Docker's language ([`Error`]) and know no HTTP.

mod apparmor;
mod budget;
mod cdi;
mod config;
mod container;
mod containers;
mod detach_keys;
mod error;
mod events;
mod execs;
mod failure;
mod host;
mod images;
mod last_use;
mod link;
mod metrics;
pub mod model;
mod names;
mod networks;
mod prune;
mod records;
mod registries;
mod registry;
mod seccomp;
mod secrets;
mod signal;
mod spec;
mod start;
mod stats;
mod system;
mod users;
mod validate;
mod volumes;

pub use config::{BridgeConfig, BuiltinImage, Config, OWN_RUNTIMES, Runtime};
pub use container::Reader;
pub use containers::{
    Archived, AttachOptions, Attached, CommitRequest, Containers, ListOptions, LogOptions, LogStream,
    PathStat, PutOptions, RemoveOptions, StopOptions, WaitCondition, WaitOutcome, Waiting,
};
pub use error::{Error, Result};
pub use events::{EventStream, Events};
pub use execs::{ExecStart, Execs, StartedExec};
pub use images::{
    ArchiveWriter, ImageListOptions, Images, ImportRequest, LoadProgress, ProgressSink, RemoveImageOptions,
};
pub use networks::Networks;
pub use registries::{
    Credentials, Descriptor, DistributionInfo, Encoding, Found, Platform, Progress, ProgressSender,
    PullRequest, PushRequest, Registries, Secret, VerifyRequest,
};
pub use skiff_archive::ArchiveSink;
pub use skiff_logs::check as check_log_options;
pub use skiff_network::NEIGHBOURS;
pub use skiff_snapshots::{Change, ChangeKind};
pub use start::Engine;
pub use stats::{SampleStream, Stats};
pub use system::{Reloadable, System};
pub use volumes::Volumes;
