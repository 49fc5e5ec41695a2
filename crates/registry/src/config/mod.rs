//! The configuration: a YAML file, then the environment, then flags; the later one counts. All three name the same
//! settings (`keys`); a name that none of them knows is an error, and so is one that docker's registry knows and this
//! one does not do.

mod keys;
mod s3;
mod tls;
mod yaml;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{ProxySettings, Settings};

use self::keys::{boolean, by_flag, by_name, by_variable, duration};

pub use tls::{TlsFiles, load_tls};

/// How clients are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Not at all: everybody may do everything.
    None,
    /// Users of a file.
    Htpasswd {
        /// The file.
        path: PathBuf,
        /// What password prompts show.
        realm: String,
    },
    /// The registry's own accounts.
    Accounts,
}

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub address: SocketAddr,
    /// TLS on it.
    pub tls: Option<TlsFiles>,
    /// The registry itself.
    pub settings: Settings,
    /// What the log tells: `error`, `warn`, `info`, `debug`.
    pub log_level: String,
    /// Whether it is JSON.
    pub log_json: bool,
}

/// Values by name.
type Values = BTreeMap<&'static str, String>;

/// Flags without dashes, and their values.
pub type Flags = Vec<(String, String)>;

/// Reads the configuration. `flags` are pairs of a flag without dashes and its value; `usual` is how clients are told apart
/// where nothing says it.
///
/// # Errors
/// In words for the operator: which setting, where it stands, what is wrong.
pub fn configure(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[(String, String)],
    usual: AuthMode,
) -> Result<Config, String> {
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let named = environment.get("REGISTRY_CONFIGURATION_PATH").map(PathBuf::from);
    let mut values = Values::new();
    if let Some(path) = file.or(named.as_deref()) {
        let text = fs_err::read_to_string(path).map_err(|error| error.to_string())?;
        let place = |reason| format!("{}: {reason}", path.display());
        for (name, value) in yaml::flatten(&text).map_err(place)? {
            set(&mut values, &name, value).map_err(place)?;
        }
    }
    for (variable, value) in &environment {
        if !variable.starts_with("REGISTRY_") || foreign(variable) {
            continue;
        }
        let key = by_variable(variable)
            .ok_or_else(|| format!("the variable {variable} names no setting of this registry"))?;
        set(&mut values, key.name, value.clone()).map_err(|reason| format!("{variable}: {reason}"))?;
    }
    for (flag, value) in flags {
        let key = by_flag(flag).ok_or_else(|| format!("unknown flag: --{flag}"))?;
        key.kind.check(value).map_err(|reason| format!("--{flag}: {reason}"))?;
        values.insert(key.name, value.clone());
    }
    build(&values, &environment, usual)
}

/// Whether a flag is one, and takes no value.
pub(crate) fn is_switch(flag: &str) -> Option<bool> {
    by_flag(flag).map(|key| key.kind == keys::Kind::Bool)
}

/// The flags with what they mean, for help.
pub fn flags() -> impl Iterator<Item = (&'static str, bool, &'static str)> {
    keys::KEYS.iter().filter_map(|key| Some((key.flag?, key.kind == keys::Kind::Bool, key.about)))
}

/// Splits arguments into pairs for [`configure`] and what is left.
///
/// # Errors
/// A flag without a value.
pub fn split_flags(arguments: impl IntoIterator<Item = String>) -> Result<(Flags, Vec<String>), String> {
    let (mut flags, mut rest) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument.strip_prefix("--") else {
            rest.push(argument);
            continue;
        };
        let (flag, value) = match flag.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (flag, None),
        };
        let switch = is_switch(flag).ok_or_else(|| format!("unknown flag: --{flag}"))?;
        let value = match value {
            Some(value) => value,
            None if switch => "true".to_owned(),
            None => arguments.next().ok_or_else(|| format!("flag needs an argument: --{flag}"))?,
        };
        flags.push((flag.to_owned(), value));
    }
    Ok((flags, rest))
}

/// What Kubernetes puts in the environment for a service called "registry", and what names the file.
fn foreign(variable: &str) -> bool {
    variable == "REGISTRY_CONFIGURATION_PATH"
        || variable == "REGISTRY_PORT"
        || variable.starts_with("REGISTRY_PORT_")
        || variable.starts_with("REGISTRY_SERVICE_")
}

