//! Questions to the catalog.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
};

use super::{Catalog, Contents, Manifest, Repository};
use crate::{
    Error,
    digest::Digest,
    manifest::MediaType,
    name::{Name, Reference, Tag},
};

/// A manifest that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) digest: Digest,
    pub(crate) media_type: MediaType,
    pub(crate) size: u64,
}

/// A manifest that refers to another.
#[derive(Clone, Debug)]
pub(crate) struct Referrer {
    pub(crate) found: Found,
    pub(crate) artifact_type: Option<String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A repository in a list.
#[derive(Clone, Debug)]
pub(crate) struct RepositorySummary {
    pub(crate) name: Name,
    pub(crate) tags: usize,
    pub(crate) manifests: usize,
    pub(crate) size: u64,
    /// When something was last pushed.
    pub(crate) changed: u64,
}

/// A tag in a list.
#[derive(Clone, Debug)]
pub(crate) struct TagSummary {
    pub(crate) tag: Tag,
    pub(crate) digest: Digest,
    pub(crate) media_type: MediaType,
    pub(crate) size: u64,
    pub(crate) pushed: u64,
    pub(crate) by: String,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) repositories: usize,
    pub(crate) tags: usize,
    pub(crate) manifests: usize,
    /// Files, of manifests too.
    pub(crate) blobs: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl Contents {
    /// The repositories of a project.
    pub(crate) fn of_project<'a>(
        &'a self,
        project: &'a str,
    ) -> impl Iterator<Item = (&'a Name, &'a Repository)> {
        // Those of `library` may have one component, so they lie anywhere.
        let from = if project == "library" { "" } else { project };
        self.repositories
            .range::<str, _>((Bound::Included(from), Bound::Unbounded))
            .take_while(move |(name, _)| project == "library" || name.as_str().starts_with(project))
            .filter(move |(name, _)| name.project() == project)
    }
}

impl Repository {
    /// Bytes of configurations and layers. An index is as large as what it names.
    fn size_of(&self, manifest: &Manifest) -> u64 {
        let inner = manifest.record.manifests.iter().filter_map(|digest| self.manifests.get(digest));
        manifest.record.content_size + inner.map(|inner| inner.record.content_size).sum::<u64>()
    }
}

impl Catalog {
    /// A manifest by tag or digest.
    pub(crate) fn manifest(&self, name: &Name, reference: &Reference) -> Result<Found, Error> {
        let contents = self.read();
        let repository =
            contents.repositories.get(name).ok_or_else(|| Error::NameUnknown { name: name.clone() })?;
        let unknown = || Error::ManifestUnknown { name: name.clone(), reference: reference.to_string() };
        let digest = match reference {
            Reference::Digest(digest) => digest,
            Reference::Tag(tag) => {
                let entry = repository.tags.get(tag).ok_or_else(unknown)?;
                entry.pulled.touch();
                &entry.record.digest
            }
        };
        let manifest = repository.manifests.get(digest).ok_or_else(unknown)?;
        manifest.touched.touch();
        Ok(Found {
            digest: digest.clone(),
            media_type: manifest.record.media_type,
            size: manifest.record.size,
        })
    }

    /// The size of a blob that the repository may give. Whoever asks may rely on it for a while.
    pub(crate) fn blob(&self, name: &Name, digest: &Digest) -> Result<u64, Error> {
        let contents = self.read();
        let link = contents.repositories.get(name).and_then(|repository| repository.links.get(digest));
        let link = link.ok_or_else(|| Error::BlobUnknown { digest: digest.clone() })?;
        link.touched.touch();
        Ok(link.size)
    }

    /// Up to `n` tags after `last`, in order, and whether there are more.
    pub(crate) fn tags(&self, name: &Name, last: &str, n: usize) -> Result<(Vec<Tag>, bool), Error> {
        let contents = self.read();
        let repository =
            contents.repositories.get(name).ok_or_else(|| Error::NameUnknown { name: name.clone() })?;
        let mut after = repository.tags.range::<str, _>((Bound::Excluded(last), Bound::Unbounded));
        let tags = after.by_ref().take(n).map(|(tag, _)| tag.clone()).collect();
        Ok((tags, after.next().is_some()))
    }

