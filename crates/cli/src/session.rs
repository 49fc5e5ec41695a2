//! One run of the command line: its settings, and the engine it talks to.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use skiff_client::{Client, Host, ListContainers, Options, Tls, TlsFiles};

use crate::{
    config::Config,
    contexts,
    credentials::{self, Store},
    failure::Failure,
    grammar::Matches,
    launch,
};

/// Where our own daemon listens.
const SKIFF_SOCKET: &str = "/run/skiff/skiff.sock";
/// Where every other docker command line expects an engine.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Settings and engine.
pub(crate) struct Session {
    /// The name under which this program was called, `docker` or `skiff`.
    pub(crate) program: &'static str,
    /// `config.json`.
    pub(crate) config: Config,
    /// Where that is.
    directory: PathBuf,
    /// The context in use.
    pub(crate) context: String,
    client: Arc<Client>,
    /// Whether a daemon may be started when nobody answers.
    may_start: bool,
}

impl Session {
    /// Reads the configuration and settles on an engine; connects to nothing yet.
    pub(crate) fn new(program: &'static str, globals: &Matches) -> Result<Self, Failure> {
        let directory = crate::config::directory(globals.some("config"));
        let (config, warning) = Config::load(&directory);
        if let Some(warning) = warning {
            crate::say::error(&warning);
        }
        if globals.changed("host") && globals.some("context").is_some() {
            return Err("conflicting options: cannot specify both --host and --context".into());
        }
        let unresolved =
            |e: String| Failure::new(format!("Failed to initialize: unable to resolve docker endpoint: {e}"));
        let choice = choose(program, globals, &config, &directory).map_err(unresolved)?;
        let port = if choice.tls.is_some() { 2376 } else { 2375 };
        let host = Host::parse(&choice.host, port).map_err(|e| unresolved(e.to_string()))?;
        let tls = match (&choice.tls, &host) {
            (Some(files), Host::Tcp { .. }) => Some(Tls::load(files).map_err(|e| unresolved(e.to_string()))?),
            _ => None,
        };
        let headers = config.http_headers.clone().into_iter().collect();
        let version = std::env::var("DOCKER_API_VERSION").ok().filter(|v| !v.is_empty());
        let version = version.map(|v| v.trim_start_matches('v').to_owned());
        Ok(Self {
            program,
            config,
            directory,
            context: choice.context,
            client: Arc::new(Client::new(host, Options { headers, tls, version })),
            may_start: choice.may_start,
        })
    }

    /// The engine, after a first sign of life from it. If no host was chosen and nobody listens, a daemon is started.
    pub(crate) async fn engine(&self) -> Result<Arc<Client>, Failure> {
        match self.client.ping().await {
            Err(error) if error.is_unreachable() && self.may_start => {
                launch::start_daemon(Path::new(SKIFF_SOCKET), self.program).await?;
                self.client.ping().await?;
            }
            // A request of its own will say it better.
            _ => {}
        }
        Ok(Arc::clone(&self.client))
    }

