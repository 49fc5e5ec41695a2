//! What other programs' filters do with what passes a hook of the host. Their rules are not read: where there are none, the policies decide.

use crate::{
    NetworkError,
    firewall::plan::TABLE,
    netlink::Netlink,
    nft::{self, Policy},
};

/// What they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Strangers {
    /// Nobody filters.
    Pass,
    /// A chain without rules drops everything; its name.
    Drop(String),
    /// Chains that have rules; their names.
    Decide(Vec<String>),
}

/// Looks at the hook's filters, those of iptables' old kind included, whose mere presence is seen.
pub(super) fn at(hook: u32) -> Result<Strangers, NetworkError> {
    let mut socket = Netlink::netfilter().map_err(NetworkError::kernel("open netfilter's socket"))?;
    let chains =
        nft::chains(&mut socket, hook).map_err(NetworkError::kernel("list the chains of nftables"))?;
    let mut deciding = Vec::new();
    for chain in chains.iter().filter(|chain| chain.is_filter && chain.table != TABLE) {
        match (chain.rules, chain.policy) {
            (0, Policy::Accept) => {}
            (0, Policy::Drop) => return Ok(Strangers::Drop(chain.to_string())),
            _ => deciding.push(chain.to_string()),
        }
    }
    for (file, name) in [("ip_tables_names", "iptables-legacy"), ("ip6_tables_names", "ip6tables-legacy")] {
        let tables = fs_err::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        if tables.lines().any(|table| table == "filter") {
            deciding.push(format!("table filter of {name}"));
        }
    }
    Ok(if deciding.is_empty() { Strangers::Pass } else { Strangers::Decide(deciding) })
}
