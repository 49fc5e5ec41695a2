//! Tables, and changes to be made together.

use std::{fmt, marker::PhantomData};

use redb::{TableDefinition, TableHandle};
use serde::{Serialize, de::DeserializeOwned};

/// How every table looks to redb: a textual key, JSON.
pub(crate) type Raw = TableDefinition<'static, &'static str, &'static [u8]>;

/// A table of values of one type, by textual key.
pub struct Table<V> {
    pub(crate) name: &'static str,
    value: PhantomData<fn() -> V>,
}

impl<V: Serialize + DeserializeOwned> Table<V> {
    /// The table of this name. A name means one type for ever.
    pub const fn new(name: &'static str) -> Self {
        Self { name, value: PhantomData }
    }

    pub(crate) fn raw(&self) -> Raw {
        TableDefinition::new(self.name)
    }
}

/// Changes that are made together or not at all, in this order.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) changes: Vec<Change>,
}

pub(crate) struct Change {
    pub(crate) table: Raw,
    pub(crate) key: String,
    /// None deletes.
    pub(crate) value: Option<Vec<u8>>,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.table.name(), self.key)
    }
}

impl Batch {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a key.
    ///
    /// # Panics
    /// If the value cannot be JSON (a map whose keys are not text): a mistake in the type, met by its first test.
    pub fn put<V: Serialize + DeserializeOwned>(
        mut self,
        table: &Table<V>,
        key: impl Into<String>,
        value: &V,
    ) -> Self {
        let value = serde_json::to_vec(value).expect("records are plain data");
        self.changes.push(Change { table: table.raw(), key: key.into(), value: Some(value) });
        self
    }

    /// Removes a key, if it is there.
    pub fn delete<V: Serialize + DeserializeOwned>(
        mut self,
        table: &Table<V>,
        key: impl Into<String>,
    ) -> Self {
        self.changes.push(Change { table: table.raw(), key: key.into(), value: None });
        self
    }
}
