//! Retention: which tags and untagged manifests of a project go by themselves.
//!
//! [`plan`] decides, from times alone; the service removes what it names, one after the other, before each collection.
//! Immutable tags stay whatever a rule says.

use std::sync::Arc;

use super::Registry;
use crate::{
    Error,
    accounts::records::Retention,
    auth::Caller,
    catalog::{Pattern, Repository},
    clock,
    digest::Digest,
    name::{Name, Reference, Tag},
};

const DAY: u64 = 86_400;

/// What is to go of one repository.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    tags: Vec<Tag>,
    manifests: Vec<Digest>,
}

/// A tag stays if a pattern keeps it, if it is among the newest, or if it is young; without a number and an age, all
/// stay. A manifest without a tag goes when it is old, no index names it and what it refers to is not there.
fn plan(rule: &Retention, repository: &Repository, now: u64) -> Plan {
    let mut plan = Plan::default();
    if rule.keep_last.is_some() || rule.keep_days.is_some() {
        let mut tags: Vec<_> = repository.tags.iter().collect();
        tags.sort_by_key(|(tag, entry)| (std::cmp::Reverse((entry.record.pushed, entry.record.nanos)), *tag));
        let keep: Vec<Pattern> = rule.keep.iter().cloned().map(Pattern).collect();
        for (place, (tag, entry)) in tags.into_iter().enumerate() {
            let new = rule.keep_last.is_some_and(|n| place < n.get() as usize);
            let young = rule
                .keep_days
                .is_some_and(|days| now.saturating_sub(entry.record.pushed) < u64::from(days.get()) * DAY);
            if !new && !young && !keep.iter().any(|pattern| pattern.matches(tag.as_str())) {
                plan.tags.push(tag.clone());
            }
        }
    }
    if let Some(days) = rule.untagged_days {
        let tagged = |digest: &Digest| repository.tags.values().any(|entry| entry.record.digest == *digest);
        let named =
            |digest: &Digest| repository.manifests.values().any(|m| m.record.manifests.contains(digest));
        for (digest, manifest) in &repository.manifests {
            let old = now.saturating_sub(manifest.record.pushed.max(manifest.touched.get()))
                >= u64::from(days.get()) * DAY;
            let attached = manifest
                .record
                .subject
                .as_ref()
                .is_some_and(|subject| repository.manifests.contains_key(subject));
            if old && !attached && !tagged(digest) && !named(digest) {
                plan.manifests.push(digest.clone());
            }
        }
        plan.manifests.sort();
    }
    plan
}

impl Registry {
    /// Removes what the rules of the projects say. Answers how many tags and manifests went.
    pub(super) async fn retain(self: &Arc<Self>) -> Result<usize, Error> {
        let rules: Vec<(String, Retention)> = {
            let state = self.accounts.read();
            let with_rule =
                state.projects.iter().filter(|(_, project)| project.retention != Retention::default());
            with_rule.map(|(name, project)| (name.clone(), project.retention.clone())).collect()
        };
        let mut gone = 0;
        for (project, rule) in rules {
            let plans: Vec<(Name, Plan)> = {
                let contents = self.catalog.read();
                let now = clock::now();
                contents.of_project(&project).map(|(name, r)| (name.clone(), plan(&rule, r, now))).collect()
            };
            for (name, plan) in plans {
                gone += self.remove_planned(&name, plan).await?;
            }
        }
        Ok(gone)
    }