fn set(values: &mut Values, name: &str, value: String) -> Result<(), String> {
    let key = by_name(name).ok_or_else(|| format!("{name} is not a setting of this registry"))?;
    key.kind.check(&value).map_err(|reason| format!("{name}: {reason}"))?;
    values.insert(key.name, value);
    Ok(())
}

fn build(values: &Values, environment: &BTreeMap<String, String>, usual: AuthMode) -> Result<Config, String> {
    let text = |name: &str| values.get(name).map(String::as_str);
    let flag = |name: &str, otherwise| text(name).and_then(boolean).unwrap_or(otherwise);
    let time =
        |name: &str, otherwise| text(name).and_then(duration).unwrap_or(Duration::from_secs(otherwise));
    let tls = match (text("http.tls.certificate"), text("http.tls.key")) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate: certificate.into(), key: key.into() }),
        _ => return Err("http.tls.certificate and http.tls.key are needed together".to_owned()),
    };
    let mut settings = Settings::new(text("storage.filesystem.rootdirectory").unwrap_or("/var/lib/registry"));
    settings.delete = flag("storage.delete.enabled", true);
    settings.read_only = flag("storage.maintenance.readonly.enabled", false);
    settings.upload_age = match flag("storage.maintenance.uploadpurging.enabled", true) {
        true => time("storage.maintenance.uploadpurging.age", 168 * 3600),
        false => Duration::MAX,
    };
    settings.gc_interval = time("gc.interval", 3600);
    settings.gc_grace = time("gc.grace", 24 * 3600);
    settings.proxy = text("proxy.remoteurl").map(|url| ProxySettings {
        url: url.to_owned(),
        user: text("proxy.username").map(str::to_owned),
        password: text("proxy.password").map(str::to_owned),
        tag_ttl: time("proxy.tagttl", 60),
        keep: Some(time("proxy.ttl", 0)).filter(|keep| !keep.is_zero()),
    });
    if settings.proxy.is_none() && values.keys().any(|key| key.starts_with("proxy.")) {
        return Err("proxy.remoteurl is missing".to_owned());
    }
    settings.auth = auth(values, usual)?;
    settings.handover = flag("storage.handover.enabled", true);
    settings.bucket = s3::bucket(values, environment)?;
    settings.secret = text("http.secret").map(str::to_owned);
    settings.url = text("http.host").map(url).transpose()?;
    Ok(Config {
        address: address(text("http.addr").unwrap_or(":5000"))?,
        tls,
        settings,
        log_level: text("log.level").unwrap_or("info").to_owned(),
        log_json: text("log.formatter") == Some("json"),
    })
}

/// A file that is named wants to be used.
fn auth(values: &Values, usual: AuthMode) -> Result<AuthMode, String> {
    let text = |name: &str| values.get(name).map(String::as_str);
    let path = text("auth.htpasswd.path");
    match text("auth").or(path.map(|_| "htpasswd")) {
        None => Ok(usual),
        Some("none") => Ok(AuthMode::None),
        Some("htpasswd") => Ok(AuthMode::Htpasswd {
            path: path.ok_or("auth is htpasswd, but auth.htpasswd.path names no file")?.into(),
            realm: text("auth.htpasswd.realm").unwrap_or("Skiff registry").to_owned(),
        }),
        _ => Ok(AuthMode::Accounts),
    }
}

/// Scheme and host, nothing behind.
fn url(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let good = |host: &str| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-[]".contains(&b))
    };
    match host {
        Some(host) if good(host) => Ok(url.to_owned()),
        _ => Err(format!("http.host: {text:?} is not an address like \"https://registry.example.com\"")),
    }
}

