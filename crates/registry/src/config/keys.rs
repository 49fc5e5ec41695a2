//! Every setting there is. Where docker's registry has the same thing, the key is that of its configuration file; the
//! environment spells it in capitals (`http.addr` is `REGISTRY_HTTP_ADDR`), and the important ones have a flag.

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bool,
    /// As Go writes it: `1h30m`, `168h`.
    Duration,
    /// A number.
    Number,
    /// A number of bytes that is at least this one.
    Bytes(u64),
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// A setting.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) flag: Option<&'static str>,
    pub(super) about: &'static str,
}

const fn key(name: &'static str, kind: Kind, flag: Option<&'static str>, about: &'static str) -> Key {
    Key { name, kind, flag, about }
}

use Kind::{Bool, Bytes, Duration, Number, OneOf, Text};

/// All settings, in the order of the help text.
pub(super) const KEYS: &[Key] = &[
    key("http.addr", Text, Some("addr"), "Where to listen (default \":5000\")"),
    key(
        "http.host",
        Text,
        Some("url"),
        "How clients reach the registry, for example https://registry.example.com",
    ),
    key(
        "http.secret",
        Text,
        None,
        "Signs tokens and sessions; made and kept by the registry unless it is given",
    ),
    key(
        "http.headers.X-Content-Type-Options",
        OneOf(&["nosniff"]),
        None,
        "Only \"nosniff\": it is always sent",
    ),
    key("http.tls.certificate", Text, Some("tls-cert"), "Certificate chain, a PEM file"),
    key("http.tls.key", Text, Some("tls-key"), "Its key, a PEM file"),
    key(
        "storage.filesystem.rootdirectory",
        Text,
        Some("root"),
        "The registry's directory (default \"/var/lib/registry\")",
    ),
    key(
        "storage",
        OneOf(&["filesystem", "s3"]),
        None,
        "Where blobs are kept: filesystem, s3 (default: s3 if any of its settings is given)",
    ),
    key("storage.s3.bucket", Text, Some("s3-bucket"), "Keep blobs in this bucket instead of the directory"),
    key("storage.s3.region", Text, Some("s3-region"), "Its region (default \"us-east-1\")"),
    key(
        "storage.s3.regionendpoint",
        Text,
        Some("s3-endpoint"),
        "The address of a store that is not Amazon's, for example http://127.0.0.1:9000",
    ),
    key("storage.s3.rootdirectory", Text, Some("s3-prefix"), "What the names of its objects begin with"),
    key("storage.s3.accesskey", Text, None, "Who signs (default: as Amazon's tools find keys)"),
    key("storage.s3.secretkey", Text, None, "The secret for that"),
    key("storage.s3.sessiontoken", Text, None, "The session, if the key is a temporary one"),
    key("storage.s3.forcepathstyle", Bool, None, "Name the bucket in the path (default: if not Amazon's)"),
    key("storage.s3.secure", Bool, None, "Use TLS where the address does not say it (default true)"),
    key("storage.s3.timeout", Duration, None, "How long the store may be silent (default 15s)"),
    key("storage.s3.skipverify", Bool, None, "Take any certificate of the store"),
    key("storage.s3.v4auth", Bool, None, "Only true: signatures are of version 4"),
    key(
        "storage.s3.chunksize",
        Bytes(5 << 20),
        None,
        "Larger blobs are sent in parts of so many bytes (default 10485760)",
    ),
    key("storage.s3.encrypt", Bool, None, "Let the store encrypt what it keeps"),
    key("storage.s3.keyid", Text, None, "By this key of its key management"),
    key("storage.s3.storageclass", Text, None, "The storage class, if not the bucket's own"),
    key("storage.s3.objectacl", Text, None, "The access control of objects, if not the bucket's own"),
    key(
        "storage.redirect.disable",
        Bool,
        None,
        "Pass blobs of a bucket through the registry instead of sending clients there",
    ),
    key("storage.delete.enabled", Bool, Some("delete"), "Let clients remove images (default true)"),
    key(
        "storage.handover.enabled",
        Bool,
        Some("handover"),
        "Let engines of this machine hand over their layers as they are, uncompressed, instead of sending them (default true)",
    ),
    key("storage.maintenance.readonly.enabled", Bool, Some("read-only"), "Let nothing change"),
    key(
        "storage.maintenance.uploadpurging.enabled",
        Bool,
        None,
        "Give up uploads that nobody continues (default true)",
    ),
    key("storage.maintenance.uploadpurging.age", Duration, None, "After this time (default 168h)"),
    key("storage.cache.blobdescriptor", OneOf(&["inmemory"]), None, "Only \"inmemory\": everything is"),
    key(
        "auth",
        OneOf(&["none", "htpasswd", "accounts"]),
        Some("auth"),
        "Who may come in: none asks nobody, htpasswd, accounts (default \"accounts\")",
    ),
    key(
        "auth.htpasswd.path",
        Text,
        Some("htpasswd"),
        "Users and bcrypt hashes, as `skiff registry htpasswd -Bbn` prints them",
    ),
    key(
        "auth.htpasswd.realm",
        Text,
        Some("realm"),
        "What password prompts show (default \"Skiff registry\")",
    ),
    key("proxy.remoteurl", Text, Some("proxy"), "Be a cache of this registry; pushes are refused"),
    key("proxy.username", Text, None, "Who to be there"),
    key("proxy.password", Text, None, "The password or token for that"),
    key("proxy.ttl", Duration, None, "Keep what nobody asks for so long; 0 for ever (default 0)"),
    key("proxy.tagttl", Duration, None, "How long a tag is served without asking again (default 1m)"),
    key(
        "gc.interval",
        Duration,
        Some("gc-interval"),
        "How often unreferenced content is collected; 0 for never (default 1h)",
    ),
    key(
        "gc.grace",
        Duration,
        Some("gc-grace"),
        "How long content that nothing refers to is kept for a push under way (default 24h)",
    ),
    key(
        "log.level",
        OneOf(&["error", "warn", "info", "debug"]),
        Some("log-level"),
        "What to tell (default \"info\")",
    ),
    key("log.formatter", OneOf(&["text", "json"]), None, "How (default \"text\")"),
    key("log.fields.service", OneOf(&["registry"]), None, "Only \"registry\""),
    key(
        "health.storagedriver.enabled",
        Bool,
        None,
        "Changes nothing: storage that fails is told of by each request that needs it",
    ),
    key("health.storagedriver.interval", Duration, None, "Changes nothing"),
    key("health.storagedriver.threshold", Number, None, "Changes nothing"),
    key("version", OneOf(&["0.1"]), None, "The form of the file: \"0.1\""),
];