    /// Up to `n` repositories after `last` that `visible` lets pass, in order, and whether there are more.
    pub(crate) fn repositories(
        &self,
        last: &str,
        n: usize,
        mut visible: impl FnMut(&Name) -> bool,
    ) -> (Vec<Name>, bool) {
        let contents = self.read();
        let after = contents.repositories.range::<str, _>((Bound::Excluded(last), Bound::Unbounded));
        let mut after = after.map(|(name, _)| name).filter(|name| visible(name));
        let names = after.by_ref().take(n).cloned().collect();
        (names, after.next().is_some())
    }

    /// The manifests that refer to a digest, oldest first. A repository that does not exist has none.
    pub(crate) fn referrers(&self, name: &Name, subject: &Digest) -> Vec<Referrer> {
        let contents = self.read();
        let Some(repository) = contents.repositories.get(name) else { return Vec::new() };
        let mut all: Vec<_> =
            repository.manifests.iter().filter(|(_, m)| m.record.subject.as_ref() == Some(subject)).collect();
        all.sort_by_key(|(digest, manifest)| (manifest.record.pushed, *digest));
        let referrer = |(digest, manifest): (&Digest, &Manifest)| Referrer {
            found: Found {
                digest: digest.clone(),
                media_type: manifest.record.media_type,
                size: manifest.record.size,
            },
            artifact_type: manifest.record.artifact_type.clone(),
            annotations: manifest.record.annotations.clone(),
        };
        all.into_iter().map(referrer).collect()
    }

    /// Of the repositories that `visible` lets pass, those in this range; and how many pass.
    pub(crate) fn summaries(
        &self,
        mut visible: impl FnMut(&Name) -> bool,
        range: Range<usize>,
    ) -> (Vec<RepositorySummary>, usize) {
        let contents = self.read();
        let all: Vec<_> = contents.repositories.iter().filter(|(name, _)| visible(name)).collect();
        let passing = all.len();
        let summaries = all
            .into_iter()
            .skip(range.start)
            .take(range.len())
            .map(|(name, repository)| RepositorySummary {
                name: name.clone(),
                tags: repository.tags.len(),
                manifests: repository.manifests.len(),
                size: repository.links.values().map(|link| link.size).sum(),
                changed: repository.tags.values().map(|entry| entry.record.pushed).max().unwrap_or_default(),
            })
            .collect();
        (summaries, passing)
    }

    /// The tags of a repository with what they point to.
    pub(crate) fn tag_summaries(&self, name: &Name) -> Result<Vec<TagSummary>, Error> {
        let contents = self.read();
        let repository =
            contents.repositories.get(name).ok_or_else(|| Error::NameUnknown { name: name.clone() })?;
        let summary = |(tag, entry): (&Tag, &super::TagEntry)| {
            let manifest = repository.manifests.get(&entry.record.digest)?;
            Some(TagSummary {
                tag: tag.clone(),
                digest: entry.record.digest.clone(),
                media_type: manifest.record.media_type,
                size: repository.size_of(manifest),
                pushed: entry.record.pushed,
                by: entry.record.by.clone(),
            })
        };
        Ok(repository.tags.iter().filter_map(summary).collect())
    }

    /// The tags that point to a manifest.
    pub(crate) fn tags_of(&self, name: &Name, digest: &Digest) -> Vec<Tag> {
        let contents = self.read();
        let tags = contents.repositories.get(name).into_iter().flat_map(|repository| &repository.tags);
        tags.filter(|(_, entry)| entry.record.digest == *digest).map(|(tag, _)| tag.clone()).collect()
    }

    /// When a manifest was pushed, and its size with all that it names; `None` for one that is not here.
    pub(crate) fn extent(&self, name: &Name, digest: &Digest) -> Option<(u64, u64)> {
        let contents = self.read();
        let repository = contents.repositories.get(name)?;
        let manifest = repository.manifests.get(digest)?;
        Some((manifest.record.pushed, repository.size_of(manifest)))
    }

    /// How much there is.
    pub(crate) fn figures(&self) -> Figures {
        let contents = self.read();
        let all = contents.repositories.values();
        let (tags, manifests) =
            all.fold((0, 0), |(tags, manifests), r| (tags + r.tags.len(), manifests + r.manifests.len()));
        Figures {
            repositories: contents.repositories.len(),
            tags,
            manifests,
            blobs: contents.blobs.len(),
            bytes: contents.blobs.values().map(|blob| blob.size).sum(),
        }
    }
}
