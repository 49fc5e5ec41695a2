//! What the store holds.

use skiff_network::EndpointRecord;
use skiff_state::{Batch, Database, Pending, Schema, Table, Writer};
use skiff_types::{ContainerId, NetworkId};

use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    model::{ContainerRecord, Timestamp, UserNetwork, VolumeRecord},
};

/// The form of the store. Version 1.
pub(crate) const SCHEMA: Schema = Schema { migrations: &[] };

pub(crate) const CONTAINERS: Table<ContainerRecord> = Table::new("containers");
/// By container.
pub(crate) const ENDPOINTS: Table<Endpoints> = Table::new("endpoints");
pub(crate) const NETWORKS: Table<UserNetwork> = Table::new("networks");
pub(crate) const VOLUMES: Table<VolumeRecord> = Table::new("volumes");
/// When images and volumes were last used, by the keys of [`crate::last_use`].
pub(crate) const LAST_USE: Table<Timestamp> = Table::new("last_use");
pub(crate) const ENGINE: Table<Identity> = Table::new("engine");

/// The boot in which the records were last compared with what runs.
pub(crate) const BOOT: Table<String> = Table::new("boot");

/// The only key of [`BOOT`].
const LAST: &str = "last";

/// The only key of [`ENGINE`].
pub(crate) const IDENTITY: &str = "identity";

/// The endpoints of one container: always written together.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Endpoints {
    /// As it is written.
    All(Vec<EndpointRecord>),
    /// As it was written while a container had but one.
    One(Box<EndpointRecord>),
}

impl From<Endpoints> for Vec<EndpointRecord> {
    fn from(endpoints: Endpoints) -> Self {
        match endpoints {
            Endpoints::All(all) => all,
            Endpoints::One(one) => vec![*one],
        }
    }
}

/// Who this engine is, for as long as its root directory lives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Shown by `info`.
    pub(crate) id: String,
    /// When the root directory was first used, and with it the built-in networks.
    pub(crate) created: Timestamp,
    /// Ids of the built-in networks.
    pub(crate) bridge: NetworkId,
    pub(crate) host: NetworkId,
    pub(crate) none: NetworkId,
}

/// The host's current boot.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    id: String,
    /// The records are of an earlier one: nothing of what they say runs, runs.
    pub(crate) is_new: bool,
}

impl Boot {
    /// Compares with the store.
    ///
    /// # Errors
    /// The store cannot be read, or there is no `/proc`.
    pub(crate) fn read(store: &Database) -> Result<Self> {
        let id = fs_err::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let last = store.all(&BOOT).map_err(|e| Error::Internal(e.to_string()))?;
        let last = last.into_iter().next().map(|(_, last)| last);
        Ok(Self { is_new: last.is_some_and(|last| last != id), id })
    }
}

/// Writes what the engine must remember.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    writer: Writer,
}

impl Records {
    pub(crate) fn new(writer: Writer) -> Self {
        Self { writer }
    }

    /// Queues a container's record as it is now.
    pub(crate) fn put(&self, record: &ContainerRecord) -> Pending {
        self.writer.commit(Batch::new().put(&CONTAINERS, record.id.to_string(), record))
    }

    /// Queues a container's record together with its endpoints, all it has from now on.
    pub(crate) fn put_with_endpoints(
        &self,
        record: &ContainerRecord,
        endpoints: &[EndpointRecord],
    ) -> Pending {
        let key = record.id.to_string();
        let batch = Batch::new().put(&CONTAINERS, &key, record);
        self.writer.commit(match endpoints {
            [] => batch.delete(&ENDPOINTS, key),
            all => batch.put(&ENDPOINTS, key, &Endpoints::All(all.to_vec())),
        })
    }

    /// Queues what a container's endpoints are to be.
    pub(crate) fn put_endpoints(&self, container: &ContainerId, endpoints: &[EndpointRecord]) -> Pending {
        let all = Endpoints::All(endpoints.to_vec());
        self.writer.commit(Batch::new().put(&ENDPOINTS, container.to_string(), &all))
    }

    /// Queues a network's record.
    pub(crate) fn put_network(&self, network: &UserNetwork) -> Pending {
        self.writer.commit(Batch::new().put(&NETWORKS, network.id.to_string(), network))
    }

    /// Queues forgetting a network.
    pub(crate) fn delete_network(&self, id: &NetworkId) -> Pending {
        self.writer.commit(Batch::new().delete(&NETWORKS, id.to_string()))
    }

    /// Queues a new container's record together with those of its new volumes.
    pub(crate) fn put_with_volumes(&self, record: &ContainerRecord, volumes: &[VolumeRecord]) -> Pending {
        let batch = Batch::new().put(&CONTAINERS, record.id.to_string(), record);
        self.writer.commit(volumes.iter().fold(batch, |batch, v| batch.put(&VOLUMES, &v.name, v)))
    }

    /// Queues the records of volumes.
    pub(crate) fn put_volumes(&self, volumes: &[VolumeRecord]) -> Pending {
        self.writer.commit(volumes.iter().fold(Batch::new(), |batch, v| batch.put(&VOLUMES, &v.name, v)))
    }

    /// Queues forgetting volumes.
    pub(crate) fn delete_volumes<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Pending {
        self.writer.commit(names.into_iter().fold(Batch::new(), |batch, name| batch.delete(&VOLUMES, name)))
    }

    /// Queues when things were last used; none means that they are gone.
    pub(crate) fn put_last_use(&self, times: &[(String, Option<Timestamp>)]) -> Pending {
        let batch = times.iter().fold(Batch::new(), |batch, (key, time)| match time {
            Some(time) => batch.put(&LAST_USE, key, time),
            None => batch.delete(&LAST_USE, key),
        });
        self.writer.commit(batch)
    }

    /// Queues forgetting a container.
    pub(crate) fn delete(&self, id: &ContainerId) -> Pending {
        let key = id.to_string();
        self.writer.commit(Batch::new().delete(&CONTAINERS, &key).delete(&ENDPOINTS, key))
    }

    /// Queues that everything queued before is about this boot.
    pub(crate) fn reconciled(&self, boot: &Boot) -> Pending {
        self.writer.commit(Batch::new().put(&BOOT, LAST, &boot.id))
    }

    /// Commits what is queued and closes the store.
    pub(crate) fn close(&self) {
        self.writer.close();
    }
}

/// Waits until a commit is durable.
///
/// # Errors
/// It failed: nothing of it is in the store.
pub(crate) async fn durable(pending: Pending) -> Result<()> {
    Ok(pending.await?)
}
