//! Secrets.

use super::{clean_path, invalid};
use crate::{
    Result,
    model::{HostConfig, Secret, SecretSource},
    secrets::LARGEST,
};

/// Checks secrets, and puts their targets in order: a relative one is below `/run/secrets`.
pub(super) fn check(config: &mut HostConfig) -> Result<()> {
    for index in 0..config.secrets.len() {
        let (before, rest) = config.secrets.split_at_mut(index);
        one(&mut rest[0])?;
        if before.iter().any(|other| other.target == rest[0].target) {
            return invalid(format!("Duplicate mount point: {}", rest[0].target));
        }
    }
    Ok(())
}

fn one(secret: &mut Secret) -> Result<()> {
    let wrong = |id: &str, what: &str| invalid(format!("invalid secret {id:?}: {what}"));
    if secret.id.is_empty() {
        return wrong("", "it has no id");
    }
    let target = if secret.target.is_empty() { &secret.id } else { &secret.target };
    if target.split('/').any(|part| part == "..") {
        return wrong(&secret.id, "the target leads out of its directory");
    }
    secret.target = match target.starts_with('/') {
        true => clean_path(target),
        false => clean_path(&format!("/run/secrets/{target}")),
    };
    if matches!(secret.target.as_str(), "/" | "/run/secrets") {
        return wrong(&secret.id, "the target is a directory");
    }
    if secret.mode > 0o7777 {
        return wrong(&secret.id, "the mode is not a number from 0 to 07777");
    }
    match &secret.source {
        SecretSource::Given(data) if data.bytes.len() as u64 > LARGEST => {
            wrong(&secret.id, &format!("it is larger than {LARGEST} bytes"))
        }
        SecretSource::Given(_) => Ok(()),
        SecretSource::File(path) if !path.starts_with('/') => {
            wrong(&secret.id, &format!("the source {path:?} is not an absolute path"))
        }
        SecretSource::File(path) => match fs_err::metadata(path) {
            Err(_) => wrong(&secret.id, &format!("the source does not exist: {path}")),
            Ok(file) if file.is_dir() => wrong(&secret.id, &format!("the source is a directory: {path}")),
            Ok(file) if file.len() > LARGEST => {
                wrong(&secret.id, &format!("the source is larger than {LARGEST} bytes: {path}"))
            }
            Ok(_) => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SecretData;

    fn secret(target: &str) -> Secret {
        let source = SecretSource::Given(SecretData { bytes: b"x".to_vec() });
        Secret { id: "db".into(), source, target: target.into(), uid: 0, gid: 0, mode: 0o444 }
    }

    #[test]
    fn targets_are_below_run_secrets_unless_they_say_otherwise() {
        for (given, target) in [("", "/run/secrets/db"), ("a/b", "/run/secrets/a/b"), ("/etc//x", "/etc/x")] {
            let mut config = HostConfig { secrets: vec![secret(given)], ..HostConfig::default() };
            check(&mut config).unwrap();
            assert_eq!(config.secrets[0].target, target);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |secrets: Vec<Secret>| {
            check(&mut HostConfig { secrets, ..HostConfig::default() }).unwrap_err().to_string()
        };
        let of_file = |path: &str| Secret { source: SecretSource::File(path.into()), ..secret("") };
        for (secrets, reason) in [
            (vec![Secret { id: String::new(), ..secret("") }], "it has no id"),
            (vec![secret("../x")], "the target leads out of its directory"),
            (vec![secret("/")], "the target is a directory"),
            (vec![Secret { mode: 0o10000, ..secret("") }], "the mode is not a number from 0 to 07777"),
            (vec![secret("a"), secret("/run/secrets/a")], "Duplicate mount point: /run/secrets/a"),
            (vec![of_file("x")], "the source \"x\" is not an absolute path"),
            (vec![of_file("/nonexistent/x")], "the source does not exist: /nonexistent/x"),
            (vec![of_file("/proc")], "the source is a directory: /proc"),
        ] {
            let said = refused(secrets);
            assert!(said.ends_with(reason), "{said}");
        }
    }

    #[test]
    fn contents_are_neither_printed_nor_recorded() {
        let secret = secret("");
        assert!(!format!("{secret:?}").contains("120"), "{secret:?}");
        assert!(!serde_json::to_string(&secret).unwrap().contains("120"));
    }
}
