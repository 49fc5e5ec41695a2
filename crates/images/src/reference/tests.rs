//! Held against what Docker 28.5 answers.

use proptest::prelude::*;

use super::*;

fn parse(s: &str) -> Result<Reference, ParseReferenceError> {
    s.parse()
}

#[test]
fn names_are_normalised_and_made_familiar_again() {
    let digest = format!("sha256:{}", "a".repeat(64));
    for (text, whole, familiar) in [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox", "busybox"),
        ("a/b/c", "docker.io/a/b/c", "a/b/c"),
        ("localhost/x", "localhost/x", "localhost/x"),
        (
            "localhost:5000/a__b/c-----d:T_1.2-3",
            "localhost:5000/a__b/c-----d:T_1.2-3",
            "localhost:5000/a__b/c-----d:T_1.2-3",
        ),
        ("Foo.com/x", "Foo.com/x", "Foo.com/x"),
        ("Foo/x", "Foo/x", "Foo/x"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        (&format!("x:y@{digest}"), &format!("docker.io/library/x:y@{digest}"), &format!("x:y@{digest}")),
    ] {
        let reference = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(reference.to_string(), whole);
        assert_eq!(reference.familiar(), familiar);
        assert_eq!(parse(whole).unwrap(), reference);
    }
    assert_eq!(parse("x").unwrap().or_latest().tag(), Some("latest"));
    assert_eq!(parse("x:y").unwrap().or_latest().tag(), Some("y"));
    assert_eq!(parse(&format!("x@{digest}")).unwrap().or_latest().tag(), None);
}

#[test]
fn what_is_no_reference_is_refused_in_dockers_words() {
    let id = "a".repeat(64);
    for (text, message) in [
        ("", "invalid reference format"),
        ("foo:", "invalid reference format"),
        ("foo@sha256:12", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a-", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("a/b:c:d", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("foo@sha512:aa", "invalid reference format"),
        ("-x.io/a", "invalid reference format"),
        ("x.io:port/a", "invalid reference format"),
        (&format!("a:{}", "t".repeat(129)), "invalid reference format"),
        ("A", "invalid reference format: repository name (library/A) must be lowercase"),
        ("x/y/Z", "invalid reference format: repository name (x/y/Z) must be lowercase"),
        (&"a".repeat(300), "repository name must not be more than 255 characters"),
        (&id, &format!("invalid repository name ({id}), cannot specify 64-byte hexadecimal strings")),
        (&format!("a@sha256:{}", "b".repeat(40)), "invalid checksum digest length"),
        (&format!("a@md5:{}", "b".repeat(32)), "unsupported digest algorithm"),
    ] {
        assert_eq!(parse(text).expect_err(text).to_string(), message, "{text}");
    }
}

proptest! {
    /// Whatever people write, what is taken for a name is the same name when it is written out, in both ways.
    #[test]
    fn a_name_means_itself(text in "[a-zA-Z0-9._:/@\\-\\[\\] é]{0,40}(@sha256:[0-9a-f]{60,66})?") {
        if let Ok(reference) = parse(&text) {
            prop_assert_eq!(parse(&reference.to_string()), Ok(reference.clone()));
            prop_assert_eq!(parse(&reference.familiar()), Ok(reference));
        }
    }

    /// Most of what is made like this is a name, so that the test above is not about refusals only.
    #[test]
    fn a_name_of_parts_means_its_parts(
        host in "[a-z][a-z0-9-]{0,5}[a-z0-9]\\.io(:[1-9][0-9]{0,3})?",
        path in "[a-z0-9]{1,5}([._-][a-z0-9]{1,5}){0,2}(/[a-z0-9]{1,5}){0,2}",
        tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}",
    ) {
        let reference = parse(&format!("{host}/{path}:{tag}")).unwrap();
        prop_assert_eq!((reference.domain(), reference.path(), reference.tag()), (&host[..], &path[..], Some(&tag[..])));
    }
}
