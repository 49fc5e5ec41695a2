//! Changes of the catalog. Each checks, changes memory and queues the commit under one lock; the caller waits for the
//! commit with [`Catalog::durable`].

use skiff_state::{Batch, Pending};

use super::{
    Catalog, Contents, Link, Manifest, Moment, Repository, TagEntry,
    records::{
        LINKS, LinkRecord, MANIFESTS, ManifestRecord, REPOSITORIES, RepositoryRecord, TAGS, TagRecord, key,
    },
};
use crate::{
    Error, clock,
    digest::Digest,
    manifest::Described,
    name::{Name, Reference, Tag},
};

/// What a project allows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// Bytes that its repositories may hold together.
    pub(crate) quota: Option<u64>,
    /// Tags that, once there, neither move nor go.
    pub(crate) immutable: Vec<Pattern>,
}

/// A tag with `*` for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(pub(crate) String);

impl Pattern {
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl Policy {
    fn fixed(&self, tag: &Tag) -> Result<(), Error> {
        if self.immutable.iter().any(|pattern| pattern.matches(tag.as_str())) {
            return Err(Error::TagImmutable { tag: tag.to_string() });
        }
        Ok(())
    }

    /// Whether a project has room for a blob; what it has already costs nothing.
    fn room(&self, contents: &Contents, project: &str, digest: &Digest, more: u64) -> Result<(), Error> {
        let Some(quota) = self.quota.filter(|_| !contents.project_has(project, digest)) else {
            return Ok(());
        };
        let used = contents.project_size(project);
        if used.saturating_add(more) > quota {
            return Err(Error::QuotaExceeded { project: project.to_owned(), used, quota });
        }
        Ok(())
    }
}

/// A manifest to be put in.
pub(crate) struct NewManifest<'a> {
    pub(crate) name: &'a Name,
    pub(crate) reference: &'a Reference,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) described: Described,
    pub(crate) by: &'a str,
    /// What it refers to may come later (a cache fills itself).
    pub(crate) sparse: bool,
}

/// What putting a manifest did.
#[derive(Debug)]
pub(crate) struct Put {
    /// None if nothing changed.
    pub(crate) pending: Option<Pending>,
}

/// What a removal did.
#[derive(Debug)]
pub(crate) struct Removed {
    pub(crate) pending: Pending,
    /// Blobs that nothing names any more: their files may go once the commit is durable.
    pub(crate) orphans: Vec<Digest>,
    /// How many links between repositories and blobs went.
    pub(crate) links: usize,
}

impl Contents {
    /// The repository, made with the batch if it is not there.
    fn repository<'a>(&'a mut self, batch: Batch, name: &Name) -> (Batch, &'a mut Repository) {
        let mut batch = batch;
        let repository = self.repositories.entry(name.clone()).or_insert_with(|| {
            let record = RepositoryRecord { created: clock::now() };
            batch = std::mem::take(&mut batch).put(&REPOSITORIES, name.as_str(), &record);
            Repository::default()
        });
        (batch, repository)
    }

    fn add_link(&mut self, batch: Batch, name: &Name, digest: &Digest, size: u64) -> Batch {
        let (batch, repository) = self.repository(batch, name);
        let since = clock::now();
        repository.links.insert(digest.clone(), Link { size, since, touched: Moment::at(since) });
        self.hold(name.project(), digest, size);
        batch.put(&LINKS, key(name.as_str(), digest), &LinkRecord { size, since })
    }
}

impl Catalog {
    /// Checks early what [`Catalog::link`] will check: a blob that cannot be accepted need not be moved.
    pub(crate) fn room(&self, name: &Name, digest: &Digest, size: u64, policy: &Policy) -> Result<(), Error> {
        policy.room(&self.read(), name.project(), digest, size)
    }

    /// Lets a repository give a blob whose file is in its place. `None` if it could already.
    pub(crate) fn link(
        &self,
        name: &Name,
        digest: &Digest,
        size: u64,
        policy: &Policy,
    ) -> Result<Option<Pending>, Error> {
        let mut contents = self.write();
        if let Some(link) = contents.repositories.get(name).and_then(|r| r.links.get(digest)) {
            link.touched.touch();
            return Ok(None);
        }
        policy.room(&contents, name.project(), digest, size)?;
        let batch = contents.add_link(Batch::new(), name, digest, size);
        Ok(Some(self.store.commit(batch)))
    }

