//! Bearer tokens (the distribution project's token specification): JSON web tokens, signed with HMAC-SHA-256 by the
//! registry for itself.
//!
//! A token says who it was given to and what was asked for then. It does not outlive a right: what it allows is checked
//! against the accounts again at each use.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::Action;
use crate::{clock, name::Name};

/// Seconds that a token is good for.
pub(crate) const LIFETIME: u64 = 300;

/// Rights to one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Access {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) actions: Vec<String>,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: String,
    pub(crate) exp: u64,
    pub(crate) nbf: u64,
    pub(crate) iat: u64,
    pub(crate) jti: String,
    pub(crate) access: Vec<Access>,
}

const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;
const ISSUER: &str = "skiff-registry";

/// Signs and verifies.
#[derive(Debug)]
pub(crate) struct Signer(hmac::Key);

impl Signer {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// A token for a subject.
    pub(crate) fn issue(&self, subject: &str, service: &str, access: Vec<Access>) -> (String, Claims) {
        let now = clock::now();
        let claims = Claims {
            iss: ISSUER.into(),
            sub: subject.into(),
            aud: service.into(),
            exp: now + LIFETIME,
            nbf: now.saturating_sub(10),
            iat: now,
            jti: super::passwords::random(16),
            access,
        };
        let body = serde_json::to_vec(&claims).expect("claims are plain data");
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(body));
        let tag = hmac::sign(&self.0, signed.as_bytes());
        (format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)), claims)
    }

    /// What a token says, if it is ours and good now.
    pub(crate) fn verify(&self, token: &str) -> Option<Claims> {
        let (signed, tag) = token.rsplit_once('.')?;
        let (header, body) = signed.split_once('.')?;
        // The only header we write: no other algorithm is ever looked at.
        if header != URL_SAFE_NO_PAD.encode(HEADER) {
            return None;
        }
        hmac::verify(&self.0, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        let now = clock::now();
        (claims.iss == ISSUER && claims.nbf <= now && now < claims.exp).then_some(claims)
    }

    /// A signature over text of our own (sessions, forms). `purpose` keeps them apart.
    pub(crate) fn seal(&self, purpose: &str, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, format!("{purpose}\0{text}").as_bytes()))
    }

    /// Whether a signature is ours.
    pub(crate) fn sealed(&self, purpose: &str, text: &str, tag: &str) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(tag) else { return false };
        hmac::verify(&self.0, format!("{purpose}\0{text}").as_bytes(), &tag).is_ok()
    }
}

impl Claims {
    /// Whether the token was given for this.
    pub(crate) fn covers(&self, name: &Name, action: Action) -> bool {
        self.access.iter().any(|access| {
            access.kind == "repository"
                && access.name == name.as_str()
                && access.actions.iter().any(|a| a == action.as_str() || a == "*")
        })
    }
}

/// Reads scopes: `repository:name:pull,push`, several with blanks between them.
pub(crate) fn scopes<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Access> {
    let one = |text: &str| {
        let (kind, rest) = text.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        // `repository(plugin)` and the like.
        let kind = kind.split('(').next().unwrap_or(kind);
        let actions = actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned).collect();
        Some(Access { kind: kind.to_owned(), name: name.to_owned(), actions })
    };
    texts.flat_map(|text| text.split(' ')).filter_map(one).take(MAX_SCOPES).collect()
}

/// Scopes of the largest token.
const MAX_SCOPES: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_our_own_tokens_are_good() {
        let signer = Signer::new(b"secret");
        let access = scopes(["repository:a/b:pull,push registry:catalog:*"].into_iter());
        assert_eq!(access.len(), 2);
        let (token, claims) = signer.issue("bob", "here", access);
        assert_eq!(signer.verify(&token), Some(claims.clone()));
        assert!(claims.covers(&"a/b".parse().unwrap(), Action::Push));
        assert!(!claims.covers(&"a/b".parse().unwrap(), Action::Delete));
        assert!(!claims.covers(&"a/c".parse().unwrap(), Action::Pull));
        assert_eq!(Signer::new(b"other").verify(&token), None);
        let none = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"none"}"#);
        let (_, rest) = token.split_once('.').unwrap();
        assert_eq!(signer.verify(&format!("{none}.{rest}")), None);
        assert_eq!(signer.verify(&format!("{none}.{}.", rest.split('.').next().unwrap())), None);
        for cut in 0..token.len() {
            assert_eq!(signer.verify(&token[..cut]), None);
        }
    }

    #[test]
    fn seals_have_a_purpose() {
        let signer = Signer::new(b"secret");
        let tag = signer.seal("session", "bob");
        assert!(signer.sealed("session", "bob", &tag));
        assert!(!signer.sealed("form", "bob", &tag));
        assert!(!signer.sealed("session", "eve", &tag));
    }

    proptest! {
        #[test]
        fn whatever_is_sent_as_a_token_or_scope_is_answered(text in "\\PC{0,100}") {
            prop_assert_eq!(Signer::new(b"k").verify(&text), None);
            prop_assert!(scopes([text.as_str()].into_iter()).len() <= MAX_SCOPES);
        }
    }
}
