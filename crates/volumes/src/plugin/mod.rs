//! Volume plugins: drivers in other processes that keep volumes.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;
use serde_json::{Value, json};
use skiff_plugins::PluginDirs;

use crate::{Error, Result};

const KIND: &str = "VolumeDriver";

/// All volume plugins.
#[derive(Debug, Default)]
pub struct Plugins {
    all: skiff_plugins::Plugins,
    known: Mutex<HashMap<String, Arc<Plugin>>>,
}

/// A plugin that is a volume driver.
#[derive(Debug)]
pub struct Plugin {
    inner: Arc<skiff_plugins::Plugin>,
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
    mountpoint: String,
    volume: Option<PluginVolume>,
    volumes: Option<Vec<PluginVolume>>,
    capabilities: Option<Capabilities>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Capabilities {
    scope: String,
}

impl Plugins {
    /// Plugins found in these directories.
    pub fn new(dirs: PluginDirs) -> Self {
        Self { all: skiff_plugins::Plugins::new(dirs), known: Mutex::default() }
    }

    /// The volume driver of this name.
    ///
    /// # Errors
    /// [`Error::Lookup`]: there is none, it is described wrongly, cannot be reached, or is no volume driver.
    pub fn get(&self, name: &str) -> Result<Arc<Plugin>> {
        let found = self.all.get(name, KIND);
        Ok(self.known(found.map_err(|source| Error::Lookup { name: name.to_owned(), source })?))
    }

    /// The plugins that can be found now, and are volume drivers that answer at once.
    pub fn all(&self) -> Vec<Arc<Plugin>> {
        self.all.all(KIND).into_iter().map(|plugin| self.known(plugin)).collect()
    }

    /// What is known of a plugin, which is asked for it once.
    fn known(&self, inner: Arc<skiff_plugins::Plugin>) -> Arc<Plugin> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known().get(inner.name()).filter(|known| Arc::ptr_eq(&known.inner, &inner)) {
            return known.clone();
        }
        // Plugins of the first version do not know the question.
        let answer = inner.ask::<Answer>("VolumeDriver.Capabilities", &json!({})).unwrap_or_default();
        let global = answer.capabilities.is_some_and(|c| c.scope.eq_ignore_ascii_case("global"));
        let plugin = Arc::new(Plugin { inner, global });
        known().insert(plugin.name().to_owned(), plugin.clone());
        plugin
    }
}

impl Plugin {
    /// Its name.
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// `global` if its volumes are the same on every host, otherwise `local`.
    pub fn scope(&self) -> &'static str {
        if self.global { "global" } else { "local" }
    }

    /// Makes a volume.
    ///
    /// # Errors
    /// In the plugin's words; it cannot be reached.
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
        let volume = answer.volume.filter(|v| !v.name.is_empty());
        Ok(volume.ok_or_else(|| self.inner.broken(METHOD, "no such volume"))?)
    }

    /// All its volumes.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn list(&self) -> Result<Vec<PluginVolume>> {
        let answer: Answer = self.inner.ask_now("VolumeDriver.List", &json!({}))?;
        Ok(answer.volumes.unwrap_or_default())
    }

    fn ask(&self, method: &'static str, body: &Value) -> Result<Answer> {
        Ok(self.inner.ask(method, body)?)
    }
}

#[cfg(test)]
mod tests;
