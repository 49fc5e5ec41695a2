//! Plans and applies containers: namespaces, cgroups, mounts, seccomp; launcher, monitor; the OCI runtime command line.
//!
//! A container is described by an OCI [`spec::Spec`]. [`plan`] turns it, purely, into a [`plan::Plan`]; [`apply`] carries
//! the plan out in a child process. The daemon (through launcher and monitor) and `skiff runtime` go the same way.

pub mod apply;
pub mod capabilities;
pub mod cgroups;
pub mod defaults;
pub mod init;
pub mod launcher;
pub mod monitor;
pub mod oci;
pub mod plan;
pub mod rdt;
pub mod seccomp;
pub mod spec;
