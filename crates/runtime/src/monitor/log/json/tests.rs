use super::*;
use crate::monitor::log::Splitter;

/// Both recorded from Docker 28.5.2: what a container wrote (every byte, malformed UTF-8, JavaScript's separators, no newline at the
/// end), and its log with all times made equal.
const INPUT: &[u8] = include_bytes!("recorded.input");
const RECORDED: &[u8] = include_bytes!("recorded.json");

#[test]
fn entries_are_byte_for_byte_those_of_docker() {
    let attrs = BTreeMap::from([("lab".into(), "v\"<&>".into()), ("EV".into(), "é".into())]);
    let mut encoder = Encoder::new(&attrs, None);
    let at = UnixTime { seconds: 1_795_208_428, nanoseconds: 500_000_000 };
    let mut out = Vec::new();
    let mut splitter = Splitter::default();
    splitter.push(INPUT, |message| encoder.entry(message, Stream::Stdout, at, &mut out));
    splitter.finish(|message| encoder.entry(message, Stream::Stdout, at, &mut out));
    for (ours, docker) in out.split(|&b| b == b'\n').zip(RECORDED.split(|&b| b == b'\n')) {
        assert_eq!(String::from_utf8_lossy(ours), String::from_utf8_lossy(docker));
    }
    assert_eq!(out.len(), RECORDED.len());
}

#[test]
fn nothing_is_longer_than_promised() {
    let text = vec![1; lines::LONGEST];
    let mut encoder = Encoder::new(&BTreeMap::new(), None);
    let mut out = Vec::new();
    let at = UnixTime { seconds: 0, nanoseconds: 1 };
    encoder.entry(Message { text: &text, ends: true }, Stream::Stderr, at, &mut out);
    assert!(out.len() <= encoder.longest());
    assert!(out.ends_with(b"\\n\",\"stream\":\"stderr\",\"time\":\"1970-01-01T00:00:00.000000001Z\"}\n"));
}

#[test]
fn lines_of_a_log_that_is_sent_on_are_numbered() {
    let mut encoder = Encoder::new(&BTreeMap::new(), Some(9));
    let at = UnixTime { seconds: 0, nanoseconds: 5 };
    let mut out = Vec::new();
    for text in [b"a", b"b"] {
        encoder.entry(Message { text, ends: true }, Stream::Stdout, at, &mut out);
    }
    let line = |text: &str, number: u64| {
        format!(
            "{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"number\":{number},\"time\":\"1970-01-01T00:00:00.000000005Z\"}}\n"
        )
    };
    assert_eq!(String::from_utf8(out).unwrap(), line("a", 9) + &line("b", 10));
}
