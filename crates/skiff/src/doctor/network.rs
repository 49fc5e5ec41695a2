//! Networks: links, the firewall, forwarding.

use skiff_engine::NEIGHBOURS;

use super::{Finding, line, storage::module_exists};

/// Parts of the kernel, what is lost without them, and whether that is too much.
const PARTS: [(&str, &str, bool); 7] = [
    ("bridge", "no network but the host's and none", true),
    ("veth", "no network but the host's and none", true),
    ("nf_tables", "ports cannot be published, nor containers kept apart", true),
    ("nf_nat", "containers do not reach other hosts, and ports cannot be published", true),
    ("nf_conntrack", "the firewall cannot tell answers from questions", true),
    ("nft_log", "the daemon starts only with --firewall=docker", false),
    ("nfnetlink_log", "the daemon starts only with --firewall=docker", false),
];

pub(super) fn findings() -> Vec<Finding> {
    let mut out = Vec::new();
    let mut there = Vec::new();
    for (name, without, needed) in PARTS {
        if module_exists(name) || built_in(name) {
            there.push(name);
            continue;
        }
        // Without a list of modules (inside a container, say) nobody can tell what the kernel can load.
        if unknown() {
            continue;
        }
        let text = format!("{name} is not to be found: {without}");
        let remedy = format!("modprobe {name}, or a kernel that has it");
        out.push(if needed { Finding::bad(text, remedy) } else { Finding::note(text, remedy) });
    }
    if !there.is_empty() {
        out.insert(0, Finding::good(format!("kernel parts: {}", there.join(", "))));
    }
    out.push(match line("/proc/sys/net/ipv4/ip_forward").as_str() {
        "1" => Finding::good("the host forwards IPv4"),
        _ => Finding::note(
            "the host does not forward IPv4: the daemon turns it on unless --ip-forward=false",
            "",
        ),
    });
    out.extend(["IPv4", "IPv6"].into_iter().filter_map(neighbours));
    if line("/proc/sys/net/bridge/bridge-nf-call-iptables") == "1" {
        out.push(Finding::note(
            "iptables rules of others apply between containers of one bridge (br_netfilter)",
            "sysctl -w net.bridge.bridge-nf-call-iptables=0 unless something needs it",
        ));
    }
    out
}

/// How many neighbours the kernel remembers; network namespaces other than the machine's first do not see it.
fn neighbours(name: &str) -> Option<Finding> {
    let path = format!("/proc/sys/net/{}/neigh/default/gc_thresh3", name.to_lowercase());
    let limit: u64 = line(&path).parse().ok()?;
    let text = format!("the kernel remembers {limit} {name} neighbours");
    Some(match limit >= NEIGHBOURS {
        true => Finding::good(text),
        false => Finding::note(
            format!("{text}, enough for {} containers: the daemon has it remember {NEIGHBOURS}", limit / 2),
            "",
        ),
    })
}

/// Whether a part that is no module is there, by what it leaves in /proc and /sys.
fn built_in(name: &str) -> bool {
    let sign = match name {
        "bridge" => "/proc/sys/net/bridge",
        "nf_conntrack" => "/proc/sys/net/netfilter/nf_conntrack_max",
        "nf_nat" | "nf_tables" | "nft_log" => "/proc/net/netfilter/nf_log",
        "nfnetlink_log" => "/proc/net/netfilter/nfnetlink_log",
        _ => return false,
    };
    std::path::Path::new(sign).exists()
}

fn unknown() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    !std::path::Path::new(&format!("/lib/modules/{release}/modules.dep")).exists()
}
