use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    super::{
        Part,
        testing::{block_on, facts, line, options},
    },
    *,
};

fn fluentd(more: &[(&str, &str)]) -> Fluentd {
    Fluentd::open(&options(&[&[("tag", "t"), ("labels", "app")], more].concat()), &facts()).unwrap()
}

#[test]
fn batches_are_what_the_protocol_says() {
    let id = facts().id;
    let mut half = line(1, "hello");
    half.part = Some(Part { first: 1, ordinal: 1, last: false });
    let batch = fluentd(&[]).batch(&[half], None);
    let seconds = 1_795_721_685u32.to_be_bytes();
    let mut expected = [&b"\x93\xa1t\x91\x92\xce"[..], &seconds, b"\x89\xa3app\xa4shop"].concat();
    for (key, value) in [
        ("container_id", id.as_str()),
        ("container_name", "/web"),
        ("partial_message", "true"),
        ("partial_id", &format!("{id}0000000000000001")),
        ("partial_ordinal", "1"),
        ("partial_last", "false"),
        ("source", "stdout"),
        ("log", "hello"),
    ] {
        msgpack::text(key.as_bytes(), &mut expected);
        msgpack::text(value.as_bytes(), &mut expected);
    }
    expected.extend_from_slice(b"\x81\xa4size\xce\0\0\0\x01");
    assert_eq!(batch, expected, "{}", String::from_utf8_lossy(&batch));
    let precise = fluentd(&[("fluentd-sub-second-precision", "true")]).batch(&[line(1, "x")], Some("c"));
    let time = [&b"\xd7\0"[..], &1_795_721_685u32.to_be_bytes(), &500_000_000u32.to_be_bytes()].concat();
    assert!(precise.windows(time.len()).any(|window| window == time));
    assert!(precise.ends_with(b"\x82\xa4size\xce\0\0\0\x01\xa5chunk\xa1c"));
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Reads a batch and gives its chunk.
async fn chunk(socket: &mut TcpStream) -> Vec<u8> {
    let mut batch = Vec::new();
    loop {
        socket.read_buf(&mut batch).await.unwrap();
        // Sixteen bytes in base64 have twenty-four digits.
        if let Some(at) = memchr::memmem::find(&batch, b"\xa5chunk\xb8")
            && batch.len() == at + 7 + 24
        {
            return batch[at + 7..].to_vec();
        }
    }
}

#[test]
fn a_batch_is_there_when_it_is_acknowledged() {
    block_on(async {
        let (listener, address) = listener().await;
        let mut fluentd = fluentd(&[("fluentd-address", &address), ("fluentd-request-ack", "true")]);
        let lines = [line(1, "x")];
        let acknowledge = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            for _ in 0..2 {
                let chunk = chunk(&mut socket).await;
                socket.write_all(&[b"\x81\xa3ack\xb8", &chunk[..]].concat()).await.unwrap();
            }
            socket
        };
        let send = async {
            fluentd.send(&lines).await.unwrap();
            fluentd.send(&lines).await.unwrap();
        };
        let _ = tokio::join!(acknowledge, send);
    });
}

#[test]
fn other_answers_are_no_acknowledgement() {
    block_on(async {
        for answer in
            [&b"\x81\xa3ack\xb8012345678901234567890123"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", b""]
        {
            let (listener, address) = listener().await;
            let mut fluentd = fluentd(&[("fluentd-address", &address), ("fluentd-request-ack", "true")]);
            let answering = async {
                let (mut socket, _) = listener.accept().await.unwrap();
                chunk(&mut socket).await;
                socket.write_all(answer).await.unwrap();
            };
            let lines = [line(1, "x")];
            let (sent, ()) = tokio::join!(fluentd.send(&lines), answering);
            sent.unwrap_err();
        }
    });
}