    /// Lets a repository give a blob that another one has. `None` if that one does not have it.
    pub(crate) fn mount(
        &self,
        from: &Name,
        to: &Name,
        digest: &Digest,
        policy: &Policy,
    ) -> Result<Option<Option<Pending>>, Error> {
        let mut contents = self.write();
        let Some(size) =
            contents.repositories.get(from).and_then(|r| r.links.get(digest)).map(|link| link.size)
        else {
            return Ok(None);
        };
        if let Some(link) = contents.repositories.get(to).and_then(|r| r.links.get(digest)) {
            link.touched.touch();
            return Ok(Some(None));
        }
        policy.room(&contents, to.project(), digest, size)?;
        let batch = contents.add_link(Batch::new(), to, digest, size);
        Ok(Some(Some(self.store.commit(batch))))
    }

    /// Puts a manifest in, whose file is in its place, and lets the tag point to it.
    pub(crate) fn put_manifest(&self, new: NewManifest<'_>, policy: &Policy) -> Result<Put, Error> {
        let mut contents = self.write();
        let present = contents.repositories.get(new.name);
        if !new.sparse {
            complete(present, &new.described)?;
        }
        let known = present.and_then(|r| r.manifests.get(&new.digest));
        let mut batch = Batch::new();
        let mut changed = false;
        if let Some(known) = known {
            known.touched.touch();
        } else {
            policy.room(&contents, new.name.project(), &new.digest, new.size)?;
        }
        let is_known = known.is_some();
        if let Reference::Tag(tag) = new.reference {
            let now = present.and_then(|r| r.tags.get(tag)).map(|entry| &entry.record.digest);
            if now.is_some_and(|now| *now != new.digest) {
                policy.fixed(tag)?;
            }
        }
        if !is_known {
            changed = true;
            let record = record(&new);
            let repository;
            (batch, repository) = contents.repository(batch, new.name);
            batch = batch.put(&MANIFESTS, key(new.name.as_str(), &new.digest), &record);
            let touched = Moment::at(record.pushed);
            repository.manifests.insert(new.digest.clone(), Manifest { record, touched });
            contents.hold(new.name.project(), &new.digest, new.size);
        }
        if let Reference::Tag(tag) = new.reference {
            let repository = contents.repositories.get_mut(new.name).expect("it has the manifest");
            let (pushed, nanos) = clock::exactly();
            let record = TagRecord { digest: new.digest.clone(), pushed, nanos, by: new.by.to_owned() };
            changed = true;
            batch = batch.put(&TAGS, key(new.name.as_str(), tag), &record);
            repository.tags.insert(tag.clone(), TagEntry { record, pulled: Moment::default() });
        }
        Ok(Put { pending: changed.then(|| self.store.commit(batch)) })
    }

    /// Removes a tag; the manifest stays.
    pub(crate) fn remove_tag(&self, name: &Name, tag: &Tag, policy: &Policy) -> Result<Removed, Error> {
        let mut contents = self.write();
        let repository = known(&mut contents, name)?;
        if !repository.tags.contains_key(tag) {
            return Err(Error::ManifestUnknown { name: name.clone(), reference: tag.to_string() });
        }
        policy.fixed(tag)?;
        repository.tags.remove(tag);
        let pending = self.store.commit(Batch::new().delete(&TAGS, key(name.as_str(), tag)));
        Ok(Removed { pending, orphans: Vec::new(), links: 0 })
    }

    /// Removes a manifest and the tags that point to it. One that an index names stays.
    pub(crate) fn remove_manifest(
        &self,
        name: &Name,
        digest: &Digest,
        policy: &Policy,
    ) -> Result<Removed, Error> {
        let mut contents = self.write();
        let repository = known(&mut contents, name)?;
        if !repository.manifests.contains_key(digest) {
            return Err(Error::ManifestUnknown { name: name.clone(), reference: digest.to_string() });
        }
        if let Some(holder) = repository.holder(digest) {
            return Err(Error::Denied {
                reason: format!("the index {holder} refers to {digest}: remove it first"),
            });
        }
        let tags: Vec<Tag> = repository
            .tags
            .iter()
            .filter(|(_, entry)| entry.record.digest == *digest)
            .map(|(tag, _)| tag.clone())
            .collect();
        for tag in &tags {
            policy.fixed(tag)?;
        }
        repository.manifests.remove(digest);
        let mut batch = Batch::new().delete(&MANIFESTS, key(name.as_str(), digest));
        for tag in &tags {
            repository.tags.remove(tag);
            batch = batch.delete(&TAGS, key(name.as_str(), tag));
        }
        let orphans = contents.release(name.project(), digest).then(|| digest.clone()).into_iter().collect();
        Ok(Removed { pending: self.store.commit(batch), orphans, links: 0 })
    }

