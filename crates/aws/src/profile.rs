//! The user's files: sections of `name = value`, one for each profile, in `~/.aws/credentials` and `~/.aws/config`.
//!
//! Source: "Configuration and credential file settings" of the AWS CLI user guide.

use std::{collections::BTreeMap, io, path::PathBuf};

use crate::{Environment, Keys, NoKeys};

/// What the profile has that matters here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Keys(Keys),
    /// A token's file, and the role that it is for.
    WebIdentity {
        token: String,
        role: String,
    },
}

/// The profile that the environment chooses, if it has something. One that was chosen by its name must.
pub(crate) async fn find(environment: &Environment) -> Result<Option<Profile>, NoKeys> {
    let chosen = environment("AWS_PROFILE");
    let name = chosen.clone().unwrap_or_else(|| "default".to_owned());
    let home = environment("HOME").map(PathBuf::from);
    let path = |variable: &str, usual: &str| {
        let own = environment(variable).map(PathBuf::from);
        own.or_else(|| Some(home.as_ref()?.join(usual)))
    };
    let files = [
        (path("AWS_CONFIG_FILE", ".aws/config"), "profile "),
        (path("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), ""),
    ];
    let (mut values, mut looked) = (BTreeMap::new(), Vec::new());
    for (path, prefix) in files {
        let Some(path) = path else { continue };
        looked.push(path.display().to_string());
        match tokio::fs::read_to_string(&path).await {
            // Keys of the second file count more.
            Ok(text) => values.extend(section(&text, prefix, &name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(NoKeys { place: path.display().to_string(), reason: error.to_string() });
            }
        }
    }
    let mut take = |name: &str| values.remove(name);
    if let (Some(id), Some(secret)) = (take("aws_access_key_id"), take("aws_secret_access_key")) {
        return Ok(Some(Profile::Keys(Keys { id, secret, token: take("aws_session_token") })));
    }
    if let (Some(token), Some(role)) = (take("web_identity_token_file"), take("role_arn")) {
        return Ok(Some(Profile::WebIdentity { token, role }));
    }
    match chosen {
        None => Ok(None),
        Some(_) => Err(NoKeys {
            place: format!("the profile {name}"),
            reason: format!("neither keys nor a web identity in {}", looked.join(" and ")),
        }),
    }
}

/// The values of one section. The default one has no prefix anywhere.
fn section(text: &str, prefix: &str, profile: &str) -> BTreeMap<String, String> {
    let (mut inside, mut values) = (false, BTreeMap::new());
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let section = section.trim();
            inside = section.strip_prefix(prefix).map(str::trim) == Some(profile)
                || (section == profile && profile == "default");
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside) {
            values.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    values.retain(|_, value| !value.is_empty());
    values
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const CREDENTIALS: &str = "[default]\naws_access_key_id = A\n# no\naws_secret_access_key=B\n\n[ work ]\n\
        aws_access_key_id=C\naws_secret_access_key = D\naws_session_token = E\n[half]\naws_access_key_id=X\n";
    const CONFIG: &str = "[profile pod]\nrole_arn = arn:r\nweb_identity_token_file = /token\n\
        [profile half]\naws_secret_access_key = Y\n[default]\nregion = x\naws_access_key_id = less\n";

    fn find_in(profile: Option<&str>) -> Result<Option<Profile>, NoKeys> {
        let home = tempfile::tempdir().unwrap();
        fs_err::create_dir(home.path().join(".aws")).unwrap();
        fs_err::write(home.path().join(".aws/credentials"), CREDENTIALS).unwrap();
        fs_err::write(home.path().join(".aws/config"), CONFIG).unwrap();
        let (profile, at) = (profile.map(str::to_owned), home.path().display().to_string());
        let environment: Environment = Arc::new(move |name| match name {
            "HOME" => Some(at.clone()),
            "AWS_PROFILE" => profile.clone(),
            _ => None,
        });
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(find(&environment))
    }

    #[test]
    fn files_have_keys_for_several_profiles() {
        let keys = |id: &str, secret: &str, token: Option<&str>| {
            let token = token.map(str::to_owned);
            Ok(Some(Profile::Keys(Keys { id: id.into(), secret: secret.into(), token })))
        };
        assert_eq!(find_in(None), keys("A", "B", None));
        assert_eq!(find_in(Some("work")), keys("C", "D", Some("E")));
        assert_eq!(find_in(Some("half")), keys("X", "Y", None));
        let web = Profile::WebIdentity { token: "/token".into(), role: "arn:r".into() };
        assert_eq!(find_in(Some("pod")), Ok(Some(web)));
        let error = find_in(Some("other")).unwrap_err().to_string();
        assert!(
            error.starts_with("no keys from the profile other: neither keys nor a web identity in "),
            "{error}"
        );
    }
}
