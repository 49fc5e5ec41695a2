use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, socketpair};

use super::*;

fn attached(streams: Streams, raw: bool) -> (Attachment, OwnedFd, Reactor) {
    let reactor = Reactor::new().unwrap();
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
    let attachment = Attachment::new(&reactor, Token::Attached(0, 0), 0, ours, streams, raw);
    (attachment, theirs, reactor)
}

const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true };

fn read_all(socket: &OwnedFd) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 70_000]);
    while let Ok(len) = rustix::io::read(socket, &mut buffer) {
        if len == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..len]);
    }
    all
}

#[test]
fn frames_name_stream_and_length_and_a_terminal_has_none() {
    let (mut attachment, client, _reactor) = attached(ALL, false);
    attachment.send(Stream::Stdout, b"out");
    attachment.send(Stream::Stderr, b"err!");
    assert_eq!(read_all(&client), b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x04err!");
    let (mut attachment, client, _reactor) = attached(ALL, true);
    attachment.send(Stream::Stdout, b"raw");
    assert_eq!(read_all(&client), b"raw");
    let only_errors = Streams { stdin: false, stdout: false, stderr: true };
    let (mut attachment, client, _reactor) = attached(only_errors, false);
    attachment.send(Stream::Stdout, b"out");
    assert_eq!(read_all(&client), b"");
}

#[test]
fn a_slow_reader_holds_back_and_then_gets_every_byte() {
    let (mut attachment, client, reactor) = attached(ALL, true);
    let mut sent = Vec::new();
    while !attachment.holds_back(Stream::Stdout) {
        let chunk = vec![sent.len() as u8; 10_000];
        attachment.send(Stream::Stdout, &chunk);
        sent.extend_from_slice(&chunk);
        assert!(sent.len() < 10_000_000);
    }
    assert!(attachment.deadline().is_some());
    attachment.close();
    let mut got = read_all(&client);
    while !attachment.is_over() {
        let event = reactor.wait(Some(Duration::from_secs(5))).unwrap().next();
        assert_eq!(event, Some((Token::Attached(0, 0), EventFlags::OUT)));
        attachment.writable();
        got.extend(read_all(&client));
    }
    assert!(got == sent);
    assert_eq!(attachment.deadline(), None);
}

#[test]
fn a_half_close_is_told_from_bytes_and_a_vanished_client_dies() {
    let (mut attachment, client, _reactor) = attached(ALL, false);
    let mut buffer = [0; 16];
    assert_eq!(attachment.receive(&mut buffer), Received::Nothing);
    rustix::io::write(&client, b"hi").unwrap();
    attachment.pause_input(true);
    assert_eq!(attachment.receive(&mut buffer), Received::Nothing);
    attachment.pause_input(false);
    assert_eq!(attachment.receive(&mut buffer), Received::Bytes(2));
    rustix::net::shutdown(&client, Shutdown::Write).unwrap();
    assert_eq!(attachment.receive(&mut buffer), Received::HalfClosed);
    attachment.send(Stream::Stdout, b"still here");
    assert_eq!(read_all(&client).len(), 18);
    drop(client);
    attachment.send(Stream::Stdout, b"nobody");
    assert!(attachment.is_over());
}
