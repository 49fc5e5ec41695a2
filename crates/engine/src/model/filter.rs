//! Filters of list and event requests: a key, and any number of values for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::Error;

/// Filters as the client gave them. Values of one key are alternatives; keys must all match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// No filters: everything matches.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds an alternative for a key.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().insert(value.into());
    }

    /// Whether there is a filter of this key.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The values of a key; none if it is not there.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Every key that is used.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Refuses keys that the request does not know.
    ///
    /// # Errors
    /// [`Error::InvalidFilter`] for the first key that is not `accepted`.
    pub fn accept(&self, accepted: &[&str]) -> Result<(), Error> {
        match self.keys().find(|k| !accepted.contains(k)) {
            Some(key) => Err(Error::InvalidFilter(key.to_owned())),
            None => Ok(()),
        }
    }

    /// True if the key is not used or one of its values is `value`.
    pub fn exact(&self, key: &str, value: &str) -> bool {
        self.0.get(key).is_none_or(|values| values.contains(value))
    }

    /// True if the key is not used or one of its values satisfies `test`.
    pub fn any(&self, key: &str, test: impl Fn(&str) -> bool) -> bool {
        self.0.get(key).is_none_or(|values| values.iter().any(|v| test(v)))
    }

    /// A key whose values are true or false.
    ///
    /// # Errors
    /// [`Error::InvalidFilterValue`] for anything else than one clear answer.
    pub fn boolean(&self, key: &str, default: bool) -> Result<bool, Error> {
        let Some(values) = self.0.get(key) else { return Ok(default) };
        let bad =
            || Error::InvalidFilterValue { key: key.to_owned(), values: values.iter().cloned().collect() };
        let is = |words: [&str; 2]| words.iter().any(|w| values.contains(*w));
        match (is(["1", "true"]), is(["0", "false"])) {
            (true, false) => Ok(true),
            (false, true) => Ok(false),
            _ => Err(bad()),
        }
    }

    /// True if every value `key` or `key=value` of the filter is among the labels (all must match, unlike other keys).
    pub fn labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.values(key).all(|wanted| match wanted.split_once('=') {
            Some((k, v)) => labels.get(k).is_some_and(|have| have == v),
            None => labels.contains_key(wanted),
        })
    }
}

impl FromIterator<(String, String)> for Filters {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        let mut filters = Self::default();
        for (key, value) in pairs {
            filters.add(key, value);
        }
        filters
    }
}
