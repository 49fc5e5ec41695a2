//! Which bucket, and how it is used.

use std::time::Duration;

use rusty_s3::Map;
use skiff_aws::Keys;

/// A bucket of an S3 store, as the operator names it.
#[derive(Clone, Debug)]
pub struct BucketSettings {
    /// `https://s3.eu-central-1.amazonaws.com`.
    pub endpoint: String,
    /// The region that signatures are for.
    pub region: String,
    /// Its name.
    pub bucket: String,
    /// Whether the name stands in the path and not in the host.
    pub path_style: bool,
    /// What all names of objects begin with; ends with a slash unless it is empty.
    pub prefix: String,
    /// Who signs; whoever is found as Amazon's tools find them, if it is nobody.
    pub keys: Option<Keys>,
    /// Take any certificate.
    pub skip_verify: bool,
    /// How long the store may be silent. All waits for it are a few times this.
    pub timeout: Duration,
    /// Bytes of a part; larger blobs are sent in several. At least 5 MiB.
    pub part: u64,
    /// How the store encrypts what it keeps.
    pub encryption: Encryption,
    /// `STANDARD_IA` and the like, instead of the bucket's own.
    pub storage_class: Option<String>,
    /// `private` and the like, instead of the bucket's own.
    pub acl: Option<String>,
    /// Whether clients are sent to the store for blobs.
    pub redirect: bool,
}

/// Encryption by the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket is configured.
    #[default]
    Bucket,
    /// By its own key.
    Own,
    /// By this key of the key management service.
    Key(String),
}

impl BucketSettings {
    /// How a new object is to be kept, as headers.
    pub(super) fn describe(&self, headers: &mut Map<'_>) {
        let encryption = match &self.encryption {
            Encryption::Bucket => None,
            Encryption::Own => Some("AES256"),
            Encryption::Key(key) => {
                headers.insert("x-amz-server-side-encryption-aws-kms-key-id", key.clone());
                Some("aws:kms")
            }
        };
        if let Some(encryption) = encryption {
            headers.insert("x-amz-server-side-encryption", encryption);
        }
        if let Some(class) = &self.storage_class {
            headers.insert("x-amz-storage-class", class.clone());
        }
        if let Some(acl) = &self.acl {
            headers.insert("x-amz-acl", acl.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_kept_as_the_operator_says() {
        let mut settings = BucketSettings {
            endpoint: "http://127.0.0.1:9000".into(),
            region: "us-east-1".into(),
            bucket: "images".into(),
            path_style: true,
            prefix: String::new(),
            keys: Some(Keys { id: "id".into(), secret: "secret".into(), token: None }),
            skip_verify: false,
            timeout: Duration::from_secs(15),
            part: 10 << 20,
            encryption: Encryption::Bucket,
            storage_class: None,
            acl: None,
            redirect: true,
        };
        let told = |settings: &BucketSettings| {
            let mut headers = Map::new();
            settings.describe(&mut headers);
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(told(&settings), "");
        assert!(!format!("{settings:?}").contains("secret"));
        settings.encryption = Encryption::Own;
        settings.storage_class = Some("STANDARD_IA".into());
        settings.acl = Some("private".into());
        assert_eq!(
            told(&settings),
            "x-amz-acl: private; x-amz-server-side-encryption: AES256; x-amz-storage-class: STANDARD_IA"
        );
        settings.encryption = Encryption::Key("k".into());
        assert!(told(&settings).contains("x-amz-server-side-encryption-aws-kms-key-id: k"));
    }
}
