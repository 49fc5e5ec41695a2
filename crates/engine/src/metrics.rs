//! Figures for monitoring, put together when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    Result, Stats, System,
    model::{ContainerMetrics, Metrics, Sample},
};

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    health_checks: AtomicU64,
    health_checks_failed: AtomicU64,
    log_lines_sent: AtomicU64,
    log_lines_lost: AtomicU64,
    log_send_failures: AtomicU64,
}

impl Counters {
    /// A health check has been made; `failed` if its program could not be run or took too long.
    pub(crate) fn checked(&self, failed: bool) {
        self.health_checks.fetch_add(1, Ordering::Relaxed);
        self.health_checks_failed.fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    /// The receiver of a log has so many more lines.
    pub(crate) fn log_lines_sent(&self, lines: u64) {
        self.log_lines_sent.fetch_add(lines, Ordering::Relaxed);
    }

    /// So many more lines of a log will never reach their receiver.
    pub(crate) fn log_lines_lost(&self, lines: u64) {
        self.log_lines_lost.fetch_add(lines, Ordering::Relaxed);
    }

    /// Lines of a log did not get through; they are sent again.
    pub(crate) fn log_send_failed(&self) {
        self.log_send_failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl System {
    /// Figures about the engine and every container.
    ///
    /// # Errors
    /// The image store cannot be read.
    pub async fn metrics(&self, stats: &Stats) -> Result<Metrics> {
        let (info, version) = (self.info().await?, self.version());
        let mut samples = stats.all().await?;
        let mut containers = Vec::new();
        for container in self.parts().registry.all() {
            let record = container.record();
            let id = record.id.to_string();
            let at = samples.iter().position(|sample| sample.id == id);
            let sample = at.map_or_else(
                || Sample { id: id.clone(), name: record.name.clone(), ..Sample::default() },
                |at| samples.swap_remove(at),
            );
            containers.push(ContainerMetrics {
                sample,
                image: record.config.image.clone(),
                status: record.state.status,
                health: record.state.health.as_ref().map(|health| health.status),
                restarts: record.restart_count,
                exit_code: record.state.exit_code,
                started_at: record.state.started_at,
                labels: record.config.labels.clone(),
            });
        }
        let counters = &self.parts().counters;
        Ok(Metrics {
            version: version.version,
            commit: version.git_commit,
            architecture: info.architecture,
            kernel: info.kernel_version,
            os: info.operating_system,
            driver: info.driver,
            id: info.id,
            cpus: info.cpus,
            memory: info.memory,
            states: [
                ("running", info.containers_running),
                ("paused", info.containers_paused),
                ("stopped", info.containers_stopped),
            ],
            images: info.images,
            events: self.parts().events.count(),
            event_listeners: info.event_listeners,
            health_checks: counters.health_checks.load(Ordering::Relaxed),
            health_checks_failed: counters.health_checks_failed.load(Ordering::Relaxed),
            log_lines_sent: counters.log_lines_sent.load(Ordering::Relaxed),
            log_lines_lost: counters.log_lines_lost.load(Ordering::Relaxed),
            log_send_failures: counters.log_send_failures.load(Ordering::Relaxed),
            containers,
        })
    }
}
