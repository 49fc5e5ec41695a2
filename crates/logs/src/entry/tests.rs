use super::*;

fn text(entry: &Entry<'_>) -> String {
    let mut out = Vec::new();
    assert!(entry.text.push(&mut out));
    String::from_utf8(out).unwrap()
}

/// The log of a container that wrote every byte, recorded from Docker 28.5.2.
const RECORDED: &[u8] = include_bytes!("recorded.json");

#[test]
fn both_parsers_see_the_same_in_a_log_of_docker() {
    for line in RECORDED.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        let any: AnyShape = serde_json::from_slice(line).unwrap();
        let entry = Entry::usual_shape(line).unwrap();
        assert_eq!(text(&entry), any.log);
        assert_eq!(entry.stderr, any.stream == "stderr");
        assert_eq!(&*entry.time, any.time.as_bytes());
        let mut details = Vec::new();
        push_details(entry.attrs.as_deref(), &mut details);
        assert_eq!(String::from_utf8(details).unwrap(), "EV=%C3%A9,lab=v%22%3C%26%3E");
    }
}

#[test]
fn text_that_looks_like_the_frame_around_it_stays_text() {
    for log in
        [r#"","stream":"stderr","time":"x"}"#, r#"\","stream":"stdout","attrs":{}"#, "\\", "\"", "\\\\\"\n"]
    {
        for attrs in ["", r#""attrs":{"k":"\",\"stream\":\"stderr\","},"#] {
            let line = format!(
                r#"{{"log":{},"stream":"stdout",{attrs}"time":"2026-11-20T21:00:28.5Z"}}"#,
                serde_json::to_string(log).unwrap()
            );
            let entry = Entry::usual_shape(line.as_bytes()).unwrap();
            assert_eq!((text(&entry).as_str(), entry.stderr), (log, false));
        }
    }
}

#[test]
fn other_shapes_are_parsed_slowly_and_nonsense_is_none() {
    for line in [
        r#"{"time":"2026-11-20T21:00:28.5Z","stream":"stderr","log":"x\n"}"#,
        r#"{"log": "x\n", "stream": "stderr", "time": "2026-11-20T21:00:28.5Z"}"#,
    ] {
        let entry = Entry::parse(line.as_bytes()).unwrap();
        assert_eq!((text(&entry).as_str(), entry.stderr), ("x\n", true));
    }
    for bad in ["", "garbage", "{", r#"{"log":"x"}"#, r#"{"log":"half"#] {
        assert_eq!(Entry::parse(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn numbers_are_found_and_nothing_else_is_taken_for_one() {
    for (line, number) in [
        (r#"{"log":"x\n","stream":"stdout","number":17,"time":"2026-11-20T21:00:28.5Z"}"#, Some(17)),
        (
            r#"{"log":"x\n","stream":"stderr","attrs":{"a":"b"},"number":18,"time":"2026-11-20T21:00:28.5Z"}"#,
            Some(18),
        ),
        (r#"{"log":"\",\"number\":5,","stream":"stdout","time":"2026-11-20T21:00:28.5Z"}"#, None),
        (
            r#"{"log":"x","stream":"stdout","attrs":{"a":"\"number\":5,"},"time":"2026-11-20T21:00:28.5Z"}"#,
            None,
        ),
    ] {
        let usual = Entry::usual_shape(line.as_bytes()).unwrap();
        let any = Entry::any_shape(line.as_bytes()).unwrap();
        assert_eq!((usual.number, any.number), (number, number), "{line}");
        assert_eq!((text(&usual), usual.stderr), (text(&any), any.stderr), "{line}");
    }
}
