//! Further processes in a running container.

use std::{
    net::Shutdown,
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use serde_json::json;
use skiff_runtime::monitor::protocol::{Event, ExecRequest, Exit, Request, Stdin, Stdio, Target, WindowSize};
use skiff_types::ExecId;

use crate::fixture::{ALL, Fixture, Running, Test, code, is_alive, read_frames, read_until, say, until};

pub(crate) const TESTS: &[Test] = &[
    ("exec::output_exit_code_and_parent_are_right", runs),
    ("exec::a_program_that_is_not_there_is_an_error", missing_program),
    ("exec::input_and_half_close", input),
    ("exec::a_terminal_of_its_own", terminal),
    ("exec::it_ends_with_the_container", ends_with_container),
    ("exec::a_daemon_that_was_away_learns_of_execs", remembered),
];

struct Exec {
    id: ExecId,
    client: UnixStream,
}

/// Asks for a process; the answer is still to come.
fn exec(fixture: &Fixture, running: &Running, script: &str, stdio: Stdio) -> Exec {
    let id = ExecId::random();
    let process = json!({
        "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/bin"], "terminal": stdio.terminal.is_some(),
        "args": script.split('|').collect::<Vec<_>>(),
    });
    let (ours, theirs) = UnixStream::pair().unwrap();
    let plan = fixture.encoded_exec(running, process);
    let request = ExecRequest { id, plan, stdio, attach: Some(ALL) };
    running.send(Request::Exec(request), &[OwnedFd::from(theirs)]);
    Exec { id, client: ours }
}

fn exited(running: &Running, wanted: ExecId) -> Exit {
    until(&running.started.connection, |event| match event {
        Event::ExecExited { id, exit, .. } if id == wanted => Some(exit),
        Event::ExecFailed { error, .. } => panic!("{error}"),
        _ => None,
    })
}

fn started(running: &Running, wanted: ExecId) -> i32 {
    until(&running.started.connection, |event| match event {
        Event::ExecStarted { id, pid } if id == wanted => Some(pid),
        Event::ExecFailed { error, .. } => panic!("{error}"),
        _ => None,
    })
}

fn runs() {
    let fixture = Fixture::new();
    let running = fixture.container(&["/bin/sleep", "1000"]).start();
    let script =
        "/bin/sh|-c|cat /proc/1/comm; echo err >&2; while [ ! -e /tmp/seen ]; do sleep 0.02; done; exit 6";
    let exec = exec(&fixture, &running, script, Stdio::default());
    let pid = started(&running, exec.id);
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains(&format!("PPid:\t{}\n", running.started.monitor_pid)), "{status}");
    fs_err::write(fixture.dir.path().join("rootfs/tmp/seen"), "").unwrap();
    assert_eq!(exited(&running, exec.id), code(6));
    assert_eq!(read_frames(exec.client), (b"sleep\n".to_vec(), b"err\n".to_vec()));
    // Only the container's own output is logged.
    assert_eq!(running.logged(), []);
}

fn missing_program() {
    let fixture = Fixture::new();
    let running = fixture.sh("sleep 1000").start();
    let exec = exec(&fixture, &running, "/bin/nothing", Stdio::default());
    let error = until(&running.started.connection, |event| match event {
        Event::ExecFailed { id, error } if id == exec.id => Some(error),
        _ => None,
    });
    assert_eq!((error.errno, error.detail.contains("/bin/nothing")), (2, true), "{error:?}");
    assert_eq!(read_frames(exec.client), (vec![], vec![]));
    let target = Target::Exec(exec.id);
    assert!(running.call(Request::Signal { target, signal: 9 }, &[]).is_err());
}

fn input() {
    let fixture = Fixture::new();
    let running = fixture.sh("sleep 1000").start();
    let stdio = Stdio { stdin: Stdin::Once, terminal: None };
    let mut exec = exec(&fixture, &running, "/bin/sh|-c|cat; echo end", stdio);
    say(&mut exec.client, "hello\n");
    exec.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(exited(&running, exec.id), code(0));
    assert_eq!(read_frames(exec.client).0, b"hello\nend\n");
}

fn terminal() {
    let fixture = Fixture::new();
    let running = fixture.sh("sleep 1000").start();
    let size = WindowSize { rows: 11, columns: 22 };
    let stdio = Stdio { stdin: Stdin::Open, terminal: Some(size) };
    let mut exec = exec(&fixture, &running, "/bin/sh|-c|stty size; read a; stty size; exit 2", stdio);
    assert_eq!(read_until(&mut exec.client, "22\r\n"), "11 22\r\n");
    let (target, size) = (Target::Exec(exec.id), WindowSize { rows: 33, columns: 44 });
    running.call(Request::Resize { target, size }, &[]).unwrap();
    say(&mut exec.client, "\n");
    read_until(&mut exec.client, "33 44\r\n");
    assert_eq!(exited(&running, exec.id), code(2));
}

fn ends_with_container() {
    let fixture = Fixture::new();
    let running = fixture.sh("sleep 1000").start();
    let exec = exec(&fixture, &running, "/bin/sh|-c|trap '' TERM; sleep 1000", Stdio::default());
    let pid = started(&running, exec.id);
    running.send(Request::Signal { target: Target::Init, signal: 9 }, &[]);
    assert_eq!(exited(&running, exec.id), Exit::Signal(9));
    assert_eq!(running.wait().exit, Exit::Signal(9));
    assert!(!is_alive(pid));
}

fn remembered() {
    let fixture = Fixture::new();
    let running = fixture.sh("sleep 1000").start();
    let done = exec(&fixture, &running, "/bin/sh|-c|exit 3", Stdio::default());
    assert_eq!(exited(&running, done.id), code(3));
    let lasting = exec(&fixture, &running, "/bin/sleep|1000", Stdio::default());
    let pid = started(&running, lasting.id);
    let hello = until(&running.connect(), |event| match event {
        Event::Hello(hello) => Some(hello),
        _ => None,
    });
    let execs: Vec<_> = hello.execs.iter().map(|e| (e.id, e.exit.map(|(exit, _)| exit))).collect();
    assert_eq!(execs, [(done.id, Some(code(3))), (lasting.id, None)]);
    assert_eq!(hello.execs[1].pid, pid);
}
