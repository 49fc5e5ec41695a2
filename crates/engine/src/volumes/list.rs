//! Which volumes a list or a prune means, and how they are shown.

use std::collections::BTreeMap;

use skiff_volumes::{Plugin, PluginVolume};

use super::{Volume, Volumes};
use crate::{
    Error, Result,
    model::{Filters, Timestamp, VolumeRecord, VolumeView},
};

const FILTERS: &[&str] = &["dangling", "driver", "label", "name"];
const PRUNE_FILTERS: &[&str] = &["all", "label", "label!"];

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Which volumes a prune may remove, if no container has them.
pub(super) fn prunable(filters: &Filters) -> Result<impl Fn(&VolumeRecord) -> bool> {
    filters.accept(PRUNE_FILTERS)?;
    let given: Vec<&str> = filters.values("all").collect();
    let all = match given.as_slice() {
        [] => false,
        [one] => parse_bool(one).ok_or_else(|| {
            Error::Invalid(format!(
                "invalid filter 'all': strconv.ParseBool: parsing {one:?}: invalid syntax"
            ))
        })?,
        several => {
            let list = several.join(" ");
            return Err(Error::Invalid(format!("invalid filter 'all=[{list}]': only one value is expected")));
        }
    };
    let filters = filters.clone();
    Ok(move |record: &VolumeRecord| {
        let labels = record.labels.clone().unwrap_or_default();
        let unwanted = filters.has("label!") && filters.labels("label!", &labels);
        (all || record.is_anonymous()) && filters.labels("label", &labels) && !unwanted
    })
}

/// As Docker prints a time: without fractions of a second.
fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn of_plugin(plugin: &Plugin, record: VolumeRecord, told: PluginVolume) -> VolumeView {
    VolumeView {
        record,
        created_at: told.created_at,
        mountpoint: told.mountpoint,
        scope: plugin.scope(),
        status: told.status,
    }
}

/// A volume of a plugin's that was not made here.
fn foreign(plugin: &Plugin, told: PluginVolume) -> VolumeView {
    let record = VolumeRecord {
        name: told.name.clone(),
        driver: plugin.name().to_owned(),
        created: Timestamp::UNIX_EPOCH,
        options: None,
        labels: None,
    };
    of_plugin(plugin, record, told)
}

impl Volumes {
    pub(super) fn view_local(&self, volume: &Volume) -> VolumeView {
        VolumeView {
            record: volume.record.clone(),
            created_at: rfc3339(volume.record.created),
            mountpoint: self.inner.local.data(&volume.record.name).to_string_lossy().into_owned(),
            scope: "local",
            status: BTreeMap::new(),
        }
    }

    /// A volume as its driver knows it. Blocks.
    pub(super) fn view(&self, volume: &Volume) -> Result<VolumeView> {
        if volume.is_local() {
            return Ok(self.view_local(volume));
        }
        let name = &volume.record.name;
        let plugin = self.plugin(&volume.record.driver).map_err(|e| e.labelled(format!("get {name}")))?;
        let told = plugin.describe(name).map_err(|e| Error::from(e).labelled(format!("get {name}")))?;
        Ok(of_plugin(&plugin, volume.record.clone(), told))
    }

    /// A volume that only a plugin knows. Blocks.
    pub(super) fn elsewhere(&self, name: &str) -> Result<Option<VolumeView>> {
        let known = |plugin: &std::sync::Arc<Plugin>| Some(foreign(plugin, plugin.describe(name).ok()?));
        Ok(self.inner.plugins.all().iter().find_map(known))
    }

