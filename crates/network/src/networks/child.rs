//! The options of the drivers `macvlan` and `ipvlan`, read and checked. The texts are Docker's.
//!
//! Such a network has no bridge: each container gets a *child* of a link of the host, the *parent*, and is on the parent's LAN as if it had
//! a cable of its own. Children and the host itself do not reach each other through the parent: the kernel has it so.

use std::collections::BTreeMap;

use skiff_types::NetworkId;

use super::parent::ParentError;

const PARENT: &str = "parent";
const MACVLAN_MODE: &str = "macvlan_mode";
const IPVLAN_MODE: &str = "ipvlan_mode";
const IPVLAN_FLAG: &str = "ipvlan_flag";

/// What becomes of frames between the children of one parent (`macvlan_mode` of if_link.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum MacvlanMode {
    /// They do not reach each other.
    Private = 1,
    /// They go to the switch, which may send them back.
    Vepa = 2,
    /// They reach each other.
    Bridge = 4,
    /// There is but one child, and it has the parent for itself.
    Passthru = 8,
}

/// On which layer a parent tells its children apart (`ipvlan_mode` of if_link.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum IpvlanMode {
    /// Children are hosts on the parent's LAN.
    L2 = 0,
    /// Children are behind the parent as behind a router, without broadcasts.
    L3 = 1,
    /// The same, and their packets pass the host's netfilter.
    L3s = 2,
}

/// What becomes of packets between the children (`IPVLAN_F_…` of if_link.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum IpvlanFlag {
    /// They reach each other.
    Bridge = 0,
    /// They do not.
    Private = 1,
    /// They go to the switch.
    Vepa = 2,
}

/// What sort of child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChildKind {
    /// It has a hardware address of its own.
    Macvlan(MacvlanMode),
    /// It has its parent's.
    Ipvlan(IpvlanMode, IpvlanFlag),
}

/// What the options say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChildOptions {
    /// The parent.
    pub(crate) parent: String,
    /// Whether nobody named it: it is a dummy link of the network's own, and nothing is behind it.
    pub(crate) is_dummy: bool,
    /// The sort of children.
    pub(crate) kind: ChildKind,
    /// Whether no default route leads out.
    pub(crate) internal: bool,
}

impl ChildOptions {
    /// Reads the options of a network of driver `macvlan`.
    pub(crate) fn macvlan(
        options: &BTreeMap<String, String>,
        internal: bool,
        id: &NetworkId,
    ) -> Result<Self, ParentError> {
        let mode = match text(options, MACVLAN_MODE) {
            "" | "bridge" => MacvlanMode::Bridge,
            "private" => MacvlanMode::Private,
            "vepa" => MacvlanMode::Vepa,
            "passthru" => MacvlanMode::Passthru,
            other => return Err(ParentError::MacvlanMode(other.to_owned())),
        };
        Self::new(options, internal, ChildKind::Macvlan(mode), id)
    }

    /// Reads the options of a network of driver `ipvlan`.
    pub(crate) fn ipvlan(
        options: &BTreeMap<String, String>,
        internal: bool,
        id: &NetworkId,
    ) -> Result<Self, ParentError> {
        let mode = match text(options, IPVLAN_MODE) {
            "" | "l2" => IpvlanMode::L2,
            "l3" => IpvlanMode::L3,
            "l3s" => IpvlanMode::L3s,
            other => return Err(ParentError::IpvlanMode(other.to_owned())),
        };
        let flag = match text(options, IPVLAN_FLAG) {
            "" | "bridge" => IpvlanFlag::Bridge,
            "private" => IpvlanFlag::Private,
            "vepa" => IpvlanFlag::Vepa,
            other => return Err(ParentError::IpvlanFlag(other.to_owned())),
        };
        Self::new(options, internal, ChildKind::Ipvlan(mode, flag), id)
    }

    fn new(
        options: &BTreeMap<String, String>,
        internal: bool,
        kind: ChildKind,
        id: &NetworkId,
    ) -> Result<Self, ParentError> {
        let parent = text(options, PARENT);
        if parent == "lo" {
            return Err(ParentError::Loopback(kind.driver()));
        }
        let is_dummy = parent.is_empty();
        let prefix = match kind {
            ChildKind::Macvlan(_) => "dm-",
            ChildKind::Ipvlan(..) => "di-",
        };
        Ok(Self {
            parent: if is_dummy { format!("{prefix}{}", id.short()) } else { parent.to_owned() },
            is_dummy,
            kind,
            internal: internal || is_dummy,
        })
    }

