//! The expressions rules are made of (`linux/netfilter/nf_tables.h`). Registers are numbered as the kernel's
//! `NFT_REG32_00` and up: four bytes each, sixteen of them, shown here from 0.

use crate::netlink::Message;

/// One expression. Comparisons end the rule when they do not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    /// A property of the packet into a register.
    Meta {
        /// Which one.
        key: u32,
        /// Where to.
        to: u32,
    },
    /// Bytes of the packet into a register.
    Payload {
        /// Which bytes.
        field: Field,
        /// Where to.
        to: u32,
    },
    /// A property of the connection into a register.
    Ct {
        /// Which one.
        key: u32,
        /// Where to.
        to: u32,
    },
    /// The type of the destination address (local, unicast, …) into a register.
    DestinationType {
        /// Where to.
        to: u32,
    },
    /// Keep only these bits.
    And {
        /// The register, in place.
        register: u32,
        /// The bits.
        mask: Vec<u8>,
    },
    /// Go on only if the register holds this.
    Equal {
        /// The register.
        register: u32,
        /// The value.
        value: Vec<u8>,
    },
    /// Go on only if the register holds anything else.
    NotEqual {
        /// The register.
        register: u32,
        /// The value.
        value: Vec<u8>,
    },
    /// Go on only if the set has the key that starts at the register.
    InSet {
        /// The set.
        set: &'static str,
        /// The first register of the key.
        key: u32,
    },
    /// Go on only if the map has the key that starts at the register, with its value in the registers from there on.
    Map {
        /// The map.
        map: &'static str,
        /// The first register of the key and of the value.
        key: u32,
    },
    /// A value into a register.
    Load {
        /// Where to.
        to: u32,
        /// The value.
        value: Vec<u8>,
    },
    /// A register into bytes of the packet.
    Write {
        /// Which bytes.
        field: Field,
        /// The register.
        from: u32,
        /// Where the checksum lies that covers them, in the same header.
        checksum: u32,
    },
    /// Rewrite the destination to the address and the port in these registers.
    Dnat {
        /// Whether the address is IPv6.
        ipv6: bool,
        /// The address.
        address: u32,
        /// The port.
        port: u32,
    },
    /// Rewrite the source to the address in this register.
    Snat {
        /// Whether the address is IPv6.
        ipv6: bool,
        /// The address.
        address: u32,
    },
    /// Rewrite the source to the outgoing interface's address.
    Masquerade,
    /// Have the packet belong to no connection.
    NoTrack,
    /// Put the key that starts at the register into a set with a timeout, or have it stay there longer. A set that is
    /// full ends the rule.
    Update {
        /// The set.
        set: &'static str,
        /// The first register of the key.
        key: u32,
    },
    /// Send a copy of the packet to whoever listens to this group of netfilter's log, at once.
    Log {
        /// The group.
        group: u16,
    },
    /// Let it pass this table.
    Accept,
    /// Drop it.
    Drop,
    /// Go on in another chain, and then here.
    Jump(&'static str),
}

/// A field of a packet's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    base: u32,
    offset: u32,
    length: u32,
}

/// Fields of the headers.
pub(crate) mod field {
    use super::Field;

    const NETWORK: u32 = 1;
    const TRANSPORT: u32 = 2;

    pub(crate) const IPV4_SOURCE: Field = Field { base: NETWORK, offset: 12, length: 4 };
    pub(crate) const IPV4_DESTINATION: Field = Field { base: NETWORK, offset: 16, length: 4 };
    pub(crate) const SOURCE_PORT: Field = Field { base: TRANSPORT, offset: 0, length: 2 };
    pub(crate) const IPV6_SOURCE: Field = Field { base: NETWORK, offset: 8, length: 16 };
    pub(crate) const IPV6_DESTINATION: Field = Field { base: NETWORK, offset: 24, length: 16 };
    pub(crate) const DESTINATION_PORT: Field = Field { base: TRANSPORT, offset: 2, length: 2 };
    pub(crate) const TCP_SEQUENCE: Field = Field { base: TRANSPORT, offset: 4, length: 4 };
    pub(crate) const TCP_FLAGS: Field = Field { base: TRANSPORT, offset: 13, length: 1 };
}

/// `enum nft_meta_keys`.
pub(crate) mod meta {
    pub(crate) const INPUT_NAME: u32 = 6;
    pub(crate) const OUTPUT_NAME: u32 = 7;
    pub(crate) const FAMILY: u32 = 15;
    pub(crate) const PROTOCOL: u32 = 16;
}

/// `enum nft_ct_keys` and the bits of these properties.
pub(crate) mod ct {
    pub(crate) const STATE: u32 = 0;
    pub(crate) const STATUS: u32 = 2;
    /// `NF_CT_STATE_BIT` of new.
    pub(crate) const NEW: u32 = 8;
    /// `NF_CT_STATE_BIT` of established and related.
    pub(crate) const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
    /// `IPS_DST_NAT`.
    pub(crate) const DNAT: u32 = 1 << 5;
}

