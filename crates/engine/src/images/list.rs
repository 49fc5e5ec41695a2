//! The image list and its filters.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use skiff_images::{Image, ImageStore, Reference};
use skiff_types::ImageId;

use super::{ImageListOptions, convert, manifests};
use crate::{
    Error, Result,
    model::{Filters, ImageSummary, Timestamp},
    registry::Registry,
};

const FILTERS: &[&str] = &["dangling", "label", "label!", "before", "since", "reference", "until"];

pub(super) fn list(
    store: &ImageStore,
    registry: &Registry,
    options: &ImageListOptions,
) -> Result<Vec<ImageSummary>> {
    let filters = &options.filters;
    filters.accept(FILTERS)?;
    if filters.values("reference").any(|pattern| !is_pattern(pattern)) {
        return Err(Error::Internal("syntax error in pattern".to_owned()));
    }
    let dangling = filters.has("dangling").then(|| filters.boolean("dangling", false)).transpose()?;
    let moment = |key: &str| -> Result<Option<Timestamp>> {
        let Some(name) = filters.values(key).next() else { return Ok(None) };
        Ok(store.get(name)?.config.created)
    };
    let (before, since) = (moment("before")?, moment("since")?);
    let until = filters.values("until").next().map(until).transpose()?;
    let all = store.list()?;
    let parents: BTreeSet<ImageId> = all.iter().filter_map(|i| i.parent).collect();
    let layers = layer_uses(&all);
    let mut out = Vec::new();
    for image in &all {
        let created = image.config.created.unwrap_or(Timestamp::UNIX_EPOCH);
        let matching = |name: &&Reference| filters.any("reference", |pattern| reference(pattern, name));
        let tags: Vec<&Reference> = image.tags.iter().filter(matching).collect();
        let digests: Vec<&Reference> = image.digests.iter().filter(matching).collect();
        let named = !tags.is_empty() || !digests.is_empty();
        let chosen = (options.all || named || !parents.contains(&image.id))
            && match dangling {
                Some(true) => tags.is_empty() && !parents.contains(&image.id),
                Some(false) => named,
                None => true,
            }
            && (named || !filters.has("reference"))
            && before.is_none_or(|t| created < t)
            && since.is_none_or(|t| created > t)
            && until.is_none_or(|t| created < t)
            && labels(filters, image);
        if !chosen {
            continue;
        }
        let containers = match options.containers {
            true => registry.all().iter().filter(|c| c.record().image == image.id).count() as i64,
            false => -1,
        };
        let published = match options.manifests {
            // `inspect` says what is wrong with it.
            true => manifests::published(store, registry, image).unwrap_or_default(),
            false => None,
        };
        let shared = if options.shared_size { shared_size(store, image, &layers) } else { -1 };
        let names = |names: Vec<&Reference>| names.into_iter().map(Reference::familiar).collect();
        let summary = convert::summary(image, containers, shared, published);
        out.push(ImageSummary { repo_tags: names(tags), repo_digests: names(digests), ..summary });
    }
    out.sort_by_key(|image| Reverse(image.created));
    Ok(out)
}

fn labels(filters: &Filters, image: &Image) -> bool {
    let none = BTreeMap::new();
    let labels = image.config.config.as_ref().and_then(|c| c.labels.as_ref()).unwrap_or(&none);
    let unwanted = filters.values("label!").any(|l| match l.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
        None => labels.contains_key(l),
    });
    filters.labels("label", labels) && !unwanted
}

fn until(text: &str) -> Result<Timestamp> {
    crate::prune::moment(text)
        .ok_or_else(|| Error::Internal(format!("failed to parse value as time or duration: {text:?}")))
}

/// Whether a name, with or without tag or digest, matches a shell pattern, as Docker's `reference` filter.
fn reference(pattern: &str, name: &Reference) -> bool {
    glob(pattern, &name.familiar()) || glob(pattern, &name.familiar_name())
}

/// Whether every set of a pattern is closed and has its characters in order (Go's `path.ErrBadPattern`).
fn is_pattern(pattern: &str) -> bool {
    let mut rest = pattern;
    while let Some((_, set)) = rest.split_once('[') {
        let Some((set, after)) = set.split_once(']') else { return false };
        let set: Vec<char> = set.strip_prefix('^').unwrap_or(set).chars().collect();
        let backwards = set.windows(3).any(|range| range[1] == '-' && range[0] > range[2]);
        if set.is_empty() || backwards || set.last() == Some(&'-') {
            return false;
        }
        rest = after;
    }
    true
}

/// `*`, `?` and `[…]`, none of which matches a slash (Go's `path.Match`).
fn glob(pattern: &str, text: &str) -> bool {
    let mut p = pattern.chars();
    match p.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = p.as_str();
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.take_while(|at| !text[..*at].contains('/')).any(|at| glob(rest, &text[at..]))
        }
        Some('[') => {
            let Some((set, rest)) = p.as_str().split_once(']') else { return false };
            let mut t = text.chars();
            let Some(c) = t.next().filter(|c| *c != '/') else { return false };
            let (set, negated) = set.strip_prefix('^').map_or((set, false), |s| (s, true));
            in_set(set, c) != negated && glob(rest, t.as_str())
        }
        Some(want) => {
            let mut t = text.chars();
            let fits = t.next().is_some_and(|c| c == want || want == '?' && c != '/');
            fits && glob(p.as_str(), t.as_str())
        }
    }
}

fn in_set(set: &str, c: char) -> bool {
    let set: Vec<char> = set.chars().collect();
    let mut at = 0;
    while at < set.len() {
        if set.get(at + 1) == Some(&'-') && at + 2 < set.len() {
            if (set[at]..=set[at + 2]).contains(&c) {
                return true;
            }
            at += 3;
        } else {
            if set[at] == c {
                return true;
            }
            at += 1;
        }
    }
    false
}

/// How many images have each stack of layers, by the diff ids from the bottom.
fn layer_uses(images: &[Image]) -> BTreeMap<Vec<skiff_types::Digest>, usize> {
    let mut out = BTreeMap::new();
    for image in images {
        let layers = &image.config.rootfs.diff_ids;
        for depth in 1..=layers.len() {
            *out.entry(layers[..depth].to_vec()).or_default() += 1;
        }
    }
    out
}

fn shared_size(store: &ImageStore, image: &Image, uses: &BTreeMap<Vec<skiff_types::Digest>, usize>) -> i64 {
    let layers = &image.config.rootfs.diff_ids;
    let mut chain = image.chain;
    let mut size = 0;
    for depth in (1..=layers.len()).rev() {
        let Some(layer) = chain.and_then(|c| store.snapshotter().layer(&c).ok()) else { break };
        if uses.get(&layers[..depth]).is_some_and(|n| *n > 1) {
            size += layer.size as i64;
        }
        chain = layer.parent;
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_gos_do() {
        for (pattern, text) in [
            ("busy*", "busybox"),
            ("*box:*", "busybox:1"),
            ("b?sybox", "busybox"),
            ("[a-c]usybox", "busybox"),
            ("*/x", "a/x"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("*", "a/b"), ("busy", "busybox"), ("[^b]*", "busybox"), ("[b", "b"), ("?", "/")]
        {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn moments_are_times_or_durations() {
        assert_eq!(until("5").unwrap(), Timestamp::from_second(5).unwrap());
        assert!(until("10m").unwrap() < Timestamp::now());
        assert_eq!(until("x").unwrap_err().to_string(), r#"failed to parse value as time or duration: "x""#);
    }
}
