//! What a transaction consists of.

use super::expr::Expr;

/// One step of a transaction on the crate's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Make the table if it is not there.
    AddTable,
    /// Make the table, which must not be there.
    NewTable,
    /// Make a table that nobody can change or remove but through this socket, and that is still there when the socket is
    /// not: everybody can then. Linux 6.9 and later.
    AddOwnTable,
    /// Remove the table with all that is in it.
    DeleteTable,
    /// The same, if there is one. Linux 6.3 and later.
    DestroyTable,
    /// Make a set or a map.
    AddSet(Set),
    /// Make a chain.
    AddChain(Chain),
    /// Put a rule behind the others of a chain.
    AddRule {
        /// The chain.
        chain: &'static str,
        /// What the rule does.
        rule: Vec<Expr>,
    },
    /// Add elements to a set or map.
    AddElements {
        /// The set.
        set: &'static str,
        /// The elements.
        elements: Vec<Element>,
    },
    /// Remove elements from a set or map.
    DeleteElements {
        /// The set.
        set: &'static str,
        /// The elements.
        elements: Vec<Element>,
    },
}

impl Op {
    /// Whether the step does nothing.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::AddElements { elements, .. } | Self::DeleteElements { elements, .. } if elements.is_empty())
    }
}

/// A set, or a map if it has data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    /// Its name.
    pub(crate) name: &'static str,
    /// The parts of its keys.
    pub(crate) key: &'static [SetKind],
    /// The parts of its values; empty for a set.
    pub(crate) data: &'static [SetKind],
    /// Whether its elements are intervals: where each begins and, as another element, where it has ended.
    pub(crate) intervals: bool,
    /// Whether rules put elements in, and how long they stay.
    pub(crate) lasting: Option<Lasting>,
}

/// How many elements rules may put into a set, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lasting {
    /// How many at once.
    pub(crate) size: u32,
    /// How many milliseconds each.
    pub(crate) timeout: u64,
}

/// The type of one part of a key or value: the number by which `nft list` shows it, and its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetKind {
    /// `enum datatypes` of libnftables.
    pub(crate) number: u32,
    /// Its length, before it is padded to a register of four bytes.
    pub(crate) length: u32,
    /// Whether `nft list` must not take the bytes for a number in network order.
    pub(crate) host_order: bool,
}

/// The parts that keys and values are made of.
pub(crate) mod kind {
    use super::SetKind;

    pub(crate) const FAMILY: SetKind = SetKind { number: 2, length: 1, host_order: false };
    pub(crate) const IPV6: SetKind = SetKind { number: 8, length: 16, host_order: false };
    pub(crate) const IPV4: SetKind = SetKind { number: 7, length: 4, host_order: false };
    pub(crate) const PROTOCOL: SetKind = SetKind { number: 12, length: 1, host_order: false };
    pub(crate) const PORT: SetKind = SetKind { number: 13, length: 2, host_order: false };
    pub(crate) const INTERFACE: SetKind = SetKind { number: 41, length: 16, host_order: true };
}

/// An element, as registers hold it: each part padded to four bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    /// The key.
    pub(crate) key: Vec<u8>,
    /// The value; empty in a set.
    pub(crate) data: Vec<u8>,
    /// Of an interval set: the key is the first one behind an interval, not the first of one.
    pub(crate) end: bool,
}

impl Element {
    /// An element of a set.
    pub(crate) fn key(key: Vec<u8>) -> Self {
        Self { key, data: Vec::new(), end: false }
    }

    /// An element of a map.
    pub(crate) fn pair(key: Vec<u8>, data: Vec<u8>) -> Self {
        Self { key, data, end: false }
    }

    /// What is named to remove the element.
    pub(crate) fn name(self) -> Self {
        Self { data: Vec::new(), ..self }
    }
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where the kernel enters it; none for a chain that is only jumped to.
    pub(crate) hook: Option<Hook>,
}

/// The kernel's way into a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    /// `enum nf_inet_hooks`.
    pub(crate) number: u32,
    /// Lower comes first.
    pub(crate) priority: i32,
}

impl Hook {
    /// `prerouting`.
    pub(crate) const PREROUTING: u32 = 0;
    /// `input`.
    pub(crate) const INPUT: u32 = 1;
    /// `forward`.
    pub(crate) const FORWARD: u32 = 2;
    /// `output`.
    pub(crate) const OUTPUT: u32 = 3;
    /// `postrouting`.
    pub(crate) const POSTROUTING: u32 = 4;
}
