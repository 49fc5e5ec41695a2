//! The kinds of option values, named as docker's help names them.

use super::{checks, endpoint, env, mount, rational, size};
use crate::grammar::{Type, parse_duration, parse_int, parse_uint};

const fn of(name: &'static str, check: fn(&str) -> Result<String, String>) -> Type {
    Type { name, check }
}

fn any(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// Any text.
pub(crate) static STRING: Type = of("string", any);
/// Any texts, each a value as it stands.
pub(crate) static STRING_ARRAY: Type = of("string", any);
/// Texts, separated by commas.
pub(crate) static STRINGS: Type = of("strings", any);
/// Any texts.
pub(crate) static LIST: Type = of("list", any);
/// `key=value`.
pub(crate) static MAP: Type = of("map", any);
/// A signed number.
pub(crate) static INT: Type = of("int", |t| parse_int(t).map(|n| n.to_string()));
/// A number below 65536.
pub(crate) static UINT16: Type = of("uint16", |t| parse_uint(t, 16).map(|n| n.to_string()));
/// A number.
pub(crate) static UINT64: Type = of("uint", |t| parse_uint(t, 64).map(|n| n.to_string()));
/// `1m30s`; kept as written.
pub(crate) static DURATION: Type = of("duration", |t| parse_duration(t).map(|_| t.to_owned()));
/// `64m`; kept as bytes.
pub(crate) static BYTES: Type = of("bytes", |t| size::parse(t).map(|n| n.to_string()));
/// The same or -1.
pub(crate) static MEMORY_SWAP: Type = of("bytes", |t| match t {
    "-1" => any(t),
    _ => size::parse(t).map(|n| n.to_string()),
});
/// `1.5`; kept as billionths.
pub(crate) static DECIMAL: Type = of("decimal", |t| rational::nano(t).map(|n| n.to_string()));
/// `name=value`; an empty one is none.
pub(crate) static FILTER: Type = of("filter", checks::filter);
/// A standard stream.
pub(crate) static STREAM: Type = of("list", checks::attach);
/// `NAME=value`, or `NAME` to take it from here.
pub(crate) static ENV: Type = of("list", env::check);
/// `key=value`.
pub(crate) static LABEL: Type = of("list", checks::label);
/// An address.
pub(crate) static DNS: Type = of("list", checks::ip_address);
/// A domain.
pub(crate) static DNS_SEARCH: Type = of("list", checks::dns_search);
/// `c 1:3 rwm`.
pub(crate) static DEVICE_RULE: Type = of("list", checks::device_rule);
/// `host:ip`.
pub(crate) static EXTRA_HOST: Type = of("list", checks::extra_host);
/// `container:alias`.
pub(crate) static LINK: Type = of("list", checks::link);
/// `/dev/x:weight`; kept as JSON.
pub(crate) static WEIGHT_DEVICE: Type = of("list", checks::weight_device);
/// `/dev/x:rate` in bytes; kept as JSON.
pub(crate) static BPS_DEVICE: Type = of("list", checks::bps_device);
/// `/dev/x:rate` in operations; kept as JSON.
pub(crate) static IOPS_DEVICE: Type = of("list", checks::iops_device);
/// `net.x=1`.
pub(crate) static SYSCTL: Type = of("map", checks::sysctl);
/// `nofile=1024:2048`; kept as JSON.
pub(crate) static ULIMIT: Type = of("ulimit", checks::ulimit);
/// `all`, `count=2,device=…`; kept as JSON.
pub(crate) static GPUS: Type = of("gpu-request", checks::gpus);
/// `type=bind,source=…`; kept as JSON.
pub(crate) static MOUNT: Type = of("mount", mount::check);
/// `name` or `name=…,alias=…`; kept as JSON.
pub(crate) static NETWORK: Type = of("network", endpoint::check);
