//! The open store, before anything is written to it.

use std::{
    fs::Permissions,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::{Serialize, de::DeserializeOwned};

use crate::{OpenError, Table, Writer};

/// Bytes of redb's page cache. Everything is read once, so it only serves the pages being written.
const CACHE: usize = 1 << 20;

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
const VERSION: &str = "schema";

/// Brings the store from one schema version to the next, in the transaction that also sets the version.
pub type Migration = fn(&redb::WriteTransaction) -> Result<(), redb::Error>;

/// The form of the store: version 1 and the migrations that followed.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The first leads from version 1 to 2, and so on.
    pub migrations: &'static [Migration],
}

impl Schema {
    /// The version a store has once it is open.
    pub fn version(&self) -> u64 {
        1 + self.migrations.len() as u64
    }
}

/// The open store.
#[derive(Debug)]
pub struct Database {
    pub(crate) db: redb::Database,
    pub(crate) path: PathBuf,
}

/// Opens the file, or makes it. Nobody else may read what is in it.
pub(crate) fn open_file(path: &Path) -> Result<redb::Database, redb::DatabaseError> {
    const MODE: u32 = 0o600;
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(MODE).open(path);
    let file = file.map_err(redb::StorageError::Io)?;
    file.set_permissions(Permissions::from_mode(MODE)).map_err(redb::StorageError::Io)?;
    redb::Builder::new().set_cache_size(CACHE).create_file(file)
}

impl Database {
    /// Opens or makes the store and brings it to `schema`.
    ///
    /// # Errors
    /// It is in use, damaged, written by a later version, or the file cannot be opened.
    pub fn open(path: &Path, schema: &Schema) -> Result<Self, OpenError> {
        if !path.exists() {
            Self::make(path, schema)?;
        }
        let db = open_file(path).map_err(|e| classify(path, e.into()))?;
        let this = Self { db, path: path.to_owned() };
        this.migrate(schema)?;
        Ok(this)
    }

    /// Makes the store under another name first: whoever is killed meanwhile leaves none, instead of half a one.
    fn make(path: &Path, schema: &Schema) -> Result<(), OpenError> {
        let half = path.with_added_extension("new");
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let db = match open_file(&half) {
            Err(e) if half.exists() && !matches!(e, redb::DatabaseError::DatabaseAlreadyOpen) => {
                // What another start left.
                fs_err::remove_file(&half).map_err(failed)?;
                open_file(&half)
            }
            opened => opened,
        };
        let this = Self { db: db.map_err(|e| classify(&half, e.into()))?, path: half.clone() };
        this.migrate(schema)?;
        drop(this);
        fs_err::rename(&half, path).map_err(failed)?;
        let Some(parent) = path.parent() else { return Ok(()) };
        fs_err::File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed)
    }

    fn migrate(&self, schema: &Schema) -> Result<(), OpenError> {
        let damaged = |e: redb::Error| classify(&self.path, e);
        let known = schema.version();
        let found = self.version().map_err(damaged)?;
        match found {
            Some(found) if found == known => Ok(()),
            Some(found) if found > known => Err(OpenError::Newer { path: self.path.clone(), found, known }),
            _ => self.upgrade(found, schema).map_err(damaged),
        }
    }

    fn version(&self) -> Result<Option<u64>, redb::Error> {
        match self.db.begin_read()?.open_table(META) {
            Ok(table) => Ok(table.get(VERSION)?.map(|v| v.value())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// A new store (`None`) has nothing to migrate.
    fn upgrade(&self, found: Option<u64>, schema: &Schema) -> Result<(), redb::Error> {
        let txn = self.db.begin_write()?;
        if let Some(found) = found {
            for migration in &schema.migrations[found as usize - 1..] {
                migration(&txn)?;
            }
        }
        txn.open_table(META)?.insert(VERSION, schema.version())?;
        txn.commit()?;
        Ok(())
    }

    /// Everything in a table.
    ///
    /// # Errors
    /// The file cannot be read, or a value is not of the table's type.
    pub fn all<V: Serialize + DeserializeOwned>(
        &self,
        table: &Table<V>,
    ) -> Result<Vec<(String, V)>, OpenError> {
        let mut out = Vec::new();
        self.each(table, |key, bytes| {
            let value = serde_json::from_slice(bytes).map_err(|source| OpenError::Value {
                path: self.path.clone(),
                table: table.name,
                key: key.to_owned(),
                source,
            })?;
            out.push((key.to_owned(), value));
            Ok(())
        })?;
        Ok(out)
    }

    fn each<V: Serialize + DeserializeOwned>(
        &self,
        table: &Table<V>,
        mut row: impl FnMut(&str, &[u8]) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let damaged = |e: redb::Error| classify(&self.path, e);
        let txn = self.db.begin_read().map_err(|e| damaged(e.into()))?;
        let table = match txn.open_table(table.raw()) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(e) => return Err(damaged(e.into())),
        };
        for entry in table.iter().map_err(|e| damaged(e.into()))? {
            let (key, value) = entry.map_err(|e| damaged(e.into()))?;
            row(key.value(), value.value())?;
        }
        Ok(())
    }

    /// Gives the store to the thread that commits.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn into_writer(self) -> Result<Writer, OpenError> {
        let path = self.path.clone();
        Writer::spawn(self).map_err(|source| OpenError::Io { path, source })
    }
}

fn classify(path: &Path, error: redb::Error) -> OpenError {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse { path },
        redb::Error::Io(source) if source.kind() != std::io::ErrorKind::InvalidData => {
            OpenError::Io { path, source }
        }
        source => OpenError::Damaged { path, source },
    }
}
