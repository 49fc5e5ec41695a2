//! What the `Authorization` header says.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};

/// Credentials as they were sent.
pub(crate) enum Credentials {
    None,
    Basic {
        user: String,
        password: String,
    },
    Bearer(String),
    /// A header that is neither.
    Unknown,
}

impl Credentials {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Self::None };
        let Some((scheme, rest)) = value.to_str().ok().and_then(|text| text.trim().split_once(' ')) else {
            return Self::Unknown;
        };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::Bearer(rest.to_owned());
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let text = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            if let Some((user, password)) = text.as_deref().and_then(|text| text.split_once(':')) {
                return Self::Basic { user: user.to_owned(), password: password.to_owned() };
            }
        }
        Self::Unknown
    }
}