/// `:5000`, `localhost:5000`, `127.0.0.1:5000`, `[::1]:5000`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let bad = || format!("http.addr: {text:?} is not an address like \":5000\" or \"127.0.0.1:5000\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    match host {
        // Both families, where there are two.
        "" => Ok(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port))),
        "localhost" => Ok(SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port))),
        _ => text.parse().map_err(|_| bad()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(yaml: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yml");
        fs_err::write(&path, yaml).unwrap();
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        configure(Some(&path), own(env), &own(flags), AuthMode::Accounts)
            .map_err(|e| e.replace(&path.display().to_string(), "FILE"))
    }

    const FILE: &str = "version: 0.1\nlog:\n  fields:\n    service: registry\nstorage:\n  filesystem:\n    rootdirectory: /a\n  \
                        delete:\n    enabled: false\nhttp:\n  addr: :1\nauth:\n  htpasswd:\n    realm: r\n    path: /p\n";

    #[test]
    fn the_sample_file_of_dockers_registry_is_read() {
        let file = "version: 0.1\nlog:\n  fields:\n    service: registry\nstorage:\n  cache:\n    blobdescriptor: inmemory\n  \
                    filesystem:\n    rootdirectory: /var/lib/registry\nhttp:\n  addr: :5000\n  headers:\n    \
                    X-Content-Type-Options: [nosniff]\nhealth:\n  storagedriver:\n    enabled: true\n    interval: 10s\n    \
                    threshold: 3\n";
        assert_eq!(read(file, &[], &[]).unwrap().address.port(), 5000);
        for other in ["[nosniff, x]", "[x]", "[]", "[[nosniff]]"] {
            assert!(read(&file.replace("[nosniff]", other), &[], &[]).is_err(), "{other}");
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let config = read(FILE, &[], &[]).unwrap();
        assert_eq!(config.settings.root, Path::new("/a"));
        assert_eq!((config.address.port(), config.settings.delete), (1, false));
        assert_eq!(config.settings.auth, AuthMode::Htpasswd { path: "/p".into(), realm: "r".into() });
        let env = [
            ("REGISTRY_HTTP_ADDR", "127.0.0.1:2"),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
            ("HOME", "/"),
        ];
        let config = read(FILE, &env, &[]).unwrap();
        assert_eq!((config.address.to_string().as_str(), config.settings.delete), ("127.0.0.1:2", true));
        assert_eq!(read(FILE, &env, &[("addr", "localhost:3")]).unwrap().address.port(), 3);
    }

    #[test]
    fn what_is_unknown_or_wrong_is_named() {
        type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);
        let cases: &[Case] = &[
            (
                "storage:\n  gcs:\n    bucket: x\n",
                &[],
                "FILE: storage.gcs.bucket is not a setting of this registry",
            ),
            ("http: [1", &[], "FILE: "),
            ("version: 0.2\n", &[], "FILE: version: \"0.2\" is not supported, only 0.1"),
            (
                "",
                &[("REGISTRY_REDIS_ADDR", "x")],
                "the variable REGISTRY_REDIS_ADDR names no setting of this registry",
            ),
            ("", &[("REGISTRY_AUTH", "htpasswd")], "auth is htpasswd, but auth.htpasswd.path names no file"),
            ("", &[("REGISTRY_HTTP_ADDR", "x")], "http.addr: \"x\" is not an address"),
            (
                "",
                &[("REGISTRY_STORAGE_DELETE_ENABLED", "x")],
                "REGISTRY_STORAGE_DELETE_ENABLED: storage.delete.enabled: \"x\" is neither",
            ),
            (
                "",
                &[("REGISTRY_HTTP_TLS_KEY", "x")],
                "http.tls.certificate and http.tls.key are needed together",
            ),
        ];
        for (yaml, env, message) in cases {
            let error = read(yaml, env, &[]).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
        assert!(read("", &[("REGISTRY_PORT_5000_TCP_ADDR", "10.0.0.1")], &[]).is_ok());
    }

    #[test]
    fn arguments_are_flags_or_a_file() {
        let own = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (flags, rest) = split_flags(own("c.yml --addr :1 --root=/x --read-only")).unwrap();
        assert_eq!(rest, ["c.yml"]);
        assert_eq!(flags.len(), 3);
        assert_eq!(flags[2], ("read-only".to_owned(), "true".to_owned()));
        assert_eq!(split_flags(own("--nope")).unwrap_err(), "unknown flag: --nope");
        assert_eq!(split_flags(own("--addr")).unwrap_err(), "flag needs an argument: --addr");
    }

    proptest! {
        /// Whatever is done to a good file, it is read or refused in words.
        #[test]
        fn damage_is_answered(at in 0usize..FILE.len(), bytes in "[ -~\n]{0,8}", cut in 0usize..8) {
            let mut text = FILE.as_bytes().to_vec();
            let end = (at + cut).min(text.len());
            text.splice(at..end, bytes.into_bytes());
            if let Err(error) = read(&String::from_utf8(text).unwrap(), &[], &[]) {
                prop_assert!(!error.is_empty());
            }
        }
    }
}
