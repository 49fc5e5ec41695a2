//! Credentials that the environment gives, before all that are kept: `DOCKER_AUTH_CONFIG`, which has `auths` as `config.json` has
//! them, with a user and a password each and nothing else.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::Credentials;

/// The variable.
pub(crate) const VARIABLE: &str = "DOCKER_AUTH_CONFIG";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    auths: BTreeMap<String, Account>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    #[serde(default)]
    auth: String,
}

/// What it says of each registry.
///
/// # Errors
/// In docker's words; they name no secret.
pub(super) fn read(text: &str) -> Result<BTreeMap<String, Credentials>, String> {
    let given: Given = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let account = |(server, Account { auth }): (String, Account)| {
        if auth.is_empty() {
            return Err(format!("{VARIABLE} environment variable is missing key `auth` for {server}"));
        }
        let decoded = STANDARD.decode(auth).map_err(|e| format!("illegal base64 data: {e}"))?;
        let pair = String::from_utf8(decoded).ok();
        let (username, password) =
            pair.as_deref().and_then(|pair| pair.split_once(':')).ok_or("Invalid auth configuration file")?;
        let credentials = Credentials {
            username: username.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
            server: server.clone(),
            ..Credentials::default()
        };
        Ok((server, credentials))
    };
    given.auths.into_iter().map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_account_is_refused() {
        let read = |text| {
            read(text).map(|found| found.into_iter().map(|(k, v)| (k, v.username, v.password)).collect())
        };
        let one: Vec<_> = vec![("r:1".to_owned(), "u".to_owned(), "p:q".to_owned())];
        assert_eq!(read(r#"{"auths":{"r:1":{"auth":"dTpwOnE="}}}"#), Ok(one));
        assert_eq!(read(r#"{"auths":{}}"#), Ok(vec![]));
        for (text, why) in [
            (r#"{"auths":{"r":{}}}"#, "DOCKER_AUTH_CONFIG environment variable is missing key `auth` for r"),
            (r#"{"auths":{"r":{"auth":"dXA="}}}"#, "Invalid auth configuration file"),
            (r#"{"auths":{"r":{"auth":"!"}}}"#, "illegal base64 data"),
            (r#"{"auths":{"r":{"auth":"dTpw","x":"y"}}}"#, "unknown field `x`"),
            (r#"{"auths":{}} x"#, "trailing characters"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.starts_with(why), "{said}");
        }
    }
}
