//! Between the wire and the domain: the only place that knows both.

pub(crate) mod container;
pub(crate) mod create;
pub(crate) mod event;
pub(crate) mod exec;
mod host;
pub(crate) mod image;
pub(crate) mod inspect;
mod mount;
pub(crate) mod network;
pub(crate) mod stats;
pub(crate) mod system;
pub(crate) mod volume;

use std::collections::{BTreeMap, BTreeSet};

use skiff_api::model::{Empty, NameSet, StringMap};

/// A map that is `null` when there is nothing in it.
fn some_map(map: BTreeMap<String, String>) -> StringMap {
    (!map.is_empty()).then_some(map)
}

/// A set that is `null` when there is nothing in it.
fn some_set(set: BTreeSet<String>) -> Option<NameSet> {
    (!set.is_empty()).then(|| set.into_iter().map(|name| (name, Empty {})).collect())
}

/// A list that is `null` when there is nothing in it.
fn some_list<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Converts each element of a list.
fn each<T, U>(list: impl IntoIterator<Item = T>, convert: impl Fn(T) -> U) -> Vec<U> {
    list.into_iter().map(convert).collect()
}
