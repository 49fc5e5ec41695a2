//! `WWW-Authenticate`: how a registry wants to know who asks (RFC 9110, section 11.6.1; distribution-spec "token").

use http::{HeaderMap, header};

/// What an answer with status 401 asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password.
    Basic,
    /// A token from a server.
    Bearer {
        /// The server's address.
        realm: String,
        /// What it calls the registry.
        service: String,
        /// What the token must allow.
        scope: String,
    },
}

/// The challenge to answer: for a token, if one is wanted, else for a password.
pub(crate) fn choose(headers: &HeaderMap) -> Option<Challenge> {
    let mut all: Vec<Challenge> = Vec::new();
    for value in headers.get_all(header::WWW_AUTHENTICATE) {
        all.extend(value.to_str().ok().map(parse).unwrap_or_default());
    }
    let bearer = all.iter().position(|c| matches!(c, Challenge::Bearer { .. }));
    match bearer {
        Some(at) => Some(all.swap_remove(at)),
        None => all.into_iter().next(),
    }
}

fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            break;
        }
        let after_space = after.trim_start_matches(' ');
        if let Some(value) = after_space.strip_prefix('=') {
            let (value, tail) = value_of(value.trim_start_matches(' '));
            if let Some((_, parameters)) = challenges.last_mut() {
                parameters.push((word.to_ascii_lowercase(), value));
            }
            rest = tail;
        } else {
            challenges.push((word.to_ascii_lowercase(), Vec::new()));
            rest = after_space;
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    challenges.into_iter().filter_map(|(scheme, parameters)| known(&scheme, &parameters)).collect()
}

/// A parameter's value and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

fn known(scheme: &str, parameters: &[(String, String)]) -> Option<Challenge> {
    let parameter = |name: &str| {
        parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => {
            let (realm, service, scope) = (parameter("realm"), parameter("service"), parameter("scope"));
            Some(Challenge::Bearer { realm, service, scope })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges_are_read_in_any_order_and_spelling() {
        let bearer = |realm: &str, service: &str, scope: &str| Challenge::Bearer {
            realm: realm.into(),
            service: service.into(),
            scope: scope.into(),
        };
        for (header, challenges) in [
            (r#"Basic realm="x""#, vec![Challenge::Basic]),
            (
                r#"Bearer realm="https://auth/token",service="reg",scope="repository:a/b:pull,push""#,
                vec![bearer("https://auth/token", "reg", "repository:a/b:pull,push")],
            ),
            (
                r#"Negotiate, Basic realm="a, b=\"c", bearer REALM=http://t , service = s"#,
                vec![Challenge::Basic, bearer("http://t", "s", "")],
            ),
            ("Digest nonce=1", vec![]),
            (r#"Bearer realm="unclosed"#, vec![bearer("unclosed", "", "")]),
            ("", vec![]),
            ("=,=", vec![]),
        ] {
            assert_eq!(parse(header), challenges, "{header}");
        }
    }

    proptest! {
        /// Whatever a registry says, it is read to its end, and a token's server is one that it named.
        #[test]
        fn anything_is_read(header in r#"((basic|bearer|realm|service|x)[ =,"\\]{0,2}|[ -~]){0,30}"#) {
            for challenge in parse(&header) {
                if let Challenge::Bearer { realm, .. } = challenge {
                    // Only backslashes before quoted characters are left out.
                    let found = header.contains(&realm) || header.contains('\\');
                    prop_assert!(found, "{realm:?}");
                }
            }
        }
    }
}
