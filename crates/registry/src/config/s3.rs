//! The bucket, from the settings that docker's registry has for its driver `s3`.

use std::{collections::BTreeMap, time::Duration};

use skiff_aws::Keys;

use super::{
    Values,
    keys::{boolean, duration},
};
use crate::content::{BucketSettings, Encryption};

/// What all of its settings begin with.
const S3: &str = "storage.s3.";
/// Bytes of a part, if nothing says it.
const PART: u64 = 10 << 20;
/// How long a store may be silent, if nothing says it.
const TIMEOUT: Duration = Duration::from_secs(15);

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
    let timeout = text("timeout").and_then(|text| duration(&text)).unwrap_or(TIMEOUT);
    if timeout.is_zero() {
        return Err(format!("{S3}timeout: it must be longer than nothing"));
    }
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
        keys: keys(text("accesskey"), text("secretkey"), text("sessiontoken"))?,
        skip_verify: flag("skipverify", false),
        timeout,
        part: text("chunksize").and_then(|bytes| bytes.parse().ok()).unwrap_or(PART),
        encryption,
        storage_class: text("storageclass"),
        acl: text("objectacl"),
        redirect: !values.get("storage.redirect.disable").and_then(|value| boolean(value)).unwrap_or(false),
    }))
}

/// The settings' keys, if they have any.
fn keys(id: Option<String>, secret: Option<String>, token: Option<String>) -> Result<Option<Keys>, String> {
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Some(Keys { id, secret, token })),
        (None, None) => Ok(None),
        _ => Err(format!("{S3}accesskey and {S3}secretkey are needed together")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<Option<BucketSettings>, String> {
        let values = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        bucket(&values, &BTreeMap::new())
    }

    #[test]
    fn a_bucket_of_amazon_needs_no_more_than_its_name() {
        let found = read(&[("storage.s3.bucket", "images")]).unwrap().unwrap();
        assert_eq!(found.endpoint, "https://s3.us-east-1.amazonaws.com");
        assert_eq!((found.path_style, found.redirect, found.part), (false, true, 10 << 20));
        // Whose keys there are is found out when they are needed.
        assert_eq!((found.prefix.as_str(), found.keys), ("", None));
        assert!(read(&[("storage.s3.bucket", "a.b")]).unwrap().unwrap().path_style);
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
        let found = read(&all).unwrap().unwrap();
        assert_eq!((found.endpoint.as_str(), found.prefix.as_str()), ("http://minio:9000", "a/b/"));
        assert_eq!((found.path_style, found.redirect), (true, false));
        assert_eq!(found.keys.unwrap().id, "k");
        assert_eq!(found.encryption, Encryption::Own);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        assert_eq!(read(&[]).unwrap().map(|found| found.bucket), None);
        assert_eq!(read(&[("storage", "filesystem")]).unwrap().map(|found| found.bucket), None);
        for (pairs, message) in [
            (&[("storage", "s3")][..], "storage.s3.bucket is missing"),
            (
                &[("storage.s3.bucket", "b"), ("storage", "filesystem")],
                "storage is filesystem, but storage.s3.bucket",
            ),
            (&[("storage.s3.bucket", "b"), ("storage.s3.accesskey", "x")], "storage.s3.accesskey and"),
            (&[("storage.s3.bucket", "b"), ("storage.s3.keyid", "x")], "storage.s3.keyid is given"),
            (&[("storage.s3.bucket", "b"), ("storage.s3.v4auth", "false")], "storage.s3.v4auth: only"),
            (&[("storage.s3.bucket", "b"), ("storage.s3.timeout", "0s")], "storage.s3.timeout: it must"),
            (
                &[("storage.s3.bucket", "b"), ("storage.s3.rootdirectory", "a/../b")],
                "storage.s3.rootdirectory",
            ),
        ] {
            let error = read(pairs).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