    /// The volumes that filters choose, and what could not be asked. Blocks.
    pub(super) fn select(&self, filters: &Filters) -> Result<(Vec<VolumeView>, Vec<String>)> {
        filters.accept(FILTERS)?;
        let dangling = match filters.has("dangling") {
            true => Some(filters.boolean("dangling", false)?),
            false => None,
        };
        let (mut views, mut warnings) = (Vec::new(), Vec::new());
        let mut plugins: BTreeMap<String, Vec<PluginVolume>> = BTreeMap::new();
        for plugin in self.inner.plugins.all() {
            match plugin.list() {
                Ok(list) => {
                    let unknown = list.iter().filter(|told| self.known(&told.name).is_none());
                    let shown = unknown
                        .map(|told| VolumeView { status: BTreeMap::new(), ..foreign(&plugin, told.clone()) });
                    views.extend(shown);
                    plugins.insert(plugin.name().to_owned(), list);
                }
                Err(e) => warnings.push(e.to_string()),
            }
        }
        for volume in self.all() {
            if volume.is_local() {
                views.push(self.view_local(&volume));
                continue;
            }
            // One whose plugin has gone is still ours to show.
            let mut told = plugins.get(&volume.record.driver).into_iter().flatten();
            let told = told.find(|told| told.name == volume.record.name).cloned().unwrap_or_default();
            let scope = self.plugin(&volume.record.driver).map_or("local", |plugin| plugin.scope());
            views.push(VolumeView {
                record: volume.record.clone(),
                created_at: told.created_at,
                mountpoint: told.mountpoint,
                scope,
                status: BTreeMap::new(),
            });
        }
        let name = |name: &str| filters.any("name", |wanted| wanted == name || matches(wanted, name));
        views.retain(|view| {
            let record = &view.record;
            name(&record.name)
                && filters.exact("driver", &record.driver)
                && filters.labels("label", record.labels.as_ref().unwrap_or(&BTreeMap::new()))
                && dangling.is_none_or(|dangling| dangling == self.users(&record.name).is_empty())
        });
        views.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        Ok((views, warnings))
    }
}

/// Whether a name matches a regular expression; what is none matches nothing.
fn matches(wanted: &str, name: &str) -> bool {
    regex_lite::Regex::new(wanted).is_ok_and(|regex| regex.is_match(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::volume::ANONYMOUS;

    fn record(labels: &[(&str, &str)]) -> VolumeRecord {
        VolumeRecord {
            name: "v".into(),
            driver: "local".into(),
            created: Timestamp::UNIX_EPOCH,
            options: None,
            labels: Some(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
        }
    }

    fn filters(pairs: &[(&str, &str)]) -> Filters {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    /// Recorded from Docker 28.5.2.
    #[test]
    fn prune_filters_are_docker_s() {
        let chosen = |pairs: &[(&str, &str)], labels: &[(&str, &str)]| {
            prunable(&filters(pairs)).unwrap()(&record(labels))
        };
        assert!(chosen(&[], &[(ANONYMOUS, "")]));
        assert!(!chosen(&[], &[("a", "b")]));
        assert!(!chosen(&[("all", "0")], &[]));
        assert!(chosen(&[("all", "1"), ("label", "a=b")], &[("a", "b")]));
        assert!(!chosen(&[("all", "1"), ("label", "a=c")], &[("a", "b")]));
        assert!(!chosen(&[("all", "true"), ("label!", "a")], &[("a", "b")]));
        assert!(chosen(&[("all", "true"), ("label!", "c")], &[("a", "b")]));
        for (pairs, message) in [
            (&[("all", "x")][..], r#"invalid filter 'all': strconv.ParseBool: parsing "x": invalid syntax"#),
            (&[("all", "1"), ("all", "true")], "invalid filter 'all=[1 true]': only one value is expected"),
            (&[("dangling", "true")], "invalid filter 'dangling'"),
        ] {
            assert_eq!(prunable(&filters(pairs)).err().unwrap().to_string(), message);
        }
    }

    #[test]
    fn times_have_no_fractions() {
        assert_eq!(rfc3339("2024-05-01T10:11:12.987654321Z".parse().unwrap()), "2024-05-01T10:11:12Z");
    }
}
