//! The only unsafe code: system calls that rustix does not offer, wrapped safely.
//!
//! Every function takes borrowed descriptors and gives back owned ones, returns the kernel's error number
//! unchanged, and allocates nothing unless its documentation says so. What rustix 1.x already wraps safely is
//! not wrapped here again.

#![allow(unsafe_code)]

pub mod bpf;
pub mod clone;
pub mod datagram;
pub mod exe;
pub mod exec;
pub mod fd;
pub mod identity;
pub mod keyring;
pub mod memory;
pub mod mount;
pub mod mountinfo;
pub mod netns;
pub mod quota;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod writeback;

mod call;

pub use rustix::io::Errno;
