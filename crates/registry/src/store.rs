//! The one database file, shared by catalog and accounts. Everything in it is in memory too; it is read at the start and
//! after a commit that failed.

use std::{
    path::{Path, PathBuf},
    sync::RwLock,
};

use serde::{Serialize, de::DeserializeOwned};
use skiff_state::{Batch, Database, OpenError, Pending, Schema, Table, Writer};

/// Version 1.
const SCHEMA: Schema = Schema { migrations: &[] };

/// The open database.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    writer: RwLock<Writer>,
}

/// The database before anything is written to it: to be read.
pub(crate) struct Snapshot(Database);

impl Snapshot {
    /// Everything in a table.
    pub(crate) fn all<V: Serialize + DeserializeOwned>(
        &self,
        table: &Table<V>,
    ) -> Result<Vec<(String, V)>, OpenError> {
        self.0.all(table)
    }
}

impl Store {
    /// Opens or makes the database; `read` sees what is in it.
    pub(crate) fn open<T>(
        path: &Path,
        read: impl FnOnce(&Snapshot) -> Result<T, OpenError>,
    ) -> Result<(Self, T), OpenError> {
        let (writer, read) = open(path, read)?;
        Ok((Self { path: path.to_owned(), writer: RwLock::new(writer) }, read))
    }

    /// Queues changes; they become durable in the order of these calls.
    pub(crate) fn commit(&self, batch: Batch) -> Pending {
        self.writer.read().expect("no panic under this lock").commit(batch)
    }

    /// Lets everything that is queued be committed and reads what is there now. Blocks.
    pub(crate) fn reread<T>(
        &self,
        read: impl FnOnce(&Snapshot) -> Result<T, OpenError>,
    ) -> Result<T, OpenError> {
        let mut writer = self.writer.write().expect("no panic under this lock");
        writer.close();
        let (fresh, read) = open(&self.path, read)?;
        *writer = fresh;
        Ok(read)
    }

    /// Commits what is queued and closes the file. Blocks.
    pub(crate) fn close(&self) {
        self.writer.read().expect("no panic under this lock").close();
    }
}

fn open<T>(
    path: &Path,
    read: impl FnOnce(&Snapshot) -> Result<T, OpenError>,
) -> Result<(Writer, T), OpenError> {
    let snapshot = Snapshot(Database::open(path, &SCHEMA)?);
    let read = read(&snapshot)?;
    Ok((snapshot.0.into_writer()?, read))
}
