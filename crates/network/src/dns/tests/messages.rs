//! Messages to the byte: queries, answers, responses, the cache.

use std::time::{Duration, Instant};

use super::*;
use crate::dns::{
    cache::Cache,
    query::{Bad, Code, Query},
    reply::{self, Data},
    response::Response,
};

const A: u16 = 1;
const SOA: u16 = 6;

#[test]
fn what_is_no_query_gets_no_answer_or_the_reason() {
    type Change = dyn Fn(&mut Vec<u8>);
    let good = query("web", A);
    assert!(Query::read(&good).is_ok());
    let read = |change: &Change| {
        let mut message = good.clone();
        change(&mut message);
        Query::read(&message).map(|_| ()).unwrap_err()
    };
    let answered = |code| move |bad| matches!(bad, Bad::Answered { id: 0x1234, code: c, .. } if c == code);
    assert_eq!(read(&|m| m.truncate(11)), Bad::Ignored);
    assert_eq!(read(&|m| m[2] |= 0x80), Bad::Ignored, "a response");
    assert!(answered(Code::NotImplemented)(read(&|m| m[2] |= 0x28)), "an update");
    let formats: [&Change; 6] =
        [&|m| m[5] = 0, &|m| m[5] = 2, &|m| m.truncate(15), &|m| m[12] = 0xc0, &|m| m[11] = 1, &|m| {
            m[6..8].copy_from_slice(&[0xff, 0xff])
        }];
    for (i, change) in formats.into_iter().enumerate() {
        assert!(answered(Code::FormatError)(read(change)), "{i}");
    }
    let answer = reply::bad(read(&|m| m[5] = 0)).unwrap();
    assert_eq!(answer, [0x12, 0x34, 0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn answers_repeat_the_question_as_it_was_spelt() {
    let message = query("WeB", A);
    let query = Query::read(&message).unwrap();
    let answer = reply::answer(&query, &Data::Addresses(vec!["10.0.0.2".parse().unwrap()]), 512);
    let expected = [
        &[0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0][..],
        b"\x03WeB\x00\x00\x01\x00\x01",
        &[0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 10, 0, 0, 2],
    ]
    .concat();
    assert_eq!(answer, expected);
    assert_eq!(reply::no_data(&query)[..8], [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 0]);
    assert_eq!(reply::failure(&query, Code::ServerFailure)[2..4], [0x81, 2]);
}

#[test]
fn what_does_not_fit_is_marked() {
    let many = Data::Addresses((0..200).map(|n| Ipv4Addr::new(10, 0, 1, n).into()).collect());
    for (message, limit, fit) in [
        (query("svc", A), 512, 30),
        (edns_query("svc", A, 1232), 1232, 75),
        // Nobody takes less than 512, and nobody is sent more than 4096.
        (edns_query("svc", A, 100), 512, 30),
        (edns_query("svc", A, 65535), 4096, 200),
    ] {
        let query = Query::read(&message).unwrap();
        assert_eq!(query.udp_limit(), limit);
        let answer = reply::answer(&query, &many, query.udp_limit());
        assert!(answer.len() <= limit, "{}", answer.len());
        assert_eq!(addresses(&answer).len(), fit);
        assert_eq!(answer[2] & 2 != 0, fit < 200, "the mark");
        assert_eq!(answer[11], u8::from(query.edns.is_some()), "an OPT record for who sent one");
    }
}

#[test]
fn only_what_was_understood_is_sent_on() {
    let mut message = edns_query("Example.org", A, 65535);
    message[3] |= 0x70;
    message.extend_from_slice(b"more");
    let onward = Query::read(&message).unwrap().onward(7);
    let mut expected = edns_query("Example.org", A, 4096);
    expected[..2].copy_from_slice(&[0, 7]);
    expected[3] = 0x30;
    assert_eq!(onward, expected);
}

#[test]
fn a_response_must_be_that_of_the_question() {
    let asked = query("Example.org", A);
    let question = Query::read(&asked).unwrap().question;
    let good = response(&asked, 0, &[record(A, 300, &[1, 2, 3, 4])], &[]);
    let read = |message: &[u8]| Response::read(message, 0x1234, &question);
    assert_eq!(read(&good).unwrap().lifetime, 300);
    let mut other_case = good.clone();
    other_case[13] = b'e';
    assert!(read(&other_case).is_some());
    for (i, (at, value)) in
        [(0, 9), (2, 0x01), (2, 0xa9), (5, 2), (13, b'f'), (26, 2), (28, 3)].into_iter().enumerate()
    {
        let mut wrong = good.clone();
        wrong[at] = value;
        assert!(read(&wrong).is_none(), "{i}");
    }
    for length in 0..good.len() {
        assert!(read(&good[..length]).is_none(), "{length}");
    }
    // A server that does not even repeat the question.
    assert!(read(&[0x12, 0x34, 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap().is_failure());
}

#[test]
fn lifetimes_are_the_shortest_of_all_and_short_for_what_is_not_there() {
    let asked = query("example.org", A);
    let question = Query::read(&asked).unwrap().question;
    let lifetime = |message: &[u8]| Response::read(message, 0x1234, &question).unwrap().lifetime;
    let address = |seconds| record(A, seconds, &[1, 2, 3, 4]);
    let soa = |seconds, minimum: u32| record(SOA, seconds, &[&[0; 18][..], &minimum.to_be_bytes()].concat());
    assert_eq!(lifetime(&response(&asked, 0, &[address(300), address(20)], &[])), 20);
    assert_eq!(lifetime(&response(&asked, 0, &[address(1 << 20)], &[])), 3600);
    assert_eq!(lifetime(&response(&asked, 0, &[address(1 << 31)], &[])), 0);
    assert_eq!(lifetime(&response(&asked, 3, &[], &[soa(900, 5)])), 5);
    assert_eq!(lifetime(&response(&asked, 0, &[], &[soa(900, 900)])), 10);
    assert_eq!(lifetime(&response(&asked, 3, &[], &[])), 0);
    assert_eq!(lifetime(&response(&asked, 2, &[address(300)], &[])), 0);
}

#[test]
fn the_cache_gives_what_it_was_given_until_its_time() {
    let asked = query("example.org", A);
    let first = Query::read(&asked).unwrap();
    let message = response(&asked, 0, &[record(A, 300, &[1, 2, 3, 4])], &[]);
    let read = Response::read(&message, first.id, &first.question).unwrap();
    let (mut cache, now) = (Cache::default(), Instant::now());
    assert_eq!(cache.get(&first, 1, now), None);
    cache.put(&first, 1, &message, &read, now);
    // Another client, another spelling.
    let mut asked = query("EXAMPLE.org", A);
    asked[0] = 9;
    let second = Query::read(&asked).unwrap();
    let known = cache.get(&second, 1, now + Duration::from_millis(100_900)).unwrap();
    let mut expected = response(&asked, 0, &[record(A, 200, &[1, 2, 3, 4])], &[]);
    expected[0] = 9;
    assert_eq!(known, expected);
    assert_eq!(cache.get(&second, 1, now + Duration::from_secs(300)), None);
    // Who wants DNSSEC's records, who asks for another type, who has options: none of them is answered by it.
    let mut dnssec = edns_query("example.org", A, 1232);
    let mut options = dnssec.clone();
    let end = dnssec.len();
    dnssec[end - 4] = 0x80;
    options[end - 1] = 4;
    options.extend_from_slice(&[0, 10, 0, 0]);
    for other in [query("example.org", 28), query("example.com", A), dnssec, options] {
        assert_eq!(cache.get(&Query::read(&other).unwrap(), 1, now), None);
    }
    // The servers have changed.
    assert!(cache.get(&first, 1, now).is_some());
    assert_eq!(cache.get(&first, 2, now), None);
    assert_eq!(cache.get(&first, 1, now), None);
}

#[test]
fn the_cache_is_bounded() {
    let (mut cache, now) = (Cache::default(), Instant::now());
    let put = |cache: &mut Cache, n: u32, length: usize| {
        let asked = query(&format!("{n}.example"), 16);
        let query = Query::read(&asked).unwrap();
        let message = response(&asked, 0, &[record(16, 300 + n, &vec![0; length])], &[]);
        let read = Response::read(&message, query.id, &query.question).unwrap();
        cache.get(&query, 1, now);
        cache.put(&query, 1, &message, &read, now);
        cache.get(&query, 1, now).is_some()
    };
    let kept = |cache: &mut Cache| {
        let has =
            |n: &u32| cache.get(&Query::read(&query(&format!("{n}.example"), 16)).unwrap(), 1, now).is_some();
        (0..1000).filter(has).collect::<Vec<_>>()
    };
    assert!(!put(&mut cache, 0, 5000), "too long");
    (0..1000).for_each(|n| assert!(put(&mut cache, n, 10)));
    assert_eq!(kept(&mut cache), (744..1000).collect::<Vec<_>>());
    (0..1000).for_each(|n| assert!(put(&mut cache, n, 3000) || n < 744));
    assert!(kept(&mut cache).len() * 3000 <= 128 << 10, "{:?}", kept(&mut cache));
}
