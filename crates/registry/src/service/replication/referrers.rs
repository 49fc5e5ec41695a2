//! What goes with a tag: signatures, attestations, and whatever else refers to its manifest or to one below it.
//!
//! They come later than the tag, so what the other registry has of a tag is more than a digest: [`state`] is one digest of
//! all of it, and the manifest's own where nothing refers to it.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::{
    catalog::Repository,
    digest::{Algorithm, Digest},
};

/// Who refers to whom in a repository.
pub(super) struct Referrers<'a> {
    repository: &'a Repository,
    by_subject: HashMap<&'a Digest, Vec<&'a Digest>>,
}

impl<'a> Referrers<'a> {
    pub(super) fn new(repository: &'a Repository) -> Self {
        let mut by_subject: HashMap<_, Vec<_>> = HashMap::new();
        for (digest, manifest) in &repository.manifests {
            if let Some(subject) = &manifest.record.subject {
                by_subject.entry(subject).or_default().push(digest);
            }
        }
        Self { repository, by_subject }
    }

    /// The manifests that refer to this one, to one that it lists, or to any of these again. Subjects come before what
    /// refers to them.
    pub(super) fn of(&self, digest: &Digest) -> Vec<Digest> {
        let mut found = Vec::new();
        if self.by_subject.is_empty() {
            return found;
        }
        let mut seen = HashSet::from([digest]);
        let mut queue = VecDeque::from([digest]);
        while let Some(next) = queue.pop_front() {
            let listed = self.repository.manifests.get(next).map(|manifest| &manifest.record.manifests);
            queue.extend(listed.into_iter().flatten().filter(|digest| seen.insert(digest)));
            for referrer in self.by_subject.get(next).into_iter().flatten() {
                if seen.insert(referrer) {
                    found.push((*referrer).clone());
                    queue.push_back(referrer);
                }
            }
        }
        found
    }

    /// See the module.
    pub(super) fn state(&self, digest: &Digest) -> Digest {
        state(digest, self.of(digest))
    }
}

/// See the module.
pub(super) fn state(digest: &Digest, mut referrers: Vec<Digest>) -> Digest {
    if referrers.is_empty() {
        return digest.clone();
    }
    referrers.sort();
    let text = referrers.iter().fold(digest.to_string(), |text, referrer| format!("{text} {referrer}"));
    Digest::of(Algorithm::Sha256, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::{Manifest, ManifestRecord, Moment},
        manifest::MediaType,
    };

    fn digest(text: &str) -> Digest {
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }

    fn add(repository: &mut Repository, text: &str, lists: &[&str], subject: Option<&str>) {
        let record = ManifestRecord {
            media_type: MediaType::OciManifest,
            size: 1,
            content_size: 1,
            blobs: Vec::new(),
            manifests: lists.iter().copied().map(digest).collect(),
            subject: subject.map(digest),
            artifact_type: None,
            annotations: Default::default(),
            pushed: 0,
        };
        repository.manifests.insert(digest(text), Manifest { record, touched: Moment::at(0) });
    }

    #[test]
    fn what_refers_to_anything_of_a_tag_goes_with_it_and_changes_its_state() {
        let mut repository = Repository::default();
        add(&mut repository, "amd64", &[], None);
        add(&mut repository, "index", &["amd64"], None);
        add(&mut repository, "other", &[], None);
        let state = |repository: &Repository| Referrers::new(repository).state(&digest("index"));
        assert_eq!(state(&repository), digest("index"));
        let mut before = state(&repository);
        for (text, subject) in [
            ("signature of the index", "index"),
            ("sbom of the child", "amd64"),
            ("signature of the sbom", "sbom of the child"),
        ] {
            add(&mut repository, text, &[], Some(subject));
            assert!(Referrers::new(&repository).of(&digest("index")).contains(&digest(text)), "{text}");
            assert_ne!(state(&repository), before, "{text}");
            before = state(&repository);
        }
        add(&mut repository, "signature of another", &[], Some("other"));
        assert_eq!(state(&repository), before);
        assert_eq!(Referrers::new(&repository).of(&digest("index")).len(), 3);
        assert_eq!(Referrers::new(&repository).of(&digest("other")), [digest("signature of another")]);
    }
}
