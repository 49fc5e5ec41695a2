//! A fuzzer of everything that reads what strangers send: whatever is done to good messages, reading them answers, what is
//! answered reads back, and nothing grows beyond what came in. `SKIFF_FUZZ_ROUNDS` says for how long.

use std::time::Instant;

use super::*;
use crate::dns::{
    cache::Cache,
    lookup::decide,
    query::{Code, Query},
    reply::{self, Data},
    response::{self, Response},
};

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n.max(1)
    }
}

/// Bytes that mean something somewhere: pointers, longest labels, OPT, lengths.
const TELLING: [u8; 12] = [0, 1, 0x0c, 0x29, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xc1, 0xfe, 0xff];

fn damage(message: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(message.len());
        match numbers.below(7) {
            0 if !message.is_empty() => message[at] = numbers.next() as u8,
            1 if !message.is_empty() => message[at] = TELLING[numbers.below(TELLING.len())],
            2 => message.truncate(at),
            3 => {
                let end = at + numbers.below(message.len() - at + 1);
                let piece = message[at..end].to_vec();
                let to = numbers.below(message.len() + 1);
                message.splice(to..to, piece);
            }
            4 => message.extend((0..numbers.below(40)).map(|_| numbers.next() as u8)),
            // Counts of records.
            5 if message.len() >= 12 => message[4 + numbers.below(8)] = TELLING[numbers.below(TELLING.len())],
            6 if message.len() >= 14 => {
                // A pointer to anywhere, itself included.
                let at = 12 + numbers.below(message.len() - 13);
                message[at] = 0xc0;
                message[at + 1] = numbers.below(message.len()) as u8;
            }
            _ => {}
        }
    }
}

fn queries() -> Vec<Vec<u8>> {
    let mut options = edns_query("Svc.front", 28, 1232);
    let end = options.len();
    options[end - 1] = 8;
    options.extend_from_slice(&[0, 10, 0, 4, 1, 2, 3, 4]);
    vec![
        query("web", 1),
        query("2.0.0.10.in-addr.arpa", 12),
        edns_query("example.org", 255, 4096),
        query(&"abcdefghi.".repeat(25)[..249], 1),
        options,
    ]
}

fn responses(to: &[u8]) -> Vec<Vec<u8>> {
    let soa = record(6, 60, &[0; 22]);
    let many: Vec<Vec<u8>> = (0..60).map(|n| record(1, n, &[10, 0, 0, n as u8])).collect();
    let mut with_opt = response(to, 0, &[record(5, 9, b"\x03www\xc0\x0c")], std::slice::from_ref(&soa));
    with_opt[11] = 1;
    with_opt.extend_from_slice(&[0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
    vec![response(to, 0, &many, &[]), response(to, 3, &[], &[soa]), response(to, 2, &[], &[]), with_opt]
}

#[test]
fn damaged_messages_do_no_harm() {
    let rounds: usize = std::env::var("SKIFF_FUZZ_ROUNDS").map_or(20_000, |n| n.parse().expect("a number"));
    let numbers = &mut Numbers(0x5eed_0dd5);
    let (book, mut config) = (book(), config(&[(network(1), "front"), (network(2), "back.net")]));
    config.networks[0].links = vec![("web".into(), "svc".into())];
    let (mut cache, now) = (Cache::default(), Instant::now());
    let (queries, mut understood, mut accepted) = (queries(), 0, 0);
    for round in 0..rounds {
        let good = &queries[round % queries.len()];
        let mut message = good.clone();
        damage(&mut message, numbers);
        let read = match Query::read(&message) {
            Ok(read) => read,
            Err(bad) => {
                assert!(reply::bad(bad).is_none_or(|answer| answer.len() == 12));
                continue;
            }
        };
        understood += 1;
        decide(&read.question, &config, &book);
        // What is sent on says the same, and what is answered is an answer to it.
        let onward = read.onward(7);
        assert!(onward.len() <= message.len() + 11, "{message:?}");
        let again = Query::read(&onward).expect("what is sent on is a query");
        assert!(again.question.is(&read.question) && again.wishes() == read.wishes(), "{message:?}");
        let addresses = Data::Addresses(vec!["10.0.0.1".parse().expect("an address"); 50]);
        for answer in [
            reply::answer(&read, &addresses, read.udp_limit()),
            reply::no_data(&read),
            reply::failure(&read, Code::Refused),
            reply::truncated(&read),
        ] {
            assert!(answer.len() <= read.udp_limit(), "{message:?}");
            assert!(Response::read(&answer, read.id, &read.question).is_some(), "{message:?}");
        }
        // What a server answers, damaged as well.
        let responses = responses(good);
        let mut answer = responses[numbers.below(responses.len())].clone();
        damage(&mut answer, numbers);
        let original = Query::read(good).expect("a query");
        let Some(response) = Response::read(&answer, original.id, &original.question) else { continue };
        accepted += 1;
        assert!(response.lifetimes.len() <= answer.len() / 11, "{answer:?}");
        assert!(response.lifetimes.iter().all(|&at| usize::from(at) + 4 <= answer.len()), "{answer:?}");
        response::address(&mut answer, original.id, &original.question);
        cache.put(&original, 0, &answer, &response, now);
        if let Some(known) = cache.get(&original, 0, now) {
            assert!(known.len() <= 4096, "{}", known.len());
        }
    }
    // It must have been worth something.
    assert!(understood > rounds / 20 && accepted > rounds / 200, "{understood} {accepted} of {rounds}");
}
