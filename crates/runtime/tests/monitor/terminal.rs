//! Processes with a terminal.

use skiff_runtime::monitor::protocol::{Request, Stdin, Target, WindowSize};

use crate::fixture::{ALL, Fixture, Test, code, read_until, say};

pub(crate) const TESTS: &[Test] = &[
    ("terminal::its_size_is_known_from_the_start_and_changes", size),
    ("terminal::everything_written_before_the_end_is_read", last_words),
    ("terminal::a_client_that_leaves_does_not_hang_up", detach),
    ("terminal::control_characters_are_signals", interrupt),
];

fn size() {
    let fixture = Fixture::new();
    let script = "stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut container = fixture.sh(script).stdin(Stdin::Open).terminal(12, 34);
    let mut client = container.attach(ALL);
    let running = container.start();
    assert_eq!(read_until(&mut client, "ready\r\n"), "12 34\r\nready\r\n");
    let size = WindowSize { rows: 56, columns: 78 };
    running.call(Request::Resize { target: Target::Init, size }, &[]).unwrap();
    read_until(&mut client, "56 78\r\n");
    assert_eq!(running.wait().exit, code(0));
    let pipes = fixture.sh("sleep 100").start();
    let answer = pipes.call(Request::Resize { target: Target::Init, size }, &[]);
    assert_eq!(answer, Err("the process has no terminal".into()));
}

fn last_words() {
    let fixture = Fixture::new();
    for _ in 0..20 {
        let running = fixture.sh("seq 200; tty").terminal(24, 80).start();
        assert_eq!(running.wait().exit, code(0));
        let logged = running.logged();
        assert_eq!(logged.len(), 201);
        assert_eq!(logged[199].1, "200\r\n");
        assert!(logged[200].1.starts_with("/dev/"), "{:?}", logged[200]);
    }
}

fn detach() {
    let fixture = Fixture::new();
    let mut container = fixture.sh("read a; echo got $a").stdin(Stdin::Once).terminal(24, 80);
    let first = container.attach(ALL);
    let running = container.start();
    drop(first);
    let mut second = crate::attach::attach(&running, Target::Init, ALL);
    say(&mut second, "word\n");
    read_until(&mut second, "got word\r\n");
    assert_eq!(running.wait().exit, code(0));
}

fn interrupt() {
    let fixture = Fixture::new();
    let mut container =
        fixture.sh("trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done");
    container = container.stdin(Stdin::Open).terminal(24, 80);
    let mut client = container.attach(ALL);
    let running = container.start();
    read_until(&mut client, "ready\r\n");
    say(&mut client, "\x03");
    read_until(&mut client, "interrupted\r\n");
    assert_eq!(running.wait().exit, code(9));
}
