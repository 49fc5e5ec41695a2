//! Volume plugins: drivers in other processes, spoken to over a socket in JSON (Docker's plugin API, version 1).
//!
//! A plugin is found by its name when it is first asked for ([`PluginDirs`]), says in a handshake that it is a
//! `VolumeDriver`, and is remembered from then on. One that cannot be reached is waited for a while, since it may be
//! starting; a request that has been sent is never sent twice.

mod discover;
mod http;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub use discover::PluginDirs;
use http::{Address, CallError};

use crate::{Error, Result};

/// How long a plugin that does not listen is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

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
    global: bool,
}

/// A volume as a plugin describes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PluginVolume {
    /// Its name.
    pub name: String,
    /// Where it is mounted; empty while it is not.
    pub mountpoint: String,
    /// When it was made, in RFC 3339, if the plugin says so.
    pub created_at: String,
    /// What else the plugin tells.
    #[serde(deserialize_with = "null_is_empty")]
    pub status: BTreeMap<String, Value>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Value>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Answer {
    err: String,
    mountpoint: String,
    volume: Option<PluginVolume>,
    volumes: Option<Vec<PluginVolume>>,
    capabilities: Option<Capabilities>,
    implements: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Capabilities {
    scope: String,
}

impl Plugins {
    /// Plugins found in these directories.
    pub fn new(dirs: PluginDirs) -> Self {
        Self { dirs, active: Mutex::default() }
    }

    /// The volume driver of this name.
    ///
    /// # Errors
    /// [`Error::NoSuchPlugin`]; it is described wrongly, cannot be reached, or is no volume driver.
    pub fn get(&self, name: &str) -> Result<Arc<Plugin>> {
        self.get_within(name, PATIENCE)
    }

    fn get_within(&self, name: &str, patience: Duration) -> Result<Arc<Plugin>> {
        let active = || self.active.lock().expect("no panic under this lock");
        let address = self.dirs.find(name)?;
        if let Some(known) = active().get(name).filter(|plugin| plugin.address == address) {
            return Ok(known.clone());
        }
        let plugin = Arc::new(Plugin::activate(name, address, patience)?);
        active().insert(name.to_owned(), plugin.clone());
        Ok(plugin)
    }

    /// The plugins that can be found now, and are volume drivers that answer at once.
    pub fn all(&self) -> Vec<Arc<Plugin>> {
        self.dirs.names().iter().filter_map(|name| self.get_within(name, Duration::ZERO).ok()).collect()
    }
}

impl Plugin {
    fn activate(name: &str, address: Address, patience: Duration) -> Result<Self> {
        let mut plugin = Self { name: name.to_owned(), address, global: false };
        let answer: Answer = plugin.call("Plugin.Activate", &json!({}), patience)?;
        if !answer.implements.unwrap_or_default().iter().any(|kind| kind == "VolumeDriver") {
            return Err(Error::BadPlugin {
                name: name.to_owned(),
                reason: "plugin does not implement the requested driver".to_owned(),
            });
        }
        // Plugins of the first version do not know the question.
        if let Ok(answer) = plugin.ask("VolumeDriver.Capabilities", &json!({})) {
            plugin.global = answer.capabilities.is_some_and(|c| c.scope.eq_ignore_ascii_case("global"));
        }
        Ok(plugin)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `global` if its volumes are the same on every host, otherwise `local`.
    pub fn scope(&self) -> &'static str {
        if self.global { "global" } else { "local" }
    }

    /// Makes a volume.
    ///
    /// # Errors
    /// [`Error::Refused`] in the plugin's words; it cannot be reached.
    pub fn create(&self, volume: &str, options: &BTreeMap<String, String>) -> Result<()> {
        self.ask("VolumeDriver.Create", &json!({ "Name": volume, "Opts": options })).map(drop)
    }

    /// Removes a volume.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn remove(&self, volume: &str) -> Result<()> {
        self.ask("VolumeDriver.Remove", &json!({ "Name": volume })).map(drop)
    }

    /// Makes a volume ready for a user, and says where it is.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn mount(&self, volume: &str, user: &str) -> Result<PathBuf> {
        let answer = self.ask("VolumeDriver.Mount", &json!({ "Name": volume, "ID": user }))?;
        Ok(answer.mountpoint.into())
    }

    /// A user needs a volume no longer.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn unmount(&self, volume: &str, user: &str) -> Result<()> {
        self.ask("VolumeDriver.Unmount", &json!({ "Name": volume, "ID": user })).map(drop)
    }

    /// Where a volume is; empty while it is nowhere.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn path(&self, volume: &str) -> Result<String> {
        Ok(self.ask("VolumeDriver.Path", &json!({ "Name": volume }))?.mountpoint)
    }

    /// What the plugin knows of a volume.
    ///
    /// # Errors
    /// As [`Self::create`]; it has no such volume.
    pub fn describe(&self, volume: &str) -> Result<PluginVolume> {
        const METHOD: &str = "VolumeDriver.Get";
        let answer = self.ask(METHOD, &json!({ "Name": volume }))?;
        answer.volume.filter(|v| !v.name.is_empty()).ok_or_else(|| self.broken(METHOD, "no such volume"))
    }

    /// All its volumes.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn list(&self) -> Result<Vec<PluginVolume>> {
        let answer: Answer = self.call("VolumeDriver.List", &json!({}), Duration::ZERO)?;
        match answer.err.as_str() {
            "" => Ok(answer.volumes.unwrap_or_default()),
            err => Err(Error::Refused(err.to_owned())),
        }
    }

    fn ask(&self, method: &'static str, body: &Value) -> Result<Answer> {
        let answer: Answer = self.call(method, body, PATIENCE)?;
        match answer.err.as_str() {
            "" => Ok(answer),
            err => Err(Error::Refused(err.to_owned())),
        }
    }

    fn broken(&self, method: &'static str, reason: impl ToString) -> Error {
        Error::Protocol { plugin: self.name.clone(), method, reason: reason.to_string() }
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<T> {
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
        if answer.status == 200 {
            return serde_json::from_slice(&answer.body).map_err(|e| self.broken(method, e));
        }
        let said: Option<Answer> = serde_json::from_slice(&answer.body).ok();
        let said = said.map(|answer| answer.err).filter(|err| !err.is_empty());
        let said = said.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).trim().to_owned());
        Err(Error::Refused(format!("{method}: {said}")))
    }
}

#[cfg(test)]
mod tests;
