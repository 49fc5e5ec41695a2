//! Attaching: hijacked connections, frames, half-close, terminals.

use anyhow::Result;
use serde_json::json;
use skiff_testkit::http::Body;

use crate::Test;

#[test]
fn who_attaches_before_the_start_misses_nothing() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.create(&Test::body(&["sh", "-c", "echo first; echo second >&2"]))?;
    let path = format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1");
    let mut stream = test.client.hijack(&path, &Body::Empty)?;
    test.start(&id)?;
    assert_eq!(stream.read_frames()?, (b"first\n".to_vec(), b"second\n".to_vec()));
    Ok(())
}

#[test]
fn standard_input_goes_in_and_its_end_too() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["wc", "-c"]);
    body["OpenStdin"] = json!(true);
    body["StdinOnce"] = json!(true);
    let id = test.create(&body)?;
    let path = format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1");
    let mut stream = test.client.hijack(&path, &Body::Empty)?;
    test.start(&id)?;
    stream.send(&vec![b'x'; 1_000_000])?;
    stream.close_stdin()?;
    assert_eq!(stream.read_frames()?.0, b"1000000\n");
    assert_eq!(test.wait(&id)?, 0);
    Ok(())
}

#[test]
fn a_terminal_has_the_size_that_was_set() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", "read x; stty size; echo $x"]);
    body["Tty"] = json!(true);
    body["OpenStdin"] = json!(true);
    let id = test.create(&body)?;
    let path = format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1");
    let mut stream = test.client.hijack(&path, &Body::Empty)?;
    test.start(&id)?;
    assert_eq!(test.act(&id, "resize?h=40&w=100")?.status, 200);
    stream.send(b"ahoy\n")?;
    let out = String::from_utf8(stream.read_raw()?)?;
    assert_eq!(out, "ahoy\r\n40 100\r\nahoy\r\n");
    Ok(())
}

#[test]
fn several_may_attach_and_the_past_comes_from_the_log() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", "echo past; read x; echo future"]);
    body["OpenStdin"] = json!(true);
    let id = test.up(&body)?;
    while test.logs(&id, "stdout=1")?.0.is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let mut with_past =
        test.client.hijack(&format!("/containers/{id}/attach?logs=1&stream=1&stdout=1"), &Body::Empty)?;
    let mut without =
        test.client.hijack(&format!("/containers/{id}/attach?stream=1&stdout=1"), &Body::Empty)?;
    let mut stdin = test.client.hijack(&format!("/containers/{id}/attach?stream=1&stdin=1"), &Body::Empty)?;
    stdin.send(b"\n")?;
    assert_eq!(with_past.read_frames()?.0, b"past\nfuture\n");
    assert_eq!(without.read_frames()?.0, b"future\n");
    Ok(())
}

#[test]
fn detach_keys_end_the_stream_and_not_the_container() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["cat"]);
    body["Tty"] = json!(true);
    body["OpenStdin"] = json!(true);
    let id = test.up(&body)?;
    let path = format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1");
    let mut stream = test.client.hijack(&path, &Body::Empty)?;
    stream.send(b"\x10\x11")?;
    stream.read_raw()?;
    assert_eq!(test.inspect(&id)?["State"]["Running"], true);
    Ok(())
}
