//! The program's configuration.

use super::{clean_path, invalid};
use crate::{
    Result,
    model::{ContainerConfig, HealthConfig, check::Probe},
    signal,
};

/// Nanoseconds below which a time of a health check is refused, unless it is 0.
const SHORTEST: i64 = 1_000_000;

pub(super) fn check(config: &ContainerConfig) -> Result<()> {
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        ));
    }
    if let Some(stop_signal) = config.stop_signal.as_deref().filter(|s| !s.is_empty()) {
        signal::parse(stop_signal)?;
    }
    for variable in &config.env {
        environment(variable)?;
    }
    config.healthcheck.as_ref().map_or(Ok(()), health)
}

/// The working directory is noted as it will be.
pub(super) fn fill_in(config: &mut ContainerConfig) {
    if !config.working_dir.is_empty() {
        config.working_dir = clean_path(&config.working_dir);
    }
}

/// `NAME=value`, or a name alone.
pub(super) fn environment(variable: &str) -> Result<()> {
    match variable.split('=').next() {
        Some("") | None => invalid(format!("invalid environment variable: {variable}")),
        Some(_) => Ok(()),
    }
}

fn health(check: &HealthConfig) -> Result<()> {
    for (name, value) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if value != 0 && value < SHORTEST {
            return invalid(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    if check.retries < 0 {
        return invalid("Retries in Healthcheck cannot be negative");
    }
    Probe::of(check, None).map(drop).or_else(invalid)
}
