//! Who is found by which name, from where.

use super::*;
use crate::dns::{
    lookup::{Verdict, decide},
    query::Query,
    reply::Data,
};

fn ask(text: &str, kind: u16, config: &ResolverConfig, book: &Book) -> Verdict {
    let message = query(text, kind);
    decide(&Query::read(&message).expect("a query").question, config, book)
}

fn found(ips: &[&str]) -> Verdict {
    Verdict::Answer(Data::Addresses(ips.iter().map(|ip| ip.parse().expect("an address")).collect()))
}

#[test]
fn names_are_found_on_the_containers_own_networks_alone() {
    let (book, front, back) = (book(), (network(1), "front"), (network(2), "back.net"));
    let only_front = config(&[front]);
    for (name, expected) in [
        ("web", found(&["10.0.0.2"])),
        ("WEB", found(&["10.0.0.2"])),
        ("web.front", found(&["10.0.0.2"])),
        ("svc", found(&["10.0.0.2", "10.0.0.3"])),
        ("aaaaaaaaaaaa", found(&["10.0.0.2"])),
        ("db", Verdict::Forward),
        ("web.back.net", Verdict::Forward),
        ("web.nowhere", Verdict::Forward),
        ("x.web", Verdict::Forward),
    ] {
        assert_eq!(ask(name, 1, &only_front, &book), expected, "{name}");
    }
    let both = config(&[back, front]);
    for (name, expected) in [
        ("web", found(&["10.0.0.5"])),
        ("web.front", found(&["10.0.0.2"])),
        ("web.back.net", found(&["10.0.0.5"])),
        ("a.b", found(&["10.0.0.4"])),
        ("a.b.back.net", found(&["10.0.0.4"])),
        ("api", found(&["10.0.0.3"])),
    ] {
        assert_eq!(ask(name, 1, &both, &book), expected, "{name}");
    }
}

#[test]
fn a_name_that_is_known_is_never_asked_for_elsewhere() {
    let (book, config) = (book(), config(&[(network(1), "front"), (network(2), "back.net")]));
    // AAAA, MX, TXT, SRV, HTTPS.
    for kind in [28, 15, 16, 33, 65] {
        assert_eq!(ask("web", kind, &config, &book), Verdict::NoData, "{kind}");
        assert_eq!(ask("nobody", kind, &config, &book), Verdict::Forward, "{kind}");
    }
    assert_eq!(ask("both", 28, &config, &book), found(&["fd00::6"]));
    assert_eq!(ask("both", 255, &config, &book), found(&["10.0.0.6", "fd00::6"]));
}

#[test]
fn addresses_are_named_with_their_network() {
    let (book, config) = (book(), config(&[(network(1), "front")]));
    let name = |text: &str| Verdict::Answer(Data::Name(name::encode(text).expect("a name")));
    assert_eq!(ask("2.0.0.10.in-addr.arpa", 12, &config, &book), name("Web.front"));
    for other in [
        "4.0.0.10.in-addr.arpa",
        "0.0.10.in-addr.arpa",
        "x.0.0.10.in-addr.arpa",
        "256.0.0.10.in-addr.arpa",
        "arpa",
    ] {
        assert_eq!(ask(other, 12, &config, &book), Verdict::Forward, "{other}");
    }
    let v6 = "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.D.f.ip6.arpa";
    let config = super::config(&[(network(2), "back.net")]);
    assert_eq!(ask(v6, 12, &config, &book), name("both.back.net"));
}

#[test]
fn links_come_before_names() {
    let mut config = config(&[(network(1), "front")]);
    config.networks[0].links = vec![("Api".into(), "Web".into()), ("gone".into(), "nobody".into())];
    let book = book();
    assert_eq!(ask("api", 1, &config, &book), found(&["10.0.0.2"]));
    assert_eq!(ask("api.front", 1, &config, &book), found(&["10.0.0.2"]));
    assert_eq!(ask("gone", 1, &config, &book), Verdict::Forward);
    assert_eq!(ask("web", 1, &config, &book), found(&["10.0.0.2"]));
}

#[test]
fn internal_networks_ask_nobody() {
    let config = ResolverConfig { forwards: false, ..config(&[(network(1), "front")]) };
    let book = book();
    assert_eq!(ask("web", 1, &config, &book), found(&["10.0.0.2"]));
    assert_eq!(ask("web", 28, &config, &book), Verdict::NoData);
    for (name, kind) in
        [("nobody", 1), ("example.org", 28), ("4.3.2.1.in-addr.arpa", 12), ("example.org", 16)]
    {
        assert_eq!(ask(name, kind, &config, &book), Verdict::Fail, "{name}");
    }
}

#[test]
fn with_ndots_set_a_single_word_stays_here() {
    let config = ResolverConfig { ndots_set: true, ..config(&[(network(1), "front")]) };
    let book = book();
    assert_eq!(ask("nobody", 1, &config, &book), Verdict::NoData);
    assert_eq!(ask("nobody", 28, &config, &book), Verdict::NoData);
    assert_eq!(ask("nobody", 16, &config, &book), Verdict::Forward);
    assert_eq!(ask("nobody.example", 1, &config, &book), Verdict::Forward);
    assert_eq!(ask("web", 1, &config, &book), found(&["10.0.0.2"]));
}

#[test]
fn what_is_forgotten_is_found_no_more() {
    let (mut book, config) = (book(), config(&[(network(1), "front"), (network(2), "back.net")]));
    book.remove(&network(1), &container(2));
    assert_eq!(ask("svc", 1, &config, &book), found(&["10.0.0.3"]));
    assert_eq!(ask("web", 1, &config, &book), found(&["10.0.0.5"]));
    assert_eq!(ask("2.0.0.10.in-addr.arpa", 12, &config, &book), Verdict::Forward);
    // Renamed.
    book.put(member(3, network(1), "front", &["other"]));
    assert_eq!(ask("api", 1, &config, &book), Verdict::Forward);
    assert_eq!(ask("other", 1, &config, &book), found(&["10.0.0.3"]));
    book.remove_everywhere(&container(5));
    assert_eq!(ask("web", 1, &config, &book), Verdict::Forward);
}