    /// Where the user's settings are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Who the user is to registries.
    pub(crate) fn credentials(&self) -> Store<'_> {
        let given = std::env::var(credentials::VARIABLE).unwrap_or_default();
        Store::new(&self.config, &self.directory).with_environment(&given)
    }

    /// The names of all containers; no daemon is started for it.
    pub(crate) async fn container_names(&self) -> Result<Vec<String>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Named {
            names: Vec<String>,
        }
        let bytes = self.client.containers(ListContainers { all: true, ..Default::default() }).await?;
        let containers: Vec<Named> =
            serde_json::from_slice(&bytes).map_err(|e| Failure::new(e.to_string()))?;
        let names = containers.iter().flat_map(|container| &container.names);
        Ok(names.map(|name| name.trim_start_matches('/').to_owned()).collect())
    }

    /// The names of all images; no daemon is started for it.
    pub(crate) async fn image_names(&self) -> Result<Vec<String>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Tagged {
            repo_tags: Option<Vec<String>>,
        }
        let bytes = self.client.images(false, false, None).await?;
        let images: Vec<Tagged> = serde_json::from_slice(&bytes).map_err(|e| Failure::new(e.to_string()))?;
        Ok(images.into_iter().flat_map(|image| image.repo_tags.unwrap_or_default()).collect())
    }

    pub(crate) async fn network_names(&self) -> Result<Vec<String>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Named {
            name: String,
        }
        let bytes = self.client.networks(None).await?;
        let networks: Vec<Named> = serde_json::from_slice(&bytes).map_err(|e| Failure::new(e.to_string()))?;
        Ok(networks.into_iter().map(|network| network.name).collect())
    }

    /// Names of all volumes.
    pub(crate) async fn volume_names(&self) -> Result<Vec<String>, Failure> {
        let bytes = self.client.volumes(None).await?;
        let list: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| Failure::new(e.to_string()))?;
        let volumes = list["Volumes"].as_array().cloned().unwrap_or_default();
        Ok(volumes.iter().filter_map(|volume| volume["Name"].as_str().map(str::to_owned)).collect())
    }

    /// The engine's address.
    pub(crate) fn host(&self) -> String {
        self.client.host().to_string()
    }

    /// The keys that detach: the option's, or the configured ones.
    pub(crate) fn detach_keys<'a>(&'a self, matches: &'a Matches) -> Option<&'a str> {
        matches.some("detach-keys").or(Some(self.config.detach_keys.as_str())).filter(|keys| !keys.is_empty())
    }
}

struct Choice {
    host: String,
    context: String,
    tls: Option<TlsFiles>,
    may_start: bool,
}

/// What options and environment say about TLS; the files are those of the configuration unless others are named.
fn tls_files(globals: &Matches, directory: &Path) -> Option<TlsFiles> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let verify = match globals.changed("tlsverify") {
        true => globals.on("tlsverify"),
        false => variable("DOCKER_TLS_VERIFY").is_some(),
    };
    if !verify && !globals.changed("tlsverify") && !globals.on("tls") && variable("DOCKER_TLS").is_none() {
        return None;
    }
    let certificates = variable("DOCKER_CERT_PATH").map_or_else(|| directory.to_owned(), PathBuf::from);
    let file = |option: &str, name: &str| {
        globals.some(option).map_or_else(|| certificates.join(name), PathBuf::from)
    };
    let (certificate, key) = (file("tlscert", "cert.pem"), file("tlskey", "key.pem"));
    let named = globals.changed("tlscert") || globals.changed("tlskey");
    Some(TlsFiles {
        ca: Some(file("tlscacert", "ca.pem")),
        identity: (named || certificate.exists() || key.exists()).then_some((certificate, key)),
        verify,
    })
}

/// Which engine: options first, then the environment, then the configuration, then the default.
fn choose(program: &str, globals: &Matches, config: &Config, directory: &Path) -> Result<Choice, String> {
    let hosts = globals.all("host");
    let tls = || tls_files(globals, directory);
    let fixed =
        |host: String| Ok(Choice { host, context: "default".to_owned(), tls: tls(), may_start: false });
    let named = |name: &str| {
        let contexts::Context { host, tls } = contexts::find(directory, name)?;
        Ok(Choice { host, context: name.to_owned(), tls, may_start: false })
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    match (hosts.into_iter().next(), globals.some("context")) {
        (Some(host), None) if !host.trim().is_empty() => return fixed(host.trim().to_owned()),
        (_, Some(name)) if name != "default" => return named(name),
        _ => {}
    }
    if let Some(host) = variable("DOCKER_HOST") {
        return fixed(host);
    }
    let context = variable("DOCKER_CONTEXT").unwrap_or_else(|| config.current_context.clone());
    if globals.some("context").is_none() && !matches!(context.as_str(), "" | "default") {
        return named(&context);
    }
    let socket = default_socket(program);
    Ok(Choice {
        host: format!("unix://{}", socket.display()),
        context: "default".to_owned(),
        tls: None,
        may_start: socket == Path::new(SKIFF_SOCKET),
    })
}

/// As `docker`, another engine's socket comes first if somebody listens there.
fn default_socket(program: &str) -> PathBuf {
    let listens = |path: &str| std::os::unix::net::UnixStream::connect(path).is_ok();
    match program {
        "docker" if listens(DOCKER_SOCKET) => DOCKER_SOCKET.into(),
        _ => SKIFF_SOCKET.into(),
    }
}
