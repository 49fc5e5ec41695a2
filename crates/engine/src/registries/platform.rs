//! Which image of an index is for whom (containerd/platforms: `Only`).

use skiff_distribution::Descriptor;
use skiff_images::Platform;

/// The entry of an index that suits a platform best.
pub(super) fn choose<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let fits = manifests
        .iter()
        .enumerate()
        .filter_map(|(number, m)| Some((rank(m.platform.as_ref()?, wanted)?, number, m)));
    fits.min_by_key(|(rank, number, _)| (*rank, *number)).map(|(_, _, m)| m)
}

/// How well an entry suits, the smallest best; none if it does not run there.
fn rank(entry: &skiff_distribution::Platform, wanted: &Platform) -> Option<u32> {
    // No feature that an entry may ask for is known of Linux.
    if entry.os != wanted.os || !entry.os_features.is_empty() {
        return None;
    }
    let entry_architecture = normal(&entry.architecture);
    let have = variant(entry_architecture, &entry.variant)?;
    let want = variant(&wanted.architecture, &wanted.variant)?;
    match (entry_architecture, wanted.architecture.as_str()) {
        (a, b) if a == b && have <= want => Some(want - have),
        // These processors run the others' programs too.
        ("386", "amd64") => Some(100),
        ("arm", "arm64") => Some(100 + 80 - have.min(80)),
        _ => None,
    }
}

fn normal(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Ten times the number of a variant; none for a variant that is not known.
fn variant(architecture: &str, variant: &str) -> Option<u32> {
    let default = match architecture {
        "amd64" => "v1",
        "arm64" => "v8",
        "arm" => "v7",
        _ => "v0",
    };
    let variant = if variant.is_empty() { default } else { variant };
    let number = variant.trim_start_matches('v');
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    let whole = major.parse::<u32>().ok()?.checked_mul(10)?.checked_add(minor.parse().ok()?)?;
    // What is below the oldest that exists is no variant of it.
    (architecture != "arm64" || whole >= 80).then_some(whole)
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
        let mut entries = index(&["linux/amd64", "linux/amd64"]);
        if let Some(platform) = &mut entries[0].platform {
            platform.os_features.push("what nobody has".to_owned());
        }
        assert_eq!(choose(&entries, &"linux/amd64".parse().unwrap()), Some(&entries[1]));
    }
}
