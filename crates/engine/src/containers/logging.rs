//! Where a container's log goes: its driver and options made into what its monitor is told.

use std::path::PathBuf;

use skiff_logs::{ContainerFacts, Driver, FileLimits, OptionError, Options};
use skiff_runtime::monitor::protocol::{JsonFile, Log};
use skiff_types::ErrorKind;

use super::parts::Parts;
use crate::{Error, Result, model::ContainerRecord};

/// Options that ask for something beside each line.
const ATTRIBUTES: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];

/// What the monitor of a container that is about to start is told. Blocks.
pub(super) fn at_start(parts: &Parts, record: &ContainerRecord) -> Result<Log> {
    let options = &record.host.log_config.config;
    let driver = driver(record)?;
    if driver == Driver::None {
        return Ok(Log::None);
    }
    let limits = FileLimits::read(driver, options).map_err(not_started)?;
    let path = path(parts, record)?;
    let mut file = JsonFile {
        path,
        max_size: limits.max_size,
        max_files: limits.max_files,
        compress: limits.compress,
        attrs: Default::default(),
        first_number: None,
    };
    match driver {
        Driver::JsonFile if ATTRIBUTES.iter().any(|key| options.contains_key(*key)) => {
            let facts = facts(parts, record);
            file.attrs = facts.attributes(options, str::to_owned).map_err(not_started)?;
            if options.get("tag").is_some_and(|tag| !tag.is_empty()) {
                file.attrs.insert("tag".to_owned(), facts.tag(options).map_err(not_started)?);
            }
        }
        Driver::Local => {
            if let Some(dir) = file.path.parent() {
                fs_err::create_dir_all(dir)?;
            }
        }
        driver if driver.is_remote() => {
            let facts = facts(parts, record);
            file.first_number = Some(parts.forwarders.prepare(&record.id, driver, options, facts)?);
        }
        _ => {}
    }
    Ok(Log::JsonFile(file))
}

/// The newest file of a container's log.
pub(super) fn path(parts: &Parts, record: &ContainerRecord) -> Result<PathBuf> {
    Ok(match driver(record)? {
        Driver::Local => parts.dir(&record.id).join("local-logs/container.log"),
        driver if driver.is_remote() => parts.forwarders.spool(&record.id).log_path(),
        _ => parts.log_path(&record.id),
    })
}

/// Whether the log can be read here.
pub(super) fn is_readable(record: &ContainerRecord) -> bool {
    let config = &record.host.log_config;
    let disabled = |options: &Options| {
        let value = options.get("cache-disabled").map_or("", String::as_str);
        matches!(value, "1" | "t" | "T" | "TRUE" | "true" | "True")
    };
    match Driver::parse(&config.kind) {
        Ok(Driver::None) | Err(_) => false,
        Ok(driver) => !(driver.is_remote() && disabled(&config.config)),
    }
}

pub(super) fn driver(record: &ContainerRecord) -> Result<Driver> {
    Driver::parse(&record.host.log_config.kind).map_err(not_started)
}

/// What is wrong with options when a container is started, as Docker tells it.
pub(super) fn not_started(error: OptionError) -> Error {
    let text = format!("failed to create task for container: failed to initialize logging driver: {error}");
    match error.kind() {
        ErrorKind::InvalidArgument => Error::Invalid(text),
        _ => Error::Internal(text),
    }
}

fn facts(parts: &Parts, record: &ContainerRecord) -> ContainerFacts {
    let mut words = record.args.iter().cloned();
    ContainerFacts {
        id: record.id.to_string(),
        name: format!("/{}", record.name),
        image_id: record.image.digest().to_string(),
        image_name: record.config.image.clone(),
        created: record.created.to_string(),
        entrypoint: words.next().unwrap_or_default(),
        arguments: words.collect(),
        env: record.config.env.clone(),
        labels: record.config.labels.clone(),
        hostname: parts.host.name.clone(),
    }
}