    /// Stops a repository from giving a blob. One that a manifest of the repository names stays.
    pub(crate) fn unlink(&self, name: &Name, digest: &Digest) -> Result<Removed, Error> {
        let mut contents = self.write();
        let repository = known(&mut contents, name)?;
        if !repository.links.contains_key(digest) {
            return Err(Error::BlobUnknown { digest: digest.clone() });
        }
        if repository.manifests.values().any(|manifest| manifest.record.blobs.contains(digest)) {
            return Err(Error::Denied { reason: format!("a manifest of {name} refers to {digest}") });
        }
        repository.links.remove(digest);
        let pending = self.store.commit(Batch::new().delete(&LINKS, key(name.as_str(), digest)));
        let orphans = contents.release(name.project(), digest).then(|| digest.clone()).into_iter().collect();
        Ok(Removed { pending, orphans, links: 1 })
    }

    /// Removes what the filter picks of one repository's unreferenced links, all in one commit.
    pub(crate) fn unlink_unused(&self, name: &Name, old: impl Fn(&Link) -> bool) -> Option<Removed> {
        let mut contents = self.write();
        let repository = contents.repositories.get_mut(name)?;
        let gone = repository.unused(old);
        if gone.is_empty() {
            return None;
        }
        let mut batch = Batch::new();
        for digest in &gone {
            repository.links.remove(digest);
            batch = batch.delete(&LINKS, key(name.as_str(), digest));
        }
        let links = gone.len();
        let orphans = gone.into_iter().filter(|digest| contents.release(name.project(), digest)).collect();
        Some(Removed { pending: self.store.commit(batch), orphans, links })
    }

    /// Removes a repository and everything in it.
    pub(crate) fn remove_repository(&self, name: &Name, policy: &Policy) -> Result<Removed, Error> {
        let mut contents = self.write();
        for tag in known(&mut contents, name)?.tags.keys() {
            policy.fixed(tag)?;
        }
        let repository = contents.repositories.remove(name).expect("just seen");
        let mut batch = Batch::new().delete(&REPOSITORIES, name.as_str());
        let mut orphans = Vec::new();
        for tag in repository.tags.keys() {
            batch = batch.delete(&TAGS, key(name.as_str(), tag));
        }
        for digest in repository.manifests.keys() {
            batch = batch.delete(&MANIFESTS, key(name.as_str(), digest));
        }
        for digest in repository.links.keys() {
            batch = batch.delete(&LINKS, key(name.as_str(), digest));
        }
        for digest in repository.manifests.keys().chain(repository.links.keys()) {
            if contents.release(name.project(), digest) {
                orphans.push(digest.clone());
            }
        }
        Ok(Removed { pending: self.store.commit(batch), orphans, links: repository.links.len() })
    }
}

impl Repository {
    /// The index that names a manifest.
    fn holder(&self, digest: &Digest) -> Option<&Digest> {
        self.manifests
            .iter()
            .find(|(_, manifest)| manifest.record.manifests.contains(digest))
            .map(|(holder, _)| holder)
    }

    /// Links that no manifest names.
    pub(crate) fn unused(&self, old: impl Fn(&Link) -> bool) -> Vec<Digest> {
        let candidates = self.links.iter().filter(|(_, link)| old(link)).map(|(digest, _)| digest);
        let mut candidates: std::collections::HashSet<&Digest> = candidates.collect();
        if !candidates.is_empty() {
            for digest in self.manifests.values().flat_map(|manifest| &manifest.record.blobs) {
                candidates.remove(digest);
            }
        }
        candidates.into_iter().cloned().collect()
    }
}

fn known<'a>(contents: &'a mut Contents, name: &Name) -> Result<&'a mut Repository, Error> {
    contents.repositories.get_mut(name).ok_or_else(|| Error::NameUnknown { name: name.clone() })
}

fn record(new: &NewManifest<'_>) -> ManifestRecord {
    let described = &new.described;
    let referrer = described.subject.is_some();
    ManifestRecord {
        media_type: described.media_type,
        size: new.size,
        content_size: described.content_size,
        blobs: described.blobs.clone(),
        manifests: described.manifests.clone(),
        subject: described.subject.clone(),
        artifact_type: described.artifact_type.clone().filter(|_| referrer),
        annotations: if referrer { described.annotations.clone() } else { Default::default() },
        pushed: clock::now(),
    }
}

/// Whether a repository has all that a manifest refers to.
fn complete(repository: Option<&Repository>, described: &Described) -> Result<(), Error> {
    let missing_blobs =
        described.blobs.iter().filter(|digest| !repository.is_some_and(|r| r.links.contains_key(digest)));
    let missing_manifests = described
        .manifests
        .iter()
        .filter(|digest| !repository.is_some_and(|r| r.manifests.contains_key(digest)));
    let digests: Vec<Digest> = missing_blobs.chain(missing_manifests).cloned().collect();
    if digests.is_empty() { Ok(()) } else { Err(Error::ManifestBlobUnknown { digests }) }
}
