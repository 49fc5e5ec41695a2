//! The daemon's own log: to standard error, at a level that can change while it runs.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

use super::config::LogSettings;

/// Changes the level.
pub(super) struct LogLevel(reload::Handle<LevelFilter, Registry>);

impl LogLevel {
    pub(super) fn set(&self, settings: &LogSettings) {
        let _ = self.0.reload(filter(settings));
    }
}

fn filter(settings: &LogSettings) -> LevelFilter {
    match settings.level {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "warn" => LevelFilter::WARN,
        "error" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    }
}

/// Sets the log up, once per process.
pub(super) fn start(settings: &LogSettings) -> LogLevel {
    let (filter, handle) = reload::Layer::new(filter(settings));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let lines = if settings.json { lines.json().boxed() } else { lines.boxed() };
    tracing_subscriber::registry().with(filter).with(lines).init();
    LogLevel(handle)
}
