//! The executor on the real kernel: containers from bundles, started through the command line of the runtime, as root.
//!
//! Every container has a state directory, a cgroup and a root file system of its own, which its [`bundle::Bundle`]
//! removes, also when a test fails. What a kernel lacks makes a test fail, never skip.

mod bundle;
mod compatibility;
mod devices;
mod escapes;
mod faults;
mod hooks;
mod labels;
mod lifecycle;
mod mounts;
mod namespaces;
mod process;
mod races;
mod rootless;
