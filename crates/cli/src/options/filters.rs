//! `--filter`.

use std::collections::BTreeMap;

/// `name=value` pairs as the API's JSON; `None` if there are none.
pub(crate) fn to_json(pairs: &[String]) -> Option<String> {
    let mut filters: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    for pair in pairs {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        filters.entry(name).or_default().insert(value, true);
    }
    if filters.is_empty() { None } else { serde_json::to_string(&filters).ok() }
}

#[cfg(test)]
mod tests {
    use super::to_json;

    #[test]
    fn filters_are_sets_by_name() {
        let pairs = ["label=a=1", "label=b", "status=running"].map(str::to_owned);
        assert_eq!(
            to_json(&pairs).as_deref(),
            Some(r#"{"label":{"a=1":true,"b":true},"status":{"running":true}}"#)
        );
        assert_eq!(to_json(&[]), None);
    }
}
