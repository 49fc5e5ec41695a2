//! Plugins: programs beside the engine that are drivers of something, found by their names and spoken to over a socket in JSON (Docker's
//! plugin API, version 1).
//!
//! A plugin is found when it is first asked for ([`PluginDirs`]), says in a handshake what it implements, and is remembered from then
//! on. One that cannot be reached is waited for a while, since it may be starting; a request that has been sent is never sent twice. What is
//! asked of it is for those to know who need the driver. Everything here blocks.

mod discover;
mod http;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use skiff_types::ErrorKind;

pub use discover::PluginDirs;
use http::{Address, CallError};

/// How long a plugin that does not listen is waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Why a plugin did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No plugin has this name.
    #[error("plugin {0:?} not found")]
    NotFound(String),
    /// It is described wrongly, or is no driver of that kind.
    #[error("{reason}")]
    Unusable {
        /// The plugin.
        plugin: String,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be reached, or does not keep to the protocol.
    #[error("plugin {plugin:?}: {method}: {reason}")]
    Protocol {
        /// The plugin.
        plugin: String,
        /// What was asked.
        method: &'static str,
        /// What happened.
        reason: String,
    },
    /// It answered with an error, in its own words.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Unusable { .. } | Self::Protocol { .. } | Self::Refused(_) => ErrorKind::Internal,
        }
    }
}

/// All plugins.
#[derive(Debug, Default)]
pub struct Plugins {
    dirs: PluginDirs,
    active: Mutex<HashMap<String, Arc<Plugin>>>,
}

/// A plugin that has answered the handshake.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    address: Address,
    implements: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Activated {
    implements: Option<Vec<String>>,
}

/// Plugins say what went wrong in one of these fields.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Trouble {
    err: Option<String>,
    error: Option<String>,
}

impl Plugins {
    /// Plugins found in these directories.
    pub fn new(dirs: PluginDirs) -> Self {
        Self { dirs, active: Mutex::default() }
    }

    /// The driver of this name and kind (`VolumeDriver`, `NetworkDriver`, `IpamDriver`).
    ///
    /// # Errors
    /// [`Error::NotFound`]; it is described wrongly, cannot be reached, or is no such driver.
    pub fn get(&self, name: &str, kind: &str) -> Result<Arc<Plugin>, Error> {
        self.get_within(name, kind, PATIENCE)
    }

    fn get_within(&self, name: &str, kind: &str, patience: Duration) -> Result<Arc<Plugin>, Error> {
        let active = || self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let address = self.dirs.find(name)?;
        let known = active().get(name).filter(|plugin| plugin.address == address).cloned();
        let plugin = match known {
            Some(plugin) => plugin,
            None => {
                let plugin = Arc::new(Plugin::activate(name, address, patience)?);
                active().insert(name.to_owned(), plugin.clone());
                plugin
            }
        };
        if !plugin.implements.iter().any(|implemented| implemented == kind) {
            let reason = "plugin does not implement the requested driver".to_owned();
            return Err(Error::Unusable { plugin: name.to_owned(), reason });
        }
        Ok(plugin)
    }

    /// The plugins that can be found now, are drivers of this kind, and answer at once.
    pub fn all(&self, kind: &str) -> Vec<Arc<Plugin>> {
        let names = self.dirs.names();
        names.iter().filter_map(|name| self.get_within(name, kind, Duration::ZERO).ok()).collect()
    }
}

impl Plugin {
    fn activate(name: &str, address: Address, patience: Duration) -> Result<Self, Error> {
        let mut plugin = Self { name: name.to_owned(), address, implements: Vec::new() };
        let answer: Activated = plugin.ask_within("Plugin.Activate", &serde_json::json!({}), patience)?;
        plugin.implements = answer.implements.unwrap_or_default();
        Ok(plugin)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks something; one that does not listen is waited for.
    ///
    /// # Errors
    /// [`Error::Refused`] in the plugin's words; it cannot be reached; its answer is none.
    pub fn ask<T: DeserializeOwned>(&self, method: &'static str, body: &impl Serialize) -> Result<T, Error> {
        self.ask_within(method, body, PATIENCE)
    }

    /// The same of one that must listen already.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn ask_now<T: DeserializeOwned>(
        &self,
        method: &'static str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        self.ask_within(method, body, Duration::ZERO)
    }

    /// That an answer is not as the protocol has it.
    pub fn broken(&self, method: &'static str, reason: impl ToString) -> Error {
        Error::Protocol { plugin: self.name.clone(), method, reason: reason.to_string() }
    }

    fn ask_within<T: DeserializeOwned>(
        &self,
        method: &'static str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|e| self.broken(method, e))?;
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        let answer = loop {
            match http::post(&self.address, method, &body) {
                Ok(answer) => break answer,
                Err(CallError::Connect(_)) if began.elapsed() + pause < patience => {
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                Err(e) => return Err(self.broken(method, e)),
            }
        };
        let trouble: Option<Trouble> = serde_json::from_slice(&answer.body).ok();
        let trouble = trouble.and_then(|t| t.err.or(t.error)).filter(|text| !text.is_empty());
        match (answer.status, trouble) {
            (200, None) => serde_json::from_slice(&answer.body).map_err(|e| self.broken(method, e)),
            (200, Some(trouble)) => Err(Error::Refused(trouble)),
            (_, trouble) => {
                let raw = || String::from_utf8_lossy(&answer.body).trim().to_owned();
                Err(Error::Refused(format!("{method}: {}", trouble.unwrap_or_else(raw))))
            }
        }
    }
}

#[cfg(test)]
mod tests;
