//! The bucket, from the settings that docker's registry has for its driver `s3`.

use std::collections::BTreeMap;

use super::{Values, keys::boolean};
use crate::content::{BucketSettings, Encryption, Keys};

/// What all of its settings begin with.
const S3: &str = "storage.s3.";
/// Bytes of a part, if nothing says it.
const PART: u64 = 10 << 20;

/// The bucket that the settings name, if the content is to be in one.
pub(super) fn bucket(
    values: &Values,
    environment: &BTreeMap<String, String>,
) -> Result<Option<BucketSettings>, String> {
    let text = |name: &str| values.get(format!("{S3}{name}").as_str()).cloned();
    let flag = |name: &str, otherwise| text(name).and_then(|value| boolean(&value)).unwrap_or(otherwise);
    let some = values.keys().find(|name| name.starts_with(S3));
    match (values.get("storage").map(String::as_str), some) {
        (Some("filesystem"), Some(name)) => {
            return Err(format!("storage is filesystem, but {name} is given"));
        }
        (Some("s3"), _) | (None, Some(_)) => {}
        _ => return Ok(None),
    }
    if !flag("v4auth", true) {
        return Err(format!("{S3}v4auth: only signatures of version 4 are supported"));
    }
    let name = text("bucket").ok_or_else(|| format!("{S3}bucket is missing"))?;
    let region = text("region").or_else(|| environment.get("AWS_REGION").cloned());
    let region = region.unwrap_or_else(|| "us-east-1".to_owned());
    let scheme = if flag("secure", true) { "https" } else { "http" };
    let own = text("regionendpoint");
    let endpoint = match &own {
        Some(endpoint) if endpoint.contains("://") => endpoint.clone(),
        Some(endpoint) => format!("{scheme}://{endpoint}"),
        None => format!("{scheme}://s3.{region}.amazonaws.com"),
    };
    let encryption = match (flag("encrypt", false), text("keyid")) {
        (false, None) => Encryption::Bucket,
        (true, None) => Encryption::Own,
        (true, Some(key)) => Encryption::Key(key),
        (false, Some(_)) => return Err(format!("{S3}keyid is given, but {S3}encrypt is not true")),
    };
    let prefix = text("rootdirectory").unwrap_or_default();
    let prefix = prefix.trim_matches('/');
    if prefix.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(format!("{S3}rootdirectory: {prefix:?} is not a prefix"));
    }
    Ok(Some(BucketSettings {
        // A name with dots is no host that a certificate names.
        path_style: flag("forcepathstyle", own.is_some() || name.contains('.')),
        bucket: name,
        region,
        endpoint,
        prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
        keys: keys(text("accesskey"), text("secretkey"), text("sessiontoken"), environment)?,
        skip_verify: flag("skipverify", false),
        part: text("chunksize").and_then(|bytes| bytes.parse().ok()).unwrap_or(PART),
        encryption,
        storage_class: text("storageclass"),
        acl: text("objectacl"),
        redirect: !values.get("storage.redirect.disable").and_then(|value| boolean(value)).unwrap_or(false),
    }))
}

/// The settings' keys, or those that Amazon's tools find in the environment.
fn keys(
    id: Option<String>,
    secret: Option<String>,
    token: Option<String>,
    environment: &BTreeMap<String, String>,
) -> Result<Keys, String> {
    let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Keys { id, secret, token }),
        (None, None) => match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => Ok(Keys { id, secret, token: variable("AWS_SESSION_TOKEN") }),
            _ => Err(format!(
                "{S3}accesskey and {S3}secretkey are missing, and so are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; \
                 roles of machines are not supported"
            )),
        },
        _ => Err(format!("{S3}accesskey and {S3}secretkey are needed together")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        pairs: &[(&'static str, &str)],
        environment: &[(&str, &str)],
    ) -> Result<Option<BucketSettings>, String> {
        let values = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        bucket(&values, &environment.iter().map(own).collect())
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    #[test]
    fn a_bucket_of_amazon_needs_no_more_than_its_name() {
        let found = read(&[("storage.s3.bucket", "images")], &KEYS).unwrap().unwrap();
        assert_eq!(found.endpoint, "https://s3.us-east-1.amazonaws.com");
        assert_eq!((found.path_style, found.redirect, found.part), (false, true, 10 << 20));
        assert_eq!((found.prefix.as_str(), found.keys.id.as_str()), ("", "id"));
        assert!(read(&[("storage.s3.bucket", "a.b")], &KEYS).unwrap().unwrap().path_style);
    }

    #[test]
    fn another_store_has_an_address() {
        let all = [
            ("storage", "s3"),
            ("storage.s3.bucket", "images"),
            ("storage.s3.regionendpoint", "minio:9000"),
            ("storage.s3.secure", "false"),
            ("storage.s3.rootdirectory", "/a/b/"),
            ("storage.s3.accesskey", "k"),
            ("storage.s3.secretkey", "s"),
            ("storage.redirect.disable", "true"),
            ("storage.s3.encrypt", "true"),
        ];
        let found = read(&all, &KEYS).unwrap().unwrap();
        assert_eq!((found.endpoint.as_str(), found.prefix.as_str()), ("http://minio:9000", "a/b/"));
        assert_eq!((found.path_style, found.redirect, found.keys.id.as_str()), (true, false, "k"));
        assert_eq!(found.encryption, Encryption::Own);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        assert_eq!(read(&[], &KEYS).unwrap().map(|found| found.bucket), None);
        assert_eq!(read(&[("storage", "filesystem")], &KEYS).unwrap().map(|found| found.bucket), None);
        for (pairs, message) in [
            (&[("storage", "s3")][..], "storage.s3.bucket is missing"),
            (
                &[("storage.s3.bucket", "b"), ("storage", "filesystem")],
                "storage is filesystem, but storage.s3.bucket",
            ),
            (&[("storage.s3.bucket", "b"), ("storage.s3.accesskey", "x")], "storage.s3.accesskey and"),
            (&[("storage.s3.bucket", "b"), ("storage.s3.keyid", "x")], "storage.s3.keyid is given"),
            (&[("storage.s3.bucket", "b"), ("storage.s3.v4auth", "false")], "storage.s3.v4auth: only"),
            (
                &[("storage.s3.bucket", "b"), ("storage.s3.rootdirectory", "a/../b")],
                "storage.s3.rootdirectory",
            ),
        ] {
            let error = read(pairs, &KEYS).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
        let error = read(&[("storage.s3.bucket", "b")], &[]).unwrap_err();
        assert!(error.contains("AWS_ACCESS_KEY_ID"), "{error}");
    }
}
