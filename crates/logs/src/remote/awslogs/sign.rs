//! Signatures of requests to Amazon's services, version 4.
//!
//! Source: "Create a signed AWS API request" of the IAM user guide.

use std::fmt::Write;

use ring::{digest, hmac};
use skiff_aws::Keys;
use skiff_types::hex;

/// What a signature is good for.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// Now: `20150830T123600Z`.
    pub(super) time: &'a str,
}

/// A request, as far as it is signed.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// Sorted and escaped.
    pub(super) query: &'a str,
    /// Names in lower case, sorted; `host` and `x-amz-date` must be among them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// The value of the header `authorization`.
pub(super) fn authorization(keys: &Keys, scope: &Scope<'_>, request: &Signed<'_>) -> String {
    const ALGORITHM: &str = "AWS4-HMAC-SHA256";
    let day = scope.time.get(..8).unwrap_or_default();
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut canonical = format!("{}\n{}\n{}\n", request.method, request.path, request.query);
    for (name, value) in request.headers {
        // Writing to a string does not fail.
        let _ = writeln!(canonical, "{name}:{}", value.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let _ = write!(canonical, "\n{names}\n{}", hash(request.body));
    let to_sign = format!("{ALGORITHM}\n{}\n{place}\n{}", scope.time, hash(canonical.as_bytes()));
    let secret = format!("AWS4{}", keys.secret);
    let parts = [day, scope.region, scope.service, "aws4_request", &to_sign];
    let signature = parts.iter().fold(secret.into_bytes(), |key, part| mac(&key, part));
    format!(
        "{ALGORITHM} Credential={}/{place}, SignedHeaders={names}, Signature={}",
        keys.id,
        hex(&signature)
    )
}

fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the documentation.
    #[test]
    fn the_documented_request_has_the_documented_signature() {
        let keys = Keys {
            id: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            token: None,
        };
        let scope = Scope { region: "us-east-1", service: "iam", time: "20150830T123600Z" };
        let request = Signed {
            method: "GET",
            path: "/",
            query: "Action=ListUsers&Version=2010-05-08",
            headers: &[
                ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("host", "iam.amazonaws.com"),
                ("x-amz-date", "20150830T123600Z"),
            ],
            body: b"",
        };
        assert_eq!(
            authorization(&keys, &scope, &request),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }
}
