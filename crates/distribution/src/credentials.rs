//! Who we are to a registry. Secrets cannot be printed.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};

/// A text that is nobody's business: its `Debug` does not show it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whom it is meant.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// There is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "(secret)" })
    }
}

/// What a registry is told about us. All empty for somebody who did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Name of the account.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// A refresh token, which the token server gave instead of keeping the password.
    pub identity_token: Secret,
    /// A token that the registry itself takes as it is.
    pub registry_token: Secret,
}

impl Credentials {
    /// The value of an `Authorization` header with user and password, if there are any.
    pub(crate) fn basic(&self) -> Option<String> {
        (!self.username.is_empty() || !self.password.is_empty()).then(|| {
            format!("Basic {}", STANDARD.encode(format!("{}:{}", self.username, self.password.reveal())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let credentials =
            Credentials { username: "u".into(), password: Secret::new("hush"), ..Default::default() };
        assert!(!format!("{credentials:?}").contains("hush"));
        assert_eq!(credentials.basic().as_deref(), Some("Basic dTpodXNo"));
        assert_eq!(Credentials::default().basic(), None);
    }
}
