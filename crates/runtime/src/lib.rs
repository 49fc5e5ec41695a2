//! Plans and applies containers: namespaces, cgroups, mounts, seccomp; launcher, monitor; the OCI runtime command line.

pub mod launcher;
pub mod monitor;
