//! The catalog as the database has it.

use skiff_state::OpenError;

use super::{
    Contents, Link, Manifest, Moment, Repository, TagEntry,
    records::{LINKS, MANIFESTS, REPOSITORIES, TAGS},
};
use crate::{
    clock,
    digest::Digest,
    name::{Name, Tag},
    store::Snapshot,
};

/// Reads everything. Records that lead nowhere (a tag whose manifest's commit failed) are passed over.
pub(super) fn load(snapshot: &Snapshot) -> Result<Contents, OpenError> {
    let mut contents = Contents::default();
    // What was told to a client before this start counts as told now.
    let now = clock::now();
    for (name, _) in snapshot.all(&REPOSITORIES)? {
        if let Ok(name) = name.parse() {
            contents.repositories.insert(name, Repository::default());
        }
    }
    for (key, record) in snapshot.all(&LINKS)? {
        let Some((name, digest)) = split::<Digest>(&key) else { continue };
        let Some(repository) = contents.repositories.get_mut(&name) else { continue };
        let link = Link { size: record.size, since: record.since, touched: Moment::at(now) };
        repository.links.insert(digest.clone(), link);
        contents.hold(name.project(), &digest, record.size);
    }
    for (key, record) in snapshot.all(&MANIFESTS)? {
        let Some((name, digest)) = split::<Digest>(&key) else { continue };
        let Some(repository) = contents.repositories.get_mut(&name) else { continue };
        let size = record.size;
        repository.manifests.insert(digest.clone(), Manifest { record, touched: Moment::at(now) });
        contents.hold(name.project(), &digest, size);
    }
    for (key, record) in snapshot.all(&TAGS)? {
        let Some((name, tag)) = split::<Tag>(&key) else { continue };
        let Some(repository) = contents.repositories.get_mut(&name) else { continue };
        if repository.manifests.contains_key(&record.digest) {
            repository.tags.insert(tag, TagEntry { record, pulled: Moment::default() });
        }
    }
    Ok(contents)
}

fn split<T: std::str::FromStr>(key: &str) -> Option<(Name, T)> {
    let (name, item) = key.split_once(' ')?;
    Some((name.parse().ok()?, item.parse().ok()?))
}