pub(super) fn by_name(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// `REGISTRY_HTTP_ADDR` and the like.
pub(super) fn by_variable(variable: &str) -> Option<&'static Key> {
    let spelled = |key: &&Key| {
        variable
            .strip_prefix("REGISTRY_")
            .is_some_and(|rest| rest.eq_ignore_ascii_case(&key.name.replace('.', "_")))
    };
    KEYS.iter().find(spelled)
}

pub(super) fn by_flag(flag: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.flag == Some(flag))
}

impl Kind {
    /// Refuses what is no value of this kind.
    pub(super) fn check(self, value: &str) -> Result<(), String> {
        match self {
            Self::Text if value.is_empty() => Err("must not be empty".to_owned()),
            Self::Text => Ok(()),
            Self::Bool => {
                boolean(value).map(|_| ()).ok_or_else(|| format!("{value:?} is neither true nor false"))
            }
            Self::Duration => duration(value)
                .map(|_| ())
                .ok_or_else(|| format!("{value:?} is not a duration like \"168h\" or \"1h30m\"")),
            Self::Number => {
                value.parse::<u32>().map(|_| ()).map_err(|_| format!("{value:?} is not a number"))
            }
            Self::Bytes(least) => match value.parse::<u64>() {
                Ok(bytes) if bytes >= least => Ok(()),
                _ => Err(format!("{value:?} is not a number of bytes of at least {least}")),
            },
            Self::OneOf(known) if known.contains(&value) => Ok(()),
            Self::OneOf(known) => Err(format!("{value:?} is not supported, only {}", known.join(", "))),
        }
    }
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "1" | "yes" | "on" => Some(true),
        "false" | "False" | "FALSE" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Go's durations, in whole seconds and milliseconds.
pub(super) fn duration(text: &str) -> Option<std::time::Duration> {
    if text == "0" {
        return Some(std::time::Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let n: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(n.checked_mul(unit)?)?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then(|| std::time::Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, ms) in
            [("168h", 604_800_000), ("1h30m", 5_400_000), ("10s", 10_000), ("0", 0), ("7d", 604_800_000)]
        {
            assert_eq!(duration(text).unwrap().as_millis(), ms, "{text}");
        }
        for bad in ["", "1", "h", "1x", "-1h", "99999999999999999999h"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_two_settings_share_a_name_a_flag_or_a_variable() {
        for (i, a) in KEYS.iter().enumerate() {
            assert_eq!(
                by_variable(&format!("REGISTRY_{}", a.name.replace('.', "_").to_uppercase())).unwrap().name,
                a.name
            );
            for b in &KEYS[i + 1..] {
                assert_ne!(a.name, b.name);
                assert!(a.flag.is_none() || a.flag != b.flag, "{}", a.name);
            }
        }
    }
}
