//! `GET /containers/{id}/attach/ws`: the same as attaching, in messages.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::Test;

/// The client's side of a WebSocket (RFC 6455).
struct WebSocket(BufReader<UnixStream>);

impl WebSocket {
    fn open(test: &Test, path: &str) -> Result<Self> {
        let mut stream = BufReader::new(UnixStream::connect(test.client.socket())?);
        write!(
            stream.get_mut(),
            "GET {path} HTTP/1.1\r\nHost: engine\r\nOrigin: http://engine\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(stream.read_until(b'\n', &mut head)? > 0, "the answer ended in its head");
        }
        let head = String::from_utf8(head)?;
        // The answer to this key is RFC 6455's example.
        ensure!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        Ok(Self(stream))
    }

    /// One message of at most 125 bytes, masked as clients must.
    fn send(&mut self, text: &[u8]) -> Result<()> {
        let mask = [7, 77, 177, 17];
        let mut frame = vec![0x82, 0x80 | u8::try_from(text.len())?];
        frame.extend(mask);
        frame.extend(text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        Ok(self.0.get_mut().write_all(&frame)?)
    }

    /// What all messages until the end say.
    fn read(&mut self) -> Result<String> {
        let mut text = Vec::new();
        let mut head = [0; 2];
        while self.0.read_exact(&mut head).is_ok() && head[0] & 0xf != 8 {
            ensure!(head[1] < 126, "a long or masked message");
            let mut message = vec![0; usize::from(head[1])];
            self.0.read_exact(&mut message)?;
            text.extend(message);
        }
        Ok(String::from_utf8(text)?)
    }
}

pub(super) fn attach(test: &mut Test) -> Result<()> {
    let mut body =
        Test::body(&["sh", "-c", "echo before; read line; echo got $line; sleep 0.1; echo bad >&2"]);
    body["OpenStdin"] = json!(true);
    let id = test.up(&body)?;
    test.until("it has spoken", |test| Ok(test.logs(&id, "stdout=1")?.0 == "before\n"))?;
    let path = |id: &str, query: &str| format!("/v1.51/containers/{id}/attach/ws?{query}");
    let mut errors = WebSocket::open(test, &path(&id, "stream=1&stderr=1"))?;
    let mut all = WebSocket::open(test, &path(&id, "logs=1&stream=1&stdin=1&stdout=1&stderr=1"))?;
    all.send(b"this\n")?;
    ensure!(all.read()? == "before\ngot this\nbad\n");
    ensure!(errors.read()? == "bad\n");

    let mut body = Test::body(&["cat"]);
    (body["OpenStdin"], body["Tty"]) = (json!(true), json!(true));
    let id = test.up(&body)?;
    let mut typed = WebSocket::open(test, &path(&id, "stream=1&stdin=1&stdout=1&detachKeys=ctrl-a,q"))?;
    typed.send(b"\x01q")?;
    typed.read()?;
    ensure!(test.inspect(&id)?["State"]["Running"] == true);

    let refused = test.client.get(&path(&id, "stream=1"))?;
    ensure!(refused.status == 400, "{}", refused.message());
    Ok(())
}
