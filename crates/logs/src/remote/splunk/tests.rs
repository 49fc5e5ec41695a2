use std::io::Read;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    super::testing::{block_on, facts, line, options},
    *,
};

fn splunk(more: &[(&str, &str)]) -> Result<Splunk, String> {
    let options = options(&[&[("splunk-url", "http://127.0.0.1:1"), ("splunk-token", "t")], more].concat());
    Splunk::open(&options, &facts()).map_err(|e| e.to_string())
}

fn events(splunk: &Splunk, lines: &[Line]) -> Vec<Value> {
    let body = splunk.style.body(lines);
    serde_json::Deserializer::from_slice(&body).into_iter().map(Result::unwrap).collect()
}

#[test]
fn events_are_what_docker_s_are() {
    let lines = [line(1, "hello"), line(2, "{\"a\": 1.50}"), line(3, "  ")];
    let inline = splunk(&[("labels", "app"), ("splunk-index", "main"), ("tag", "{{.Name}}")]).unwrap();
    let event = |line: Value, source: &str| {
        json!({
            "event": { "line": line, "source": source, "tag": "web", "attrs": { "app": "shop" } },
            "time": "1795721685.500000", "host": "host", "index": "main",
        })
    };
    let expected = [
        event(json!("hello"), "stdout"),
        event(json!("{\"a\": 1.50}"), "stderr"),
        event(json!("  "), "stdout"),
    ];
    assert_eq!(events(&inline, &lines), expected);
    let json = splunk(&[("splunk-format", "json"), ("tag", "")]).unwrap();
    let text = String::from_utf8(json.style.body(&lines[..2])).unwrap();
    assert!(text.contains(r#""event":{"line":"hello","source":"stdout"}"#), "{text}");
    assert!(text.contains(r#""event":{"line":{"a": 1.50},"source":"stderr"}"#), "{text}");
    let raw = splunk(&[("splunk-format", "raw"), ("labels", "app"), ("splunk-source", "s")]).unwrap();
    let expected = json!({ "event": "0123456789ab app=shop hello", "time": "1795721685.500000", "host": "host", "source": "s" });
    assert_eq!(events(&raw, &[lines[0].clone(), lines[2].clone()]), [expected]);
}

#[test]
fn wrong_values_are_refused_in_docker_s_words() {
    let expected = "splunk: expected format scheme://dns_name_or_ip:port for splunk-url";
    for (more, words) in [
        (("splunk-url", "x"), expected),
        (("splunk-url", "http://127.0.0.1:1/x"), expected),
        (("splunk-url", "ftp://h"), expected),
        (
            ("splunk-url", "http://127.0.0.1:x"),
            "splunk: failed to parse http://127.0.0.1:x as url value in splunk-url",
        ),
        (("splunk-gzip", "x"), r#"strconv.ParseBool: parsing "x": invalid syntax"#),
        (("splunk-verify-connection", "x"), r#"strconv.ParseBool: parsing "x": invalid syntax"#),
        (
            ("splunk-gzip-level", "12"),
            "not supported level '12' for splunk-gzip-level (supported values between -1 and 9)",
        ),
        (("splunk-gzip-level", "x"), r#"strconv.ParseInt: parsing "x": invalid syntax"#),
        (("splunk-format", "x"), "unknown format specified x, supported formats are inline, json and raw"),
        (("splunk-capath", "/nope"), "open /nope: no such file or directory"),
    ] {
        assert_eq!(splunk(&[more]).map(|_| ()), Err(words.to_owned()), "{more:?}");
    }
    let without = |pairs: &[(&str, &str)]| {
        Splunk::open(&options(pairs), &facts()).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(without(&[]), Err("splunk: splunk-url is expected".into()));
    assert_eq!(without(&[("splunk-url", "http://h")]), Err("splunk: splunk-token is expected".into()));
}

/// Reads a request; gives its head and its body.
async fn request(socket: &mut TcpStream) -> (String, Vec<u8>) {
    let mut got = Vec::new();
    loop {
        socket.read_buf(&mut got).await.unwrap();
        let Some(at) = memchr::memmem::find(&got, b"\r\n\r\n") else { continue };
        let head = String::from_utf8(got[..at].to_vec()).unwrap().to_ascii_lowercase();
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        if got.len() >= at + 4 + length {
            return (head, got[at + 4..].to_vec());
        }
    }
}

/// Answers each request of one connection with the next of these; gives the requests.
async fn answer(listener: &TcpListener, answers: &[&str]) -> Vec<(String, Vec<u8>)> {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut requests = Vec::new();
    for answer in answers {
        requests.push(request(&mut socket).await);
        socket.write_all(answer.as_bytes()).await.unwrap();
    }
    requests
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"text\":\"Success\",\"code\":0}";

#[test]
fn requests_carry_token_channel_and_compression() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let options = [
            ("splunk-url", url.as_str()),
            ("splunk-token", "secret"),
            ("splunk-gzip", "true"),
            ("splunk-index-acknowledgment", "1"),
        ];
        let mut splunk = Splunk::open(&super::super::testing::options(&options), &facts()).unwrap();
        let lines: Vec<Line> = (1..=1001).map(|n| line(n, "x")).collect();
        let (requests, sent) = tokio::join!(answer(&listener, &[OK, OK]), splunk.send(&lines));
        sent.unwrap();
        assert_eq!(requests.len(), 2, "a thousand at once");
        let (head, body) = &requests[0];
        for part in [
            "post /services/collector/event/1.0 http/1.1",
            "authorization: splunk secret",
            "content-encoding: gzip",
            "x-splunk-request-channel: ",
        ] {
            assert!(head.contains(part), "{part} is not in {head}");
        }
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text.matches("\"line\":\"x\"").count(), 1000);
    });
}

#[test]
fn what_can_get_better_is_tried_again_and_what_cannot_is_not() {
    block_on(async {
        let wrong = "HTTP/1.1 400 Bad Request\r\nContent-Length: 41\r\n\r\n{\"text\":\"Invalid data format\",\"code\":6  }";
        let index = "HTTP/1.1 400 Bad Request\r\nContent-Length: 37\r\n\r\n{\"text\":\"Incorrect index\",\"code\":7  }";
        let token =
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 35\r\n\r\n{\"text\":\"Invalid token\",\"code\":4  }";
        let endless = format!("HTTP/1.1 503 Service Unavailable\r\n\r\n{}", "x".repeat(1 << 20));
        for (answered, is_refused) in [
            (wrong, true),
            (index, false),
            (token, false),
            (endless.as_str(), false),
            ("nonsense\r\n\r\n", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let mut splunk = splunk(&[("splunk-url", &url)]).unwrap();
            let lines = [line(1, "x")];
            let serving = async {
                let (mut socket, _) = listener.accept().await.unwrap();
                request(&mut socket).await;
                // It may not be read to its end.
                let _ = socket.write_all(answered.as_bytes()).await;
            };
            let ((), sent) = tokio::join!(serving, splunk.send(&lines));
            let refused = matches!(sent.unwrap_err(), SendError::Refused { .. });
            assert_eq!(refused, is_refused, "{}", &answered[..answered.len().min(80)]);
        }
    });
}
