//! Where the keys come from, in the order of Amazon's own tools: the option, the daemon's environment, the file of its user, the
//! container it runs in, the machine it runs on. Those that expire are asked for again in time.
//!
//! Source: "Standardized credential providers" of the AWS SDKs and tools reference guide.

use std::{path::PathBuf, sync::Arc};

use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use tokio_rustls::rustls::ClientConfig;

use super::sign::Keys;
use crate::remote::{
    SendError,
    endpoint::{Endpoint, Environment},
};

/// Where the engine of a container service answers.
const CONTAINER_SERVICE: &str = "http://169.254.170.2";
/// Where a machine's metadata are.
const METADATA: &str = "http://169.254.169.254";

/// Finds keys.
pub(super) struct Credentials {
    /// The path that the option names.
    path: Option<String>,
    environment: Environment,
    trust: Arc<ClientConfig>,
    held: Option<(Keys, Option<Timestamp>)>,
}

/// What services answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Temporary {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<Timestamp>,
}

impl Credentials {
    pub(super) fn new(path: Option<String>, environment: Environment, trust: Arc<ClientConfig>) -> Self {
        Self { path, environment, trust, held: None }
    }

    /// Keys that are good for five minutes at least, if their service gives such.
    pub(super) async fn keys(&mut self) -> Result<Keys, SendError> {
        let soon = Timestamp::now() + 5.minutes();
        let old = self.held.take().filter(|(_, end)| end.is_none_or(|end| end > soon));
        let found = match old {
            Some(held) => held,
            None => self.find().await?,
        };
        Ok(self.held.insert(found).0.clone())
    }

    /// The service says that they are not good.
    pub(super) fn forget(&mut self) {
        self.held = None;
    }

    async fn find(&self) -> Result<(Keys, Option<Timestamp>), SendError> {
        if let Some(path) = &self.path {
            return self.temporary(CONTAINER_SERVICE, path, &[]).await;
        }
        let get = |name: &str| (self.environment)(name);
        if let (Some(id), Some(secret)) = (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
            return Ok((Keys { id, secret, token: get("AWS_SESSION_TOKEN") }, None));
        }
        if let Some(keys) = self.of_file().await {
            return Ok((keys, None));
        }
        if let Some(path) = get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            return self.temporary(CONTAINER_SERVICE, &path, &[]).await;
        }
        if let Some(url) = get("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            let token = match get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
                Some(file) => tokio::fs::read_to_string(file).await.ok().map(|text| text.trim().to_owned()),
                None => get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
            };
            let header = token.as_deref().map(|token| ("authorization", token));
            return self.temporary(&url, "", header.as_slice()).await;
        }
        self.of_machine().await
    }

    /// Those of the user's file.
    async fn of_file(&self) -> Option<Keys> {
        let get = |name: &str| (self.environment)(name);
        let file = match get("AWS_SHARED_CREDENTIALS_FILE") {
            Some(file) => PathBuf::from(file),
            None => PathBuf::from(get("HOME")?).join(".aws/credentials"),
        };
        let profile = get("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
        of_profile(&tokio::fs::read_to_string(file).await.ok()?, &profile)
    }

    async fn temporary(
        &self,
        base: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Keys, Option<Timestamp>), SendError> {
        let mut service = self.endpoint(base)?;
        let text = service.get(path, headers).await?;
        let found: Temporary = serde_json::from_str(&text).map_err(|e| service.protocol(e.to_string()))?;
        let keys = Keys { id: found.access_key_id, secret: found.secret_access_key, token: found.token };
        Ok((keys, found.expiration))
    }

    /// Those of the role of the machine.
    async fn of_machine(&self) -> Result<(Keys, Option<Timestamp>), SendError> {
        const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
        let mut metadata = Metadata::open(self).await?;
        let roles = metadata.get(ROLES).await?;
        let role = roles.lines().next().unwrap_or_default().trim();
        let header = [("x-aws-ec2-metadata-token", metadata.token.as_str())];
        self.temporary(&metadata.base, &format!("{ROLES}{role}"), &header).await
    }

    /// The region that the machine is in.
    pub(super) async fn region_of_machine(&self) -> Result<String, SendError> {
        Metadata::open(self).await?.get("/latest/meta-data/placement/region").await
    }

    fn endpoint(&self, url: &str) -> Result<Endpoint, SendError> {
        Endpoint::new(url, &self.trust)
            .map_err(|reason| SendError::Protocol { address: "credentials".to_owned(), reason })
    }
}

/// A machine's metadata, second version.
struct Metadata {
    base: String,
    service: Endpoint,
    token: String,
}

impl Metadata {
    async fn open(credentials: &Credentials) -> Result<Self, SendError> {
        let base = (credentials.environment)("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let base = base.unwrap_or_else(|| METADATA.to_owned());
        let mut service = credentials.endpoint(&base)?;
        let lifetime = [("x-aws-ec2-metadata-token-ttl-seconds", "300")];
        let answer = service.ask("PUT", "/latest/api/token", &lifetime, Vec::new()).await?;
        let token = service.text(answer)?.trim().to_owned();
        Ok(Self { base, service, token })
    }

    async fn get(&mut self, path: &str) -> Result<String, SendError> {
        let header = [("x-aws-ec2-metadata-token", self.token.as_str())];
        Ok(self.service.get(path, &header).await?.trim().to_owned())
    }
}

/// The keys of one section of a file of `name = value`.
fn of_profile(text: &str, profile: &str) -> Option<Keys> {
    let (mut inside, mut id, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = section.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside) {
            let value = Some(value.trim().to_owned());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Keys { id: id?, secret: secret?, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_keys_for_several_profiles() {
        let file = "[default]\naws_access_key_id = A\n# no\naws_secret_access_key=B\n\n[ work ]\n\
                    aws_access_key_id=C\naws_secret_access_key = D\naws_session_token = E\n[empty]\n";
        let keys = |profile| of_profile(file, profile).map(|k| (k.id, k.secret, k.token));
        assert_eq!(keys("default"), Some(("A".into(), "B".into(), None)));
        assert_eq!(keys("work"), Some(("C".into(), "D".into(), Some("E".into()))));
        assert_eq!(keys("empty"), None);
        assert_eq!(keys("other"), None);
    }
}