    /// Whether the default route leads to the interface itself, without a gateway.
    pub(crate) fn routes_to_interface(&self) -> bool {
        !self.internal && matches!(self.kind, ChildKind::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s, _))
    }

    /// Whether an address is set aside for a gateway.
    pub(crate) fn has_gateway(&self) -> bool {
        !self.internal && !self.routes_to_interface()
    }

    /// Whether children have hardware addresses of their own.
    pub(crate) fn has_own_mac(&self) -> bool {
        matches!(self.kind, ChildKind::Macvlan(_))
    }

    /// What keeps two networks from having the same parent, if anything does. Nothing keeps those of different drivers.
    pub(crate) fn conflict(&self, other: &Self, other_id: NetworkId) -> Option<ParentError> {
        let parent = || self.parent.clone();
        match (self.kind, other.kind) {
            _ if self.parent != other.parent => None,
            (ChildKind::Macvlan(MacvlanMode::Passthru), ChildKind::Macvlan(_)) => {
                Some(ParentError::UsedBeforePassthru { other: other_id, parent: parent() })
            }
            (ChildKind::Macvlan(_), ChildKind::Macvlan(MacvlanMode::Passthru)) => {
                Some(ParentError::UsedByPassthru { other: other_id, parent: parent() })
            }
            (ChildKind::Ipvlan(..), ChildKind::Ipvlan(..)) => {
                Some(ParentError::UsedByIpvlan { other: other_id.short(), parent: parent() })
            }
            _ => None,
        }
    }
}

impl ChildKind {
    /// The driver's name, which is the kind of its links too.
    pub(crate) fn driver(self) -> &'static str {
        match self {
            Self::Macvlan(_) => "macvlan",
            Self::Ipvlan(..) => "ipvlan",
        }
    }
}

fn text<'a>(options: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    options.get(name).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: NetworkId = NetworkId::from_bytes([0xab; 32]);

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn macvlan(pairs: &[(&str, &str)]) -> Result<ChildOptions, String> {
        ChildOptions::macvlan(&options(pairs), false, &ID).map_err(|e| e.to_string())
    }

    fn ipvlan(pairs: &[(&str, &str)]) -> Result<ChildOptions, String> {
        ChildOptions::ipvlan(&options(pairs), false, &ID).map_err(|e| e.to_string())
    }

    /// Recorded from Docker 28.5.2.
    #[test]
    fn faults_are_told_in_dockers_words() {
        let words = "requested macvlan mode 'x' is not valid, 'bridge' mode is the macvlan driver default";
        assert_eq!(macvlan(&[("parent", "e"), ("macvlan_mode", "x")]), Err(words.to_owned()));
        let words = "loopback interface is not a valid macvlan parent link";
        assert_eq!(macvlan(&[("parent", "lo")]), Err(words.to_owned()));
        let words = "requested ipvlan mode 'L2' is not valid, 'l2' mode is the ipvlan driver default";
        assert_eq!(ipvlan(&[("ipvlan_mode", "L2")]), Err(words.to_owned()));
        let words = "requested ipvlan flag 'x' is not valid, 'bridge' is the ipvlan driver default";
        assert_eq!(ipvlan(&[("ipvlan_flag", "x")]), Err(words.to_owned()));
    }

    #[test]
    fn without_a_parent_there_is_a_dummy_and_no_way_out() {
        let alone = macvlan(&[]).unwrap();
        assert_eq!((alone.parent.as_str(), alone.internal), ("dm-abababababab", true));
        assert!(!alone.has_gateway());
        assert_eq!(ipvlan(&[]).unwrap().parent, "di-abababababab");
        let l3 = ipvlan(&[("parent", "e"), ("ipvlan_mode", "l3")]).unwrap();
        assert!(l3.routes_to_interface() && !l3.has_gateway());
    }

    #[test]
    fn a_parent_is_shared_by_who_does_not_want_it_alone() {
        let (shared, alone) =
            (macvlan(&[("parent", "e")]).unwrap(), macvlan(&[("parent", "e"), ("macvlan_mode", "passthru")]));
        let (alone, ip) = (alone.unwrap(), ipvlan(&[("parent", "e")]).unwrap());
        let elsewhere = macvlan(&[("parent", "f"), ("macvlan_mode", "passthru")]).unwrap();
        assert!(shared.conflict(&shared, ID).is_none() && shared.conflict(&ip, ID).is_none());
        assert!(shared.conflict(&elsewhere, ID).is_none());
        let id = "ab".repeat(32);
        for (new, old, words) in [
            (
                &alone,
                &shared,
                format!("cannot use mode passthru, macvlan network {id} is already using parent interface e"),
            ),
            (
                &shared,
                &alone,
                format!("macvlan network {id} is already using parent interface e in mode passthru"),
            ),
            (&ip, &ip, "network di-abababababab is already using parent interface e".to_owned()),
        ] {
            assert_eq!(new.conflict(old, ID).unwrap().to_string(), words);
        }
    }
}
