//! System call filters: Docker's default profile, profiles read from files, and their compilation to classic BPF.
//!
//! [`compile`] turns the `seccomp` section of a spec into a [`Program`], plain data that is compiled once per profile, kept, and sent along in
//! plans. Where the answer depends on the system call alone, the program is a binary search over ranges of numbers, about seven comparisons for
//! Docker's profile; since Linux 5.11 the kernel even skips the program for calls that it always allows.
//!
//! What runc does and the OCI specification leaves open is done alike:
//!
//! * A name that no architecture knows is ignored: it is a newer kernel's.
//! * A call whose number is higher than every call the profile names is newer than the profile. It gets `ENOSYS` instead of the default action, because
//!   a C library falls back to older calls on `ENOSYS`, and gives up on `EPERM`. Profiles that allow by default are left as they are.
//! * A rule whose action is the default action says nothing. The first rule without conditions decides about its call, wherever conditional rules stand.
//!   Conditions on the same argument within one rule are alternatives, on different arguments they must all hold.
//! * The native architecture is always part of the filter; a call from any that is not ends the process.
//!
//! See seccomp(2) and the specification's config-linux.md#seccomp.

mod assemble;
mod compile;
mod docker;
mod notify;
mod profile;
mod syscalls;

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use skiff_sys::seccomp;

pub use self::compile::{CompileError, compile};
pub use self::docker::default_profile;
pub use self::notify::send_listener;
pub use self::profile::{ProfileError, parse_docker_profile};

/// One instruction of classic BPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// A compiled filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The instructions.
    #[serde(with = "packed")]
    pub instructions: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*`, without that for a listener.
    pub flags: u32,
    /// Whether some call is handed to a supervisor, so that [`Program::load`] answers a listener.
    pub notifies: bool,
}

impl Program {
    /// Installs the filter on the calling thread, which needs `no_new_privs` or `CAP_SYS_ADMIN`. The listener, if any, must reach whoever
    /// answers before a filtered call is made.
    ///
    /// # Errors
    /// The kernel's: `EINVAL` for a flag or action it does not know, `EACCES` without privilege.
    pub fn load(&self) -> Result<Option<OwnedFd>, Errno> {
        let program: Vec<seccomp::Instruction> = self
            .instructions
            .iter()
            .map(|&Instruction { code, jt, jf, k }| seccomp::Instruction { code, jt, jf, k })
            .collect();
        let mut flags = self.flags;
        if self.notifies {
            flags |= seccomp::FLAG_NEW_LISTENER;
            if flags & seccomp::FLAG_TSYNC != 0 {
                flags |= seccomp::FLAG_TSYNC_ESRCH; // the kernel wants both or no thread synchronisation
            }
        }
        seccomp::load(&program, flags)
    }
}

/// Instructions as the bytes of the kernel's `struct sock_filter`, in this machine's order: hundreds of them travel in every plan.
mod packed {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use serde_bytes::ByteBuf;

    use super::Instruction;

    const SIZE: usize = 8;

    pub(super) fn serialize<S: Serializer>(
        instructions: &[Instruction],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(instructions.len() * SIZE);
        for &Instruction { code, jt, jf, k } in instructions {
            bytes.extend_from_slice(&code.to_ne_bytes());
            bytes.extend_from_slice(&[jt, jf]);
            bytes.extend_from_slice(&k.to_ne_bytes());
        }
        serializer.serialize_bytes(&bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Instruction>, D::Error> {
        let bytes = ByteBuf::deserialize(deserializer)?;
        let (instructions, rest) = bytes.as_chunks::<SIZE>();
        if !rest.is_empty() {
            return Err(D::Error::custom("half an instruction"));
        }
        let unpack = |&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; SIZE]| Instruction {
            code: u16::from_ne_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        };
        Ok(instructions.iter().map(unpack).collect())
    }
}

/// What a profile may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
    /// In Go's words, which profiles use: `amd64`, `arm64`.
    pub arch: &'static str,
}

impl Host {
    /// This machine.
    pub fn current() -> Self {
        let uname = rustix::system::uname();
        let kernel = parse_kernel(&uname.release().to_string_lossy()).unwrap_or((0, 0));
        Self { kernel, arch: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" } }
    }
}

/// The first two numbers of `6.12.9+deb12-cloud-amd64`.
fn parse_kernel(release: &str) -> Option<(u32, u32)> {
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map(|digits| digits.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests;
