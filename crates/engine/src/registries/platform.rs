//! Which image of an index is for whom.

use skiff_distribution::Descriptor;
use skiff_images::Platform;

/// The entry of an index that suits a platform best; the first of several. One that does not say whom it is for may be for
/// anybody, and comes last.
pub(super) fn choose<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let suits = |entry: &'a Descriptor| Some((rank(entry.platform.as_ref(), wanted)?, entry));
    manifests.iter().filter_map(suits).min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry)
}

/// How well an entry suits, the smallest best; none if it does not run there.
fn rank(entry: Option<&skiff_distribution::Platform>, wanted: &Platform) -> Option<u32> {
    let Some(entry) = entry.filter(|entry| **entry != Default::default()) else { return Some(u32::MAX) };
    // No feature that an entry may ask for is known of Linux.
    if !entry.os_features.is_empty() {
        return None;
    }
    let skiff_distribution::Platform { os, architecture, variant, .. } = entry.clone();
    Platform { os, architecture, variant }.rank(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> Vec<Descriptor> {
        let entry = |text: &&str| {
            let mut parts = text.split('/').map(str::to_owned);
            let mut next = || parts.next().unwrap_or_default();
            let (os, architecture, variant) = (next(), next(), next());
            let digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
            let mut descriptor = Descriptor::new("", digest, 1);
            descriptor.platform =
                Some(skiff_distribution::Platform { os, architecture, variant, ..Default::default() });
            descriptor
        };
        platforms.iter().map(entry).collect()
    }

    #[test]
    fn the_best_that_runs_is_chosen() {
        let all = [
            "unknown/unknown",
            "linux/386",
            "linux/amd64",
            "linux/arm/v6",
            "linux/arm/v7",
            "linux/arm64/v8",
            "windows/amd64",
        ];
        for (wanted, chosen) in [
            ("linux/amd64", Some("linux/amd64")),
            ("linux/amd64/v3", Some("linux/amd64")),
            ("linux/arm64", Some("linux/arm64/v8")),
            ("linux/arm64/v8", Some("linux/arm64/v8")),
            ("linux/arm64/v7", None),
            ("linux/arm/v7", Some("linux/arm/v7")),
            ("linux/arm/v6", Some("linux/arm/v6")),
            ("linux/arm", Some("linux/arm/v7")),
            ("linux/arm/v5", None),
            ("linux/s390x", None),
            ("windows/amd64", Some("windows/amd64")),
        ] {
            let entries = index(&all);
            let found = choose(&entries, &wanted.parse().unwrap());
            let expected = chosen.map(|c| &entries[all.iter().position(|a| *a == c).unwrap()]);
            assert_eq!(found, expected, "{wanted}");
        }
        assert!(choose(&index(&["linux/386"]), &"linux/amd64".parse().unwrap()).is_some());
        assert!(choose(&index(&["linux/amd64/v3"]), &"linux/amd64".parse().unwrap()).is_none());
        let levels = index(&["linux/amd64", "linux/amd64/v2", "linux/amd64/v4", "linux/amd64/v3"]);
        assert_eq!(choose(&levels, &"linux/amd64/v4".parse().unwrap()), Some(&levels[2]));
        let mut entries = index(&["linux/amd64", "linux/amd64"]);
        if let Some(platform) = &mut entries[0].platform {
            platform.os_features.push("what nobody has".to_owned());
        }
        assert_eq!(choose(&entries, &"linux/amd64".parse().unwrap()), Some(&entries[1]));
    }
    #[test]
    fn what_is_for_anybody_comes_last() {
        let mut entries = index(&["/", "linux/amd64", "linux/arm64"]);
        entries[2].platform = None;
        for (wanted, at) in [("linux/amd64", 1), ("linux/s390x", 0)] {
            assert_eq!(choose(&entries, &wanted.parse().unwrap()), Some(&entries[at]), "{wanted}");
        }
        assert_eq!(choose(&entries[2..], &"linux/amd64".parse().unwrap()), Some(&entries[2]));
    }
}
