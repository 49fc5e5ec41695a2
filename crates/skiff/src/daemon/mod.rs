//! The daemon: `skiff daemon`, or the binary under the name `dockerd`.
//!
//! The order matters: flags and file are checked, the pid file locked and the sockets opened before any thread starts;
//! then the engine takes over what the last daemon left, and only then are requests answered. Ending the daemon leaves
//! containers running, whatever it is called.

mod config;
mod file;
mod flags;
mod hosts;
mod listen;
mod logging;
mod notify;
mod options;
mod pidfile;
mod serve;
mod settings;
mod tls;

use std::{io::Write, process::ExitCode, sync::Arc};

use rustix::{fs::Mode, thread::CapabilitySet};
use tokio_rustls::rustls::ServerConfig;

use self::{
    config::{DaemonConfig, configure},
    hosts::Host,
    listen::Listeners,
    pidfile::PidFile,
    settings::Settings,
};

pub(crate) use self::config::Name;

/// Runs the daemon with the arguments after its name until it is told to end.
pub(crate) fn main(name: Name, arguments: impl Iterator<Item = String>) -> ExitCode {
    let program = match name {
        Name::Skiff => "skiff daemon",
        Name::Dockerd => "dockerd",
    };
    let flags = match flags::parse(arguments) {
        Ok(flags) => flags,
        Err(reason) => return fail(&format!("{reason}\nSee '{program} --help'.")),
    };
    let chosen = |id| flags.flag(id) == Some(true);
    if chosen("help") {
        return say(&options::usage(program));
    }
    if chosen("version") {
        return say(&format!(
            "Skiff version {}, API version {}\n",
            env!("CARGO_PKG_VERSION"),
            skiff_api::ApiVersion::MAX
        ));
    }
    match prepare(&flags, name) {
        Err(reason) => fail(&reason),
        Ok(_) if chosen("validate") => say("configuration OK\n"),
        Ok((config, tls)) => match run(config, tls, flags, name) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => fail(&reason),
        },
    }
}

type Tls = Option<Arc<ServerConfig>>;

/// Everything that can be wrong without touching the host.
fn prepare(flags: &Settings, name: Name) -> Result<(DaemonConfig, Tls), String> {
    let config = configure(&file::merge(flags)?, name)?;
    let tls = config.tls.as_ref().map(tls::load).transpose()?;
    refuse_open_tcp(&config)?;
    Ok((config, tls))
}

/// Whoever reaches the API is root here: TCP needs client certificates unless somebody insists.
fn refuse_open_tcp(config: &DaemonConfig) -> Result<(), String> {
    let verified = config.tls.as_ref().is_some_and(|tls| tls.ca.is_some());
    if verified || config.insecure_tcp {
        return Ok(());
    }
    match config.hosts.iter().find(|host| matches!(host, Host::Tcp(..))) {
        None => Ok(()),
        Some(_) => Err(
            "Binding to an IP address without --tlsverify gives root access on this machine to everyone who \
                        can reach it. Use --tlsverify, or insist with --tls=false or --tlsverify=false"
                .to_owned(),
        ),
    }
}

fn run(config: DaemonConfig, tls: Tls, flags: Settings, name: Name) -> Result<(), String> {
    let failed = |reason: &dyn std::fmt::Display| format!("failed to start daemon: {reason}");
    // What is made for containers has to be readable in them, whatever the shell of who starts the daemon says.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let _pidfile = PidFile::create(&config.pidfile)?;
    let mut listeners = Listeners::default();
    for host in &config.hosts {
        listeners.open(host, config.group.as_deref()).map_err(|e| failed(&e))?;
    }
    skiff_sys::memory::share_heaps(2);
    let log = logging::start(&config.log);
    // Requests are answered at once even when containers use every processor; a kernel that cannot do it serves them too.
    let _ = skiff_sys::sched::short_turns(false);
    skiff_runtime::launcher::raise_open_files().map_err(|e| failed(&e))?;
    obey_limits().map_err(|e| failed(&e))?;
    // Two threads answer requests; what blocks has threads of its own that end when they are idle.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Trees are walked as deep as a path may be long. What is not used takes no memory.
        .thread_stack_size(8 << 20)
        .thread_keep_alive(std::time::Duration::from_secs(2))
        .enable_all()
        .build()
        .map_err(|e| failed(&e))?;
    let reload = move || configure(&file::merge(&flags)?, name);
    let result = runtime.block_on(serve::serve(config, tls, listeners, log, reload));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result.map_err(|e| failed(&e))
}

/// What the daemon itself writes into a limited volume counts as what containers write: ext4 lets whoever has this privilege pass
/// every limit. Programs that are started have it back, and threads that come have what this one has.
fn obey_limits() -> rustix::io::Result<()> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.effective.remove(CapabilitySet::SYS_RESOURCE);
    rustix::thread::set_capabilities(None, sets)
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(reason: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{reason}");
    ExitCode::FAILURE
}
