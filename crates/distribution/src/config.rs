//! What the client is told once: which registries are not to be trusted less, where their certificates are, proxies, limits.

use std::{path::PathBuf, time::Duration};

/// Settings of the client.
#[derive(Clone, Debug)]
pub struct Config {
    /// Registries that may be reached without TLS or with any certificate: `host`, `host:port` or a range of addresses.
    /// `127.0.0.0/8` and `::1/128` always are.
    pub insecure: Vec<String>,
    /// Addresses that are asked before Docker's own registry.
    pub mirrors: Vec<String>,
    /// Directories with `<host>[:port]/*.crt`, `*.cert` and `*.key`, and containerd's `hosts.toml`; the first that has a
    /// registry counts.
    pub certificates: Vec<PathBuf>,
    /// Proxies.
    pub proxies: Proxies,
    /// Who we say we are.
    pub user_agent: String,
    /// Bounds.
    pub limits: Limits,
}

/// Which proxies are used for whom, as the environment's variables of these names say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http` addresses.
    pub http: Option<String>,
    /// For `https` addresses.
    pub https: Option<String>,
    /// Hosts, domains, addresses and ranges that are reached directly.
    pub no_proxy: String,
}

/// How long and how much a registry may.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// Until an answer begins, and between pieces of a body that is sent or comes.
    pub silence: Duration,
    /// Until an answer begins to what was to be stored (`PUT`, `PATCH`), after its last piece: it may still be on its way through a proxy, and a
    /// registry may copy it to somewhere else before it answers.
    pub storing: Duration,
    /// In this time at least [`Limits::pace_bytes`] must come of a large body.
    pub pace: Duration,
    /// See [`Limits::pace`].
    pub pace_bytes: u64,
    /// Until all pages of a list have come.
    pub list: Duration,
    /// Bytes a second that are enough of one connection; from a slower one, the rest of a large blob is asked for in ranges,
    /// several at a time.
    pub fast: u64,
    /// Bytes of such a range.
    pub range: u64,
    /// The most of a body that is no layer, in bytes.
    pub small_body: usize,
    /// The largest manifest, in bytes.
    pub manifest: usize,
    /// How often something is tried that fails on the way.
    pub attempts: u32,
    /// The pause before a second attempt; it doubles with each.
    pub pause: Duration,
    /// The longest pause that a registry can ask for (`Retry-After`).
    pub longest_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            storing: Duration::from_secs(900),
            pace: Duration::from_secs(60),
            pace_bytes: 16 << 10,
            list: Duration::from_secs(900),
            fast: 24 << 20,
            range: 4 << 20,
            small_body: 1 << 20,
            manifest: 4 << 20,
            attempts: 5,
            pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(10),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            mirrors: Vec::new(),
            certificates: ["/etc/skiff/certs.d", "/etc/docker/certs.d", "/etc/containerd/certs.d"]
                .map(PathBuf::from)
                .to_vec(),
            proxies: Proxies::default(),
            user_agent: concat!("skiff/", env!("CARGO_PKG_VERSION"), " (linux)").to_owned(),
            limits: Limits::default(),
        }
    }
}

impl Proxies {
    /// What the environment says, in upper case or lower; upper case counts more.
    pub fn from_environment() -> Self {
        let variable = |name: &str| {
            [name.to_owned(), name.to_lowercase()]
                .iter()
                .find_map(|n| std::env::var(n).ok())
                .filter(|v| !v.is_empty())
        };
        Self {
            http: variable("HTTP_PROXY"),
            https: variable("HTTPS_PROXY"),
            no_proxy: variable("NO_PROXY").unwrap_or_default(),
        }
    }
}