    async fn remove_planned(self: &Arc<Self>, name: &Name, plan: Plan) -> Result<usize, Error> {
        let policy = self.accounts.policy(name.project());
        let caller = Caller::retention();
        let mut gone = 0;
        for tag in plan.tags {
            // It may have gone, or been fixed, in the meantime.
            if let Ok(removed) = self.catalog.remove_tag(name, &tag, &policy) {
                self.note(&caller, "remove", format_args!("{name}:{tag}"));
                self.tell_removed(&caller, name, Some(&Reference::Tag(tag)));
                self.removed(removed).await?;
                gone += 1;
            }
        }
        for digest in plan.manifests {
            let untagged =
                |repository: &Repository| !repository.tags.values().any(|e| e.record.digest == digest);
            let still = self.catalog.read().repositories.get(name).is_some_and(untagged);
            if still && let Ok(removed) = self.catalog.remove_manifest(name, &digest, &policy) {
                self.note(&caller, "remove", format_args!("{name}@{digest}"));
                self.tell_removed(&caller, name, Some(&Reference::Digest(digest)));
                self.removed(removed).await?;
                gone += 1;
            }
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        catalog::{Manifest, ManifestRecord, Moment, TagEntry, TagRecord},
        digest::Algorithm,
        manifest::MediaType,
    };

    fn digest(text: &str) -> Digest {
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }

    /// A repository with a tag for each age in days, and an untagged manifest as old as the oldest.
    fn repository(tags: &[(&str, u64)], now: u64) -> Repository {
        let mut repository = Repository::default();
        let mut add = |text: &str, age: u64| {
            let record = ManifestRecord {
                media_type: MediaType::OciManifest,
                size: 1,
                content_size: 1,
                blobs: Vec::new(),
                manifests: Vec::new(),
                subject: None,
                artifact_type: None,
                annotations: Default::default(),
                pushed: now - age * DAY,
            };
            repository.manifests.insert(digest(text), Manifest { record, touched: Moment::at(0) });
        };
        for (tag, age) in tags {
            add(tag, *age);
        }
        add("untagged", 100);
        for (tag, age) in tags {
            let record =
                TagRecord { digest: digest(tag), pushed: now - age * DAY, nanos: 0, by: String::new() };
            repository.tags.insert(tag.parse().unwrap(), TagEntry { record, pulled: Moment::default() });
        }
        repository
    }

    fn gone(rule: &Retention) -> Vec<String> {
        let now = 1000 * DAY;
        let all = repository(&[("v1", 40), ("v2", 30), ("v3", 20), ("dev", 50), ("stable", 60)], now);
        plan(rule, &all, now).tags.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tags_stay_while_anything_keeps_them() {
        let rule = |keep_last: Option<u32>, keep_days: Option<u32>, keep: &[&str]| Retention {
            keep_last: keep_last.and_then(NonZeroU32::new),
            keep_days: keep_days.and_then(NonZeroU32::new),
            keep: keep.iter().map(|p| (*p).to_owned()).collect(),
            untagged_days: None,
        };
        assert!(gone(&Retention::default()).is_empty());
        assert!(gone(&rule(None, None, &["x"])).is_empty());
        assert_eq!(gone(&rule(Some(2), None, &[])), ["v1", "dev", "stable"]);
        assert_eq!(gone(&rule(Some(2), None, &["st*"])), ["v1", "dev"]);
        assert_eq!(gone(&rule(Some(1), Some(45), &[])), ["dev", "stable"]);
        assert_eq!(gone(&rule(Some(1), None, &["*"])), [] as [&str; 0]);
    }

    #[test]
    fn zeros_are_no_rule() {
        let none = r#"{ "keep_last": 0, "keep_days": 0, "untagged_days": 0 }"#;
        assert_eq!(serde_json::from_str::<Retention>(none).unwrap(), Retention::default());
        let some: Retention = serde_json::from_str(r#"{ "keep_last": 2, "keep_days": null }"#).unwrap();
        assert_eq!((some.keep_last, some.keep_days), (NonZeroU32::new(2), None));
    }

    #[test]
    fn the_newest_is_the_last_one_pushed_also_within_a_second() {
        let now = 1000 * DAY;
        let mut all = repository(&[("a", 1), ("b", 1), ("c", 1)], now);
        for (tag, nanos) in [("a", 1), ("b", 3), ("c", 2)] {
            all.tags.get_mut(tag).unwrap().record.nanos = nanos;
        }
        let rule = Retention { keep_last: NonZeroU32::new(1), ..Retention::default() };
        let gone: Vec<_> = plan(&rule, &all, now).tags.iter().map(ToString::to_string).collect();
        assert_eq!(gone, ["c", "a"]);
    }

    #[test]
    fn untagged_manifests_go_when_they_are_old_and_nothing_needs_them() {
        let now = 1000 * DAY;
        let rule = Retention { untagged_days: NonZeroU32::new(7), ..Retention::default() };
        let mut all = repository(&[("v1", 40)], now);
        assert_eq!(plan(&rule, &all, now).manifests, [digest("untagged")]);
        all.manifests.get(&digest("untagged")).unwrap().touched.touch();
        assert_eq!(plan(&rule, &all, clock::now()).manifests.len(), 0);
        all = repository(&[("v1", 40)], now);
        all.manifests.get_mut(&digest("untagged")).unwrap().record.subject = Some(digest("v1"));
        assert!(plan(&rule, &all, now).manifests.is_empty());
        all = repository(&[("v1", 40)], now);
        all.manifests.get_mut(&digest("v1")).unwrap().record.manifests.push(digest("untagged"));
        assert!(plan(&rule, &all, now).manifests.is_empty());
    }
}
