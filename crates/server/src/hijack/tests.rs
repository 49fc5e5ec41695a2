use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::*;

fn filter(keys: &[u8], pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut detach = DetachKeys::new(keys);
    let mut out = Vec::new();
    let done = pieces.iter().any(|piece| detach.filter(piece, &mut out));
    (out, done)
}

#[test]
fn the_detach_sequence_is_found_however_it_arrives() {
    const KEYS: &[u8] = &[16, 17];
    assert_eq!(filter(KEYS, &[b"ls\n"]), (b"ls\n".to_vec(), false));
    assert_eq!(filter(KEYS, &[&[b'a', 16, 17, b'b']]), (b"a".to_vec(), true));
    assert_eq!(filter(KEYS, &[&[16], &[17]]), (vec![], true));
    assert_eq!(filter(KEYS, &[&[16], b"x"]), (vec![16, b'x'], false));
    assert_eq!(filter(KEYS, &[&[16, 16, 17]]), (vec![16], true));
    assert_eq!(filter(b"q", &[b"abq"]), (b"ab".to_vec(), true));
    assert_eq!(filter(b"", &[&[16, 17]]), (vec![16, 17], false));
}

/// A client, an attached connection in between, and a container.
async fn attached(
    stdin: bool,
    keys: &[u8],
) -> (UnixStream, UnixStream, Arc<AtomicBool>, tokio::task::JoinHandle<()>) {
    attached_by(Transport::Plain, stdin, keys).await
}

async fn attached_by(
    transport: Transport,
    stdin: bool,
    keys: &[u8],
) -> (UnixStream, UnixStream, Arc<AtomicBool>, tokio::task::JoinHandle<()>) {
    let (client, server) = UnixStream::pair().unwrap();
    let (container, monitor) = UnixStream::pair().unwrap();
    let detached = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&detached);
    let hijack = Hijack {
        head: b"HEAD".to_vec(),
        open: Box::pin(std::future::ready(Opened {
            stream: Some(container),
            detach_keys: keys.to_vec(),
            ..Opened::default()
        })),
        stdin,
        settle: Box::pin(std::future::ready(None)),
        on_detach: Box::new(move || seen.store(true, Ordering::SeqCst)),
        transport,
    };
    // A WebSocket client has nothing to say before it has seen the answer.
    let ahead: &[u8] = if transport == Transport::Plain { b"ahead " } else { b"" };
    let task = tokio::spawn(run(hijack, Socket::Unix(server), Bytes::from_static(ahead)));
    (client, monitor, detached, task)
}

async fn read_all(stream: &mut UnixStream) -> Vec<u8> {
    let mut out = Vec::new();
    stream.read_to_end(&mut out).await.unwrap();
    out
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_end_of_file_is_passed_on() {
    let (mut client, mut monitor, detached, task) = attached(true, b"").await;
    client.write_all(b"typed").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut monitor).await, b"ahead typed");
    // Standard input has ended, output has not.
    monitor.write_all(&[7; 200_000]).await.unwrap_or_else(|_| panic!("the connection ended too early"));
    drop(monitor);
    let got = read_all(&mut client).await;
    assert_eq!(got.len(), 4 + 200_000);
    assert!(got.starts_with(b"HEAD\x07"));
    task.await.unwrap();
    assert!(!detached.load(Ordering::SeqCst));
}

#[tokio::test]
async fn output_that_ends_ends_the_connection_though_the_client_goes_on() {
    let (mut client, mut monitor, _, task) = attached(true, b"").await;
    monitor.write_all(b"bye").await.unwrap();
    drop(monitor);
    assert_eq!(read_all(&mut client).await, b"HEADbye");
    task.await.unwrap();
}

#[tokio::test]
async fn the_detach_keys_leave_the_container_alone() {
    let (mut client, mut monitor, detached, task) = attached(true, &[16, 17]).await;
    client.write_all(&[b'a', 16, 17]).await.unwrap();
    assert_eq!(read_all(&mut client).await, b"HEAD");
    task.await.unwrap();
    assert_eq!(read_all(&mut monitor).await, b"ahead a");
    assert!(detached.load(Ordering::SeqCst));
}

#[tokio::test]
async fn without_standard_input_nothing_reaches_the_container() {
    let (mut client, mut monitor, _, task) = attached(false, b"").await;
    client.write_all(b"typed").await.unwrap();
    client.shutdown().await.unwrap();
    monitor.write_all(b"out").await.unwrap();
    let mut got = [0; 7];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"HEADout");
    monitor.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await, b"");
    task.await.unwrap();
    assert_eq!(read_all(&mut monitor).await, b"");
}

#[tokio::test]
async fn a_client_that_is_gone_is_noticed_without_output() {
    let (client, monitor, _, task) = attached(true, b"").await;
    drop(client);
    task.await.unwrap();
    drop(monitor);
}

/// The clock stands until everybody waits, and goes on to where somebody is woken.
#[tokio::test(start_paused = true)]
async fn output_follows_the_head_when_that_was_read_or_never_will_be() {
    let (mut client, mut monitor, _, _task) = attached(false, b"").await;
    monitor.write_all(b"output").await.unwrap();
    tokio::time::sleep(READ_WITHIN / 2).await;
    let mut first = [0; 64];
    assert_eq!(client.read(&mut first).await.unwrap(), b"HEAD".len(), "the head alone");
    assert_eq!(client.read(&mut first).await.unwrap(), b"output".len());

    let (mut client, mut monitor, _, _task) = attached(false, b"").await;
    monitor.write_all(b"output").await.unwrap();
    tokio::time::sleep(READ_WITHIN * 2).await;
    assert_eq!(client.read(&mut first).await.unwrap(), b"HEADoutput".len());
}

#[tokio::test]
async fn a_websocket_carries_messages_without_frames() {
    let transport = Transport::WebSocket { kind: Opcode::Binary, framed: true };
    let (mut client, mut monitor, _, task) = attached_by(transport, true, b"").await;
    // A masked message "hi" and a ping.
    client.write_all(&[0x82, 0x82, 0, 0, 0, 0, b'h', b'i', 0x89, 0x80, 0, 0, 0, 0]).await.unwrap();
    let mut typed = [0; 2];
    monitor.read_exact(&mut typed).await.unwrap();
    assert_eq!(&typed, b"hi");
    let mut head_and_pong = [0; 6];
    client.read_exact(&mut head_and_pong).await.unwrap();
    assert_eq!(&head_and_pong, b"HEAD\x8a\x00");
    let mut frame = Vec::new();
    stream::encode(stream::StreamKind::Stderr, b"out", &mut frame);
    monitor.write_all(&frame).await.unwrap();
    drop(monitor);
    assert_eq!(read_all(&mut client).await, b"\x82\x03out\x88\x00");
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_client_has_not_read_is_noticed() {
    let (mut client, mut server) = UnixStream::pair().unwrap();
    taken(&server).await;
    server.write_all(b"output").await.unwrap();
    assert!(tokio::time::timeout(READ_WITHIN, taken(&server)).await.is_err());
    client.read_exact(&mut [0; 6]).await.unwrap();
    taken(&server).await;
}
