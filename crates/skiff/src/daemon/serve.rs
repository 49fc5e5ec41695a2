//! The running daemon: engine, connections, signals.

use std::{io, sync::Arc, time::Duration};

use skiff_engine::{Config, Engine, Reloadable};
use skiff_server::{Activity, Context, Socket};
use skiff_sys::memory;
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{SignalKind, signal},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tracing::{debug, error, info};

use super::{
    config::DaemonConfig,
    listen::{Listener, Listeners},
    logging::LogLevel,
    notify::notify,
};

/// A client that does not finish its handshake by then is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept: file descriptors may be short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Starts the engine, answers requests until SIGTERM or SIGINT, and lets go. `reload` reads the configuration again.
pub(super) async fn serve(
    config: DaemonConfig,
    tls: Option<Arc<ServerConfig>>,
    listeners: Listeners,
    log: LogLevel,
    reload: impl Fn() -> Result<DaemonConfig, String>,
) -> Result<(), String> {
    let fault = |e: io::Error| e.to_string();
    let mut terminate = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(fault)?;
    let (sockets, files) = listeners.into_parts();
    let acceptor = tls.map(TlsAcceptor::from);
    let engine = match Engine::start(config.engine).await {
        Ok(engine) => engine,
        Err(error) => {
            Listeners::remove_files(&files);
            return Err(error.to_string());
        }
    };
    let context = Context { engine: engine.clone(), activity: Arc::default() };
    tokio::spawn(shrink_when_idle(context.activity.clone()));
    for socket in sockets {
        let (context, acceptor) = (context.clone(), acceptor.clone());
        match socket {
            Listener::Unix(listener) => {
                listener.set_nonblocking(true).map_err(fault)?;
                let listener = UnixListener::from_std(listener).map_err(fault)?;
                tokio::spawn(accept_unix(listener, context));
            }
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true).map_err(fault)?;
                let listener = TcpListener::from_std(listener).map_err(fault)?;
                tokio::spawn(accept_tcp(listener, acceptor, context));
            }
        }
    }
    if let Some(address) = config.metrics {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|e| format!("cannot serve metrics at {address}: {e}"))
            .inspect_err(|_| Listeners::remove_files(&files))?;
        tokio::spawn(accept_metrics(listener, engine.clone()));
    }
    info!(hosts = ?config.hosts, "Daemon has completed initialization");
    notify("READY=1");
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => match reload() {
                Ok(config) => {
                    log.set(&config.log);
                    let Config { labels, debug, .. } = config.engine;
                    engine.system.reload(Reloadable { labels, debug });
                    info!(level = config.log.level, "configuration reloaded");
                }
                Err(reason) => error!(reason, "configuration not reloaded"),
            },
        }
    }
    info!("Processing signal: the daemon ends, containers go on");
    notify("STOPPING=1");
    Listeners::remove_files(&files);
    engine.shutdown().await;
    Ok(())
}

/// Gives memory back whenever nobody has asked for anything for a while, and once more when what was kept ready for the next
/// request is gone too.
async fn shrink_when_idle(activity: Arc<Activity>) {
    const QUIET: Duration = Duration::from_millis(500);
    const NOTHING_KEPT: Duration = Duration::from_secs(6);
    loop {
        activity.over(QUIET).await;
        shrink();
        tokio::time::sleep(NOTHING_KEPT).await;
        shrink();
    }
}

fn shrink() {
    memory::trim_heap();
    memory::unmap_idle_code();
}

async fn accept_unix(listener: UnixListener, context: Context) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(skiff_server::serve(context.clone(), Socket::Unix(stream)))),
            Err(error) => {
                error!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept_metrics(listener: TcpListener, engine: Engine) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(skiff_server::serve_metrics(engine.clone(), stream))),
            Err(error) => {
                error!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept_tcp(listener: TcpListener, acceptor: Option<TlsAcceptor>, context: Context) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                error!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (context, acceptor) = (context.clone(), acceptor.clone());
        tokio::spawn(async move {
            let socket = match acceptor {
                None => Socket::Tcp(stream),
                Some(acceptor) => {
                    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => Socket::Tls(Box::new(stream)),
                        Ok(Err(error)) => return debug!(%peer, %error, "TLS handshake failed"),
                        Err(_) => return debug!(%peer, "TLS handshake took too long"),
                    }
                }
            };
            skiff_server::serve(context, socket).await;
        });
    }
}
