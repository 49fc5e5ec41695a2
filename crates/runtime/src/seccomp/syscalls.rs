//! System call numbers by name, for every architecture whose programs an x86-64 or aarch64 kernel runs.

mod table;

use oci_spec::runtime::Arch;

use self::table::{TABLE, X};

/// The mark that x32 calls carry in their number.
pub(super) const X32_MARK: u32 = 0x4000_0000;

/// An architecture as a filter tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Abi {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

impl Abi {
    /// That of this program.
    pub(super) const NATIVE: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    /// `None`: no kernel that this program runs on ever reports that architecture.
    pub(super) fn from_oci(arch: Arch) -> Option<Self> {
        match arch {
            Arch::ScmpArchNative => Some(Self::NATIVE),
            Arch::ScmpArchX86_64 => Some(Self::X86_64),
            Arch::ScmpArchX86 => Some(Self::X86),
            Arch::ScmpArchX32 => Some(Self::X32),
            Arch::ScmpArchAarch64 => Some(Self::Aarch64),
            Arch::ScmpArchArm => Some(Self::Arm),
            _ => None,
        }
    }

    /// `AUDIT_ARCH_*` of linux/audit.h, which x86-64 and x32 share.
    pub(super) fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether only the lower half of an argument counts.
    pub(super) fn is_32_bit(self) -> bool {
        matches!(self, Self::X86 | Self::X32 | Self::Arm)
    }

    fn column(self) -> usize {
        match self {
            Self::X86_64 => 0,
            Self::X86 => 1,
            Self::X32 => 2,
            Self::Aarch64 => 3,
            Self::Arm => 4,
        }
    }

    /// The number of a call, with x32's mark; `None` if the architecture does not have it.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        let row = TABLE.binary_search_by_key(&name, |(name, _)| name).ok()?;
        let number = TABLE[row].1[self.column()];
        let mark = if self == Self::X32 { X32_MARK } else { 0 };
        (number != X).then_some(number | mark)
    }
}

/// A call through which others can be reached, and the first argument that means one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gate {
    pub(super) name: &'static str,
    pub(super) mask: u64,
    pub(super) call: u64,
}

/// `SYS_*` of linux/net.h, from 1 on.
const BY_SOCKETCALL: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// `SEMOP` to `SHMCTL` of linux/ipc.h.
const BY_IPC: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

impl Abi {
    /// i386 programs reach sockets and System V IPC through `socketcall` and `ipc` too. A rule about such a call must hold there as well, or
    /// a list of forbidden calls would have a hole; its conditions cannot, since the arguments are in memory.
    pub(super) fn gate(self, name: &str) -> Option<Gate> {
        if self != Self::X86 {
            return None;
        }
        let socket = BY_SOCKETCALL.iter().position(|call| *call == name);
        let socket = socket.map(|at| Gate { name: "socketcall", mask: u64::MAX, call: at as u64 + 1 });
        let ipc = BY_IPC.iter().find(|(call, _)| *call == name);
        // the upper half of the first argument is a version
        socket.or(ipc.map(|(_, call)| Gate { name: "ipc", mask: 0xffff, call: *call }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_knows_this_kernel() {
        assert!(TABLE.is_sorted_by(|(a, _), (b, _)| a < b));
        assert_eq!(Abi::X86.number("socketcall"), Some(102));
        assert_eq!(Abi::X32.number("execve"), Some(X32_MARK | 520));
        assert_eq!(Abi::Aarch64.number("open"), None);
        assert_eq!(Abi::Arm.number("set_tls"), Some(983_045));
        assert_eq!(Abi::X86_64.number("no_such_call"), None);
        for abi in [Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64, Abi::Arm] {
            assert_eq!(abi.number("mseal").map(|number| number & 0xffff), Some(462));
        }
    }
}