/// `NFT_REG32_00`.
const REGISTERS: u32 = 8;
/// `NFTA_DATA_VALUE`.
const VALUE: u16 = 1;
/// `NFTA_DATA_VERDICT`.
const VERDICT: u16 = 2;

impl Expr {
    /// Writes the expression as an element of a rule's list.
    pub(super) fn encode(&self, list: &mut Message<'_>) {
        let register = |n: &u32| REGISTERS + n;
        match self {
            Self::Meta { key, to } => expression(list, "meta", |m| {
                m.be32(1, register(to));
                m.be32(2, *key);
            }),
            Self::Payload { field, to } => expression(list, "payload", |m| {
                m.be32(1, register(to));
                m.be32(2, field.base);
                m.be32(3, field.offset);
                m.be32(4, field.length);
            }),
            Self::Ct { key, to } => expression(list, "ct", |m| {
                m.be32(1, register(to));
                m.be32(2, *key);
            }),
            Self::DestinationType { to } => expression(list, "fib", |m| {
                m.be32(1, register(to));
                m.be32(2, 3); // NFT_FIB_RESULT_ADDRTYPE
                m.be32(3, 1 << 1); // NFTA_FIB_F_DADDR
            }),
            Self::And { register: r, mask } => expression(list, "bitwise", |m| {
                m.be32(1, register(r));
                m.be32(2, register(r));
                m.be32(3, mask.len() as u32);
                m.nest(4, |m| m.bytes(VALUE, mask));
                m.nest(5, |m| m.bytes(VALUE, &vec![0; mask.len()]));
            }),
            Self::Equal { register: r, value } => compare(list, register(r), 0, value),
            Self::NotEqual { register: r, value } => compare(list, register(r), 1, value),
            Self::InSet { set, key } => expression(list, "lookup", |m| {
                m.str(1, set);
                m.be32(2, register(key));
            }),
            Self::Map { map, key } => expression(list, "lookup", |m| {
                m.str(1, map);
                m.be32(2, register(key));
                m.be32(3, register(key));
            }),
            Self::Load { to, value } => expression(list, "immediate", |m| {
                m.be32(1, register(to));
                m.nest(2, |m| m.bytes(VALUE, value));
            }),
            Self::Write { field, from, checksum } => expression(list, "payload", |m| {
                m.be32(5, register(from));
                m.be32(2, field.base);
                m.be32(3, field.offset);
                m.be32(4, field.length);
                m.be32(6, 1); // NFT_PAYLOAD_CSUM_INET
                m.be32(7, *checksum);
            }),
            Self::Dnat { ipv6, address, port } => expression(list, "nat", |m| {
                m.be32(1, 1); // NFT_NAT_DNAT
                m.be32(2, nat_family(*ipv6));
                m.be32(3, register(address));
                m.be32(5, register(port));
            }),
            Self::Snat { ipv6, address } => expression(list, "nat", |m| {
                m.be32(1, 0); // NFT_NAT_SNAT
                m.be32(2, nat_family(*ipv6));
                m.be32(3, register(address));
            }),
            Self::Masquerade => expression(list, "masq", |_| {}),
            Self::NoTrack => expression(list, "notrack", |_| {}),
            Self::Update { set, key } => expression(list, "dynset", |m| {
                m.str(1, set);
                m.be32(3, 1); // NFT_DYNSET_OP_UPDATE
                m.be32(4, register(key));
            }),
            Self::Log { group } => expression(list, "log", |m| {
                m.bytes(1, &group.to_be_bytes());
                m.bytes(4, &1u16.to_be_bytes()); // no packet waits for a second one
            }),
            Self::Accept => verdict(list, 1, None),
            Self::Drop => verdict(list, 0, None),
            Self::Jump(chain) => verdict(list, -3, Some(chain)),
        }
    }
}

/// `NFPROTO_IPV6` or `NFPROTO_IPV4`.
fn nat_family(ipv6: bool) -> u32 {
    if ipv6 { 10 } else { 2 }
}

fn expression(list: &mut Message<'_>, name: &str, data: impl FnOnce(&mut Message<'_>)) {
    list.nest(1, |m| {
        m.str(1, name);
        m.nest(2, data);
    });
}

fn compare(list: &mut Message<'_>, register: u32, op: u32, value: &[u8]) {
    expression(list, "cmp", |m| {
        m.be32(1, register);
        m.be32(2, op);
        m.nest(3, |m| m.bytes(VALUE, value));
    });
}

fn verdict(list: &mut Message<'_>, code: i32, chain: Option<&str>) {
    expression(list, "immediate", |m| {
        m.be32(1, 0); // NFT_REG_VERDICT
        m.nest(2, |m| {
            m.nest(VERDICT, |m| {
                m.be32(1, code as u32);
                if let Some(chain) = chain {
                    m.str(2, chain);
                }
            });
        });
    });
}
