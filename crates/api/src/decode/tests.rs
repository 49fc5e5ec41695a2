use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Inner {
    memory: i64,
    weight: u16,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase", rename = "container.Config")]
struct Outer {
    image: String,
    tty: bool,
    env: Option<Vec<String>>,
    list: Vec<String>,
    labels: BTreeMap<String, String>,
    console_size: [u32; 2],
    host_config: Option<Inner>,
    anything: Value,
}

fn read(json: &str) -> Result<Outer, DecodeError> {
    from_slice(json.as_bytes())
}

#[test]
fn null_is_the_empty_value_of_every_type() {
    let nulls = r#"{"Image":null,"Tty":null,"Env":null,"List":null,"Labels":null,"ConsoleSize":null,
        "HostConfig":null,"Anything":null}"#;
    assert_eq!(read(nulls), Ok(Outer::default()));
    assert_eq!(read("null"), Ok(Outer::default()));
    let inner = read(r#"{"HostConfig":{"Memory":null},"List":[null],"Labels":{"a":null}}"#).unwrap();
    assert_eq!(inner.host_config, Some(Inner::default()));
    assert_eq!(inner.list, [""]);
    assert_eq!(inner.labels["a"], "");
}

#[test]
fn keys_match_in_any_case_and_unknown_ones_are_ignored() {
    let got = read(
        r#"{"IMAGE":"a","tty":true,"hostconfig":{"MEMORY":5},"Nope":{"x":[1]},"Anything":{"Keep":"Me"}}"#,
    )
    .unwrap();
    assert_eq!((got.image.as_str(), got.tty), ("a", true));
    assert_eq!(got.host_config, Some(Inner { memory: 5, weight: 0 }));
    assert_eq!(got.anything, serde_json::json!({"Keep": "Me"}));
    assert_eq!(read(r#"{"image":"other","Image":"exact"}"#).unwrap().image, "exact");
    assert_eq!(read(r#"{"Image":"first","Image":"last"}"#).unwrap().image, "last");
}

#[test]
fn arrays_of_fixed_length_are_padded_and_cut() {
    assert_eq!(read(r#"{"ConsoleSize":[1]}"#).unwrap().console_size, [1, 0]);
    assert_eq!(read(r#"{"ConsoleSize":[1,2,3]}"#).unwrap().console_size, [1, 2]);
}

#[test]
fn bytes_that_are_not_text_are_replaced() {
    let got: Outer = from_slice(b"{\"Image\":\"a\xff\"}").unwrap();
    assert_eq!(got.image, "a\u{fffd}");
}

/// Recorded from Docker 28.5.2.
#[test]
fn wrong_types_are_refused_in_the_words_of_go() {
    for (json, message) in [
        (r#"{"Image":1}"#, "json: cannot unmarshal number into Go struct field .Image of type string"),
        (r#"{"Tty":"x"}"#, "json: cannot unmarshal string into Go struct field .Tty of type bool"),
        (r#"{"Env":"x"}"#, "json: cannot unmarshal string into Go struct field .Env of type []string"),
        (
            r#"{"HostConfig":{"Memory":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field .HostConfig.Memory of type int64",
        ),
        (
            r#"{"HostConfig":{"Memory":"x"}}"#,
            "json: cannot unmarshal string into Go struct field .HostConfig.Memory of type int64",
        ),
        (
            r#"{"HostConfig":{"Weight":70000}}"#,
            "json: cannot unmarshal number 70000 into Go struct field .HostConfig.Weight of type uint16",
        ),
        (
            r#"{"Labels":{"a":1}}"#,
            "json: cannot unmarshal number into Go struct field .Labels.a of type string",
        ),
        (r#"{"List":["a",2]}"#, "json: cannot unmarshal number into .List.1 of type string"),
    ] {
        assert_eq!(read(json).unwrap_err().to_string(), message);
    }
    let exec = from_slice::<crate::model::ExecCreateRequest>(br#"{"Cmd":"x"}"#).unwrap_err();
    let words = "json: cannot unmarshal string into Go struct field ExecOptions.Cmd of type []string";
    assert_eq!(exec.to_string(), words);
    assert_eq!(read("").unwrap_err(), DecodeError::Empty);
    assert_eq!(read("{} {}").unwrap_err(), DecodeError::Trailing);
}

/// A cheap fuzzer: whatever is done to a good body, reading it answers and does not panic.
#[test]
fn damaged_bodies_never_panic() {
    let good = br#"{"Image":"a\u00e9","Tty":true,"Env":["A=b",null],"Labels":{"x":"y"},"HostConfig":{"Memory":1e3}}"#;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut body = good.to_vec();
        for _ in 0..1 + random() % 3 {
            let at = random() % body.len();
            match random() % 3 {
                0 => body[at] = random() as u8,
                1 => body.truncate(at.max(1)),
                _ => body.insert(at, b"{}[]\",:0-e\\"[random() % 11]),
            }
        }
        refused += usize::from(from_slice::<Outer>(&body).is_err());
    }
    assert!(refused > 1000);
}
