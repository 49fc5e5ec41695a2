//! Attached clients.

use std::{
    io::Read,
    net::Shutdown,
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use skiff_runtime::monitor::protocol::{Request, Stdin, Streams, Target};

use crate::fixture::{ALL, Fixture, OUTPUT, Running, Test, code, eventually, read_frames, read_until, say};

pub(crate) const TESTS: &[Test] = &[
    ("attach::a_client_attached_before_the_start_sees_the_first_byte", first_byte),
    ("attach::half_a_close_ends_the_input_and_not_the_output", half_close),
    ("attach::an_input_that_stays_open_outlives_its_client", stays_open),
    ("attach::the_death_of_a_daemon_ends_no_input_but_a_client_that_leaves_does", vanished),
    ("attach::several_clients_see_the_same", several),
    ("attach::a_slow_reader_loses_nothing", slow_reader),
    ("attach::input_faster_than_the_process_reads_arrives_whole", fast_input),
    ("attach::nobody_attaches_to_what_has_ended", ended),
];

/// Attaches to a container that runs.
pub(crate) fn attach(running: &Running, target: Target, streams: Streams) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    running.call(Request::Attach { target, streams }, &[OwnedFd::from(theirs)]).unwrap();
    ours
}

fn first_byte() {
    let fixture = Fixture::new();
    let mut container = fixture.sh("echo one; echo two >&2; printf three");
    let client = container.attach(OUTPUT);
    let only_errors = container.attach(Streams { stderr: true, ..Streams::default() });
    let running = container.start();
    assert_eq!(read_frames(client), (b"one\nthree".to_vec(), b"two\n".to_vec()));
    assert_eq!(read_frames(only_errors), (vec![], b"two\n".to_vec()));
    assert_eq!(running.wait().exit, code(0));
}

fn half_close() {
    let fixture = Fixture::new();
    let mut container = fixture.sh("cat; echo end").stdin(Stdin::Once);
    let mut client = container.attach(ALL);
    let running = container.start();
    say(&mut client, "hello\n");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_frames(client).0, b"hello\nend\n");
    assert_eq!(running.wait().exit, code(0));
}

fn stays_open() {
    let fixture = Fixture::new();
    let running = fixture.sh("cat").stdin(Stdin::Open).start();
    for text in ["one\n", "two\n"] {
        let mut client = attach(&running, Target::Init, ALL);
        say(&mut client, text);
        eventually("it is logged", || running.logged().iter().any(|(_, logged)| logged == text));
        client.shutdown(Shutdown::Write).unwrap();
        // Docker ends such an attachment.
        read_frames(client);
    }
    running.call(Request::CloseStdin { target: Target::Init }, &[]).unwrap();
    running.call(Request::Signal { target: Target::Init, signal: 9 }, &[]).unwrap();
    assert_eq!(running.wait().exit.code(), 137);
}

fn vanished() {
    let fixture = Fixture::new();
    // The client goes, its daemon stays: its input is over.
    let mut container = fixture.sh("cat; exit 4").stdin(Stdin::Once);
    let client = container.attach(ALL);
    let running = container.start();
    drop(client);
    assert_eq!(running.wait().exit, code(4));
    // The same while it is being written to.
    let mut container = fixture.sh("yes & cat; exit 4").stdin(Stdin::Once).without_log();
    let mut client = container.attach(ALL);
    let running = container.start();
    client.read_exact(&mut [0; 100]).unwrap();
    drop(client);
    assert_eq!(running.wait().exit, code(4));
    // Both go: nothing changes for the container.
    let mut container = fixture.sh("cat; exit 4").stdin(Stdin::Once);
    let client = container.attach(ALL);
    let mut running = container.start();
    rustix::net::shutdown(&running.started.connection, rustix::net::Shutdown::Both).unwrap();
    drop(client);
    running.started.connection = running.connect();
    std::thread::sleep(Duration::from_millis(1500));
    running.call(Request::CloseStdin { target: Target::Init }, &[]).unwrap();
    assert_eq!(running.wait().exit, code(4));
}

fn several() {
    let fixture = Fixture::new();
    let mut container = fixture.sh("cat; cat >&2").stdin(Stdin::Once);
    let clients: Vec<_> = (0..3).map(|_| container.attach(OUTPUT)).collect();
    let mut talker = container.attach(ALL);
    let running = container.start();
    let late = attach(&running, Target::Init, OUTPUT);
    say(&mut talker, "text\n");
    talker.shutdown(Shutdown::Write).unwrap();
    for client in clients.into_iter().chain([talker, late]) {
        assert_eq!(read_frames(client).0, b"text\n");
    }
    assert_eq!(running.wait().exit, code(0));
}

const LINES: u32 = 100_000;

fn sequence() -> Vec<u8> {
    (1..=LINES).flat_map(|n| format!("{n}\n").into_bytes()).collect()
}

fn slow_reader() {
    let fixture = Fixture::new();
    let mut container = fixture.sh(&format!("seq {LINES}; seq 1 3 >&2"));
    let slow = container.attach(OUTPUT);
    let running = container.start();
    // It takes more than all the buffers on the way.
    std::thread::sleep(Duration::from_millis(200));
    let (out, err) = read_frames(slow);
    assert!(out == sequence());
    assert_eq!(err, b"1\n2\n3\n");
    assert_eq!(running.wait().exit, code(0));
    assert_eq!(running.logged().len(), LINES as usize + 3);
}

fn fast_input() {
    let fixture = Fixture::new();
    let mut container = fixture.sh("sleep 0.2; cat").stdin(Stdin::Once);
    let mut client = container.attach(ALL);
    let running = container.start();
    let mut writer = client.try_clone().unwrap();
    let write = std::thread::spawn(move || {
        std::io::Write::write_all(&mut writer, &sequence()).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut first = [0; 1];
    client.read_exact(&mut first).unwrap();
    let mut rest = vec![];
    client.read_to_end(&mut rest).unwrap();
    write.join().unwrap();
    assert_eq!(running.wait().exit, code(0));
    let logged: String = running.logged().into_iter().map(|(_, text)| text).collect();
    assert!(logged.as_bytes() == sequence());
}

fn ended() {
    let fixture = Fixture::new();
    let mut container = fixture.sh("echo x");
    // Keeps the monitor there.
    let mut client = container.attach(OUTPUT);
    let running = container.start();
    read_until(&mut client, "x");
    running.wait();
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let request = Request::Attach { target: Target::Init, streams: OUTPUT };
    if let Ok(sequence) = running.started.connection.send(request, &[std::os::fd::AsFd::as_fd(&theirs)]) {
        // Either it has gone, or it says no.
        while let Ok((event, _)) = running.started.connection.recv(30) {
            if let skiff_runtime::monitor::protocol::Event::Answer { sequence: of, result } = event
                && of == sequence
            {
                assert!(result.is_err());
            }
        }
    }
}
