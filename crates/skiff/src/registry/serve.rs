//! `skiff registry serve`: configuration, sockets, signals.

use std::{fmt::Write, path::Path, process::ExitCode, time::Duration};

use skiff_registry::{AuthMode, Config, Listen, Registry, Server, configure, flags, load_tls, split_flags};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, level_filters::LevelFilter};

use super::{fail, say};

/// How long what blocks may go on after the last request.
const GRACE: Duration = Duration::from_secs(5);

fn usage() -> String {
    let mut text =
        "Usage:  skiff registry serve [OPTIONS] [CONFIG.yml]\n\nRun the registry\n\nOptions:\n".to_owned();
    for (flag, switch, about) in flags() {
        let left = if switch { flag.to_owned() } else { format!("{flag} string") };
        let _ = writeln!(text, "      --{left:<20} {about}");
    }
    text.push_str(
        "\nThe environment of docker's registry is read too: REGISTRY_HTTP_ADDR, REGISTRY_AUTH, …\n",
    );
    text
}

/// Runs the registry until it is told to end. `usual` is how clients are told apart where nothing is configured.
pub(super) fn main(arguments: impl Iterator<Item = String>, usual: AuthMode) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return say(&usage());
    }
    let prepared = split_flags(arguments).and_then(|(flags, rest)| match rest.as_slice() {
        [] => configure(None, std::env::vars(), &flags, usual),
        [file] => configure(Some(Path::new(file)), std::env::vars(), &flags, usual),
        [_, extra, ..] => Err(format!("unexpected argument: {extra}")),
    });
    match prepared.and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => fail(&format!("skiff registry serve: {reason}")),
    }
}

fn run(config: Config) -> Result<(), String> {
    log(&config);
    skiff_runtime::launcher::raise_open_files().map_err(|error| error.to_string())?;
    let tls = config.tls.as_ref().map(load_tls).transpose()?;
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
    skiff_sys::memory::share_heaps(workers as u8);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        // What blocks is short: a write, a flush, a password.
        .max_blocking_threads(64)
        .thread_stack_size(1 << 20)
        .thread_keep_alive(Duration::from_secs(2))
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let result = runtime.block_on(serve(config, tls));
    runtime.shutdown_timeout(GRACE);
    result
}

fn text_of(error: std::io::Error) -> String {
    error.to_string()
}

async fn serve(
    config: Config,
    tls: Option<std::sync::Arc<tokio_rustls::rustls::ServerConfig>>,
) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(text_of)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(text_of)?;
    let operator = config.settings.root.join("operator.sock");
    let secure = tls.is_some();
    let settings = config.settings;
    let opened = tokio::task::spawn_blocking(move || Registry::open(settings)).await;
    let registry = opened.map_err(|error| error.to_string())??;
    registry.claim_storage().await?;
    let started = registry.clone();
    let first = tokio::task::spawn_blocking(move || started.first_start()).await;
    if let Some((user, password)) = first.map_err(|error| error.to_string())?? {
        // Once, and not to the log: it is kept nowhere.
        let text = format!(
            "The first administrator is {user:?} with the password {password:?}. It is shown only now.\n"
        );
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).map_err(text_of)?;
    }
    let listen = Listen { address: Some(config.address), tls, operator: Some(operator), handover: true };
    let server = Server::bind(registry.clone(), listen).await?;
    info!(address = %server.address().unwrap_or(config.address), tls = secure, "the registry is ready");
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("the registry ends");
    };
    server.run(told).await;
    tokio::task::spawn_blocking(move || registry.close()).await.map_err(|error| error.to_string())
}

fn log(config: &Config) {
    let level = match config.log_level.as_str() {
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "debug" => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    };
    let lines = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false);
    if config.log_json { lines.json().init() } else { lines.init() }
}
