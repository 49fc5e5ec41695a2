//! All containers in memory, by id and by name.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, RwLock},
};

use skiff_types::ContainerId;

use crate::{Error, Result, container::Container};

/// Which containers there are. Names are unique; taking one and adding the container are one step.
#[derive(Default)]
pub(crate) struct Registry {
    index: RwLock<Index>,
}

#[derive(Default)]
struct Index {
    containers: BTreeMap<ContainerId, Arc<Container>>,
    names: HashMap<String, ContainerId>,
}

impl Registry {
    /// The container with this id, name, or unambiguous beginning of an id, in this order. `container/alias` is the one that
    /// the container links to by that alias.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub(crate) fn resolve(&self, reference: &str) -> Result<Arc<Container>> {
        let missing = || Error::NoSuchContainer(reference.to_owned());
        let index = self.index.read().expect("no panic under this lock");
        if let Some(container) = reference.parse().ok().and_then(|id| index.containers.get(&id)) {
            return Ok(container.clone());
        }
        let name = reference.strip_prefix('/').unwrap_or(reference);
        if let Some(container) = index.names.get(name).and_then(|id| index.containers.get(id)) {
            return Ok(container.clone());
        }
        if let Some((owner, alias)) = name.split_once('/') {
            let owner = index.names.get(owner).and_then(|id| index.containers.get(id)).cloned();
            // No record is looked at under this lock.
            drop(index);
            return owner.and_then(|owner| self.linked(&owner, alias)).ok_or_else(missing);
        }
        let from: ContainerId = format!("{reference:0<64}").parse().map_err(|_| missing())?;
        let mut matching = index
            .containers
            .range(from..)
            .take_while(|(id, _)| !reference.is_empty() && id.to_string().starts_with(reference));
        match (matching.next(), matching.next()) {
            (None, _) => Err(missing()),
            (Some((_, container)), None) => Ok(container.clone()),
            (Some(_), Some(_)) => Err(Error::AmbiguousId(reference.to_owned())),
        }
    }

    fn linked(&self, owner: &Container, alias: &str) -> Option<Arc<Container>> {
        let target = owner.record().links.iter().find(|link| link.alias == alias).map(|link| link.target);
        self.get(&target?)
    }

    pub(crate) fn get(&self, id: &ContainerId) -> Option<Arc<Container>> {
        self.index.read().expect("no panic under this lock").containers.get(id).cloned()
    }

    /// Whether somebody is about to add a container with this id.
    pub(crate) fn is_reserved(&self, id: &str) -> bool {
        let index = self.index.read().expect("no panic under this lock");
        index.names.values().any(|owner| owner.to_string() == id)
    }

    /// Everybody, in no particular order.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        self.index.read().expect("no panic under this lock").containers.values().cloned().collect()
    }

    /// Reserves the name, or says who has it.
    ///
    /// # Errors
    /// [`Error::NameInUse`].
    pub(crate) fn reserve(&self, name: &str, id: ContainerId) -> Result<()> {
        let mut index = self.index.write().expect("no panic under this lock");
        if let Some(owner) = index.names.get(name) {
            return Err(Error::NameInUse { name: name.to_owned(), id: owner.to_string() });
        }
        index.names.insert(name.to_owned(), id);
        Ok(())
    }

    /// Gives a name up.
    pub(crate) fn release(&self, name: &str) {
        self.index.write().expect("no panic under this lock").names.remove(name);
    }

    /// Adds a container whose name is reserved.
    pub(crate) fn insert(&self, container: Arc<Container>) {
        self.index.write().expect("no panic under this lock").containers.insert(container.id, container);
    }

    /// Forgets a container and its name.
    pub(crate) fn remove(&self, id: &ContainerId) {
        let mut index = self.index.write().expect("no panic under this lock");
        index.containers.remove(id);
        index.names.retain(|_, owner| owner != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::tests::container;

    fn registry(ids: &[&str]) -> Registry {
        let registry = Registry::default();
        for (n, id) in ids.iter().enumerate() {
            let container = container(&format!("{id:0<64}"), &format!("c{n}"));
            registry.reserve(&container.name(), container.id).unwrap();
            registry.insert(container);
        }
        registry
    }

    #[test]
    fn ids_names_and_unambiguous_beginnings_resolve() {
        let registry = registry(&["abc1", "abc2", "ff"]);
        let name = |r: &str| registry.resolve(r).map(|c| c.name());
        assert_eq!(name("c1").unwrap(), "c1");
        assert_eq!(name("/c2").unwrap(), "c2");
        assert_eq!(name("abc1").unwrap(), "c0");
        assert_eq!(name(&format!("{:0<64}", "ff")).unwrap(), "c2");
        assert_eq!(name("f").unwrap(), "c2");
        assert_eq!(name("abc").unwrap_err().to_string(), "multiple IDs found with provided prefix: abc");
        for missing in ["", "nope", "abd", "é"] {
            assert_eq!(name(missing).unwrap_err().to_string(), format!("No such container: {missing}"));
        }
    }

    #[test]
    fn a_name_has_one_owner_until_it_is_released() {
        let registry = registry(&["aa"]);
        let other = ContainerId::random();
        assert!(matches!(registry.reserve("c0", other), Err(Error::NameInUse { .. })));
        registry.release("c0");
        registry.reserve("c0", other).unwrap();
        registry.remove(&other);
        registry.reserve("c0", other).unwrap();
    }
}
